"""Pages about stored ladders: their commands and Python run as written, on two short ladders of NaCl → KCl."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import write
from command_line import ALCHEMFLOWS, CODE, run_command
from models import VARIANTS, build_mace

from alchemflows.alchemy.backends.mace_file import load_mace
from alchemflows.cli.example_files import find_example
from alchemflows.results.listing import results
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

DOCS = Path(__file__).parents[1] / "docs"
PAGES = ("combine.md", "corrections.md", "committee.md", "frames.md", "reanalysis.md")
#: IDs in the pages, by the kind of their results; ID is that of the first ladder.
FIRST, SECOND = "1a2b3c4d", "5e6f7a8b"
IDS = {
    "ladder": (FIRST, SECOND),
    "committee": ("9c0d1e2f",),
    "transition": ("3b4c5d6e",),
    "frenkel-ladd": ("7a8b9c0d",),
    "melting": ("6f7a8b9c",),
}
LENGTHS = "--windows 3 --windows-per-job 3 --equilibration 10 --production 240 --frames 24 --no-relax"
#: Replaced in all commands, in this order: a crystal and a campaign by those of this database, and potentials that take
#: seconds to load by smaller ones (other tests load each kind of potential). Jobs for VASP are only submitted.
REPLACED = {
    "CsPbI3.cif Pb:Sn --supercell 2 2 2": f"NaCl.cif Na:K {LENGTHS}",
    "NaCl.cif --supercell 3 3 3": "NaCl.cif --no-relax",
    "--campaign halides": f"{FIRST} {SECOND}",
    "chgnet.model.dynamics:CHGNetCalculator": "mine:soft",
    "use_device=cpu": "scale=0.5",
    "sevennet-0 --sample-target --runs": "mine:soft --argument scale=0.5 --sample-target --runs",
    "sevennet-0": "other.model",
    "chgnet-r2scan": "other.model",
    "--with chgnet ": "--with fine-tuned.model ",
}


def blocks(page: str, *languages: str) -> list[str]:
    """Return the blocks of a page in some languages."""
    text = (DOCS / page).read_text()
    return re.findall(rf"^```(?:{'|'.join(languages)})\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """Return the commands of a page, each once: those of bash, and those behind the prompt of a console."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    prompted = re.findall(r"^\$ (.*)", "".join(blocks(page, "console")), re.MULTILINE)
    return list(dict.fromkeys([*lines, *prompted]))


class Shell:
    """A folder with the files that the pages name, and a database with two ladders."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self.database = folder, database
        self.lengths: dict[str, str] = {}

    def filled(self, text: str) -> str:
        """Return text of a page with identifiers of the database."""
        text = re.sub(r"\bID\b", FIRST, text)
        for kind, written in IDS.items():
            found = [row["uuid"] for row in reversed(results(self.database, kinds=[kind]))]
            for placeholder, uuid in zip(written, found, strict=False):
                text = text.replace(placeholder, uuid[:8])
        return text

    def run(self, words: list[str], entry: str = ALCHEMFLOWS, **given: str) -> None:
        """Run a command, or code; it must succeed and write the files that it names."""
        clean = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
        path = os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])
        ours = {"ALCHEMFLOWS_HOME": str(self.folder.parent), "PYTHONPATH": path}
        done = run_command(words, self.folder, clean | ours | self.lengths | given, entry=entry)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        assert all((self.folder / word).is_file() for word in words if word.endswith((".png", ".xyz", ".json")))

    def run_command(self, command: str) -> None:
        """Run a command of a page."""
        for written, used in REPLACED.items():
            command = command.replace(written, used)
        words = shlex.split(self.filled(command), comments=True)
        given = {}
        while "=" in words[0]:
            name, _, value = words.pop(0).partition("=")
            given[name] = value.replace("$PWD", str(self.folder))
        assert words[0] == "alchemflows", command
        self.run(words[1:], **given)


def scaled_demo(scale: float) -> torch.nn.Module:
    """Return mace-demo with interactions of another strength, a potential that overlaps with it."""
    model = load_mace((files("alchemflows") / "data" / "mace-demo.safetensors").read_bytes())
    model.scale_shift.scale *= scale
    return model


@pytest.fixture(scope="module")
def shell(tmp_path_factory) -> Iterator[Shell]:
    """Return a folder and a database; the ladders are those that the page about temperatures computes."""
    home = tmp_path_factory.mktemp("home")
    folder = home / "work"
    find_example("structures").write(folder)
    torch.save(scaled_demo(1.01), folder / "fine-tuned.model")
    torch.save(scaled_demo(1.02), folder / "other.model")
    rng = np.random.default_rng(0)
    trained = [bulk(salt, "rocksalt", a=5.7, cubic=True) for salt in ("NaCl", "KCl") for _ in range(2)]
    for atoms in trained:
        atoms.rattle(0.1, rng=rng)
    write(folder / "train.xyz", trained)
    salt = {"atomic_numbers": [11, 17, 19], "num_elements": 3, "atomic_energies": np.full((2, 3), -3.0)}
    torch.save(build_mace(**VARIANTS["heads"] | salt | {"heads": ["pbe", "r2scan"]}), folder / "multi.model")
    try:
        made = Shell(folder, start_private(Settings(home=home)))
        for command in commands("combine.md"):
            if command.startswith("alchemflows ti"):
                made.run_command(command)
        made.lengths = {"ALCHEMFLOWS_SHORT": "1"}
        yield made
    finally:
        PrivateMongod(home).stop()


def test_the_pages_contain_what_is_replaced():
    written = "\n".join(command for page in PAGES for command in commands(page))
    assert all(part in written for part in REPLACED)
    assert len(written.splitlines()) > 25


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(page, shell):
    """Its commands, then its Python run; a block of Python that begins with the name of a file is its content."""
    script = []
    for block in blocks(page, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):
            (shell.folder / named[1]).write_text(block)
            script.append(f"import {named[1].removesuffix('.py')}")
        else:
            script.append(block)
    for command in commands(page):
        if not command.startswith("alchemflows ti"):
            shell.run_command(command)
    if script:
        shell.run([shell.filled("\n".join(script))], CODE)
