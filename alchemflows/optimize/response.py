"""Differentiate a relaxed crystal with respect to its weights, by the implicit function theorem.

At the minimum over positions and free strains q the gradient ∂E/∂q vanishes. It remains zero when the weights w change
if dq/dw = −(∂²E/∂q²)⁻¹ ∂²E/∂q∂w.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError, UnstableCrystalError

if TYPE_CHECKING:
    from alchemflows.alchemy.interfaces import SecondDerivatives

#: Cell degrees of freedom that relax: none, the volume, the three lengths, c only (a film on a substrate), or all.
CellRelaxation = Literal["none", "isotropic", "axes", "c", "full"]

_FREE: dict[str, list[list[int]]] = {
    "none": [],
    "isotropic": [[0, 1, 2]],
    "axes": [[0], [1], [2]],
    "c": [[2]],
    "full": [[0], [1], [2], [3], [4], [5]],
}
#: Largest component of a cell vector off its axis (Å) for which it counts as parallel to the axis.
MAX_TILT_A = 1e-3
#: A crystal is not at a minimum if a curvature is below this fraction of the largest one.
ZERO_SHARE = 1e-9


def free_strains(relaxation: CellRelaxation) -> np.ndarray:
    """Return a basis of the free strains, shape (6, number of them), in the order of :data:`VOIGT`.

    Raises
    ------
    InvalidInputError
        If the name is unknown.
    """
    check_choice("relaxation", relaxation, get_args(CellRelaxation))
    members = _FREE[relaxation]
    basis = np.zeros((6, len(members)))
    for k, strains in enumerate(members):
        basis[strains, k] = 1.0
    return basis


def check_cell(relaxation: CellRelaxation, cell: np.ndarray) -> None:
    """Check that the axes of a cell, shape (3, 3), are suitable for a relaxation.

    Raises
    ------
    InvalidInputError
        If the name is unknown; for relaxation ``c`` also if c is not along z, or a or b is not in the xy plane.
    """
    free_strains(relaxation)
    if relaxation == "c" and np.abs([*cell[:2, 2], *cell[2, :2]]).max() > MAX_TILT_A:
        raise InvalidInputError("relaxation 'c' requires c along z, and a and b in the xy plane; rotate the cell")


def response(derivatives: SecondDerivatives, n_atoms: int, relaxation: CellRelaxation) -> np.ndarray:
    """Return the derivatives of all coordinates with respect to the weights while the crystal remains relaxed.

    Parameters
    ----------
    derivatives
        Derivatives of the energy at a minimum over positions and free strains.
    n_atoms
        Number of atoms N.
    relaxation
        Cell degrees of freedom that relax.

    Returns
    -------
    dz_dw
        Shape (3N + 6 + C, C), with coordinates as in :class:`SecondDerivatives`; the last C rows are the identity.

    Raises
    ------
    UnstableCrystalError
        If the crystal is not at a minimum: a curvature is negative or zero.
    """
    n, n_weights = 3 * n_atoms, len(derivatives.gradient) - 3 * n_atoms - 6
    basis = free_strains(relaxation)
    # Matrices that map the free coordinates q, and the weights, to all coordinates z.
    to_z = np.zeros((n + 6 + n_weights, n + basis.shape[1]))
    to_z[:n, :n] = np.eye(n)
    to_z[n : n + 6, n:] = basis
    weights = np.zeros((n + 6 + n_weights, n_weights))
    weights[n + 6 :] = np.eye(n_weights)
    curvature = at_rest(to_z.T @ derivatives.hessian @ to_z, n_atoms)
    eigenvalues, modes = np.linalg.eigh(curvature)
    if eigenvalues[0] < ZERO_SHARE * eigenvalues[-1]:
        raise UnstableCrystalError(
            f"{int((eigenvalues < ZERO_SHARE * eigenvalues[-1]).sum())} deformations of the crystal do not raise its "
            "energy; it is not fully relaxed or is unstable, so derivatives with respect to composition do not exist"
        )
    dq_dw = -modes @ ((modes.T @ (to_z.T @ derivatives.hessian @ weights)) / eigenvalues[:, None])
    return to_z @ dq_dw + weights


def at_rest(curvature: np.ndarray, n_atoms: int) -> np.ndarray:
    """Add a penalty for uniform translations, which do not change the energy, so that a curvature is invertible.

    Parameters
    ----------
    curvature
        Matrix of shape (M, M); the first 3N coordinates are displacements.
    n_atoms
        Number of atoms N.
    """
    uniform = np.zeros((len(curvature), 3))
    uniform[: 3 * n_atoms] = np.kron(np.ones((n_atoms, 1)), np.eye(3)) / np.sqrt(n_atoms)
    return curvature + np.abs(curvature).max() * uniform @ uniform.T
