"""Examples: every one is written, its structures read as what they claim, and its script runs."""

from __future__ import annotations

import ast
import importlib
import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from alchemflows.cli import commands
from alchemflows.cli.example_files import FOLDER, SHOW_FIGURES, cells_of, describe, examples, find_example, notebook
from alchemflows.errors import InvalidInputError
from alchemflows.structures.reading import read_structure

ROOT = Path(__file__).parents[2]
NAMES = sorted(examples())
SCRIPTS = sorted((FOLDER / "scripts").glob("*.py"))
STRUCTURES = sorted((FOLDER / "structures").iterdir())


@pytest.fixture(scope="module")
def made() -> dict:
    """Return what each structure file is made from, by its name: a description and a structure."""
    return runpy.run_path(str(ROOT / "tools" / "example_structures.py"))["structures"]()


def test_every_file_of_the_package_is_in_an_example():
    used = {source for example in examples().values() for source in example.sources}
    assert used == {path for path in FOLDER.rglob("*.*") if path.suffix in (".cif", ".py", ".yaml")}


def test_there_is_a_file_for_each_structure(made):
    assert {path.name for path in STRUCTURES} == {f"{name}.cif" for name in made}


@pytest.mark.parametrize("path", STRUCTURES, ids=lambda path: path.stem)
def test_a_structure_reads_as_what_it_claims(made, path):
    text, structure = made[path.stem]
    assert describe(path.read_text(encoding="utf-8")) == text
    read = read_structure(path).structure
    assert read.composition.fractional_composition.almost_equals(structure.composition.fractional_composition)
    assert read.volume / len(read) == pytest.approx(structure.volume / len(structure), rel=1e-5)
    assert read.get_space_group_info(symprec=1e-3)[1] == structure.get_space_group_info(symprec=1e-3)[1]
    assert neighbours(read) == pytest.approx(neighbours(structure), abs=1e-4)


def neighbours(structure) -> np.ndarray:
    """Return all distances of a site to others below 5 Å (Å), of all sites, per site of the cell."""
    distances = sorted(structure.get_neighbor_list(5.0)[3])
    step = len(structure)
    return np.array(distances[::step])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_written(name, tmp_path):
    written = find_example(name).write(tmp_path / "new")
    assert sorted(written) == sorted((tmp_path / "new").iterdir())
    assert all(path.stat().st_size for path in written)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_overwritten(name, tmp_path):
    example = find_example(name)
    last = tmp_path / list(example.contents())[-1]
    last.write_text("mine")
    with pytest.raises(InvalidInputError, match=last.name):
        example.write(tmp_path)
    assert list(tmp_path.iterdir()) == [last]
    assert last.read_text() == "mine"


def test_a_wrong_name_is_refused_with_the_closest():
    with pytest.raises(InvalidInputError, match="did you mean vacancy"):
        find_example("vacancies")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_compiles_and_what_it_imports_exists(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names)
    words = {str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    files = {word for word in words if word.endswith((".cif", ".yaml")) and not {" ", "/"} & set(word)}
    campaigns = [FOLDER / "campaigns" / file for file in files if file.endswith(".yaml")]
    in_campaigns = {found for path in campaigns for found in re.findall(r"file: (\S+\.cif)", path.read_text())}
    example = find_example(script.stem.replace("_", "-"))
    assert {source.name for source in example.sources} == files | in_campaigns | {script.name}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_notebook_has_the_code_of_its_script(script):
    text = script.read_text(encoding="utf-8")
    made = json.loads(notebook(text))
    assert (made["nbformat"], made["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in made["cells"]}) == len(made["cells"])
    first, *cells = ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]
    assert first == SHOW_FIGURES
    code = "\n\n".join(cells)
    body = ast.parse(text).body[1:]  # without the docstring, which is a cell of text
    assert ast.dump(ast.parse(code)) == ast.dump(ast.Module(body, []))


def test_comments_of_markdown_cells_become_text_without_links_to_pages():
    text = "# Read [verdicts](../verdicts.md), [ASE](https://ase-lib.org).\n#\n# - one\n"
    script = f'"""Title.\n\nMore.\n"""\n\n# %% [markdown]\n{text}'
    kinds = [cell["cell_type"] for cell in json.loads(notebook(script))["cells"]]
    title, _, text = ["".join(cell["source"]) for cell in json.loads(notebook(script))["cells"]]
    assert kinds == ["markdown", "code", "markdown"]
    assert title == "# Title\n\nMore."
    assert text == "Read verdicts, [ASE](https://ase-lib.org).\n\n- one"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_a_tutorial(script):
    """It says what is learned and where to go next, and is in the navigation; building the pages runs each script."""
    text = "\n".join(text for kind, text in cells_of(script.read_text(encoding="utf-8")) if kind == "markdown")
    assert "You will learn to\n\n- " in text and "## Next\n\n- " in text
    name = script.stem.replace("_", "-")
    assert f": tutorials/{name}.md" in (ROOT / "mkdocs.yml").read_text()
    assert f"scripts/{script.name}#figure-" in (ROOT / "docs" / "gallery.md").read_text()


def invoke(*words: str, **environment: str):
    return CliRunner().invoke(commands.app, ["example", *words], env=environment)


def test_the_list(tmp_path):
    assert [row["name"] for row in json.loads(invoke("--json").stdout)] == list(examples())
    narrow = invoke(COLUMNS="40").stdout.splitlines()
    assert all(any(line.endswith(f" {example.command}") for line in narrow) for example in examples().values())


def test_the_default_folder_is_a_new_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written = json.loads(invoke("phases", "--json").stdout)
    assert written["files"]
    assert all(Path(file).parent == Path("phases") and Path(file).is_file() for file in written["files"])
    with pytest.raises(InvalidInputError, match="phases"):
        raise invoke("phases").exception
    assert "command" in written


def test_the_command(run, tmp_path):
    done = run("example", "campaign", ".")
    assert done.returncode == 0, done.stderr
    assert "alchemflows campaign check salts.yaml" in done.stdout
    assert (tmp_path / "salts.yaml").is_file()
