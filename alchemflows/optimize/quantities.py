"""Compute quantities of a crystal and their derivatives with respect to positions, strain and weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units

from alchemflows.alchemy.interfaces import VOIGT, SecondDerivatives
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.optimize.names import STRESSES, chemical_potential_differences


@dataclass(frozen=True)
class Quantity:
    """A number and its derivatives in the coordinates z of :class:`SecondDerivatives`.

    Attributes
    ----------
    value
        Value in the unit stated in the name of the quantity.
    gradient
        Derivatives, shape (3N + 6 + C,).
    """

    value: float
    gradient: np.ndarray


def quantities(
    system: AlchemicalSystem, cell: np.ndarray, weights: np.ndarray, derivatives: SecondDerivatives
) -> dict[str, Quantity]:
    """Return the quantities that can be targets of an optimisation.

    Parameters
    ----------
    system
        The alchemical system.
    cell
        Lattice vectors as rows (Å), shape (3, 3).
    weights
        Weights, shape (C,).
    derivatives
        Derivatives of the energy at this cell with these weights.

    Returns
    -------
    by_name
        ``a_A``, ``b_A``, ``c_A``, ``volume_A3``, ``energy_eV_per_atom``; stresses ``stress_xx_GPa`` and so on (tension
        positive), ``stress_in_plane_GPa`` (the mean of xx and yy) and ``pressure_GPa``; for each group g and each pair
        of its channels ``mu_g_i_j_eV``, the difference (∂E/∂w_i − ∂E/∂w_j) per site. The gradients are partial
        derivatives: each coordinate changes while all others are fixed.
    """
    n = 3 * system.n_sites
    strains = slice(n, n + 6)
    found: dict[str, Quantity] = {}

    def explicit(value: float, in_strain: np.ndarray) -> Quantity:
        gradient = np.zeros_like(derivatives.gradient)
        gradient[strains] = in_strain
        return Quantity(float(value), gradient)

    for name, vector in zip("abc", cell, strict=True):
        length = float(np.linalg.norm(vector))
        found[f"{name}_A"] = explicit(length, np.array([vector @ unit @ vector for unit in STRAIN_UNITS]) / length)
    volume = float(abs(np.linalg.det(cell)))
    growth = volume * np.array([np.trace(unit) for unit in STRAIN_UNITS])
    found["volume_A3"] = explicit(volume, growth)
    counts, atoms_slope = system.counts(weights), np.zeros_like(derivatives.gradient)
    atoms_slope[n + 6 :] = system.atoms_per_weight
    found["energy_eV_per_atom"] = Quantity(
        counts.per_atom(derivatives.energy_eV),
        counts.per_atom_derivative(derivatives.energy_eV, derivatives.gradient, atoms_slope),
    )
    stresses = _stresses(derivatives, n, volume, growth)
    found |= {f"stress_{name}_GPa": stress for name, stress in zip(STRESSES, stresses, strict=True)}
    found["stress_in_plane_GPa"] = _mean(stresses[:2])
    hydrostatic = _mean(stresses[:3])
    found["pressure_GPa"] = Quantity(-hydrostatic.value, -hydrostatic.gradient)
    for name, i, j, n_sites in chemical_potential_differences(system):
        a, b = n + 6 + i, n + 6 + j
        found[name] = Quantity(
            float(derivatives.gradient[a] - derivatives.gradient[b]) / n_sites,
            (derivatives.hessian[a] - derivatives.hessian[b]) / n_sites,
        )
    return found


def _stresses(derivatives: SecondDerivatives, n: int, volume: float, growth: np.ndarray) -> list[Quantity]:
    """Return the six stresses (GPa).

    A stress is the derivative with respect to a strain δ of the current cell, h(1 + ε)(1 + δ). If the stress is not
    zero, the product εδ contributes to the second derivative.
    """
    # An off-diagonal strain appears twice in the matrix.
    counts = np.array([1.0 + (i != j) for i, j in VOIGT])
    virial = derivatives.gradient[n : n + 6] / counts
    matrix = sum(value * unit for value, unit in zip(virial, STRAIN_UNITS, strict=True))
    stresses = []
    for k, unit in enumerate(STRAIN_UNITS):
        row = derivatives.hessian[n + k] / counts[k]
        row[n : n + 6] += [np.trace(matrix @ (unit @ other + other @ unit)) / 2 / counts[k] for other in STRAIN_UNITS]
        value = virial[k] / volume
        row = row / volume
        row[n : n + 6] -= value * growth / volume
        stresses.append(Quantity(float(value) / units.GPa, row / units.GPa))
    return stresses


def _mean(parts: list[Quantity]) -> Quantity:
    return Quantity(float(np.mean([part.value for part in parts])), np.mean([part.gradient for part in parts], axis=0))


def _unit(i: int, j: int) -> np.ndarray:
    matrix = np.zeros((3, 3))
    matrix[i, j] = matrix[j, i] = 1.0
    return matrix


#: Each of the six strains as a matrix.
STRAIN_UNITS = [_unit(i, j) for i, j in VOIGT]
