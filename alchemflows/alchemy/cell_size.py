"""Check that a cell is large enough for its atoms to vibrate relative to one another."""

from __future__ import annotations

import numpy as np
from matscipy.neighbours import neighbour_list
from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError

#: Another atom is a nearer neighbour than a periodic image if its distance is smaller by at least this factor.
FACTOR = 1.1
#: Range (Å) in which neighbours are searched; periodic images beyond it (times `FACTOR`) do not count as neighbours.
FARTHEST_A = 6.0


def check_neighbours(structure: Structure) -> None:
    """Check that the nearest neighbours of atoms are not their own periodic images.

    An atom and its periodic images move together. With the centre of mass at rest, a single atom cannot move at all,
    and an atom whose nearest neighbours are its own images cannot vibrate along those bonds.

    Parameters
    ----------
    structure
        The periodic cell, Å.

    Raises
    ------
    InvalidInputError
        If the cell has only one atom, or if no two different atoms are closer than the shortest lattice vector divided
        by 1.1 (lattice vectors longer than 6.6 Å are accepted). The message advises a supercell.
    """
    formula = structure.composition.reduced_formula
    advice = "; use a supercell (--supercell 3x3x3, or structure * (3, 3, 3))"
    if len(structure) < 2:
        raise InvalidInputError(f"the cell of {formula} has only 1 atom, so there are no vibrations{advice}")
    image = min(structure.lattice.get_niggli_reduced_lattice().abc)
    if image > FACTOR * FARTHEST_A:
        return
    first, second = neighbour_list(
        "ij",
        cell=structure.lattice.matrix,
        pbc=[True] * 3,
        positions=structure.cart_coords,
        numbers=np.ones(len(structure), dtype=np.int32),
        cutoff=image / FACTOR,
    )
    if (first == second).all():
        raise InvalidInputError(
            f"the cell of {formula} is too small: atoms are {image:.2f} Å from their own periodic images, and no two "
            f"different atoms are clearly closer{advice}"
        )
