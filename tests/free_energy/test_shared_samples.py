"""Covariance of two sums over samples of one trajectory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from alchemflows.free_energy.estimators import mbar_influences
from alchemflows.free_energy.shared_samples import shared_covariance


@pytest.mark.parametrize("memory", [0.0, 4.0])
def test_covariance_of_means_of_one_trajectory(memory):
    """The mean of all samples of one quantity, and that of every tenth sample of another one: 50 trajectories."""
    rng, n, decay = np.random.default_rng(1), 2000, np.exp(-1 / memory) if memory else 0.0
    times, few = np.arange(1.0, n + 1), np.arange(9, n, 10)
    found = []
    for _ in range(50):
        x = lfilter([1], [1, -decay], np.sqrt(1 - decay**2) * rng.normal(size=n))
        y = -0.5 * x + rng.normal(size=n)
        correlated = (1 + decay) / (1 - decay)
        found.append(shared_covariance(times[few], y[few] / len(few), times, x / n, correlated))
    exact = -0.5 * (1 + decay) / (1 - decay) / n
    assert np.mean(found) == pytest.approx(exact, rel=0.2)


def test_too_few_blocks_have_no_covariance():
    two = np.array([1.0, 2.0])
    assert shared_covariance(two[:1], two[:1], two, two, 1.0) == 0.0
    assert shared_covariance(two, two, two, two, 10.0) == 0.0


def test_the_sign_of_influences_on_mbar():
    """A sample that counts more than others changes f by its influence: BAR of two states by derivatives."""
    rng = np.random.default_rng(2)
    reduced = [np.stack([0.5 * x**2, 1.5 * x**2], axis=1) for x in (rng.normal(size=60), rng.normal(size=60) / 3**0.5)]
    reduced = [u - u[:, :1] for u in reduced]

    def f(weights):
        """Solve the equations of MBAR with weighted samples."""
        u, found = np.concatenate(reduced), np.zeros(2)
        for _ in range(500):
            denominator = (60 * np.exp(found - u)).sum(axis=1)
            found = -np.log((weights[:, None] * np.exp(-u) / denominator[:, None]).sum(axis=0))
            found -= found[0]
        return found

    ones = np.ones(120)
    influences = np.concatenate(mbar_influences(reduced, f(ones)))
    for sample in (3, 77):
        more = ones.copy()
        more[sample] += 1e-4
        slope = (f(more) - f(ones))[1] / 1e-4
        same = slice(0, 60) if sample < 60 else slice(60, 120)
        # MBAR has fixed numbers of samples in each window, so that only differences within a window matter.
        others = np.array([slope_of(f, ones, k) for k in range(same.start, same.start + 5)])
        expected = influences[same.start : same.start + 5]
        np.testing.assert_allclose(slope - others, influences[sample] - expected, atol=1e-4)


def slope_of(f, ones, sample) -> float:
    more = ones.copy()
    more[sample] += 1e-4
    return float((f(more) - f(ones))[1] / 1e-4)
