"""Thermodynamics of dilute point defects: concentrations, and formation entropies and enthalpies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.size import MAX_CHI_SQUARED
from alchemflows.schemas.reasons import Reason

#: Number of temperatures from which G_f(T) is fitted by a parabola; with fewer, by a straight line.
N_FOR_PARABOLA = 4


def ln_site_fraction(
    formation_eV: float, error_eV: float, temperature_K: float, degeneracy: float = 1.0
) -> tuple[float, float]:
    """Return ln c of the defect concentration c per site, and its standard error, for c/(1 − c) = g exp(−G_f / k_B T).

    This holds for non-interacting defects on sites that are either empty or occupied (Langmuir). For c ≪ 1 it becomes
    c = g exp(−G_f / k_B T).

    Parameters
    ----------
    formation_eV, error_eV
        Formation free energy G_f and its standard error.
    temperature_K
        Temperature (K).
    degeneracy
        Degeneracy g.
    """
    kT = units.kB * temperature_K
    ln_c = -float(np.logaddexp(0.0, formation_eV / kT - np.log(degeneracy)))
    return ln_c, float(-np.expm1(ln_c)) * error_eV / kT


def ln_schottky_units(
    schottky_eV: float,
    error_eV: float,
    temperature_K: float,
    stoichiometry: Sequence[int],
    sites_per_formula_unit: Sequence[float],
    degeneracies: Sequence[float],
) -> tuple[float, float]:
    """Return ln of the number of Schottky defects per formula unit, and its standard error.

    The law of mass action in the dilute limit is Π_i c_i^ν_i = Π_i g_i^ν_i exp(−G_S / k_B T). The crystal has no other
    defects than these vacancies, so c_i = s ν_i / m_i with s Schottky defects and m_i sites per formula unit.

    Parameters
    ----------
    schottky_eV, error_eV
        Free energy G_S of a Schottky defect of one formula unit, and its standard error.
    temperature_K
        Temperature (K).
    stoichiometry
        Number ν of atoms of each element in a formula unit.
    sites_per_formula_unit
        Number m of sites per formula unit on which the vacancy of each element can be.
    degeneracies
        Degeneracy g of each vacancy.
    """
    kT = units.kB * temperature_K
    nu, m, g = (np.asarray(v, dtype=float) for v in (stoichiometry, sites_per_formula_unit, degeneracies))
    ln_s = (float((nu * np.log(g * m / nu)).sum()) - schottky_eV / kT) / nu.sum()
    return float(ln_s), float(error_eV / kT / nu.sum())


def ln_frenkel_pairs(
    pair_eV: float,
    error_eV: float,
    temperature_K: float,
    interstitials_per_site: float,
    degeneracy: float = 1.0,
) -> tuple[float, float]:
    """Return ln of the number of Frenkel pairs per vacancy site, and its standard error.

    The law of mass action in the dilute limit is c_V c_I = g exp(−G_F / k_B T). Vacancies and interstitials are equally
    many, so c_I = c_V / α.

    Parameters
    ----------
    pair_eV, error_eV
        Free energy G_F of a separated pair, and its standard error.
    temperature_K
        Temperature (K).
    interstitials_per_site
        Number α of interstitial sites per vacancy site.
    degeneracy
        Product g of the degeneracies of vacancy and interstitial.
    """
    kT = units.kB * temperature_K
    return float(0.5 * (np.log(interstitials_per_site * degeneracy) - pair_eV / kT)), float(0.5 * error_eV / kT)


@dataclass(frozen=True)
class ThermalFit:
    """Entropy S = −dG/dT and enthalpy H = G + TS at each temperature with standard errors, shape (n,).

    `degree` is that of the fitted polynomial. `chi_squared_per_degree` measures the quality of the fit; it is None
    without a degree of freedom.
    """

    degree: int
    entropy_eV_per_K: np.ndarray
    entropy_error_eV_per_K: np.ndarray
    enthalpy_eV: np.ndarray
    enthalpy_error_eV: np.ndarray
    chi_squared_per_degree: float | None

    @property
    def reasons(self) -> list[str]:
        """What speaks against the fit."""
        if self.chi_squared_per_degree is None or self.chi_squared_per_degree <= MAX_CHI_SQUARED:
            return []
        curve, advice = {
            1: ("line", "use at least four temperatures"),
            2: ("parabola", "use a smaller range of temperatures"),
        }[self.degree]
        return [Reason.TEMPERATURES.because(curve=curve, chi_squared=self.chi_squared_per_degree, advice=advice)]


def thermal_fit(temperatures_K: ArrayLike, formation_eV: ArrayLike, errors_eV: ArrayLike) -> ThermalFit:
    """Fit G_f(T), weighted by its errors, by a straight line, or by a parabola with at least four temperatures.

    A straight line assumes that the entropy does not depend on temperature; any dependence is a bias of the result.

    Parameters
    ----------
    temperatures_K
        Temperatures, at least two different ones, shape (n,).
    formation_eV, errors_eV
        Formation free energies G_f and their independent standard errors, shape (n,).

    Raises
    ------
    InvalidInputError
        If there are fewer than two temperatures or an error is not positive.
    """
    t, g, sigma = (np.asarray(v, dtype=float) for v in (temperatures_K, formation_eV, errors_eV))
    if len(set(t.tolist())) < 2:
        raise InvalidInputError(f"temperatures_K: an entropy needs at least two temperatures; got {t.tolist()}")
    if not (sigma > 0).all():
        raise InvalidInputError(f"errors_eV: standard errors must be positive; got {sigma.tolist()}")
    degree = 2 if len(set(t.tolist())) >= N_FOR_PARABOLA else 1
    x = (t - t.mean()) / np.ptp(t)
    powers = np.arange(degree + 1)
    design = x[:, None] ** powers
    weighted = design / sigma[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    fit = covariance @ (weighted.T @ (g / sigma))
    slope = np.where(powers > 0, powers * x[:, None] ** np.maximum(powers - 1, 0), 0.0) / np.ptp(t)
    enthalpy = design - t[:, None] * slope

    def error(rows: np.ndarray) -> np.ndarray:
        return np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows))

    degrees = len(t) - degree - 1
    chi_squared = float((((g - design @ fit) / sigma) ** 2).sum())
    return ThermalFit(
        degree, -slope @ fit, error(slope), enthalpy @ fit, error(enthalpy), chi_squared / degrees if degrees else None
    )
