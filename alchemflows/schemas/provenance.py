"""Provenance of documents."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, Field

from alchemflows import __version__
from alchemflows.schemas.potential import PotentialRecord

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
