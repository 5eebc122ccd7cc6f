"""Version, Python versions, citation and the files of continuous integration agree with one another."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from ruamel.yaml import YAML

import alchemflows
from alchemflows.schemas import provenance

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def yaml(name: str) -> dict:
    return YAML(typ="safe").load(ROOT / name)


def test_the_version_stands_in_one_place():
    assert "version" not in PYPROJECT["project"]
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert (ROOT / PYPROJECT["tool"]["hatch"]["version"]["path"]).samefile(alchemflows.__file__)
    assert "version" not in yaml("CITATION.cff")
    assert re.fullmatch(r"\d+\.\d+\.\d+", alchemflows.__version__)


def test_documents_have_the_version_of_the_code(monkeypatch):
    """Installed metadata can be older than the code in an editable installation."""
    monkeypatch.setattr(provenance, "version", lambda package: "0.0.0")
    found = provenance._versions.__wrapped__()
    assert found["numpy"] == "0.0.0"
    assert found["alchemflows"] == alchemflows.__version__


def test_the_changelog_has_the_version_or_does_not_claim_it():
    """The first section is Unreleased; released ones have a version and a date, the newest first."""
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    released = [re.fullmatch(r"(\d+)\.(\d+)\.(\d+) - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert all(released), headings
    versions = [tuple(map(int, match.groups()[:3])) for match in released]
    assert versions == sorted(versions, reverse=True)


def test_python_versions_agree():
    classifiers = PYPROJECT["project"]["classifiers"]
    versions = sorted(
        tuple(map(int, found[1].split(".")))
        for found in (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in classifiers)
        if found
    )
    lowest = f"3.{versions[0][1]}"
    assert PYPROJECT["project"]["requires-python"] == f">={lowest}"
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert PYPROJECT["tool"]["mypy"]["python_version"] == lowest
    (setup,) = (
        step["with"]
        for step in yaml(".github/workflows/tests.yml")["jobs"]["tests"]["steps"]
        if step.get("uses", "").startswith("actions/setup-python")
    )
    in_ci = setup["python-version"].split()
    assert sorted(tuple(map(int, version.split("."))) for version in in_ci) == versions
    assert in_ci[-1] == lowest  # the last one is `python3`


def requirements(*without: str) -> list[Requirement]:
    """Requirements of the package and its extras, except its own extras and those of some extras."""
    extras = {
        name: lines for name, lines in PYPROJECT["project"]["optional-dependencies"].items() if name not in without
    }
    found = map(
        Requirement, [*PYPROJECT["project"]["dependencies"], *(line for lines in extras.values() for line in lines)]
    )
    return [requirement for requirement in found if requirement.name != PYPROJECT["project"]["name"]]


def pins(name: str) -> dict[str, Version]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(package): Version(version) for package, version in (line.split("==") for line in lines)}


def test_versions_that_ci_tests_are_in_the_ranges():
    """Pins of `constraints.txt` are in the ranges; each lower bound is what `constraints-lowest.txt` pins."""
    newest, lowest = pins("constraints.txt"), pins("constraints-lowest.txt")
    outside = [str(one) for one in requirements() if newest[canonicalize_name(one.name)] not in one.specifier]
    assert not outside
    assert lowest["torch"] == newest["torch"]
    bounds = {
        canonicalize_name(one.name): Version(part.version)
        for one in requirements("dev", "docs")
        for part in one.specifier
        if part.operator in {">=", "=="} and one.name != "torch"
    }
    assert bounds == {name: lowest[name] for name in bounds}
    assert len(bounds) == len(requirements("dev", "docs")) - 1  # each but torch has one


def test_mace_torch_has_a_ceiling():
    """Its newest release in the range is the one of `constraints.txt`, with which all tests run."""
    (mace,) = (one for one in requirements() if one.name == "mace-torch")
    tested = pins("constraints.txt")["mace-torch"]
    following = f"{tested.major}.{tested.minor}.{tested.micro + 1}"
    assert tested in mace.specifier and following not in mace.specifier


def test_the_paper_has_one_doi():
    (paper,) = yaml("CITATION.cff")["references"]
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = set(re.findall(r"10\.1038/s41467-025[\w-]+", " ".join(page.read_text() for page in pages)))
    assert found == {paper["doi"]}


@pytest.mark.parametrize("name", ["tests", "wheels"])
def test_workflows_run_scripts_of_the_repository(name):
    commands = [
        step["run"].split()[0]
        for job in yaml(f".github/workflows/{name}.yml")["jobs"].values()
        for step in job["steps"]
        if "run" in step
    ]
    assert commands
    assert all(os.access(ROOT / command, os.X_OK) for command in commands)


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_issue_forms_have_a_required_question(name):
    body = yaml(f".github/ISSUE_TEMPLATE/{name}.yml")["body"]
    assert any(part.get("validations", {}).get("required") for part in body)
