"""Strains of a cell: sampled at constant pressure, allowed by symmetry, and measured along a trajectory.

A symmetric strain is written as a vector of six numbers in Mandel notation (xx, yy, zz, √2 yz, √2 xz, √2 xy), so that
the scalar product of two vectors equals that of the tensors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.alchemy.symmetrise import symmetric_cell
from alchemflows.schemas.dynamics import CellFreedom
from alchemflows.schemas.reasons import Reason

_PAIRS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_SCALE = np.array([1.0, 1.0, 1.0, 2**0.5, 2**0.5, 2**0.5])
#: Singular values below this are treated as zero.
_TOLERANCE = 1e-6


def log_strains(cell_parameters: ArrayLike, cell: ArrayLike) -> np.ndarray:
    """Return the logarithmic strains of cells relative to a reference cell; rotations have no effect.

    Parameters
    ----------
    cell_parameters
        a, b, c (Å), α, β, γ (degrees), shape (..., 6).
    cell
        Reference cell with lattice vectors as rows (Å), shape (3, 3). The strains are given in its Cartesian axes.

    Returns
    -------
    strains
        Strain vectors, shape (..., 6).
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
    """Return the strains sampled at constant pressure, orthonormal, shape (n, 6).

    n is 1 for ``isotropic``, 3 for ``axes`` and 6 for ``full``.
    """
    h = np.asarray(cell, dtype=float)
    if freedom == "isotropic":
        return _vectors(np.eye(3)[None]) / 3**0.5
    if freedom == "full":
        return np.eye(6)
    # In direction k, cell vector k becomes longer and the other two do not change.
    stretches = np.einsum("ik,kj->kij", np.linalg.inv(h), h)
    return _basis(_vectors(stretches + np.swapaxes(stretches, 1, 2)))


def split_by_symmetry(directions: np.ndarray, cell: ArrayLike, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split strains into the part that keeps the symmetry and the part that breaks it; each is an orthonormal basis.

    Parameters
    ----------
    directions
        Strains, shape (n, 6).
    cell
        Lattice vectors as rows (Å), shape (3, 3).
    rotations
        Point group: integer rotations of fractional coordinates, shape (m, 3, 3).
    """
    h = symmetric_cell(cell, rotations)
    cartesian = np.einsum("ji,njk,lk->nil", h, rotations, np.linalg.inv(h))
    kept = _vectors(np.einsum("nij,djk,nlk->dil", cartesian, _tensors(directions), cartesian) / len(rotations))
    return _basis(kept), _basis(directions - kept)


def freedom_of_symmetry(cell: ArrayLike, rotations: np.ndarray) -> CellFreedom:
    """Return the smallest cell freedom that includes all strains allowed by a point group.

    It is ``isotropic`` for cubic crystals, ``axes`` if changing the lengths of the cell vectors suffices (tetragonal,
    orthorhombic and hexagonal crystals in their conventional cells), and ``full`` otherwise.
    """
    allowed, _ = split_by_symmetry(np.eye(6), cell, rotations)
    for freedom in ("isotropic", "axes"):
        reached, _ = split_by_symmetry(sampled_directions(cell, freedom), cell, rotations)
        if len(reached) == len(allowed):
            return freedom
    return "full"


def frozen_directions(cell: ArrayLike, rotations: np.ndarray, freedom: CellFreedom) -> int:
    """Return the number of strains that the symmetry allows but the cell freedom does not sample."""
    allowed, _ = split_by_symmetry(np.eye(6), cell, rotations)
    reached, _ = split_by_symmetry(sampled_directions(cell, freedom), cell, rotations)
    return len(allowed) - len(reached)


def frozen_shape(freedom: CellFreedom, space_group: int, n_frozen: int) -> str:
    """Return the message for a cell freedom that does not sample all strains allowed by the symmetry."""
    choice, plural = "axes or full" if freedom == "isotropic" else "full", "s" if n_frozen > 1 else ""
    return Reason.FROZEN_SHAPE.because(freedom=freedom, group=space_group, n=n_frozen, plural=plural, choice=choice)


def _vectors(tensors: np.ndarray) -> np.ndarray:
    return np.stack([tensors[..., i, j] for i, j in _PAIRS], axis=-1) * _SCALE


def _tensors(vectors: np.ndarray) -> np.ndarray:
    found = np.empty((*vectors.shape[:-1], 3, 3))
    for k, (i, j) in enumerate(_PAIRS):
        found[..., i, j] = found[..., j, i] = vectors[..., k] / _SCALE[k]
    return found


def _basis(vectors: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the space spanned by vectors, shape (rank, 6)."""
    _, sizes, right = np.linalg.svd(vectors.reshape(-1, 6), full_matrices=False)
    return right[sizes > _TOLERANCE]
