"""Verdicts over repeats of synthetic ladders: which kinds are `converged`, and which must not be."""

from __future__ import annotations

import ladders
import numpy as np
import pytest

from alchemflows.free_energy.consistency import Agreement, inflations, pairs
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.estimators import estimate


@pytest.mark.parametrize("name", ["good", "good, 5 windows", "good, started from both ends"])
def test_good_ladders_are_converged(name):
    """At most 2 % of them are not: of 20 with that chance, three are refused once in 140 times."""
    found = [ladders.analysed(ladders.GOOD[name], seed) for seed in range(20)]
    assert sum(not each.converged for each in found) <= 2, [each.reasons for each in found]
    assert np.sqrt(np.mean([each.z**2 for each in found])) < 1.7


@pytest.mark.parametrize("name", sorted(ladders.BAD))
def test_bad_ladders_are_not_converged(name):
    assert not any(ladders.analysed(ladders.BAD[name], seed).converged for seed in range(4))


@pytest.mark.parametrize("name", ["hysteretic, small", "hysteretic, medium", "hysteretic, large"])
def test_a_change_of_state_at_another_λ_is_named(name):
    """Both basins are visited, on different sides of a wrong λ: every estimator agrees, many σ from the truth."""
    for seed in range(4):
        found = ladders.analysed(ladders.BAD[name], seed)
        assert abs(found.z) > 4
        assert any("0.7" in reason and "0.8" in reason and "hysteresis" in reason for reason in found.reasons)


def test_windows_that_remember_their_start_are_named():
    found = ladders.analysed(ladders.BAD["stuck, started from both ends"], 1)
    assert any("λ = 0 " in reason and "λ = 1 " in reason for reason in found.reasons)


def test_short_ladders_have_too_few_samples():
    for seed in range(4):
        reasons = ladders.analysed(ladders.SHORT["very short (6 independent samples)"], seed).reasons
        assert any("independent samples" in reason for reason in reasons)


def _windows(kind, seed):
    lambdas, series = ladders.sample(kind, seed)
    windows = [decorrelate(lambdas, k, samples) for k, samples in enumerate(series)]
    return windows, estimate(lambdas, windows, ladders.T)


def test_chances_of_good_ladders_are_even():
    """Each test says that something has a chance below p in a share p of good ladders, about."""
    kind = ladders.Kind(n_windows=3, n_samples=400, tau=3.0, shift=2.0)
    found = []
    for seed in range(60):
        windows, result = _windows(kind, seed)
        agreement = Agreement.of(windows, result, ladders.T, [0.0, 1.0, 1.0])
        found.append([agreement.pairs[0], agreement.breaks[1], agreement.starts])
    below = (np.array(found) < 0.2).mean(axis=0)
    assert (below > 0.04).all() and (below < 0.36).all(), below


def test_windows_that_cannot_be_compared_are_consistent():
    windows, result = _windows(ladders.Kind(n_windows=3, n_samples=200, shift=200.0), 0)
    assert pairs(windows, ladders.T, np.ones(3)) == [1.0, 1.0]
    assert Agreement.of(windows, result, ladders.T).starts == 1.0
    assert inflations([1.0, 1.0]).tolist() == [1.0, 1.0]
    assert inflations([1.0, 9.0, 9.0])[0] == pytest.approx(9.0)
