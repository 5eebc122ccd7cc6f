"""The command line in a process of its own, and how its errors look."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

COMMAND = [sys.executable, "-c", "from alchemflows.cli import main; main()"]

#: Processes are forked from one that has imported the libraries that take seconds; none of them reads a configuration.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "mace.calculators",
        "pymbar",
        "alchemlyb.estimators",
        "matplotlib.pyplot",
        "emmet.core.tasks",
        "emmet.core.trajectory",
    ]
)


def run_command(
    arguments: Sequence[object], folder: Path, environment: Mapping[str, str], timeout: float = 600.0
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, without the seconds that its imports take; it must end within minutes."""
    words = list(map(str, arguments))
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        process = _PROCESSES.Process(target=_main, args=(words, folder, dict(environment), out.name, err.name))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout, out.read(), err.read())
        return subprocess.CompletedProcess(words, process.exitcode, out.read(), err.read())


def _main(words: list[str], folder: Path, environment: dict[str, str], out: str, err: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for file, stream in ((out, 1), (err, 2)):
        os.dup2(os.open(file, os.O_WRONLY), stream)
    sys.argv = ["alchemflows", *words]
    from alchemflows.cli import main

    main()


def assert_one_line(completed: subprocess.CompletedProcess, *words: str) -> None:
    assert completed.returncode == 1
    lines = [line for line in completed.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1, completed.stderr
    assert "Traceback" not in completed.stderr
    for word in words:
        assert word in lines[0]
