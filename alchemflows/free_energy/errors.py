"""Standard errors of sums over few samples and over correlated samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

#: Coverage of an interval of ndtri((1 + LEVEL) / 2) = 1.44 errors, which holds for any number of samples. It lies
#: between the coverages of one and two errors, so that both are close to those of a normal distribution.
LEVEL = 0.85
#: Parameter S of the automatic window of Wolff, the assumed ratio of decay time to integrated correlation time.
WINDOW = 1.5


@dataclass(frozen=True)
class Variance:
    """Estimated variance of an estimate.

    Attributes
    ----------
    value
        Variance, in the squared unit of the estimate.
    degrees_of_freedom
        Degrees of freedom of the χ² distribution that `value` approximately follows.
    window
        Largest lag at which correlations are included in the sum.
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

    A deviation relative to an error with ν degrees of freedom follows Student's t distribution. The factor is the ratio
    of the quantiles of t and of the normal distribution at :data:`LEVEL`: 2.89 for ν = 1, 1.34 for 3, 1.15 for 6, 1.03
    for 30.

    Parameters
    ----------
    degrees_of_freedom
        Degrees of freedom ν; values below 1 count as 1.
    """
    tail = (1 + LEVEL) / 2
    return float(stdtrit(max(1.0, degrees_of_freedom), tail) / ndtri(tail))


def error_of_mean(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of independent values; None if there are fewer than two."""
    n = len(values)
    if n < 2:
        return None
    return float(np.std(values, ddof=1) / np.sqrt(n)) * small_sample_factor(n - 1)


def independent_variance(parts: Sequence[np.ndarray]) -> Variance:
    """Return the variance of a sum over independent samples.

    Parameters
    ----------
    parts
        Contribution ψ of each sample to the estimate (its influence), one array for each set of samples from one
        distribution; a constant added to a set has no effect.

    Returns
    -------
    variance
        Σ n/(n − 1) Σ (ψ − ⟨ψ⟩)². Its degrees of freedom are the mean of two numbers: those of Welch (Biometrika 34, 28,
        1947), which are too small for few samples, and the sum of n − 1 over all sets.
    """
    counts = np.array([len(part) for part in parts])
    shares = np.array([len(part) * np.var(part, ddof=1) for part in parts])
    pooled = float((counts - 1).sum())
    return Variance(float(shares.sum()), (_welch(shares, counts - 1) + pooled) / 2)


def shared_errors(parts: Sequence[np.ndarray], errors: np.ndarray) -> np.ndarray:
    """Return what each independent sample adds to the errors of several sums over the same samples.

    The product of two columns, added over the samples, is the covariance of both sums.

    Parameters
    ----------
    parts
        Contributions of each sample to k sums (their influences), one array of shape (n, k) for each set of samples
        from one distribution.
    errors
        Standard errors of the sums, shape (k,). The scatter of the samples is scaled to them.

    Returns
    -------
    shares
        Shape (all samples, k), with the samples of one set after those of another.
    """
    spread = np.concatenate([np.sqrt(len(part) / (len(part) - 1)) * (part - part.mean(axis=0)) for part in parts])
    norms = np.sqrt((spread**2).sum(axis=0))
    return spread * np.divide(errors, norms, out=np.zeros(len(norms)), where=norms > 0)


def correlated_variance(parts: Sequence[np.ndarray], *, n_fitted: int = 0) -> Variance:
    """Return the variance of a sum over successive, correlated samples (the Γ-method).

    The autocovariances of all trajectories are added before they are summed over time, since each becomes pure noise
    beyond some lag, which is larger for more samples. The sum ends at the lag of the automatic window of Wolff and is
    corrected for the subtracted means (Wolff, Comput. Phys. Commun. 156, 143, 2004; eqs. 31, 49, 51).

    Parameters
    ----------
    parts
        Contribution of each sample to the estimate (its influence) in the order of time, one array for each of the
        independent trajectories; an added constant has no effect.
    n_fitted
        Number of parameters fitted to each trajectory besides its mean. They fit part of the noise and reduce its
        observed variance by the factor 1 − n_fitted/n, where n is the number of independent samples.
    """
    parts = [part - np.mean(part) for part in parts if len(part) > 1]
    counts = np.array([len(part) for part in parts], dtype=float)
    zero = np.array([float(part @ part) for part in parts])
    total = zero.sum()
    if not total > 0:  # all samples are equal, or a sample is NaN
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


def sum_of_variances(parts: Sequence[Variance]) -> Variance:
    """Return the variance of a sum of independent estimates (degrees of freedom by Welch–Satterthwaite)."""
    shares, degrees = (np.array([getattr(part, name) for part in parts]) for name in ("value", "degrees_of_freedom"))
    return Variance(float(shares.sum()), _welch(shares, degrees))


def _window_ends(inefficiency: float, window: int, n_samples: float) -> bool:
    """Return whether noise exceeds the contribution of correlations at larger lags (eqs. 51 and 52 of Wolff)."""
    if inefficiency <= 1:  # no correlations
        return True
    tau = WINDOW / np.log((inefficiency + 1) / (inefficiency - 1))
    return bool(np.exp(-window / tau) < tau / np.sqrt(window * n_samples))


def _welch(shares: np.ndarray, degrees: np.ndarray) -> float:
    """Return the degrees of freedom of a sum of variances (Welch–Satterthwaite)."""
    total = shares.sum()
    return float(total**2 / (shares**2 / degrees).sum()) if total > 0 else float(degrees.sum())
