"""Read structures in any format of ASE: extended XYZ, trajectories, input and output files of simulation codes."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.io.formats import filetype
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.structures.parsed import Parsed, collect_warnings, select_one
from alchemflows.structures.species import ISOTOPES, isotope_message

#: Formats that store atom types or labels instead of elements; ASE would guess the elements.
WITHOUT_ELEMENTS = ("lammps-data", "lammps-dump-binary", "gromacs", "gromos", "dlp4", "dlp-history")
#: Relative difference in mass up to which two tables of standard atomic masses may disagree.
SAME_MASS = 0.01
#: Arrays of ASE Atoms that are part of the structure, or are reported separately.
_OWN = ("numbers", "positions", "masses", "initial_magmoms", "initial_charges", "momenta", "tags")
_KNOWN = {"initial_magmoms": "magnetic moments", "initial_charges": "charges", "momenta": "velocities"}


def read_image(path: Path, block: str | int | None) -> Parsed:
    """Return the structure in a file that ASE reads.

    Parameters
    ----------
    path
        The file.
    block
        Number of the image, counted from 1, or ``last``; None if the file has only one image.

    Raises
    ------
    InvalidInputError
        If ASE cannot read the file, if the file does not contain elements, a cell and periodicity in three
        dimensions, or if it has several images and `block` is None.
    """
    notes: list[str] = []
    with collect_warnings(notes):
        images, kind = read_images(path)
    place = select_one([str(k + 1) for k in range(len(images))], block, "images")
    parsed = of_atoms(images[place])
    parsed.reader, parsed.block = f"ASE ({kind})", str(place + 1) if len(images) > 1 else None
    parsed.notes[:0] = notes
    return parsed


def read_images(path: Path) -> tuple[list[Atoms], str]:
    """Return all images in a file that ASE reads, of which there is at least one, and its format.

    Raises
    ------
    InvalidInputError
        If ASE cannot read the file, or the file does not contain elements.
    """
    try:
        kind = filetype(str(path))
        _check_elements(path, kind)
        images = list(ase.io.iread(str(path), index=":", format=kind))
    except InvalidInputError:
        raise
    except KeyError as error:
        name = str(error.args[0]) if error.args else ""
        if name in ISOTOPES:
            raise InvalidInputError(isotope_message(name, "the file")) from error
        raise InvalidInputError(f"ASE cannot read it: {name!r} is not an element symbol") from error
    except Exception as error:  # the parsers of ASE raise many kinds of exceptions
        raise InvalidInputError(f"ASE cannot read it: {_first_line(error)}") from error
    if not images:
        raise InvalidInputError("the file has no atoms")
    return images, kind


def of_atoms(atoms: Atoms) -> Parsed:
    """Return the structure of an ASE Atoms object, with notes on arrays that are not used.

    Raises
    ------
    InvalidInputError
        If `atoms` is empty, has no cell, is not periodic in three dimensions, or contains an atom without an element.
    """
    if not len(atoms):
        raise InvalidInputError("the structure has no atoms")
    if atoms.cell.rank < 3 or not abs(atoms.cell.volume) > 0:
        raise InvalidInputError("the structure has no cell; add three lattice vectors")
    if not atoms.pbc.all():
        raise InvalidInputError(
            f"the structure is periodic along {int(atoms.pbc.sum())} of three directions (pbc {atoms.pbc.tolist()}); "
            "set pbc along all three"
        )
    if (atoms.numbers < 1).any():
        raise InvalidInputError(f"atom {int(np.argmax(atoms.numbers < 1))} has the symbol X, which is not an element")
    structure = Structure(Lattice(atoms.cell.array), atoms.numbers.tolist(), atoms.positions, coords_are_cartesian=True)
    parsed = Parsed(structure, "ASE")
    if atoms.has("masses"):
        masses, natural = atoms.get_masses(), atomic_masses[atoms.numbers]
        other = np.flatnonzero(np.abs(masses - natural) > SAME_MASS * natural)
        if len(other):
            k = int(other[0])
            parsed.losses.append(
                (
                    "masses",
                    f"{len(other)} atoms have custom masses (atom {k}, {atoms.symbols[k]}: {masses[k]:.4g} u), which "
                    "would be replaced by standard atomic masses",
                )
            )
    if atoms.constraints:
        kinds = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        parsed.losses.append(
            ("fixed-atoms", f"atoms are constrained ({kinds}), but constraints are not supported in the dynamics")
        )
    if "occupancy" in atoms.info or "occupancy" in atoms.arrays or "occupancies" in atoms.arrays:
        parsed.losses.append(("occupancies", "ASE does not read the occupancies of this file; use a CIF"))
    unused = [name for key, name in _KNOWN.items() if atoms.has(key) and np.any(atoms.arrays[key])]
    unused += sorted(key for key in atoms.arrays if key not in _OWN)
    if unused:
        parsed.notes.append(f"not used: {', '.join(unused)}")
    return parsed


def _check_elements(path: Path, kind: str) -> None:
    """Raise an error for formats and files that contain atom types instead of elements."""
    if kind in WITHOUT_ELEMENTS:
        raise InvalidInputError(
            f"the format {kind} stores atom types instead of elements; convert the file to a format with elements"
        )
    text = path.read_text(errors="replace") if kind in ("lammps-dump-text", "proteindatabank") else ""
    if kind == "lammps-dump-text":
        header = next((line for line in text.splitlines() if line.startswith("ITEM: ATOMS")), "")
        if "element" not in header.split():
            raise InvalidInputError("it has atom types instead of elements; add the column `element` to the dump")
    if kind == "proteindatabank":
        atoms = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
        if not all(line[76:78].strip() for line in atoms):
            raise InvalidInputError("it has atoms without element symbols; add them in columns 77 and 78")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
