"""Averages over several chains: their errors are calibrated, and contain the scatter between chains."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from alchemflows.free_energy.chains import chain_estimate, chance_of_difference, mean_of, variance_of

#: Correlation of successive samples, and the exact mean and variance.
RHO, MEAN, VARIANCE = 0.8, -3.0, 4.0


def chains(n_chains: int, n_samples: int, seed: int = 0) -> np.ndarray:
    """Return stationary chains of normal numbers, shape (n_chains, n_samples)."""
    noise = np.random.default_rng(seed).normal(size=(n_chains, n_samples))
    noise[:, 1:] *= np.sqrt(1 - RHO**2)
    return MEAN + np.sqrt(VARIANCE) * lfilter([1], [1, -RHO], noise, axis=1)


@pytest.mark.parametrize(("statistic", "exact"), [(mean_of, MEAN), (variance_of, VARIANCE)], ids=["mean", "variance"])
@pytest.mark.parametrize("n_chains", [1, 2, 5])
def test_errors_are_calibrated(statistic, exact, n_chains):
    groups = chains(200 * n_chains, 600).reshape(200, n_chains, 600)
    found = [chain_estimate(list(group), statistic) for group in groups]
    deviations = np.array([(each.value - exact) / each.error for each in found])
    assert 0.55 < np.mean(np.abs(deviations) < 1) < 0.8 and 0.88 < np.mean(np.abs(deviations) < 2) < 0.99
    assert abs(deviations.mean()) < 0.25
    n_independent = n_chains * 600 * (1 - RHO) / (1 + RHO)  # for the mean; squares are correlated for a shorter time
    low, high = (0.8, 1.3) if statistic is mean_of else (1.2, 3)
    assert low < np.median([each.n_independent for each in found]) / n_independent < high


@pytest.mark.parametrize(("statistic", "exact"), [(mean_of, MEAN), (variance_of, VARIANCE)], ids=["mean", "variance"])
def test_errors_of_exchanged_chains_are_calibrated(statistic, exact):
    """Two replicas that exchange their configurations after each sample, and rarely with two others."""
    groups = chains(4 * 200, 400).reshape(200, 4, 400)
    rng = np.random.default_rng(1)
    order = np.tile(np.arange(4), (400, 1))
    for k in range(1, 400):
        order[k] = order[k - 1][[1, 0, 3, 2]]
        if rng.random() < 0.1:
            order[k] = order[k][[0, 2, 1, 3]]
    mixed = np.take_along_axis(groups, np.tile(order.T, (200, 1, 1)), axis=1)[:, :2]
    found = [chain_estimate(list(group), statistic, exchanged=True) for group in mixed]
    deviations = np.array([(each.value - exact) / each.error for each in found])
    assert 0.55 < np.mean(np.abs(deviations) < 1) < 0.8 and 0.88 < np.mean(np.abs(deviations) < 2) < 0.99
    ignored = [chain_estimate(list(group), statistic) for group in mixed]
    assert np.median([each.error for each in ignored]) < 0.75 * np.median([each.error for each in found])


def test_the_error_contains_chains_that_disagree():
    """The states of two stuck chains are symmetric about their mean, so that squared deviations from it agree."""
    stuck = chains(4, 400) + 40 * np.array([[1], [-1], [1], [-1]])
    mean, variance = (chain_estimate(list(stuck[:2]), statistic) for statistic in (mean_of, variance_of))
    assert mean.error > 40 and mean.n_independent < 2
    assert variance.value == pytest.approx(1600, rel=0.1) and variance.error > 1500
    four = chain_estimate(list(stuck))
    assert 20 < four.error < 40 and four.n_independent < 10
    together = chain_estimate(list(chains(4, 400)))
    assert together.error < 1 < together.n_independent


def test_chains_that_never_change_have_no_error():
    found = chain_estimate([np.full(50, 0.1)] * 2)
    assert (found.error, found.n_independent, found.value) == (None, 0.0, pytest.approx(0.1))
    assert chain_estimate([np.full(50, 0.1)] * 2, variance_of).error is None
    apart = chain_estimate([np.full(50, 0.1), np.full(50, 0.3)])
    assert apart.error > 0.1 and apart.n_independent == pytest.approx(1)


def test_differences_between_starts_are_found():
    quiet = [[chain_estimate([chain]) for chain in pair] for pair in chains(400, 300).reshape(200, 2, 300)]
    chances = np.array([chance_of_difference(*pair) for pair in quiet])
    assert np.mean(chances < 0.05) < 0.12 and (chances < 1e-4).sum() == 0 and np.median(chances) > 0.35
    first, second = chains(2, 300)
    assert chance_of_difference(chain_estimate([first]), chain_estimate([second + 8])) < 1e-4
    frozen = [chain_estimate([np.full(9, value)]) for value in (1.0, 1.0, 2.0)]
    assert chance_of_difference(*frozen[:2]) == 1 and chance_of_difference(*frozen[1:]) == 0
