"""The reference of the Python interface: it has all public names and documents, with the defaults of the code."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import alchemflows
import alchemflows.reproduce
import alchemflows.schemas
from alchemflows.results.kinds import KINDS
from alchemflows.results.listing import PARTS
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings

ROOT = Path(__file__).parents[1]
PAGES = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "api").glob("*.md")))
#: Objects and whole modules on the pages, by their import paths.
SHOWN = set(re.findall(r"^::: (\S+)$", PAGES, re.MULTILINE))
NAMES = sorted(set(alchemflows.__all__) - {"__version__"})
MAKERS = [name for name in NAMES if name.endswith("Maker")]


def classes_of(package: Any) -> list[type]:
    """Return all public classes that the modules of a package define."""
    modules = [
        importlib.import_module(f"{package.__name__}.{each.name}") for each in pkgutil.iter_modules(package.__path__)
    ]
    return [
        each
        for module in modules
        for each in vars(module).values()
        if isinstance(each, type) and each.__module__ == module.__name__ and not each.__name__.startswith("_")
    ]


def is_shown(each: Any) -> bool:
    return each.__module__ in SHOWN or f"{each.__module__}.{each.__qualname__}" in SHOWN


def test_each_public_name_is_on_a_page():
    assert [name for name in NAMES if not is_shown(getattr(alchemflows, name))] == []


def test_each_document_of_results_is_on_a_page():
    known = {each.__name__: each for each in classes_of(alchemflows.schemas) if issubclass(each, Document)}
    assert {*KINDS, *PARTS} <= set(known)
    assert [name for name in (*KINDS, *PARTS) if not is_shown(known[name])] == []


def test_each_maker_of_a_figure_is_on_a_page():
    makers = [each for each in classes_of(alchemflows.reproduce) if re.fullmatch(r"Fig\dMaker", each.__name__)]
    assert len(makers) >= 4
    assert [each.__name__ for each in makers if not is_shown(each)] == []


@pytest.fixture(scope="module")
def fields_of():
    """Return what gives default and description of each field of a class, as the reference shows them."""
    pytest.importorskip("griffe", reason="the extra docs is not installed")
    return runpy.run_path(str(ROOT / "tools" / "api_fields.py"))["_fields"]


@pytest.mark.parametrize("name", MAKERS)
def test_defaults_in_the_reference_are_those_of_an_instance(name, fields_of):
    kind = getattr(alchemflows, name)
    made, shown = kind(), fields_of(kind)
    assert set(shown) == {field.name for field in dataclasses.fields(kind)}
    for field, (default, _) in shown.items():
        value = getattr(made, field)
        plain, changed = f"{type(value).__name__}()", f"{type(value).__name__}(...)"
        if default == plain:
            assert value == type(value)()
        elif default != changed:
            assert default == repr(value), field


def test_defaults_of_settings_in_the_reference_are_those_of_the_code(fields_of):
    shown = fields_of(DynamicsSettings)
    assert shown["temperature_K"][0] is None  # it is required
    made = DynamicsSettings(temperature_K=300.0)
    for field in ("n_equilibration_steps", "n_production_steps", "timestep_fs", "sample_interval_steps"):
        assert shown[field] == (repr(getattr(made, field)), DynamicsSettings.model_fields[field].description)
    assert len({shown[field][0] for field in shown}) > 4
