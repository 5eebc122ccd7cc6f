"""What users type, checked and turned into what makers take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import Dtype, PotentialSpec

if TYPE_CHECKING:
    from alchemflows.alchemy.path import Substitution


def dtype_of(name: str) -> Dtype:
    """Return a precision."""
    if name not in ("float32", "float64"):
        raise InvalidInputError(f"dtype must be float32 or float64; got {name!r}")
    return cast(Dtype, name)


def potential_of(name: str, dtype: str, device: str, head: str | None) -> PotentialSpec:
    """Return a potential."""
    return PotentialSpec(name=name, dtype=dtype_of(dtype), device=device, head=head)


def substitution_of(texts: list[str]) -> Substitution:
    """Return a substitution from texts such as Pb:Sn."""
    pairs: dict[str, str] = {}
    for text in texts:
        source, colon, target = text.partition(":")
        if not colon or not source or not target:
            raise InvalidInputError(f"a substitution is written like Pb:Sn; got {text!r}")
        pairs[source] = target
    return pairs


def read_structure(path: Path, supercell: tuple[int, int, int] = (1, 1, 1)) -> Structure:
    """Return the structure in a file, repeated."""
    if min(supercell) < 1:
        raise InvalidInputError(f"a supercell repeats the cell at least once along each axis; got {supercell}")
    if not path.is_file():
        raise InvalidInputError(f"no structure file {str(path)!r}")
    try:
        return Structure.from_file(path) * supercell
    except Exception as error:  # each parser of pymatgen fails in its own way
        raise InvalidInputError(f"{path} is not a structure file that pymatgen can read: {error}") from error


def check_plot(plot: Path | None) -> None:
    """Refuse a figure that could not be written at the end."""
    if plot is None:
        return
    if not os.access(plot.parent, os.W_OK):
        raise InvalidInputError(f"the figure cannot be written to {plot}: no such folder, or it is read-only")
    if plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise InvalidInputError(f"the figure must be a .png, .pdf or .svg file; got {plot.name!r}")
