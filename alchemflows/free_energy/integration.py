"""Thermodynamic integration (TI): integrate ⟨dU/dλ⟩ over a ladder, and estimate the error of the quadrature rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial

import numpy as np
from scipy.interpolate import CubicSpline

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.decorrelation import Decorrelated
from alchemflows.free_energy.errors import Variance, correlated_variance
from alchemflows.free_energy.ladders import trapezoid_weights

#: Number of nearest windows whose energies are used for the curvature of U in λ.
N_NEAREST = 3


@dataclass(frozen=True)
class Integral:
    """Result of TI over K windows (eV).

    Attributes
    ----------
    value_eV
        ΔF, the integral of ⟨dU/dλ⟩.
    statistical_eV
        Standard error due to the finite number of samples.
    discretisation_eV
        Error of the quadrature rule, from its differences to other rules; 0 for a given quadrature, infinite for two
        windows.
    means_eV, slopes_eV
        ⟨dU/dλ⟩ and its slope d⟨dU/dλ⟩/dλ, each of shape (K,).
    weights, slope_weights
        Quadrature weights of means and slopes, each of shape (K,).
    """

    value_eV: float
    statistical_eV: float
    discretisation_eV: float
    means_eV: np.ndarray
    slopes_eV: np.ndarray
    weights: np.ndarray
    slope_weights: np.ndarray

    @property
    def error_eV(self) -> float:
        """Standard error, including the error of the quadrature rule."""
        return float(np.hypot(self.statistical_eV, self.discretisation_eV))


def integrate(
    lambdas: Sequence[float], windows: Sequence[Decorrelated], beta: float, quadrature: Sequence[float] | None = None
) -> Integral:
    """Integrate ⟨dU/dλ⟩ over a ladder, by the corrected trapezoid rule unless a quadrature is given.

    Parameters
    ----------
    lambdas
        λ of the K windows, increasing.
    windows
        Independent samples of each window.
    beta
        1 / k_B T (1/eV).
    quadrature
        Quadrature weights of ⟨dU/dλ⟩, shape (K,).

    Raises
    ------
    InvalidInputError
        If the number of quadrature weights is not K.
    """
    means = np.array([window.dudl_eV.mean() for window in windows])
    weights = trapezoid_weights(lambdas) if quadrature is None else np.asarray(quadrature, dtype=float)
    if weights.shape != means.shape:
        raise InvalidInputError(
            f"quadrature: one quadrature weight is needed for each of the {len(lambdas)} windows; got {len(weights)}"
        )
    slope_weights = slope_correction_weights(lambdas) if quadrature is None else np.zeros(len(lambdas))
    slopes, influences = _slopes(lambdas, windows, beta)
    return Integral(
        value_eV=float(weights @ means + slope_weights @ slopes),
        statistical_eV=_variance(windows, weights, slope_weights, influences).error,
        discretisation_eV=_discretisation(lambdas, windows, slopes, influences) if quadrature is None else 0.0,
        means_eV=means,
        slopes_eV=slopes,
        weights=weights,
        slope_weights=slope_weights,
    )


def slope_correction_weights(lambdas: Sequence[float]) -> np.ndarray:
    """Return the quadrature weights of the slopes f′ in the corrected trapezoid rule, shape (K,).

    The rule is ∫f = Σ h (f_k + f_{k+1})/2 − h²/12 (f′_{k+1} − f′_k), which is exact for cubic f (Davis & Rabinowitz,
    Methods of Numerical Integration, 1984, 2.1.6). On an even grid only the slopes at the two ends contribute.
    """
    squares = np.diff(lambdas) ** 2 / 12
    return np.append(squares, 0.0) - np.insert(squares, 0, 0.0)


def _slopes(
    lambdas: Sequence[float], windows: Sequence[Decorrelated], beta: float
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return d⟨dU/dλ⟩/dλ of each window, and m times the influence of each of its m samples on it."""
    slopes, influences = np.empty(len(windows)), []
    for k, window in enumerate(windows):
        curvature, dudl = _curvature(lambdas, k, window), window.dudl_eV
        m = len(dudl)
        squares = (dudl - dudl.mean()) ** 2 * m / max(m - 1, 1)
        each = curvature - beta * squares
        slopes[k] = each.mean()
        influences.append(each - slopes[k])
    return slopes, influences


def _curvature(lambdas: Sequence[float], k: int, window: Decorrelated) -> np.ndarray:
    """Return d²U/dλ² of each sample at the λ of its window, from dU/dλ and the energies at the nearest windows.

    It follows from U(λ + h) − U(λ) = h U′ + h²/2 U″ + ..., with one term beyond U′ for each of the nearest windows.
    """
    offsets = np.asarray(lambdas, dtype=float) - lambdas[k]
    nearest = np.argsort(np.abs(offsets), kind="stable")[1 : 1 + N_NEAREST]
    h = offsets[nearest]
    beyond = window.gaps_eV[:, nearest] - h * window.dudl_eV[:, None]
    powers = np.stack([h**j / factorial(j) for j in range(2, 2 + len(h))], axis=1)
    return beyond @ np.linalg.inv(powers)[0]


def _variance(
    windows: Sequence[Decorrelated], weights: np.ndarray, slope_weights: np.ndarray, slopes: Sequence[np.ndarray]
) -> Variance:
    """Return the statistical variance of TI (eV²)."""
    parts = [
        (weights[k] * window.dudl_eV + slope_weights[k] * slopes[k]) / len(window.dudl_eV)
        for k, window in enumerate(windows)
        if weights[k] or slope_weights[k]
    ]
    if min(len(part) for part in parts) < 2:  # one sample does not give a variance
        return Variance(float("nan"), 1.0)
    return correlated_variance(parts)


def _discretisation(
    lambdas: Sequence[float], windows: Sequence[Decorrelated], slopes: np.ndarray, influences: Sequence[np.ndarray]
) -> float:
    """Return the error of the corrected trapezoid rule (eV), from its differences to other rules on the same windows.

    The other rules are the integral of a cubic spline through the means, and the corrected trapezoid rule with every
    second window. The difference to the latter is divided by 7, which is Richardson extrapolation for an error of third
    order in the spacing (the fourth order is reached only for small spacings). If the number of windows is even, the
    windows are selected from either end. The error is the largest difference, after subtraction of the variance due to
    noise from its square.
    """
    if len(lambdas) < 3:
        return float("inf")
    last, n = len(lambdas) - 1, len(lambdas)
    means = np.array([window.dudl_eV.mean() for window in windows])
    whole = _corrected_trapezoid(lambdas, range(n))
    spline = np.array(CubicSpline(lambdas, np.eye(n)).integrate(lambdas[0], lambdas[-1])), np.zeros(n)
    grids = [[*range(0, last, 2), last]]
    if last % 2:
        grids.append([0, *range(1, last + 1, 2)])
    found = 0.0
    for other, scale in [(spline, 1.0), *((_corrected_trapezoid(lambdas, grid), 7.0) for grid in grids)]:
        on_means, on_slopes = ((mine - theirs) / scale for mine, theirs in zip(whole, other, strict=True))
        noise = _variance(windows, on_means, on_slopes, influences).value
        found = max(found, float(on_means @ means + on_slopes @ slopes) ** 2 - noise)
    return float(np.sqrt(found))


def _corrected_trapezoid(lambdas: Sequence[float], windows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the quadrature weights of means and slopes for a rule that uses some of the windows, each shape (K,)."""
    some, grid = list(windows), [lambdas[k] for k in windows]
    on_means, on_slopes = np.zeros(len(lambdas)), np.zeros(len(lambdas))
    on_means[some], on_slopes[some] = trapezoid_weights(grid), slope_correction_weights(grid)
    return on_means, on_slopes
