"""Strains of a cell: those that a pressure changes, those that the symmetry allows, and those of a trajectory.

A symmetric strain is a vector of six numbers (Mandel: xx, yy, zz, √2 yz, √2 xz, √2 xy), whose scalar product is that of
the tensors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.alchemy.symmetrise import symmetric_cell
from alchemflows.schemas.dynamics import CellFreedom

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_SCALE = np.array([1.0, 1.0, 1.0, 2**0.5, 2**0.5, 2**0.5])
#: A direction shorter than this is none.
_TOLERANCE = 1e-6


def log_strains(cell_parameters: ArrayLike, cell: ArrayLike) -> np.ndarray:
    """Return the logarithmic strains of cells against one of them, in its axes; rotations of a cell do not count.

    Parameters
    ----------
    cell_parameters
        a, b, c (Å), α, β, γ (degrees), shape (..., 6).
    cell
        Å, shape (3, 3), rows are lattice vectors.

    Returns
    -------
    strains
        Shape (..., 6).
    """
    parameters = np.asarray(cell_parameters, dtype=float)
    lengths, cosines = parameters[..., :3], np.cos(np.deg2rad(parameters[..., 3:]))
    metric = lengths[..., :, None] * lengths[..., None, :]
    for cosine, (i, j) in zip(np.moveaxis(cosines, -1, 0), ((1, 2), (0, 2), (0, 1)), strict=True):
        metric[..., i, j] *= cosine
        metric[..., j, i] *= cosine
    inverse = np.linalg.inv(np.asarray(cell, dtype=float))
    values, vectors = np.linalg.eigh(inverse @ metric @ inverse.T)
    tensors = np.einsum("...ij,...j,...kj->...ik", vectors, 0.5 * np.log(values), vectors)
    return _vectors(tensors)


def sampled_directions(cell: ArrayLike, freedom: CellFreedom) -> np.ndarray:
    """Return orthonormal strains that a pressure changes, shape (n, 6): 1, 3 or 6 for isotropic, axes and full."""
    h = np.asarray(cell, dtype=float)
    if freedom == "isotropic":
        return _vectors(np.eye(3)[None]) / 3**0.5
    if freedom == "full":
        return np.eye(6)
    # Cell vector k alone becomes longer.
    stretches = np.einsum("ik,kj->kij", np.linalg.inv(h), h)
    return _basis(_vectors(stretches + np.swapaxes(stretches, 1, 2)))


def split_by_symmetry(directions: np.ndarray, cell: ArrayLike, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of strains that a point group leaves alone, and those that break it, each orthonormal.

    Parameters
    ----------
    directions
        Strains, shape (n, 6).
    cell
        Å, shape (3, 3), rows are lattice vectors.
    rotations
        On fractional coordinates, integers, shape (m, 3, 3).
    """
    h = symmetric_cell(cell, rotations)
    cartesian = np.einsum("ji,njk,lk->nil", h, rotations, np.linalg.inv(h))
    kept = _vectors(np.einsum("nij,djk,nlk->dil", cartesian, _tensors(directions), cartesian) / len(rotations))
    return _basis(kept), _basis(directions - kept)


def freedom_of_symmetry(cell: ArrayLike, rotations: np.ndarray) -> CellFreedom:
    """Return the least freedom that changes all that a point group allows.

    It is ``isotropic`` for cubic crystals, ``axes`` where the lengths of the cell vectors are enough (tetragonal,
    orthorhombic and hexagonal ones in their usual cells), and ``full`` for the rest.
    """
    allowed, _ = split_by_symmetry(np.eye(6), cell, rotations)
    for freedom in ("isotropic", "axes"):
        reached, _ = split_by_symmetry(sampled_directions(cell, freedom), cell, rotations)
        if len(reached) == len(allowed):
            return freedom
    return "full"


def frozen_directions(cell: ArrayLike, rotations: np.ndarray, freedom: CellFreedom) -> int:
    """Return how many strains the symmetry allows and the pressure does not change."""
    allowed, _ = split_by_symmetry(np.eye(6), cell, rotations)
    reached, _ = split_by_symmetry(sampled_directions(cell, freedom), cell, rotations)
    return len(allowed) - len(reached)


def frozen_shape(freedom: CellFreedom, space_group: int, n_frozen: int) -> str:
    """Return what is wrong with a freedom that leaves strains at the start's, of which the symmetry allows more."""
    return (
        f"cell_freedom={freedom} keeps a part of the shape of the start cell, though space group {space_group} allows "
        f"{n_frozen} more strain{'s' if n_frozen > 1 else ''}: the stress in these is not that of the pressure; choose "
        f"{'axes or full' if freedom == 'isotropic' else 'full'}"
    )


def _vectors(tensors: np.ndarray) -> np.ndarray:
    return np.stack([tensors[..., i, j] for i, j in _PAIRS], axis=-1) * _SCALE


def _tensors(vectors: np.ndarray) -> np.ndarray:
    found = np.empty((*vectors.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(_PAIRS):
        found[..., i, j] = found[..., j, i] = vectors[..., k] / _SCALE[k]
    return found


def _basis(vectors: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of what vectors span, shape (rank, 6)."""
    _, sizes, right = np.linalg.svd(vectors.reshape(-1, 6), full_matrices=False)
    return right[sizes > _TOLERANCE]
