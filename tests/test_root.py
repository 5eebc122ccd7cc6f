"""What users import from the package itself: quick, complete, and each with an example that runs."""

from __future__ import annotations

import ast
import doctest
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

import alchemflows
from alchemflows.storage.mongod import PrivateMongod

NAMES = sorted(set(alchemflows.__all__) - {"__version__"})
#: Examples that start the private database.
WITH_DATABASE = {"Campaign", "connect", "write_report"}
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def test_the_import_loads_no_library():
    code = "import alchemflows, sys; dir(alchemflows); print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "alchemflows" in loaded
    assert not {"torch", "numpy", "pymatgen", "jobflow", "pydantic"} & set(loaded)


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there(name):
    assert name in dir(alchemflows)
    assert getattr(alchemflows, name).__name__ == name


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="NoSuchMaker"):
        alchemflows.NoSuchMaker  # noqa: B018
    with pytest.raises(ImportError, match="NoSuchMaker"):
        exec("from alchemflows import NoSuchMaker")


def test_type_checkers_see_the_same_names_in_the_same_modules():
    tree = ast.parse(Path(alchemflows.__file__).read_text())
    seen = {
        name.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("alchemflows.")
        for name in node.names
    }
    assert seen == {name: f"alchemflows.{module}" for name, module in alchemflows._MODULES.items()}
    assert (files("alchemflows") / "py.typed").is_file()


@pytest.fixture
def somewhere(tmp_path, monkeypatch) -> Path:
    """Go to a folder of its own, in which everything is kept; nothing is configured."""
    monkeypatch.chdir(tmp_path)
    for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE", "JOBFLOW_JOB_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALCHEMFLOWS_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_the_example_runs(name, somewhere):
    public = getattr(alchemflows, name)
    tests = [test for test in doctest.DocTestFinder(recurse=False).find(public, name, globs={}) if test.examples]
    assert len(tests) == 1, f"{name} has no example"
    said: list[str] = []
    try:
        result = doctest.DocTestRunner(optionflags=FLAGS).run(tests[0], out=said.append)
    finally:
        if name in WITH_DATABASE:
            PrivateMongod(somewhere / "home").stop()
    assert result.failed == 0, "".join(said)
    assert not any(example.options.get(doctest.SKIP) for example in tests[0].examples)
