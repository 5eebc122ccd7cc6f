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
from pymatgen.core import Structure
from test_ladder_pages import PAGES as LADDER_PAGES
from test_ladder_pages import REPLACED
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
PAGES = (
    *("campaigns", "monte-carlo", "optimization", "ordering", "phases", "potentials", "structures", "sweeps"),
    "transitions",
)
#: Pages whose blocks of commands run here as a whole, with what is replaced in them.
WHOLE = {
    "index.md": {},
    "examples.md": {},
    "doctor.md": {},
    "resuming.md": {"/scratch/me": ".", "14100": "1"},  # a folder and a wall time
}
#: Commands that no test runs, with the reason; the page says so beside them.
NOT_RUN = {
    "alchemflows reproduce fig2 --plot fig2.png": "MACE-MP-0 is downloaded",
    "alchemflows reproduce fig3": "MACE-MP-0 is downloaded",
    "alchemflows reproduce fig4": "MACE-MP-0 is downloaded, for a GPU or a cluster",
    "alchemflows reproduce fig5": "MACE-MP-0 is downloaded, for a GPU or a cluster",
    "alchemflows reproduce fig4 --medium": "takes hours; --small has the same jobs",
    "alchemflows ti NaCl.cif Na:K -T 300 --supercell 2 2 2 --potential sevennet-l3i5": "takes minutes for few steps",
    "alchemflows vacancy KCl.cif --supercell 3 3 3 -T 300 --reference K=K.cif --potential sevennet-0": (
        "takes minutes for few steps"
    ),
    "alchemflows mixing NaCl-primitive.cif --choose Na:Na,K --supercell 2 2 2 -T 600 -T 800 --potential sevennet-0 "
    "--potentials 8 --md-steps 20 --attempts 5 --equilibration 30 --production 180": "takes minutes for few steps",
    "alchemflows mc Ce0.5Zr0.5O2.cif --supercell 2 2 1 -T 1000 -T 2000 --potential sevennet-0 --replicas 2 "
    "--md-steps 6 --attempts 9 --equilibration 30 --production 110": "takes minutes for few steps",
    "alchemflows melting NaCl.cif --supercell 2 2 2 --from 800 --to 1200 --potential sevennet-0 --timestep 4 "
    "--repeats 2 --sweep-repeats 2 --sweep-equilibration 300 --sweep-steps 1200 --heating-steps 800 --cell-steps 1500 "
    "--equilibration 300 --sampling 600 --switching 1000 --frames 0": "takes minutes for few steps",
}
#: Commands that tests of other files run as they are written.
RUN_ELSEWHERE = {
    **{f"alchemflows reproduce fig{n} --small": "tests/cli/test_absolute_commands.py" for n in (2, 3, 4, 5)},
}


def commands_of_page(page: Path) -> list[str]:
    """Return the commands of a page that compute something, or print an estimate."""
    found = []
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["alchemflows"] and words[1] in COMPUTING:
                found.append(shlex.join(words))
    return found


def commands_of_pages() -> dict[str, str]:
    """Return the commands of README and docs that compute something, each with the first page that has it."""
    found = dict.fromkeys(METHODS, "README.md")
    for page in sorted((ROOT / "docs").glob("*.md")):
        found = dict.fromkeys(commands_of_page(page), page.name) | found
    return found


def of_ladder_pages(command: str, page: str) -> bool:
    """Return whether tests/test_ladder_pages.py runs a command of its pages as it is written."""
    replaced = any(part in command for part in REPLACED) or command.startswith("alchemflows ti")
    return page in LADDER_PAGES and not replaced


def commands_that_run() -> dict[str, str]:
    """Return the commands that run here one by one, with their pages."""
    return {
        command: page
        for command, page in commands_of_pages().items()
        if page not in WHOLE
        and not of_ladder_pages(command, page)
        and command not in NOT_RUN.keys() | RUN_ELSEWHERE.keys()
    }


def test_the_help_of_a_command_shows_a_command_of_the_pages():
    """Those of the pages run in other tests; for other commands see `test_help_examples.py`."""
    examples = {name: shlex.split(COMMANDS.commands[name].epilog) for name in COMPUTING}
    assert all(words[:2] == ["alchemflows", name] for name, words in examples.items())
    run = {command.removesuffix(" --estimate") for command in commands_of_pages()}
    assert {shlex.join(words) for words in examples.values()} <= run


def test_commands_that_are_not_run_are_those_of_the_pages():
    written = commands_of_pages()
    assert NOT_RUN.keys() | RUN_ELSEWHERE.keys() <= written.keys()
    for command, reason in NOT_RUN.items():
        page = (ROOT / "docs" / written[command]).read_text()
        assert "not run by the tests" in page and reason
    for command, place in RUN_ELSEWHERE.items():
        assert f'"{shlex.split(command)[2]}"' in (ROOT / place).read_text()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder with the example structures and, beside it, the home of a private database."""
    parent = tmp_path_factory.mktemp("pages")
    find_example("structures").write(parent / "work")
    demo = files("alchemflows") / "data" / "mace-demo.safetensors"
    (parent / "work" / "my-mace.safetensors").write_bytes(demo.read_bytes())
    primitive = Structure.from_file(parent / "work" / "NaCl.cif").get_primitive_structure()
    primitive.to(str(parent / "work" / "NaCl-primitive.cif"))
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
    estimated = "--estimate" in words
    assert ("alchemflows show" in done.stdout) is not estimated
    assert all(figure.is_file() for figure in figures), command


@pytest.mark.slow
@pytest.mark.parametrize("command", commands_that_run(), ids=lambda command: command.removeprefix("alchemflows "))
def test_a_command_of_the_pages_runs(command, folder, environment):
    assert_runs(command, folder, environment)


@pytest.mark.slow
@pytest.mark.parametrize("command", [each for each, reason in NOT_RUN.items() if "takes" in reason])
def test_a_long_command_can_start(command, folder, environment, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ALCHEMFLOWS_HOME", environment["ALCHEMFLOWS_HOME"])
    monkeypatch.setattr(durations, "_seconds_of", lambda evaluate: 1.0)  # seconds for each evaluation
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


#: Commands of the pages in ELSEWHERE that are in no block that runs as written, each with the reason. Tests run those
#: of the package and some benchmarks with other arguments.
NOT_AS_WRITTEN: dict[str, dict[str, str]] = {
    "CONTRIBUTING.md": {
        "python3 -m venv .venv": "makes the environment in which CI runs",
        ".venv/bin/pip install -c constraints.txt -e .[sevennet,chgnet,mongod,sqs,dev,docs]": "as above",
        ".venv/bin/pre-commit install": "changes the clone; CI runs ruff and mypy themselves",
    },
    "docs/costs.md": {"python benchmarks/routes.py --figure costs.png": "runs many calculations"},
    "docs/mace-demo.md": {"alchemflows quickstart --potential mace-demo": "the quickstart of README, in .ci/wheel"},
    "docs/performance.md": {
        "python benchmarks/step.py --json step.json": "takes minutes; tests/benchmarks runs it with --quick",
        "python benchmarks/gpu.py --json gpu.json": "needs a GPU; tests run it with --device cpu --quick",
        "python benchmarks/table.py step.json gpu.json": "reads both; tests/benchmarks runs it with a quick report",
        "python benchmarks/dispatched.py --places": "tests/sampling/test_dispatched.py counts in the same way",
        "python benchmarks/monte_carlo.py --json monte-carlo.json": "takes minutes, and a quiet machine",
        "python benchmarks/profile_step.py": "takes minutes, and a quiet machine; tests run it with --quick",
        "python benchmarks/table.py monte-carlo.json": "as above",
    },
    "docs/potentials.md": {
        "alchemflows potential convert my-mace.model my-mace.safetensors --description NaCl and KCl, PBE": (
            "the file is the user's; test_potential_commands.py converts another one"
        ),
        "alchemflows potential convert medium-mpa-0 medium-mpa-0.safetensors": "the model is downloaded",
        "pip install --no-deps sevenn==0.13.0": "would replace the tested release",
        "pip install -c constraints.txt -e .[chgnet]": "the environment of CI has this extra",
        "alchemflows verify CASES.json --models DIR --device cuda": "needs a GPU; CASES.json and DIR are the user's",
        "alchemflows verify tests/alchemy/between_vertices.json --models . --device cuda": (
            "needs a GPU; test_help_examples.py runs it on the CPU"
        ),
        "alchemflows verify-ensembles CASES.json --models DIR": "CASES.json and DIR are the user's",
        "alchemflows verify-ensembles tests/data/ensembles.json --models .": "test_cli.py samples a part of this file",
    },
    "docs/scale.md": {
        "python benchmarks/campaign.py --json campaign.json": "takes half an hour; tests/benchmarks runs parts",
        "python benchmarks/table.py campaign.json": "as above",
    },
    "docs/security.md": {
        "alchemflows db init ~/alchemflows-config --admin-uri-file admin-uri": (
            "needs a MongoDB with an administrator; test_users.py runs it with one, in another folder"
        ),
    },
}
#: What CI has not: a GPU, files of the user, models that are downloaded.
MISSING_IN_CI = re.compile(r"--device cuda|\bCASES\.json|medium-mpa-0")


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
            # the list of reasons below names no place where a command is called
            text = "\n".join(path.read_text() for path in read if path != Path(__file__))
            if page.name not in {"README.md", "database.md"} and f'"{page.name}"' not in text:
                assert not [words for words in own_commands(page) if not called(words, text)], name
                written = {line for block in shell_blocks(page) for line in lines(block)}
                others = {line for line in written if not re.match(rf"alchemflows ({'|'.join(COMPUTING)}) ", line)}
                assert NOT_AS_WRITTEN.get(name, {}).keys() == others, name
        elif page.name not in WHOLE:
            written = " ".join(shell_blocks(page)).replace("\\\n", " ").splitlines()
            others = [line for line in written if shlex.split(line, comments=True)[1] not in COMPUTING]
            assert not others, name


def test_commands_that_cannot_run_in_ci_have_a_reason():
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        reasons = NOT_RUN | NOT_AS_WRITTEN.get(str(page.relative_to(ROOT)), {})
        for block in shell_blocks(page):
            assert not [line for line in lines(block) if MISSING_IN_CI.search(line) and not reasons.get(line)]


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
