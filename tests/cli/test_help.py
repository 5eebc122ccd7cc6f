"""Help and refusals of the command line: they import no potential, and help fits into a terminal of 80 columns."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from alchemflows.cli.example_files import find_example

#: Refused by the command line itself.
REFUSED = (
    ("ti", "--nope"),
    ("ti", "x.cif", "Pb:Sn"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "hot"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "300", "--workers", "0"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "300", "--plot", "x.foo"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "300", "--spacing", "odd"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "300", "--device", "gpu"),
    ("ti", "x.cif", "PbSn", "--temperature", "300"),
    ("ti", "x.cif", "Pb:Sn", "--temperature", "300", "--temperature", "400"),
    ("switch", "x.cif", "Pb:Sn", "--temperature", "300", "--dtype", "float16"),
    ("switch", "x.cif", "Pb:Sn", "--temperature", "300", "--kernels", "fast"),
    ("phases", "alpha", "--temperature", "300"),
    ("optimize", "x.cif", "--choose", "Na"),
    ("order", "x.cif", "--wave", "0.5"),
    ("mc", "x.cif", "--temperature", "300", "--mu", "K"),
    ("mc", "x.cif", "--temperature", "300", "--pressure", "1"),
    ("reproduce", "fig9"),
    ("verify", "x.json", "--models", ".", "--dtype", "float16"),
    ("verify-ensembles", "x.json", "--models", ".", "--device", "gpu"),
    ("potential", "convert", "mace-demo", "x.model"),
    ("potential", "convert", "sevennet-0", "x.safetensors"),
    ("campaign", "check"),
)
#: Refused by a maker, in a folder with the example structures.
REFUSED_BY_MAKERS = (
    ("ti", "NaCl.cif", "Na:K", "--temperature", "300", "--windows", "0"),
    ("ti", "NaCl.cif", "Na:K", "--temperature", "-300"),
    ("ti", "NaCl.cif", "Na:Kx", "--temperature", "300"),
    ("ti", "NaCl.cif", "Ba:K", "--temperature", "300"),
    ("ti", "NaCl.cif", "Na:K", "--temperature", "300", "--plot", "x.png", "--convergence-plot", "x.png"),
    ("switch", "NaCl.cif", "Na:K", "--temperature", "300", "--repeats", "0"),
    ("frenkel-ladd", "NaCl.cif", "--temperature", "300", "--spring", "Xx:3"),
    ("vacancy", "NaCl.cif", "--temperature", "300", "--degeneracy", "0"),
    ("schottky", "NaCl.cif", "--temperature", "300", "--site", "X=5"),
    ("phases", "a=NaCl.cif", "--temperature", "300", "--repeats", "0"),
    ("sweep", "NaCl.cif", "Na:Kx"),
    ("optimize", "NaCl.cif", "--choose", "Na:Na,K", "--target", "x_A=5"),
    ("order", "Na0.5K0.5Cl.cif", "--starts", "0"),
    ("mc", "Na0.5K0.5Cl.cif", "--temperature", "300", "--replicas", "3"),
    ("mc", "Na0.5K0.5Cl.cif", "--temperature", "300", "--mu", "Li=1"),
    ("campaign", "check", "field.yaml"),
    ("campaign", "check", "element.yaml"),
    ("campaign", "submit", "field.yaml"),
    ("campaign", "extend", "field.yaml", "--runs", "2"),
    ("ti", "NaCl.cif", "Na:K", "-T", "300", "--estimate", "--submit"),  # by the function that runs the flow
)
#: Libraries that take longer to import than a help text or an error may take.
HELP_WITHOUT = {"jobflow", "fireworks", "pymatgen", "scipy", "torch"}
TYPOS_WITHOUT = {"ase.io", "atomate2", "emmet", "pandas", "pymbar", "scipy.stats", "torch"}
#: Runs in an interpreter of its own. Prints help and option names of each command, and which modules are imported after
#: a command.
SCRIPT = r"""
import contextlib, io, json, shlex, sys
import typer
from alchemflows.cli.commands import app

def run(*arguments):
    text, status = io.StringIO(), 0
    try:
        with contextlib.redirect_stdout(text):
            tree.main(list(arguments), prog_name="alchemflows", standalone_mode=False)
    except Exception as error:
        status = type(error).__name__
    return {"text": text.getvalue(), "error": status, "slow": sorted(slow & set(sys.modules))}

def walk(command, path):
    names = [name for each in command.params for name in each.opts + each.secondary_opts if name.startswith("-")]
    shown.append({"path": path, "names": names} | run(*path, "--help"))
    commands.append(command)
    for name, inner in getattr(command, "commands", {}).items():
        walk(inner, (*path, name))

def parse(command, each):
    # The lines of the example, as they are pasted into a shell.
    example = each["text"].partition("\nExample:\n")[2]
    each["example"] = words = shlex.split(example.replace("\\\n", ""))
    if words:
        end = words.index(">") if ">" in words else None
        command.make_context(each["path"][-1], words[1 + len(each["path"]) : end])

slow, paths = map(json.loads, sys.argv[1:])
slow = set(slow)
tree, shown, commands = typer.main.get_command(app), [], []
walk(tree, ())
refused = [{"path": path} | run(*path) for path in paths]
for command, each in zip(commands, shown, strict=True):
    parse(command, each)
print(json.dumps({"shown": shown, "refused": refused}))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory) -> dict[str, list[dict[str, Any]]]:
    """Return what each command says about itself, and then what is refused, all in one new interpreter."""
    folder = tmp_path_factory.mktemp("help")
    find_example("structures").write(folder)
    salts = find_example("campaign").contents()["salts.yaml"]
    (folder / "salts.yaml").write_text(salts)
    (folder / "field.yaml").write_text(salts.replace("n_windows", "n_windws"))
    (folder / "element.yaml").write_text(salts.replace("Na: Li", "Na: Lx"))
    environment = os.environ | {"COLUMNS": "80", "ALCHEMFLOWS_HOME": str(folder / "home")}
    environment |= {"ALCHEMFLOWS_POTENTIAL": "mace-demo"}
    given = json.dumps([*HELP_WITHOUT, *TYPOS_WITHOUT]), json.dumps([*REFUSED, *REFUSED_BY_MAKERS])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *given], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_imports_no_library_that_takes_long(said):
    assert len(said["shown"]) > 30 and ["campaign", "submit"] in [each["path"] for each in said["shown"]]
    assert {each["error"] for each in said["shown"]} == {0}
    assert [(each["path"], each["slow"]) for each in said["shown"] if set(each["slow"]) & HELP_WITHOUT] == []


def test_the_first_help_and_a_missing_file_are_answered_before_libraries_are_imported(tmp_path):
    script = "from alchemflows.cli import main; import sys; sys.argv[0] = 'alchemflows'\n"
    script += "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    for arguments, absent in (
        (["--help"], HELP_WITHOUT | {"pymongo"}),
        (["ti", "missing.cif", "Na:K", "-T", "300"], {"fireworks", "pymbar", "pandas", "atomate2", "torch"}),
    ):
        done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True)
        assert absent & set(done.stderr.splitlines()[-1].split()) == set(), arguments
    assert "error: the structure file 'missing.cif' does not exist" in done.stderr


def test_typos_are_refused_before_torch_and_atomate2_are_imported(said):
    assert [each["path"] for each in said["refused"] if not each["error"]] == []
    assert {each["error"] for each in said["refused"][len(REFUSED) :]} == {"InvalidInputError"}
    assert [(each["path"], each["slow"]) for each in said["refused"] if set(each["slow"]) & TYPOS_WITHOUT] == []


def test_help_fits_into_80_columns(said):
    long = [line for each in said["shown"] for line in each["text"].splitlines() if len(line) > 80]
    assert long == []


def test_help_ends_with_an_example(said):
    """Its options and values are accepted; `tests/test_pages.py` estimates or runs those that compute something."""
    groups = [[], ["campaign"], ["db"], ["frames"], ["potential"]]
    commands = [each for each in said["shown"] if each["path"] not in groups]
    assert len(commands) == len(said["shown"]) - len(groups)
    for each in commands:
        assert each["example"][: 1 + len(each["path"])] == ["alchemflows", *each["path"]]


def test_help_cuts_no_summary_of_a_command(said):
    cut = [line for each in said["shown"] for line in each["text"].splitlines() if line.rstrip().endswith(("...", "…"))]
    assert [line for line in cut if "[ARGS]" not in line and "Usage:" not in line] == []
    # Each command is in the list of its group, with a whole sentence.
    top = next(each["text"] for each in said["shown"] if each["path"] == [])
    listed = re.findall(r"^  ([\w-]+) {2,}(\S.*)$", top.partition("Commands:")[2], re.MULTILINE)
    assert {name for name, _ in listed} == {each["path"][0] for each in said["shown"] if each["path"]}
    assert all(summary.endswith(".") for _, summary in listed)


def test_help_cuts_no_option_name(said):
    cut = [
        (each["path"], name)
        for each in said["shown"]
        for name in each["names"]
        if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", each["text"])
    ]
    assert cut == []
    assert sum(len(each["names"]) for each in said["shown"]) > 200


def test_every_command_with_a_result_prints_json(said):
    """Commands of campaigns are left out, and those that run until they are stopped and print a log."""
    without = {
        each["path"][0]
        for each in said["shown"]
        if each["path"] and "--json" not in each["names"] and each["path"] not in (["db"], ["frames"], ["potential"])
    }
    assert without <= {"campaign", "worker", "supervise"}
