"""Compute the bulk modulus of a relaxed crystal, with derivatives with respect to positions, strains and weights.

With relaxed positions, the energy of a strain e is eᵀ(V C)e / 2 with V C = H_ee − H_eu H_uu⁻¹ H_ue. The strain per unit
of pressure is s = C⁻¹g with g = (1, 1, 1, 0, 0, 0), and K = 1 / (gᵀC⁻¹g).

The derivative of sᵀ(V C)s with respect to any coordinate is yᵀ(dH)y at fixed y = (−H_uu⁻¹H_ue s, s), since y minimises
that quadratic form. This requires third derivatives of the energy along one direction only, which are computed by
finite differences of first derivatives along y.
"""

from __future__ import annotations

import numpy as np
from ase import units

from alchemflows.alchemy.interfaces import SecondDerivatives, single
from alchemflows.alchemy.lockstep import Seat
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import UnstableCrystalError
from alchemflows.optimize.names import BULK_MODULUS
from alchemflows.optimize.quantities import STRAIN_UNITS, Quantity
from alchemflows.optimize.response import ZERO_SHARE, at_rest

#: Largest strain and largest displacement (Å) of the finite differences along y; the smaller step of the two is used.
STRAIN_STEP = 1e-3
DISPLACEMENT_STEP_A = 5e-3
#: Number of evaluations for the derivatives of the bulk modulus.
N_EVALUATIONS = 2

_PRESSURE = np.array([1.0, 1, 1, 0, 0, 0])


def bulk_modulus(
    potential: AlchemicalPotential | Seat,
    positions: np.ndarray,
    cell: np.ndarray,
    weights: np.ndarray,
    derivatives: SecondDerivatives,
) -> Quantity:
    """Return the bulk modulus (GPa) with its derivatives in the coordinates of `derivatives`.

    Parameters
    ----------
    potential
        Potential in float64; it is evaluated :data:`N_EVALUATIONS` times.
    positions, cell
        Positions and cell (Å) of a crystal with zero forces and stress, shapes (N, 3) and (3, 3).
    weights
        Weights, shape (C,).
    derivatives
        First and second derivatives of the energy of this crystal.

    Raises
    ------
    UnstableCrystalError
        If the crystal is not at a minimum of the energy: a displacement or a strain lowers it.
    """
    n = 3 * len(positions)
    hessian, volume = derivatives.hessian, float(abs(np.linalg.det(cell)))
    inner = at_rest(hessian[:n, :n], len(positions))
    answer = -np.linalg.solve(inner, hessian[:n, n : n + 6])  # du/de
    stiffness = (hessian[n : n + 6, n : n + 6] + hessian[n : n + 6, :n] @ answer) / volume
    stiffness = (stiffness + stiffness.T) / 2
    for curvature in (inner, stiffness):
        eigenvalues = np.linalg.eigvalsh(curvature)
        if eigenvalues[0] < ZERO_SHARE * eigenvalues[-1]:
            raise UnstableCrystalError(
                f"{BULK_MODULUS} is not defined: a displacement or a strain lowers the energy of the crystal (lowest "
                f"eigenvalue {eigenvalues[0]:.4g}); use a stable phase, or relax more tightly"
            )
    strains = np.linalg.solve(stiffness, _PRESSURE)
    value = 1.0 / float(_PRESSURE @ strains)
    along = np.concatenate([answer @ strains, strains])
    change = _second_difference(potential, positions, cell, weights, derivatives.gradient, along)
    # Strains are multiplicative: after a strain e, C is that of (1 + e)(1 + s), which adds es to e + s; V C s = V g.
    change[n : n + 6] += [2 * volume * np.trace(unit @ _matrix(strains)) for unit in STRAIN_UNITS]
    change /= volume
    change[n : n + 6] -= [np.trace(unit) / value for unit in STRAIN_UNITS]  # d(V C) = V dC + C dV
    return Quantity(value / units.GPa, value**2 * change / units.GPa)


def _second_difference(
    potential: AlchemicalPotential | Seat,
    positions: np.ndarray,
    cell: np.ndarray,
    weights: np.ndarray,
    middle: np.ndarray,
    along: np.ndarray,
) -> np.ndarray:
    """Return d²/dt² of ∂E/∂z at z = t `along`, shape (3N + 6 + C,), for z as in :class:`SecondDerivatives`.

    `along` are displacements and strains, shape (3N + 6,); `middle` is the gradient at t = 0.
    """
    moves, strain = along[:-6].reshape(-1, 3), _matrix(along[-6:])
    step = 1.0 / max(np.abs(strain).max() / STRAIN_STEP, np.abs(moves).max() / DISPLACEMENT_STEP_A)
    total = -2 * middle
    for t in (-step, step):
        stretch = np.eye(3) + t * strain
        h = cell @ stretch
        here = single(potential.evaluate(((positions + t * moves) @ stretch)[None], h[None], weights[None]))
        virial = here["stress"] * abs(np.linalg.det(h))
        # Chain rule: for (x + dx)(1 + ε), dE = −F·dx(1 + ε); for x(1 + ε + dε), dE = tr(virial (1 + ε)⁻¹dε).
        in_strain = virial @ np.linalg.inv(stretch)
        total += np.concatenate(
            [
                (-here["forces"] @ stretch).ravel(),
                [np.trace(in_strain @ unit) for unit in STRAIN_UNITS],
                np.atleast_1d(here["weight_gradients"]),
            ]
        )
    return total / step**2


def _matrix(strains: np.ndarray) -> np.ndarray:
    return np.einsum("k,kij->ij", strains, np.array(STRAIN_UNITS))
