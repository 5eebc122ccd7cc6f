"""Names of potentials, checked before torch is imported."""

from __future__ import annotations

import ast
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from alchemflows.choices import suggestion
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import CHGNET_FILES, DEMO, check_package, package_of


@cache
def mace_names() -> tuple[str, ...]:
    """Return the names of the foundation models that the installed mace-torch can download.

    They are read from its source, since its import takes seconds.
    """
    found = find_spec("mace")
    for folder in (found.submodule_search_locations if found is not None else None) or ():
        source = Path(folder) / "calculators" / "foundations_models.py"
        if source.is_file() and (names := _keys(source.read_text(encoding="utf-8"), "mace_mp_urls")):
            return names
    from mace.calculators import foundations_models

    return tuple(foundations_models.mace_mp_urls)


def _keys(source: str, variable: str) -> tuple[str, ...]:
    """Return the keys of a dictionary of texts that a module defines; none if it is made in another way."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and any(getattr(each, "id", None) == variable for each in node.targets):
            keys = node.value.keys if isinstance(node.value, ast.Dict) else []
            return tuple(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    return ()


def check_name(name: str) -> None:
    """Check that a potential has a known name, and its package is installed, or is a file; nothing is read.

    Raises
    ------
    PotentialError
        If it is neither; the message lists the known names.
    """
    check_package(package_of(name), name)
    if not is_known_name(name) and not Path(name).expanduser().is_file():
        known = [DEMO, "sevennet-0", *CHGNET_FILES, *mace_names()]
        # Papers call the first foundation models MACE-MP-0; mace-torch calls them by their size.
        advice = "; MACE-MP-0 is called small, medium or large" if "mp-0" in name.lower() else suggestion(name, known)
        raise PotentialError(
            f"{name!r} is neither a file nor the name of a potential (known: {', '.join(known)}){advice}"
        )


def is_known_name(name: str) -> bool:
    """Tell whether a name is that of a potential, rather than of a file."""
    return name == DEMO or package_of(name) is not None or name in mace_names()
