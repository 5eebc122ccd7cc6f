"""Mean cells and mean positions of a crystal, averaged over the operations of its space group.

The mean over a trajectory has noise that breaks the symmetry of the crystal. The average over all operations is the
projection on what the symmetry allows: it removes that part of the noise and leaves the rest as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Structure
from scipy.spatial import cKDTree

from alchemflows.alchemy.symmetry import operations_of
from alchemflows.alchemy.system import AlchemicalSystem


def symmetrised(structure: Structure, system: AlchemicalSystem, masses: ArrayLike) -> Structure:
    """Return a structure with the space group of a system: its cell and its positions averaged over the operations.

    Volume, orientation of the cell and centre of mass stay.

    Parameters
    ----------
    structure
        The system's crystal after some noise: the same sites in the same order.
    system
        Whose symmetry is taken, as :func:`~alchemflows.alchemy.symmetry.symmetry_of` finds it.
    masses
        Of the atoms, shape (N,).
    """
    rotations, translations = operations_of(system)
    cell = symmetric_cell(structure.lattice.matrix, rotations)
    before = np.asarray(structure.frac_coords)
    after = _symmetric_positions(before, np.asarray(system.structure.frac_coords), rotations, translations)
    shares = np.asarray(masses, dtype=float) / np.sum(masses)
    # An operation may move the origin of a crystal that was given a little off its symmetry.
    return Structure(cell, structure.species, after + shares @ (before - after))


def symmetric_cell(cell: ArrayLike, rotations: np.ndarray) -> np.ndarray:
    """Return a cell that rotations map onto itself: the metric tensor is averaged, volume and orientation stay.

    Parameters
    ----------
    cell
        Å, rows are lattice vectors.
    rotations
        On fractional coordinates, integers, shape (n, 3, 3); a group.
    """
    h = np.asarray(cell, dtype=float)
    metric = np.einsum("nji,jk,nkl->il", rotations, h @ h.T, rotations) / len(rotations)
    metric *= np.cbrt(np.linalg.det(h @ h.T) / np.linalg.det(metric))
    # The cell with this metric that is nearest to the given one in orientation: h F, F symmetric.
    inverse = np.linalg.inv(h)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    return h @ (vectors * np.sqrt(values)) @ vectors.T


def _symmetric_positions(
    positions: np.ndarray, sites: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Return the mean of the images of positions under a group of operations, all in fractional coordinates.

    The lattice translations come first, then one operation of each rotation: their products are the whole group.
    """
    _, first = np.unique(rotations, axis=0, return_index=True)
    pure = (rotations == np.eye(3, dtype=int)).all(axis=(1, 2))
    tree = cKDTree(_wrapped(sites), boxsize=1.0)
    for chosen in (np.flatnonzero(pure), first):
        total = np.zeros_like(positions)
        for rotation, translation in zip(rotations[chosen], translations[chosen], strict=True):
            _, image = tree.query(_wrapped(sites @ rotation.T + translation))
            moved = positions @ rotation.T + translation
            total[image] += moved - np.round(moved - positions[image])
        positions = total / len(chosen)
    return positions


def _wrapped(fractional: np.ndarray) -> np.ndarray:
    # The remainder of a tiny negative number rounds to 1.
    return fractional % 1.0 % 1.0
