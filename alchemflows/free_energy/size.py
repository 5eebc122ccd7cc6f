"""Extrapolate free energies of small cells to an infinite crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.reasons import Reason

#: A fit with a larger χ² per degree of freedom does not describe its points.
MAX_CHI_SQUARED = 4.0


@dataclass(frozen=True)
class Limit:
    """Limit of a value per atom for 1/N → 0, its standard error, and the reduced χ² of the fit (None for two sizes)."""

    limit: float
    error: float
    chi_squared_per_degree: float | None

    @property
    def reasons(self) -> list[str]:
        """What speaks against the limit."""
        if self.chi_squared_per_degree is None or self.chi_squared_per_degree <= MAX_CHI_SQUARED:
            return []
        return [Reason.SIZES.because(chi_squared=self.chi_squared_per_degree)]


def logarithmic_term_eV_per_atom(n_atoms: ArrayLike, temperature_K: float) -> np.ndarray:
    """Return −½ k_B T ln N / N (eV/atom), the leading finite-size term of F/N of a periodic crystal.

    ln ω of the three acoustic branches diverges as ln |k| at k = 0, and a mesh of N points without k = 0 adds
    k_B T ln N to k_B T Σ ln ω. The centre of mass, which is free in the volume of a primitive cell, adds
    −(3/2) k_B T ln N through its thermal wavelength. The next terms are of order 1/N and N^(−5/3) (Hoover, J. Chem.
    Phys. 49, 1981, 1968, and Polson, Trizac, Pronk & Frenkel, J. Chem. Phys. 112, 5339, 2000, for the excess over an
    ideal gas, which has different terms). In d dimensions the term is (1 − d/2) k_B T ln N.

    Parameters
    ----------
    n_atoms
        Numbers of atoms N. Numbers of primitive cells or formula units instead would change only the term in 1/N.
    temperature_K
        Temperature (K).
    """
    n = np.asarray(n_atoms, dtype=float)
    return -0.5 * units.kB * temperature_K * np.log(n) / n


def extrapolate(
    n_atoms: Sequence[float], values: Sequence[float], errors: Sequence[float], temperature_K: float
) -> Limit:
    """Fit F/N or G/N of a crystal by its known logarithmic term plus a straight line in 1/N, weighted by the errors.

    Parameters
    ----------
    n_atoms
        Numbers of atoms, at least two different ones.
    values, errors
        Values and standard errors (eV/atom).
    temperature_K
        Temperature (K), for :func:`logarithmic_term_eV_per_atom`.

    Raises
    ------
    InvalidInputError
        If there is only one size, or an error is not positive.
    """
    return straight_line(n_atoms, np.asarray(values) - logarithmic_term_eV_per_atom(n_atoms, temperature_K), errors)


def straight_line(n_atoms: Sequence[float], values: ArrayLike, errors: Sequence[float]) -> Limit:
    """Fit values by a straight line in 1/N, weighted by their errors.

    Parameters
    ----------
    n_atoms
        Numbers of atoms, at least two different ones.
    values, errors
        Values per atom and their standard errors.

    Raises
    ------
    InvalidInputError
        If there is only one size, or an error is not positive.
    """
    if len(set(n_atoms)) < 2:
        raise InvalidInputError(f"n_atoms: an extrapolation needs at least two cell sizes; got {list(n_atoms)} atoms")
    if not (np.asarray(errors) > 0).all():
        raise InvalidInputError(f"errors: standard errors must be positive; got {np.asarray(errors).tolist()}")
    x, weights = 1 / np.asarray(n_atoms, dtype=float), 1 / np.asarray(errors) ** 2
    y = np.asarray(values, dtype=float)
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    fit = covariance @ (design.T @ (weights * y))
    degrees = len(x) - 2
    chi_squared = float((weights * (y - design @ fit) ** 2).sum())
    return Limit(float(fit[0]), float(np.sqrt(covariance[0, 0])), chi_squared / degrees if degrees > 0 else None)
