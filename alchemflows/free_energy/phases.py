"""Stability of phases: transition temperatures and ideal mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError

#: Number of random draws for the uncertainty of a transition temperature.
N_DRAWS = 2000


@dataclass(frozen=True)
class Transition:
    """Transition between two phases, where ΔG = G_second − G_first is zero.

    Attributes
    ----------
    temperature_K, error_K
        Transition temperature and its standard error (half of the interval that contains 68 % of the draws); None if it
        is not between the given temperatures.
    slope_eV_per_K
        dΔG/dT = −ΔS at the transition.
    probability
        Fraction of the draws (within the errors of ΔG) with a transition between the given temperatures.
    """

    temperature_K: float | None
    error_K: float | None
    slope_eV_per_K: float | None
    probability: float


def transition(temperatures_K: Sequence[float], delta_g_eV: ArrayLike, errors_eV: ArrayLike) -> Transition:
    """Find the transition temperature of two phases from a polynomial fit of ΔG(T).

    The polynomial is a straight line (constant ΔS) for two temperatures and a parabola (ΔS and ΔC_p) for more. Each ΔG
    has the statistical weight 1/(σ² + ⟨σ²⟩).

    Parameters
    ----------
    temperatures_K
        Temperatures, at least two different ones, shape (n,).
    delta_g_eV, errors_eV
        G_second − G_first and standard errors, shape (n,).

    Raises
    ------
    InvalidInputError
        If there are fewer than two temperatures or an error is not positive.
    """
    t, y, sigma = (np.asarray(v, dtype=float) for v in (temperatures_K, delta_g_eV, errors_eV))
    if len(set(t.tolist())) < 2:
        raise InvalidInputError(f"temperatures_K: a transition needs at least two temperatures; got {t.tolist()}")
    if not (sigma > 0).all():
        raise InvalidInputError(f"errors_eV: standard errors must be positive; got {sigma.tolist()}")
    degree = 1 if len(set(t.tolist())) == 2 else 2
    centre, width = t.mean(), np.ptp(t)
    x = (t - centre) / width
    # Errors from few switches are noisy; statistical weights of 1/σ² would favour errors that are small by chance.
    weights = 1 / np.sqrt(sigma**2 + np.mean(sigma**2))
    fit = np.linalg.pinv(weights[:, None] * np.vander(x, degree + 1)) * weights
    noise = sigma * np.random.default_rng(0).normal(size=(N_DRAWS, len(t)))
    best, draws = _zeros(fit @ y[:, None]), _zeros(fit @ (y + noise).T)
    inside = [np.where((each >= x.min()) & (each <= x.max()), each, np.nan) for each in (best, draws)]
    probability = float(np.isfinite(inside[1]).any(axis=0).mean())
    zero = _nearest(inside[0], 0.0)[0]
    if not np.isfinite(zero):
        return Transition(None, None, None, probability)
    # Zeros outside the given temperatures are included, since the error would otherwise be too small near their ends.
    low, high = np.nanquantile(_nearest(draws, zero), [NormalDist().cdf(-1), NormalDist().cdf(1)])
    slope = np.polyval(np.polyder((fit @ y[:, None])[:, 0]), zero) / width
    return Transition(float(centre + width * zero), float(width * (high - low) / 2), float(slope), probability)


def _zeros(coefficients: np.ndarray) -> np.ndarray:
    """Return the real zeros of n polynomials of first or second degree, shape (1 or 2, n); NaN if there is none.

    The coefficients have the shape (2 or 3, n), with the highest power first.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(coefficients) == 2:
            return -coefficients[1:] / coefficients[:1]
        a, b, c = coefficients
        # The formula with −b ± √(b² − 4ac) would lose digits for small a.
        sum_ = -(b + np.copysign(np.sqrt(b**2 - 4 * a * c), b)) / 2
        zeros = np.stack([sum_ / a, c / sum_])
    return np.where(np.isfinite(zeros), zeros, np.nan)


def _nearest(zeros: np.ndarray, place: float) -> np.ndarray:
    """Return the value closest to `place` in each column; NaN if the column has none."""
    distance = np.where(np.isnan(zeros), np.inf, np.abs(zeros - place))
    return np.take_along_axis(zeros, distance.argmin(axis=0)[None], axis=0)[0]


def ideal_mixing_eV(fractions: Sequence[Sequence[float]], n_sites: Sequence[int], temperature_K: float) -> float:
    """Return −T S of ideal mixing (eV), k_B T Σ_groups n Σ_e x_e ln x_e.

    Weights that sum to less than 1 imply vacancies.

    Parameters
    ----------
    fractions
        Weights of the channels, one sequence for each site group.
    n_sites
        Number of sites of each group.
    temperature_K
        Temperature (K).
    """
    total = 0.0
    for group, sites in zip(fractions, n_sites, strict=True):
        x = np.array([*group, max(0.0, 1.0 - sum(group))])
        x = x[x > 1e-12]
        total += sites * float((x * np.log(x)).sum())
    return float(units.kB * temperature_K * total)
