"""Read every format of ASE: extended XYZ, trajectories, inputs and outputs of codes."""

from __future__ import annotations

from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses
from ase.io.formats import filetype
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.structures.parsed import Parsed, chosen, heard
from alchemflows.structures.species import ISOTOPES, isotope_message

#: Formats whose atoms have types or labels instead of elements, from which ASE would invent elements.
WITHOUT_ELEMENTS = ("lammps-data", "lammps-dump-binary", "gromacs", "gromos", "dlp4", "dlp-history")
#: Masses that differ by less (relative) are of the same element in another table.
SAME_MASS = 0.01
#: Arrays of ASE that are the structure itself.
_OWN = ("numbers", "positions", "masses", "initial_magmoms", "initial_charges", "momenta", "tags")
_KNOWN = {"initial_magmoms": "magnetic moments", "initial_charges": "charges", "momenta": "velocities"}


def read_image(path: Path, block: str | int | None) -> Parsed:
    """Return the structure in a file that ASE reads.

    Parameters
    ----------
    path
        The file.
    block
        Number of the image, from 1, or ``last``; None if there is to be one only.

    Raises
    ------
    InvalidInputError
        If ASE cannot read it, it has no elements, no cell, or is not periodic in three dimensions, or if it has several
        images and none is chosen.
    """
    notes: list[str] = []
    with heard(notes):
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
            raise InvalidInputError(f"ASE does not know {name!r}, which is not the symbol of an element") from error
        except Exception as error:  # each parser of ASE fails in its own way
            raise InvalidInputError(f"ASE cannot read it: {_first_line(error)}") from error
    if not images:
        raise InvalidInputError("it has no atoms")
    place = chosen([str(k + 1) for k in range(len(images))], block, "images")
    parsed = of_atoms(images[place])
    parsed.reader, parsed.block = f"ASE ({kind})", str(place + 1) if len(images) > 1 else None
    parsed.notes[:0] = notes
    return parsed


def of_atoms(atoms: Atoms) -> Parsed:
    """Return the structure of an ASE Atoms object, and what of it is not used.

    Raises
    ------
    InvalidInputError
        If it has no atoms, no cell, is not periodic in three dimensions, or an atom is no element.
    """
    if not len(atoms):
        raise InvalidInputError("it has no atoms")
    if atoms.cell.rank < 3 or not abs(atoms.cell.volume) > 0:
        raise InvalidInputError("it has no cell: three lattice vectors are needed")
    if not atoms.pbc.all():
        raise InvalidInputError(
            f"it is periodic along {int(atoms.pbc.sum())} of three directions (pbc {atoms.pbc.tolist()}); a crystal is "
            "along all"
        )
    if (atoms.numbers < 1).any():
        raise InvalidInputError(f"atom {int(np.argmax(atoms.numbers < 1))} is no element (symbol X)")
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
                    f"{len(other)} atoms have masses of their own (atom {k}, {atoms.symbols[k]}: {masses[k]:.4g} u), "
                    "as isotopes do, and would get those of the natural elements",
                )
            )
    if atoms.constraints:
        kinds = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        parsed.losses.append(
            ("fixed-atoms", f"constraints ({kinds}) keep atoms from moving, which the dynamics cannot do")
        )
    if "occupancy" in atoms.info or "occupancy" in atoms.arrays or "occupancies" in atoms.arrays:
        parsed.losses.append(("occupancies", "its occupancies are not read by ASE: give a CIF"))
    unused = [name for key, name in _KNOWN.items() if atoms.has(key) and np.any(atoms.arrays[key])]
    unused += sorted(key for key in atoms.arrays if key not in _OWN)
    if unused:
        parsed.notes.append(f"not used: {', '.join(unused)}")
    return parsed


def _check_elements(path: Path, kind: str) -> None:
    """Refuse formats and files that hold types of atoms instead of elements."""
    if kind in WITHOUT_ELEMENTS:
        raise InvalidInputError(f"the format {kind} has types of atoms instead of elements, and any would be invented")
    text = path.read_text(errors="replace") if kind in ("lammps-dump-text", "proteindatabank") else ""
    if kind == "lammps-dump-text":
        header = next((line for line in text.splitlines() if line.startswith("ITEM: ATOMS")), "")
        if "element" not in header.split():
            raise InvalidInputError("it has types of atoms instead of elements: dump the column `element` too")
    if kind == "proteindatabank":
        atoms = [line for line in text.splitlines() if line.startswith(("ATOM", "HETATM"))]
        if not all(line[76:78].strip() for line in atoms):
            raise InvalidInputError("it names atoms without elements (columns 77 and 78), which would be guessed")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
