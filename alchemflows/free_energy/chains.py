"""Averages over several correlated chains of the same distribution, and whether these chains agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import f, t

from alchemflows.free_energy.errors import Variance, correlated_variance

#: If noise alone causes the scatter between chains with less than this probability, the error is that of the scatter.
CHANCE_OF_SCATTER = 0.01
#: Samples whose range is below this fraction of their size are equal up to rounding.
_ROUNDING = 1e-12

#: Estimates a number from the samples of all chains, shape (n, d) each. It returns the number and the influence of each
#: sample, shape (n,) for each chain: the number changes by the mean influence of samples that are added.
Statistic = Callable[[Sequence[np.ndarray]], tuple[float, list[np.ndarray]]]


@dataclass(frozen=True)
class ChainEstimate:
    """A number estimated from several chains.

    Attributes
    ----------
    value
        The number.
    variance
        Variance of the estimate.
    n_independent
        Number of independent samples; 0 if all samples are equal.
    """

    value: float
    variance: Variance
    n_independent: float

    @property
    def error(self) -> float | None:
        """Standard error; None if all samples are equal, or it is not finite."""
        error = self.variance.error
        return error if self.n_independent and np.isfinite(error) else None


def mean_of(chains: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Return the mean over all samples of chains of shape (n, 1); a :data:`Statistic`."""
    value = float(np.concatenate(chains).mean())
    return value, [chain[:, 0] - value for chain in chains]


def variance_of(chains: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """Return the variance over all samples of chains of shape (n, 1), corrected for correlations in time.

    The mean square deviation from the mean of the samples is on average smaller than the variance, by the factor
    1 − 1/m for m independent samples.
    """
    mean, deviations = mean_of(chains)
    squares = [deviation**2 for deviation in deviations]
    raw = float(np.concatenate(squares).mean())
    uncertain = correlated_variance([deviation / sum(map(len, chains)) for deviation in deviations]).value
    factor = 1 / (1 - min(0.5, uncertain / raw)) if raw > (_ROUNDING * mean) ** 2 else 1.0
    return factor * raw, [factor * (square - raw) for square in squares]


def chain_estimate(
    chains: Sequence[np.ndarray], statistic: Statistic = mean_of, *, exchanged: bool = False
) -> ChainEstimate:
    """Return a number estimated from chains that sample one distribution, with its error.

    There are two estimates of the variance. The first is that of correlated samples within the chains (Γ-method,
    :func:`~alchemflows.free_energy.errors.correlated_variance`), with the influence of each sample on the number
    (infinitesimal jackknife). The second is that of the jackknife over the R chains, (R − 1)/R Σ (θ₋ᵣ − θ)², where
    θ₋ᵣ is estimated without chain r. Their mean is used, weighted by their degrees of freedom. If the second is larger
    than noise explains, for example if the chains do not leave the states in which they started, it is used alone, with
    its R − 1 degrees of freedom.

    Parameters
    ----------
    chains
        Samples of each chain in the order of time, shape (n,) or (n, d).
    statistic
        What is estimated; by default the mean.
    exchanged
        Whether the chains exchanged configurations, so that they are not independent. They must then have equal
        lengths. The influences of all chains are added at each time, which includes the correlations between chains,
        and the scatter between chains is not considered.

    Examples
    --------
    >>> import numpy as np
    >>> from alchemflows.free_energy.chains import chain_estimate
    >>> found = chain_estimate(list(np.random.default_rng(0).normal(size=(4, 250))))
    >>> 0.025 < found.error < 0.045
    True
    """
    chains = [chain.reshape(len(chain), -1).astype(float) for chain in chains]
    value, influences = statistic(chains)
    if not np.isfinite(value):
        return ChainEstimate(value, Variance(np.nan, 1.0), 0.0)
    total = sum(map(len, chains))
    everything = np.concatenate(influences)
    parts = [np.sum(influences, axis=0)] if exchanged else influences
    within = correlated_variance([part / total for part in parts])
    size = max(abs(value), max(float(np.abs(chain).max()) for chain in chains))
    if np.ptp(everything) <= _ROUNDING * size:
        return ChainEstimate(value, replace(within, value=0.0), 0.0)
    variance = within
    if len(parts) > 1:
        others = [statistic([*chains[:r], *chains[r + 1 :]])[0] for r in range(len(chains))]
        degrees = len(chains) - 1
        between = degrees / len(chains) * float(np.sum((np.array(others) - value) ** 2))
        noise = f.sf(between / within.value, degrees, within.degrees_of_freedom) if within.value > 0 else 0.0
        if noise >= CHANCE_OF_SCATTER:
            own = within.degrees_of_freedom
            pooled = (own * within.value + degrees * between) / (own + degrees)
            variance = Variance(pooled, own + degrees, within.window)
        else:
            variance = Variance(between, degrees)
    n_independent = float(everything.var()) / variance.value if variance.value > 0 else 1.0
    return ChainEstimate(value, variance, float(np.clip(n_independent, 1.0, total)))


def chance_of_difference(first: ChainEstimate, second: ChainEstimate) -> float:
    """Return the probability that noise alone makes two estimates differ by at least this much (Welch's test)."""
    difference = abs(first.value - second.value)
    variances = [each.variance for each in (first, second)]
    total = sum(each.value for each in variances)
    if not total > 0:
        return float(difference <= _ROUNDING * max(abs(first.value), abs(second.value)))
    degrees = total**2 / sum(each.value**2 / max(1.0, each.degrees_of_freedom) for each in variances)
    return float(2 * t.sf(difference / np.sqrt(total), degrees))
