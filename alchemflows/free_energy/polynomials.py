"""Polynomials fitted along a path, with errors that include what the polynomials miss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alchemflows.free_energy.errors import independent_variance, shared_errors

#: Lowest degree of a polynomial.
MIN_DEGREE = 2


@dataclass(frozen=True)
class FittedPolynomial:
    """Fitted polynomial as linear combinations of the data: its coefficients are `solution` @ data."""

    solution: np.ndarray
    scale: float

    @property
    def degree(self) -> int:
        """Degree of the polynomial."""
        return len(self.solution) - 1

    @classmethod
    def fitted(cls, x: np.ndarray, weights: np.ndarray, degree: int) -> FittedPolynomial:
        """Return the polynomial of a degree fitted to data at x with weights, each of shape (data,)."""
        scale = float(np.abs(x).max())
        matrix = np.vander(x / scale, degree + 1, increasing=True)
        return cls(np.linalg.pinv(weights[:, None] * matrix) * weights, scale)

    def at(self, x: np.ndarray) -> np.ndarray:
        """Return the factors of the data for the polynomial at x, shape (k, data)."""
        return np.vander(x / self.scale, len(self.solution), increasing=True) @ self.solution

    def derivative(self, x: np.ndarray) -> np.ndarray:
        """Return the factors of the data for the derivative at x, shape (k, data)."""
        powers = np.arange(1, len(self.solution))
        matrix = powers * np.vander(x / self.scale, len(self.solution) - 1, increasing=True)
        return matrix @ self.solution[1:] / self.scale


def fitted(
    combined: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], rows: np.ndarray, more: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return results of a fit and their errors, which include changes by one more degree that are beyond chance.

    Twice the variance of chance is subtracted from the squared change, so that 84 % of the errors of a sufficient
    polynomial stay what they are.

    Parameters
    ----------
    combined
        Function that returns linear combinations of the data and their standard errors.
    rows, more
        Factors of the data for the results of the fit, and for those of the fit of the next degree, shape (k, m).
    """
    values, errors = combined(rows)
    change, by_chance = combined(more - rows)
    return values, np.sqrt(errors**2 + np.maximum(0.0, change**2 - 2 * by_chance**2))


class SwitchAverages:
    """Averages over the steps of switches along a path, from both directions, described by a parabola.

    Parameters
    ----------
    by_switch
        Average of each forward and each backward switch between successive points of the path, two arrays of shape
        (n, data).
    x
        Place of each average, shape (data,).
    weights
        Weights of the averages in the fit, shape (data,).
    """

    def __init__(self, by_switch: tuple[np.ndarray, np.ndarray], x: np.ndarray, weights: np.ndarray) -> None:
        self._parts = tuple(each / (2 * len(each)) for each in by_switch)
        self.fits = tuple(FittedPolynomial.fitted(x, weights, degree) for degree in (MIN_DEGREE, MIN_DEGREE + 1))

    def combined(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return linear combinations of the averages with factors of shape (k, data), and their standard errors."""
        errors = [independent_variance([part @ row for part in self._parts]).error for row in rows]
        return rows @ sum(part.sum(axis=0) for part in self._parts), np.array(errors)

    def at(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the values at x and their standard errors, shapes (k,)."""
        return fitted(self.combined, *(fit.at(x) for fit in self.fits))

    def shares(self, x: np.ndarray, errors: np.ndarray) -> np.ndarray:
        """Return what each switch adds to the errors of the values at x, shape (2n, k)."""
        return shared_errors([part @ self.fits[0].at(x).T for part in self._parts], errors)
