"""How a relaxed crystal answers to a change of its weights, by the theorem of implicit functions.

At the minimum over positions and free strains q the gradient ∂E/∂q vanishes, and it goes on vanishing when weights w
change if dq/dw = −(∂²E/∂q²)⁻¹ ∂²E/∂q∂w.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from alchemflows.alchemy.interfaces import SecondDerivatives
from alchemflows.errors import InvalidInputError, UnstableCrystalError

#: What of the cell is free: nothing, the volume, the lengths, c alone (a film on a substrate), or everything.
CellRelaxation = Literal["none", "isotropic", "axes", "c", "full"]

_FREE: dict[str, list[list[int]]] = {
    "none": [],
    "isotropic": [[0, 1, 2]],
    "axes": [[0], [1], [2]],
    "c": [[2]],
    "full": [[0], [1], [2], [3], [4], [5]],
}
#: A vector that is off its axis by less (Å) lies along it.
MAX_TILT_A = 1e-3
#: A curvature below this share of the largest is not that of a minimum.
ZERO_SHARE = 1e-9


def free_strains(relaxation: CellRelaxation) -> np.ndarray:
    """Return a basis of the free strains, shape (6, number of them), in the order of :data:`VOIGT`.

    Raises
    ------
    InvalidInputError
        If the name is unknown.
    """
    if relaxation not in get_args(CellRelaxation):
        raise InvalidInputError(f"the cell relaxes {', '.join(get_args(CellRelaxation))}; got {relaxation!r}")
    members = _FREE[relaxation]
    basis = np.zeros((6, len(members)))
    for k, strains in enumerate(members):
        basis[strains, k] = 1.0
    return basis


def check_cell(relaxation: CellRelaxation, cell: np.ndarray) -> None:
    """Refuse a cell, shape (3, 3), that cannot relax in this way.

    Raises
    ------
    InvalidInputError
        If the name is unknown, or c alone is to relax and is not along z, with a and b in the plane of x and y.
    """
    free_strains(relaxation)
    if relaxation == "c" and np.abs([*cell[:2, 2], *cell[2, :2]]).max() > MAX_TILT_A:
        raise InvalidInputError("for c to relax alone it must lie along z, and a and b in the plane of x and y")


def response(derivatives: SecondDerivatives, n_atoms: int, relaxation: CellRelaxation) -> np.ndarray:
    """Return how all coordinates follow the weights while positions and the free part of the cell stay relaxed.

    Parameters
    ----------
    derivatives
        At a minimum over positions and free strains.
    n_atoms
        N.
    relaxation
        What of the cell is free.

    Returns
    -------
    dz_dw
        Shape (3N + 6 + C, C), the coordinates as in :class:`SecondDerivatives`; the last C rows are the identity.

    Raises
    ------
    UnstableCrystalError
        If it is no minimum: a curvature is negative, or vanishes.
    """
    n, n_weights = 3 * n_atoms, len(derivatives.gradient) - 3 * n_atoms - 6
    basis = free_strains(relaxation)
    # From free coordinates q to all z, and from the weights.
    to_z = np.zeros((n + 6 + n_weights, n + basis.shape[1]))
    to_z[:n, :n] = np.eye(n)
    to_z[n : n + 6, n:] = basis
    weights = np.zeros((n + 6 + n_weights, n_weights))
    weights[n + 6 :] = np.eye(n_weights)
    curvature = at_rest(to_z.T @ derivatives.hessian @ to_z, n_atoms)
    eigenvalues, modes = np.linalg.eigh(curvature)
    if eigenvalues[0] < ZERO_SHARE * eigenvalues[-1]:
        raise UnstableCrystalError(
            f"{int((eigenvalues < ZERO_SHARE * eigenvalues[-1]).sum())} ways to deform the crystal do not raise its "
            "energy: it is not relaxed, or not stable, and does not answer smoothly to its composition"
        )
    dq_dw = -modes @ ((modes.T @ (to_z.T @ derivatives.hessian @ weights)) / eigenvalues[:, None])
    return to_z @ dq_dw + weights


def at_rest(curvature: np.ndarray, n_atoms: int) -> np.ndarray:
    """Let it cost something to move all atoms alike, which costs nothing, so that a curvature has an inverse.

    Parameters
    ----------
    curvature
        Shape (M, M); the first 3N coordinates are displacements.
    n_atoms
        N.
    """
    uniform = np.zeros((len(curvature), 3))
    uniform[: 3 * n_atoms] = np.kron(np.ones((n_atoms, 1)), np.eye(3)) / np.sqrt(n_atoms)
    return curvature + np.abs(curvature).max() * uniform @ uniform.T
