"""The examples at the end of ``--help``: each is a command of README or docs, which runs there, or runs here."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import pytest
import torch
from command_line import programs, unexpected
from models import VARIANTS, build_mace
from test_ladder_pages import FIRST
from test_pages import METHODS
from test_shell_blocks import COMMANDS, ROOT, blocks, lines

from alchemflows.cli.example_files import find_example
from alchemflows.storage.mongod import PrivateMongod

#: Commands that are on no page, in the order in which they run here, without workers.
HERE = (
    "alchemflows db start",
    "alchemflows db status",
    "alchemflows campaign schema > campaign.schema.json",
    "alchemflows campaign submit salts.yaml",
    "alchemflows campaign pause salts",
    "alchemflows campaign resume salts",
    "alchemflows campaign retry salts",
    "alchemflows campaign extend salts.yaml --runs 2",
    "alchemflows campaign cancel salts",
    "alchemflows potential convert my-mace.model my-mace.safetensors",
    "alchemflows verify tests/alchemy/between_vertices.json --models .",
    "alchemflows db stop",
)


def examples(command: object = COMMANDS) -> Iterator[str]:
    """Return the example of each command of the command line."""
    if hasattr(command, "commands"):
        for each in command.commands.values():
            yield from examples(each)
    else:
        yield command.epilog


def with_id(line: str) -> str:
    return re.sub(r"\bID\b", FIRST, shlex.join(shlex.split(line)))


def test_each_example_runs_on_a_page_or_here():
    pages = {with_id(line) for _, text in blocks() for line in lines(text)} | set(METHODS)
    found, here = ({with_id(line) for line in text} for text in (examples(), HERE))
    assert len(found) > 40
    assert found - pages - here == set() and here <= found


@pytest.mark.slow
def test_examples_that_are_on_no_page_run(tmp_path):
    work, home = tmp_path / "work", tmp_path / "home"
    find_example("campaign").write(work)
    (work / "tests").symlink_to(ROOT / "tests")
    torch.save(build_mace(**VARIANTS["residual"]), work / "my-mace.model")
    (tmp_path / "bin").mkdir()
    clean = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
    try:
        with programs(tmp_path / "bin") as path:
            environment = clean | {"ALCHEMFLOWS_HOME": str(home), "PATH": path, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", "\n".join(HERE)],
                cwd=work, env=environment, capture_output=True, text=True,
            )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert not [line for line in unexpected(done.stderr) if not line.startswith("NaCl: ")]  # its structure
        assert (work / "my-mace.safetensors").is_file()
        published = ROOT / "docs" / "campaign.schema.json"
        assert (work / "campaign.schema.json").read_text() == published.read_text()
    finally:
        PrivateMongod(home).stop()
