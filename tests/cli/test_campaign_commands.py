"""The tutorial of docs/campaigns.md, as written, and what the commands refuse."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_one_line

PAGE = Path(__file__).parents[2] / "docs" / "campaigns.md"


@pytest.mark.slow
def test_the_tutorial_as_written(home, tmp_path):
    blocks = re.findall(r"<!-- tutorial -->\n```bash\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"ALCHEMFLOWS_HOME": str(home), "PATH": programs, "COLUMNS": "200"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(blocks)],
        env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    for words in (
        "8 tasks, 24 jobs",
        "8 tasks added (24 jobs), 0 were there",
        "0 tasks added (0 jobs), 8 were there",
        "nothing has failed",
    ):
        assert words in done.stdout
    rows = (tmp_path / "salts" / "salts.csv").read_text().splitlines()
    assert len(rows) == 9 and all("NaK" in row or "NaLi" in row for row in rows[1:])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere.yaml"], ["nowhere.yaml cannot be read"]),
        (["submit", "nowhere.yaml"], ["nowhere.yaml cannot be read"]),
        (["status", "unknown"], ["no campaign 'unknown'"]),
        (["retry", "unknown", "--jobs", "a,b"], ["3,7"]),
    ],
)
def test_bad_input_is_one_line(run, arguments, words):
    assert_one_line(run("campaign", *arguments), *words)
