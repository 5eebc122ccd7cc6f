"""Symmetrise mean cells and mean positions: average them over the operations of the space group.

The noise of a mean over a trajectory breaks the symmetry of the crystal. The average over all symmetry operations
removes the symmetry-breaking part of the noise and does not change the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from alchemflows.alchemy.symmetry import operations_of
from alchemflows.alchemy.system import AlchemicalSystem


def symmetrised(structure: Structure, system: AlchemicalSystem, masses: ArrayLike) -> Structure:
    """Return a structure whose cell and positions are averaged over the space group of a system.

    Volume, cell orientation and centre of mass are kept.

    Parameters
    ----------
    structure
        Structure with noise; same sites in the same order as in `system`.
    system
        System that has the symmetry, see :func:`~alchemflows.alchemy.symmetry.symmetry_of`.
    masses
        Masses of the atoms, shape (N,).
    """
    rotations, translations = operations_of(system)
    cell = symmetric_cell(structure.lattice.matrix, rotations)
    before = np.asarray(structure.frac_coords)
    after = _symmetric_positions(before, np.asarray(system.structure.frac_coords), rotations, translations)
    shares = np.asarray(masses, dtype=float) / np.sum(masses)
    # If the input deviates slightly from its symmetry, operations may shift the origin; keep the centre of mass.
    return Structure(cell, structure.species, after + shares @ (before - after))


def symmetric_cell(cell: ArrayLike, rotations: np.ndarray) -> np.ndarray:
    """Return a cell with the symmetry of a point group by averaging its metric tensor.

    Volume and orientation are kept.

    Parameters
    ----------
    cell
        Lattice vectors as rows (Å), shape (3, 3).
    rotations
        Point group: integer rotations of fractional coordinates, shape (n, 3, 3).
    """
    h = np.asarray(cell, dtype=float)
    metric = np.einsum("nji,jk,nkl->il", rotations, h @ h.T, rotations) / len(rotations)
    metric *= np.cbrt(np.linalg.det(h @ h.T) / np.linalg.det(metric))
    # Of all cells with this metric, h F with symmetric F is closest in orientation to the given cell h.
    inverse = np.linalg.inv(h)
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    return h @ (vectors * np.sqrt(values)) @ vectors.T


def _symmetric_positions(
    positions: np.ndarray, sites: np.ndarray, rotations: np.ndarray, translations: np.ndarray
) -> np.ndarray:
    """Return the mean of the images of positions under a group of operations, in fractional coordinates.

    The mean is taken over the lattice translations first, and then over one operation for each rotation; the products
    of the two are the whole group.
    """
    from scipy.spatial import cKDTree

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
    # Applied twice, since the remainder of a tiny negative number is rounded to 1.
    return fractional % 1.0 % 1.0
