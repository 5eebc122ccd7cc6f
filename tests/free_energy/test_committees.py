"""Committees of harmonic potentials, whose free energies are exact: mean, σ_model, and their errors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.committees import MemberChange, committee_spread

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from committee_rows import sampled_committee

N_SEEDS = 50


def test_mean_and_spread_of_fifty_committees():
    """About two thirds of the exact values lie within one error; with 50 seeds, 47 to 87 %."""
    found = [sampled_committee(100, 0.0, seed) for seed in range(N_SEEDS)]
    means = np.array([(spread.mean[0] - exact.mean()) / spread.mean[1] for spread, _, exact in found])
    spreads = np.array([(spread.spread[0] - exact.std(ddof=1)) / spread.spread[1] for spread, _, exact in found])
    for z in (means, spreads):
        assert 0.47 < np.mean(np.abs(z) < 1) < 0.87 and np.mean(np.abs(z) < 2) > 0.82
        assert abs(z.mean()) < 0.6
    exact = found[0][2].std(ddof=1)
    assert np.mean([spread.spread[0] for spread, _, _ in found]) == pytest.approx(exact, rel=0.02)


def test_the_noise_is_the_spread_of_members_that_are_equal_but_for_their_fluctuations():
    """Members that stiffen some modes and soften others by as much in free energy have the same exact value."""
    members = ((0.1, 0.1), (-0.1, -0.1), (0.2, 0.2))
    found = [sampled_committee(100, 0.0, seed, members) for seed in range(N_SEEDS)]
    assert np.ptp(found[0][2]) < 1e-12
    squares = np.mean([spread.spread[0] ** 2 for spread, _, _ in found])
    noise = np.mean([spread.noise_eV**2 for spread, _, _ in found])
    assert noise == pytest.approx(squares, rel=0.35)


def test_errors_common_to_all_members_drop_out_of_the_spread():
    rng = np.random.default_rng(0)
    common = (rng.normal(size=50), rng.normal(size=50))
    spread = committee_spread([MemberChange(value, common) for value in (0.0, 0.1, 0.3)])
    assert spread.spread == pytest.approx((np.std([0.0, 0.1, 0.3], ddof=1), 0.0), abs=1e-12)
    assert spread.mean[1] == pytest.approx(np.sqrt(100), rel=0.3)
    assert spread.noise_eV == pytest.approx(0.0, abs=1e-12)


def test_a_committee_of_one_is_refused():
    with pytest.raises(InvalidInputError, match="2"):
        committee_spread([MemberChange(0.0, (np.zeros(4), np.zeros(4)))])
