"""Commands of README and docs: they run as written, in a folder with the example structures."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from command_line import CODE, programs, run_command, run_here, unexpected
from models import VARIANTS, build_mace
from test_ladder_pages import PAGES as LADDER_PAGES
from test_shell_blocks import COMMANDS, lines

from alchemflows.campaign import durations
from alchemflows.cli.example_files import find_example
from alchemflows.storage.mongod import PrivateMongod

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
#: Commands that compute something, and print an estimate with --estimate.
COMPUTING = (
    *("ti", "switch", "frenkel-ladd", "vacancy", "schottky", "frenkel-pair", "phases", "sweep", "optimize", "order"),
    *("mc", "mixing", "transition", "reproduce", "liquid", "melting", "temperature-sweep", "pressure-sweep"),
)
METHODS = re.findall(r"^\| [^|]+ \| `(alchemflows [^`]+)` \|", README, re.MULTILINE)
#: Pages whose Python runs here.
PAGES = ("campaigns", "monte-carlo", "optimization", "ordering", "potentials", "structures", "sweeps", "transitions")
#: Potentials and figures that cannot be used without a download.
DOWNLOADS = re.compile(r"reproduce fig\d(?! --small)")


#: Pages of methods whose commands run here one after the other, with short lengths.
METHOD_PAGES = ("method.md", "monte-carlo.md", "npt.md")
#: Potentials with which a command takes minutes also with short lengths; it only starts.
SLOW = re.compile("sevennet")


def commands_of_page(page: Path) -> list[str]:
    """Return the commands of a page that compute something."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["alchemflows"] and words[1] in COMPUTING:
                found.append(shlex.join(word for word in words if word != "--estimate"))
    return found


def commands_of_pages() -> list[str]:
    """Return the commands of README and docs that compute something, each once."""
    found = list(METHODS)
    for page in sorted((ROOT / "docs").glob("*.md")):
        found += commands_of_page(page)
    return [each for each in dict.fromkeys(found) if not DOWNLOADS.search(each)]


def commands_that_run(page: str) -> list[str]:
    """Return the commands of a page of a method that run here, and not with those of README."""
    return [each for each in commands_of_page(ROOT / "docs" / page) if each not in METHODS and not SLOW.search(each)]


def test_the_help_of_a_command_shows_a_command_of_the_pages():
    """Those of the pages run, or start, in other tests."""
    examples = {name: shlex.split(COMMANDS.commands[name].epilog) for name in COMPUTING}
    assert all(words[:2] == ["alchemflows", name] for name, words in examples.items())
    assert {shlex.join(words) for words in examples.values()} <= set(commands_of_pages())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with the example structures and, beside it, the home of a private database."""
    parent = tmp_path_factory.mktemp("pages")
    find_example("structures").write(parent / "work")
    demo = files("alchemflows") / "data" / "mace-demo.safetensors"
    (parent / "work" / "my-mace.safetensors").write_bytes(demo.read_bytes())
    yield parent / "work"
    PrivateMongod(parent / "home").stop()


@pytest.fixture
def environment(folder, tmp_path_factory) -> Iterator[dict[str, str]]:
    clean = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
    home = str(folder.parent / "home")
    with programs(tmp_path_factory.mktemp("bin")) as path:
        yield clean | {"ALCHEMFLOWS_HOME": home, "ALCHEMFLOWS_SHORT": "1", "PATH": path, "OMP_NUM_THREADS": "1"}


def test_the_readme_is_a_front_page():
    assert len(README.splitlines()) <= 150


def test_there_are_commands():
    assert len(METHODS) >= 9 and len(commands_of_pages()) >= 25 and console_blocks()
    assert set(COMPUTING) == {shlex.split(each)[1] for each in commands_of_pages()}


def assert_runs(command: str, folder: Path, environment: dict[str, str]) -> None:
    """Check that a command writes its figures, and prints its result and no warnings."""
    words = shlex.split(command)
    figures = [folder / word for word in words if word.endswith(".png")]
    for figure in figures:
        figure.unlink(missing_ok=True)  # of another command
    done = run_command(words[1:], folder, environment)
    assert done.returncode == 0, (command, done.stderr)
    assert not unexpected(done.stderr), command
    assert "alchemflows show" in done.stdout and all(figure.is_file() for figure in figures), command


#: Kinds of commands of the pages that are not in the table of README, and are quick; one command of each runs.
RUN = ("pressure-sweep",)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RUN)
def test_a_command_of_the_pages_runs(kind, folder, environment):
    assert kind not in {shlex.split(each)[1] for each in METHODS}
    command = next(each for each in commands_of_pages() if shlex.split(each)[1] == kind)
    assert_runs(command, folder, environment)


@pytest.mark.slow
@pytest.mark.parametrize("page", METHOD_PAGES)
def test_the_commands_of_a_method_run(page, folder, environment):
    assert commands_that_run(page)
    for command in commands_that_run(page):
        assert_runs(command, folder, environment)


RUNNING = {*METHODS, *(command for page in METHOD_PAGES for command in commands_that_run(page))}


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in commands_of_pages() if each not in RUNNING])
def test_each_command_of_the_pages_can_start(command, folder, environment, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALCHEMFLOWS_HOME", environment["ALCHEMFLOWS_HOME"])
    if SLOW.search(command):
        monkeypatch.setattr(durations, "_seconds_of", lambda evaluate: 1.0)  # seconds for each evaluation
    else:
        monkeypatch.setattr(durations, "_LONGEST_S", 1e-9)  # the time of one step is enough
    done = run_here([*shlex.split(command)[1:], "--estimate"], monkeypatch)
    assert done.returncode == 0, done.stderr


def console_blocks() -> list[tuple[str, str]]:
    """Return the command and the output of each block that shows both, but those of tests/test_ladder_pages.py."""
    pages = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in LADDER_PAGES]
    shown = r"^```console\n\$ (.*?)\n(.*?)^```"
    return [found for page in pages for found in re.findall(shown, page.read_text(), re.DOTALL | re.MULTILINE)]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "output"), console_blocks(), ids=[command for command, _ in console_blocks()])
def test_a_command_prints_what_the_page_shows(command, output, folder, environment, monkeypatch):
    """What it prints before it computes anything."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ALCHEMFLOWS_HOME", environment["ALCHEMFLOWS_HOME"])
    done = run_here([*shlex.split(command)[1:], "--estimate"], monkeypatch)
    assert done.returncode == 0, done.stderr
    assert output.strip() and output in done.stderr + done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each in METHODS if "reproduce" not in each])  # tests/cli runs the figures
def test_each_command_of_the_readme_runs(command, folder, environment):
    assert_runs(command, folder, environment)


#: Pages whose blocks of commands run here as a whole, with what is replaced in them.
WHOLE = {
    "index.md": {},
    "examples.md": {},
    "doctor.md": {},
    "resuming.md": {"/scratch/me": ".", "14100": "1"},  # a folder and a wall time
}
#: Pages whose commands are run by other tests.
ELSEWHERE = {
    "README.md": (".ci/run", "tests/cli", "tests/execution/test_worker.py"),
    "CONTRIBUTING.md": (".ci/run",),
    "launchers/README.md": ("tests/launchers", "tests/execution/test_supervisor.py", "tests/storage/test_users.py"),
    "db_config/README.md": ("tests/db_config", "tests/storage/test_users.py"),
    "docs/campaigns.md": ("tests/cli/test_campaign_commands.py",),
    **{f"docs/{page}": ("tests/test_ladder_pages.py",) for page in LADDER_PAGES},
    "docs/costs.md": ("tests/benchmarks",),
    "docs/database.md": ("tests/test_pages.py",),
    "docs/mace-demo.md": ("tests/cli/test_cli.py",),
    "docs/performance.md": ("tests/benchmarks",),
    "docs/potentials.md": (
        "tests/alchemy/test_reference.py",
        "tests/cli/test_cli.py",
        "tests/cli/test_potential_commands.py",
    ),
    "docs/reproduce.md": ("tests/cli/test_absolute_commands.py",),
    "docs/scale.md": ("tests/benchmarks",),
    "docs/security.md": ("tests/storage/test_users.py",),
}


def shell_blocks(page: Path) -> list[str]:
    return re.findall(r"^```(?:bash|sh)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def own_commands(page: Path) -> set[tuple[str, ...]]:
    """Return the commands of the package on a page, such as ("frames", "show"), but those that compute something."""
    found = set()
    for block in shell_blocks(page):
        for line in lines(block):
            if own := re.match(r"(?:\.venv/bin/)?alchemflows (.*)", line):
                words = shlex.split(own[1])
                is_group = hasattr(COMMANDS.commands.get(words[0]), "commands")
                found.add(tuple(words[: 1 + is_group]))
    return {words for words in found if words[0] not in COMPUTING}


def called(words: tuple[str, ...], text: str) -> bool:
    """Return whether the text of tests has a command, as words of a list or within a string."""
    between = r"""["']?,? ["']?"""
    return re.search(rf"""["' ]{between.join(words)}["' ]""", text) is not None


def test_all_blocks_of_commands_are_run_somewhere():
    """By :data:`WHOLE`, :data:`ELSEWHERE`, or as single commands that compute something.

    The tests of ELSEWHERE read the page, or call each of its commands.
    """
    for page in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md")):
        name = str(page.relative_to(ROOT))
        if name in ELSEWHERE:
            places = [ROOT / place for place in ELSEWHERE[name]]
            read = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
            assert all(place.exists() for place in places)
            text = "\n".join(path.read_text() for path in read)
            if f'"{page.name}"' not in text:
                assert not [words for words in own_commands(page) if not called(words, text)], name
        elif page.name not in WHOLE:
            written = " ".join(shell_blocks(page)).replace("\\\n", " ").splitlines()
            others = [line for line in written if shlex.split(line, comments=True)[1] not in COMPUTING]
            assert not others, name


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE)
def test_the_commands_of_a_page_run(page, environment, tmp_path):
    script = "\n".join(shell_blocks(ROOT / "docs" / page))
    for written, used in WHOLE[page].items():
        assert written in script
        script = script.replace(written, used)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not unexpected(done.stderr)


def python_blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(page, environment, tmp_path):
    """The blocks of a page run one after the other; one that begins with the name of a file is its content."""
    find_example("structures").write(tmp_path)
    (tmp_path / "salts.yaml").write_text(find_example("campaign").contents()["salts.yaml"])
    torch.save(build_mace(**VARIANTS["residual"]), tmp_path / "my-mace.model")
    script = []
    for block in python_blocks(f"{page}.md"):
        if named := re.match(r"# (\w+\.py)\b", block):
            (tmp_path / named[1]).write_text(block)
        else:
            script.append(block)
    assert script
    done = run_command(["\n".join(script)], tmp_path, environment, entry=CODE)
    assert done.returncode == 0, done.stderr


def test_python_blocks_of_other_pages_are_run_elsewhere():
    others = {page.name for page in (ROOT / "docs").glob("*.md") if python_blocks(page.name)}
    assert others == {
        *(f"{page}.md" for page in PAGES),
        *(page for page in LADDER_PAGES if python_blocks(page)),  # tests/test_ladder_pages.py
        "database.md",  # tests/results/test_readout.py
    }


def test_the_campaign_of_the_readme_is_that_of_the_tutorial():
    (block,) = re.findall(r"<!-- campaign -->\n```bash\n(.*?)```", README, re.DOTALL)
    tutorial = (ROOT / "docs" / "campaigns.md").read_text()
    for line in block.splitlines():
        assert line in tutorial  # which runs as a test


@pytest.mark.slow
def test_the_python_example_of_the_readme_runs(folder, environment):
    (block,) = re.findall(r"<!-- python -->\n```python\n(.*?)```", README, re.DOTALL)
    done = run_command([block], folder, environment, entry=CODE)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ΔF = -?\d\.\d+ ± \d\.\d+ eV, (not )?converged$", done.stdout, re.MULTILINE)
    assert not unexpected(done.stderr)
    listed = run_command(["results"], folder, environment)
    assert "CsPbI3 → CsSnI3" in listed.stdout


HALIDES = """
name: halides
structures: {NaCl: {file: NaCl.cif}}
transformations: {NaK: {Na: K}}
temperatures_K: [400]
pressures_GPa: [null]
method:
  kind: thermodynamic-integration
  settings: {n_windows: 3, windows_per_job: 3, n_equilibration_steps: 20, n_production_steps: 200, relax: false}
potential: {name: mace-demo, device: cpu}
repeats: 2
"""


@pytest.mark.slow
def test_the_page_of_the_database_runs_against_mongodb(environment, tmp_path):
    """All blocks run with a campaign of the page's name; only ID and formula are those of its results."""
    find_example("structures").write(tmp_path)
    (tmp_path / "halides.yaml").write_text(HALIDES)
    home = tmp_path / ".alchemflows"
    clean = {name: value for name, value in environment.items() if name != "ALCHEMFLOWS_HOME"} | {"HOME": str(tmp_path)}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        run("bash", "-euc", "alchemflows campaign submit halides.yaml; alchemflows worker --until-idle")
        computed = json.loads(run("alchemflows", "ti", "NaCl.cif", "Na:K", "-T", "400", "--no-relax", "--json"))
        page = (ROOT / "docs" / "database.md").read_text().replace("CsSnI3", "KCl")
        page = page.replace("1a2b3c4d", computed["uuid"][:8])
        (commands,) = re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
        listed = run("bash", "-euo", "pipefail", "-c", commands)
        assert "ladders analysed: 2" in listed and "rows: samples.parquet" in listed
        assert (tmp_path / "overlap.png").is_file() and len((tmp_path / "results.csv").read_text().splitlines()) == 4
        script = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
        printed = run(sys.executable, "-c", script).splitlines()
        assert [line.split()[0] for line in printed[:3]] == ["400.0"] * 3  # one line for each result
        assert "'n_repeats': 2" in printed[3] and "'ns_per_day'" in printed[4]
    finally:
        PrivateMongod(home).stop()
