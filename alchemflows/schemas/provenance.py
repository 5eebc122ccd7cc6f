"""Provenance of documents."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, Field

from alchemflows import __version__
from alchemflows.schemas.potential import DEMO, DEMO_NOTE, PotentialRecord

_PACKAGES = (
    "torch",
    "mace-torch",
    "sevenn",
    "chgnet",
    "e3nn",
    "ase",
    "pymatgen",
    "atomate2",
    "jobflow",
    "fireworks",
    "pymbar",
    "alchemlyb",
    "numpy",
)


def installed_versions() -> dict[str, str]:
    """Return the versions of this package and of the installed packages that results depend on."""
    return dict(_versions())


# Cached, since the look-up takes as long as the rest of the work on a document.
@cache
def _versions() -> dict[str, str]:
    found = {"alchemflows": __version__}  # an editable installation keeps the metadata of the day it was installed
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


class Provenance(BaseModel):
    """Potential, software versions, time and seed of a document."""

    potential: PotentialRecord | None = Field(None, description="the potential, if one was evaluated")
    versions: dict[str, str] = Field(default_factory=installed_versions)
    python: str = Field(default_factory=platform.python_version)
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    wall_time_s: float | None = None
    seed: int | None = Field(None, description="seed from which all others derive")


def potential_of(document: object) -> PotentialRecord | None:
    """Return the potential of a document; None if it has none, or no provenance."""
    return getattr(getattr(document, "provenance", None), "potential", None)


def sources_of(document: object) -> list[PotentialRecord]:
    """Return the potentials that were sampled, for a correction of one or several ladders; otherwise an empty list."""
    parts = [document, *getattr(document, "ladders", [])]
    found = [getattr(part, "source", None) for part in parts]
    return [source for source in found if source is not None]


def demo_note(document: object) -> str | None:
    """Return a note if numbers of a document are from the potential for learning and tests; otherwise None.

    A correction to another target also contains the samples of the potential that it corrects.
    """
    potential = potential_of(document)
    if potential is not None and potential.name == DEMO:
        return DEMO_NOTE
    return f"sampled with {DEMO_NOTE}" if any(source.name == DEMO for source in sources_of(document)) else None
