"""Free energy of the Uhlenbeck–Ford liquid, the reference of liquids, and of the ideal gas.

The excess free energy of N atoms with the pair energy −p k_B T ln[1 − exp(−r²/σ²)] depends only on p and on the reduced
density x = b ρ, with the number density ρ and b = (πσ²)^{3/2} / 2. It was published by Paula Leite, Freitas, Azevedo &
de Koning (J. Chem. Phys. 145, 194101, 2016) for p = 1, 25, 50, 75 and 100 and x up to 4, from simulations; the table is
in ``data/uhlenbeck-ford.json``.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import HBAR

#: Largest difference between the spline of this module and the published values (in units of N k_B T).
TABLE_ERROR_KT = 2e-4


def reduced_density(sigma_A: float, density_per_A3: float) -> float:
    """Return the reduced density x = ρ (πσ²)^{3/2} / 2.

    Examples
    --------
    >>> round(reduced_density(1.5, 0.05), 3)
    0.47
    """
    return float(density_per_A3 * (np.pi * sigma_A**2) ** 1.5 / 2)


def sigma_A(reduced_density: float, density_per_A3: float) -> float:
    """Return the length σ (Å) at which a liquid of a number density (1/Å³) has a reduced density.

    Examples
    --------
    >>> round(sigma_A(0.47, 0.05), 3)
    1.5
    """
    return float((2 * reduced_density / density_per_A3) ** (1 / 3) / np.sqrt(np.pi))


def second_virial(p: float) -> float:
    """Return the second virial coefficient in units of b, which is 1 for p = 1."""

    def mayer(r: float) -> float:
        return float(-np.expm1(p * np.log1p(-np.exp(-(r**2)))) * r**2) if r > 0 else 0.0

    return float(2 * np.pi * quad(mayer, 0, 10, epsabs=1e-12, limit=200)[0] / (np.pi**1.5 / 2))


def excess_free_energy(reduced_density: ArrayLike, p: float = 50.0) -> np.ndarray:
    """Return the excess free energy over an ideal gas, in units of N k_B T, at reduced densities of any shape.

    F/x is interpolated by a cubic spline between the published values and its exact limit for x → 0, the second virial
    coefficient. It reproduces all published values within :data:`TABLE_ERROR_KT`.

    Raises
    ------
    InvalidInputError
        If p is none of the published factors, or a reduced density is outside of the table.

    Examples
    --------
    >>> round(float(excess_free_energy(0.5, p=50)), 3)
    10.158
    """
    spline, largest = _table(float(p))
    x = np.asarray(reduced_density, dtype=float)
    if not ((x >= 0) & (x <= largest)).all():
        raise InvalidInputError(f"reduced_density must be between 0 and {largest:g}; got {x.tolist()}")
    return np.asarray(x * spline(x))


def largest_reduced_density(p: float = 50.0) -> float:
    """Return the largest reduced density at which the free energy was published.

    Raises
    ------
    InvalidInputError
        If p is none of the published factors.
    """
    return _table(float(p))[1]


def ideal_gas_free_energy_eV(masses: ArrayLike, kinds: ArrayLike, volume_A3: float, temperature_K: float) -> float:
    """Return F of an ideal gas in the limit of many atoms (eV): k_B T Σ_a N_a [ln(N_a Λ_a³ / V) − 1].

    Λ_a is the thermal wavelength h / √(2π m_a k_B T), as in the free energy of an Einstein crystal
    (:func:`~alchemflows.free_energy.einstein.einstein_free_energy_eV`), so that both can be compared.

    Parameters
    ----------
    masses
        Masses in atomic mass units, shape (N,).
    kinds
        Kind of each atom, shape (N,); atoms of one kind are indistinguishable.
    volume_A3, temperature_K
        Volume (Å³) and temperature (K).
    """
    kT = units.kB * temperature_K
    m, labels = np.asarray(masses, dtype=float), np.asarray(kinds)
    wavelengths = np.sqrt(2 * np.pi * HBAR**2 / (m * kT))
    numbers = np.array([(labels == label).sum() for label in labels])
    return float(kT * (np.log(numbers * wavelengths**3 / volume_A3) - 1).sum())


@lru_cache
def _table(p: float) -> tuple[CubicSpline, float]:
    """Return F/(N k_B T x) as a function of the reduced density x, and the largest x.

    Raises
    ------
    InvalidInputError
        If there is no table for p.
    """
    content = json.loads((files("alchemflows") / "data" / "uhlenbeck-ford.json").read_text())
    tables = {float(key): values for key, values in content["excess_free_energies"].items()}
    if p not in tables:
        raise InvalidInputError(f"p must be one of {', '.join(f'{known:g}' for known in tables)}; got {p:g}")
    x = np.array(content["reduced_densities"])
    return CubicSpline([0.0, *x], [second_virial(p), *(np.array(tables[p]) / x)]), float(x[-1])
