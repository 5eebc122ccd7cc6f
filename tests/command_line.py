"""The command line in a process of its own, and how its errors look."""

from __future__ import annotations

import subprocess
import sys

COMMAND = [sys.executable, "-c", "from alchemflows.cli import main; main()"]


def assert_one_line(completed: subprocess.CompletedProcess, *words: str) -> None:
    assert completed.returncode == 1
    lines = [line for line in completed.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    for word in words:
        assert word in lines[0]
