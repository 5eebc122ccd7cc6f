"""Whether a cell is large enough for its atoms to vibrate against one another."""

from __future__ import annotations

import numpy as np
from matscipy.neighbours import neighbour_list
from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError

#: An atom counts as nearer than a periodic image if it is nearer by this factor.
FACTOR = 1.1
#: Other atoms are looked for up to this distance, Å; images that are farther away than that are no neighbours.
FARTHEST_A = 6.0


def check_neighbours(structure: Structure) -> None:
    """Refuse a cell in which an atom's own periodic images are among its nearest neighbours.

    An atom and its images move as one. With the centre of mass at rest a single atom does not move at all, and atoms
    whose nearest neighbours are their own images have none of the vibrations along those bonds.

    Parameters
    ----------
    structure
        The periodic cell, Å.

    Raises
    ------
    InvalidInputError
        If there is one atom, or no two atoms are closer by a factor of 1.1 than the shortest lattice vector, up to 6 Å;
        the message advises a supercell.
    """
    formula = structure.composition.reduced_formula
    advice = "; use a supercell (--supercell 3x3x3, or structure * (3, 3, 3))"
    if len(structure) < 2:
        raise InvalidInputError(f"the cell of {formula} holds one atom, which cannot move against others{advice}")
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
            f"the cell of {formula} is too small: an atom is {image:.2f} Å from its own periodic image, and no two "
            f"atoms are clearly closer than that{advice}"
        )
