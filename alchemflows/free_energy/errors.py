"""Standard errors of sums over correlated and over few samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

#: Share of cases in which the exact value lies within norm.ppf((1 + LEVEL) / 2) = 1.44 errors, whatever the number of
#: samples. It is between the shares of one and of two errors, so that both are near those of a normal distribution.
LEVEL = 0.85
#: S of Wolff's automatic window: the summed correlations decay S times as fast as they are integrated.
WINDOW = 1.5


@dataclass(frozen=True)
class Variance:
    """Variance of an estimate, itself estimated.

    Attributes
    ----------
    value
        In the unit of the estimate, squared.
    degrees_of_freedom
        Of the χ² distribution that `value` follows, about.
    window
        Lag up to which correlations were summed.
    """

    value: float
    degrees_of_freedom: float
    window: int = 0

    @property
    def error(self) -> float:
        """Standard error, enlarged by :func:`small_sample_factor`."""
        return float(np.sqrt(self.value)) * small_sample_factor(self.degrees_of_freedom)


def small_sample_factor(degrees_of_freedom: float) -> float:
    """Return the factor by which an error from few samples is enlarged.

    A deviation in units of an error from ν degrees of freedom follows Student's t. The factor is the ratio of the
    quantiles of t and of the normal distribution at :data:`LEVEL`: 2.89 for ν = 1, 1.34 for 3, 1.15 for 6, 1.03 for 30.

    Parameters
    ----------
    degrees_of_freedom
        ν; below 1 it counts as 1.
    """
    tail = (1 + LEVEL) / 2
    return float(t.ppf(tail, max(1.0, degrees_of_freedom)) / norm.ppf(tail))


def error_of_mean(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of a few independent values; None of one value."""
    n = len(values)
    if n < 2:
        return None
    return float(np.std(values, ddof=1) / np.sqrt(n)) * small_sample_factor(n - 1)


def independent_variance(parts: Sequence[np.ndarray]) -> Variance:
    """Return the variance of a sum over independent samples.

    Parameters
    ----------
    parts
        What each sample adds to the estimate (its influence), an array for each set of samples that follow one
        distribution; a constant in a set does not matter.

    Returns
    -------
    variance
        Σ n/(n − 1) Σ (ψ − ⟨ψ⟩)². Its degrees of freedom are half-way between those of Welch (Biometrika 34, 28, 1947),
        which few samples make too small, and n − 1 of all sets.
    """
    counts = np.array([len(part) for part in parts])
    shares = np.array([len(part) * np.var(part, ddof=1) for part in parts])
    pooled = float((counts - 1).sum())
    return Variance(float(shares.sum()), (_welch(shares, counts - 1) + pooled) / 2)


def correlated_variance(parts: Sequence[np.ndarray], *, n_fitted: int = 0) -> Variance:
    """Return the variance of a sum over samples that follow one another in time (the Γ-method).

    The autocovariances of all parts are added before they are summed over time: each is noise from a lag on that is
    the larger, the more samples there are. The sum ends at the lag of Wolff's automatic window, and is corrected for
    the means that were subtracted (Wolff, Comput. Phys. Commun. 156, 143, 2004; eqs. 31, 49, 51).

    Parameters
    ----------
    parts
        What each sample adds to the estimate (its influence), in the order of time, an array for each of the
        trajectories, which are independent of one another; constants do not matter.
    n_fitted
        Parameters that were fitted to each trajectory besides its mean: they follow its noise, which lowers what is
        seen of it by 1 − n_fitted/n, n the number of its independent samples.
    """
    parts = [part - np.mean(part) for part in parts if len(part) > 1]
    counts = np.array([len(part) for part in parts], dtype=float)
    zero = np.array([float(part @ part) for part in parts])
    total = zero.sum()
    if not total > 0:  # nothing varies, or is a number
        return Variance(float(total), float((counts - 1).sum()) if len(counts) else 1.0)
    length = total / (zero / counts).sum()
    n_effective = total**2 / (zero**2 / counts).sum()
    summed, window = total, 0
    while window < max(1, int(length / 4)) - (length < 4):
        window += 1
        summed += 2 * sum(
            float(part[:-window] @ part[window:]) * len(part) / (len(part) - window)
            for part in parts
            if len(part) > window
        )
        if _window_ends(summed / total, window, n_effective):
            break
    width = 2 * window + 1
    value = max(summed, total / counts.max()) / max(1 - width / length, 0.25)
    value /= max(1 - n_fitted * max(1.0, value / total) / length, 0.5)
    return Variance(float(value), _welch(zero, np.maximum(counts / width - 1, 1.0)), window)


def _window_ends(inefficiency: float, window: int, n_samples: float) -> bool:
    """Whether noise outweighs what later correlations would add, by Wolff's eqs. 51 and 52."""
    if inefficiency <= 1:  # no correlations
        return True
    tau = WINDOW / np.log((inefficiency + 1) / (inefficiency - 1))
    return bool(np.exp(-window / tau) < tau / np.sqrt(window * n_samples))


def _welch(shares: np.ndarray, degrees: np.ndarray) -> float:
    """Return the degrees of freedom of a sum of variances, by Welch and Satterthwaite."""
    total = shares.sum()
    return float(total**2 / (shares**2 / degrees).sum()) if total > 0 else float(degrees.sum())
