"""Free energies of a large crystal from those of small cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError

#: A fit with a larger χ² per degree of freedom does not describe its points.
MAX_CHI_SQUARED = 4.0


@dataclass(frozen=True)
class Limit:
    """Limit of a value per atom for 1/N → 0, its standard error, and how well the line fits (None: two cells)."""

    limit: float
    error: float
    chi_squared_per_degree: float | None

    @property
    def reasons(self) -> list[str]:
        """What speaks against the limit."""
        if self.chi_squared_per_degree is None or self.chi_squared_per_degree <= MAX_CHI_SQUARED:
            return []
        return [f"the cells do not lie on a line in 1/N: χ² per degree is {self.chi_squared_per_degree:.1f}"]


def logarithmic_term_eV_per_atom(n_atoms: ArrayLike, temperature_K: float) -> np.ndarray:
    """Return −½ k_B T ln N / N, the part of F/N of a periodic crystal that falls slowest with its size.

    The three acoustic branches go as ln |k| towards k = 0, and a mesh of N points without that one adds k_B T ln N to
    k_B T Σ ln ω. The centre of mass, free in the volume of a primitive cell, adds −(3/2) k_B T ln N, by its thermal
    wavelength. What is left falls as 1/N, and then as N^(−5/3) (Hoover, J. Chem. Phys. 49, 1981, 1968, and Polson,
    Trizac, Pronk & Frenkel, J. Chem. Phys. 112, 5339, 2000, for the excess over an ideal gas, whose own terms differ).
    In d dimensions the term is (1 − d/2) k_B T ln N.

    Parameters
    ----------
    n_atoms
        Sizes. Those of primitive cells, or formula units, would change the term in 1/N alone.
    temperature_K
        Temperature.
    """
    n = np.asarray(n_atoms, dtype=float)
    return -0.5 * units.kB * temperature_K * np.log(n) / n


def extrapolate(
    n_atoms: Sequence[float], values: Sequence[float], errors: Sequence[float], temperature_K: float
) -> Limit:
    """Fit F/N or G/N of a crystal by its logarithmic term, which is known, and a weighted straight line in 1/N.

    Parameters
    ----------
    n_atoms
        Sizes, at least two different ones.
    values, errors
        eV per atom, with standard errors.
    temperature_K
        Temperature, for :func:`logarithmic_term_eV_per_atom`.

    Raises
    ------
    InvalidInputError
        If there is only one size, or an error is not positive.
    """
    return straight_line(n_atoms, np.asarray(values) - logarithmic_term_eV_per_atom(n_atoms, temperature_K), errors)


def straight_line(n_atoms: Sequence[float], values: ArrayLike, errors: Sequence[float]) -> Limit:
    """Fit values by a weighted straight line in 1/N.

    Parameters
    ----------
    n_atoms
        Sizes, at least two different ones.
    values, errors
        With standard errors.

    Raises
    ------
    InvalidInputError
        If there is only one size, or an error is not positive.
    """
    if len(set(n_atoms)) < 2:
        raise InvalidInputError(f"cells of at least two sizes are needed; got {list(n_atoms)} atoms")
    if not (np.asarray(errors) > 0).all():
        raise InvalidInputError("every value needs a positive standard error")
    x, weights = 1 / np.asarray(n_atoms, dtype=float), 1 / np.asarray(errors) ** 2
    y = np.asarray(values, dtype=float)
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    fit = covariance @ (design.T @ (weights * y))
    degrees = len(x) - 2
    chi_squared = float((weights * (y - design @ fit) ** 2).sum())
    return Limit(float(fit[0]), float(np.sqrt(covariance[0, 0])), chi_squared / degrees if degrees > 0 else None)
