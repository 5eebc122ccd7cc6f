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
    noise = np.mean([spread.noise**2 for spread, _, _ in found])
    assert noise == pytest.approx(squares, rel=0.35)


def test_errors_common_to_all_members_drop_out_of_the_spread():
    rng = np.random.default_rng(0)
    common = (rng.normal(size=50), rng.normal(size=50))
    spread = committee_spread([MemberChange(value, common) for value in (0.0, 0.1, 0.3)])
    assert spread.spread == pytest.approx((np.std([0.0, 0.1, 0.3], ddof=1), 0.0), abs=1e-12)
    assert spread.mean[1] == pytest.approx(np.sqrt(100), rel=0.3)
    assert spread.noise == pytest.approx(0.0, abs=1e-12)


def test_members_with_ladders_of_their_own():
    """Their errors are independent of those of the ladder that the others share; 200 committees of four members."""
    exact, n, of_ladder, own = np.array([0.0, 0.03, -0.05, 0.08]), 60, 0.006, 0.009
    means, spreads = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        before, nothing = rng.normal(scale=of_ladder), np.zeros(n)
        members = [MemberChange(0.0, (nothing, nothing))]
        for value in exact[1:3]:
            noise = rng.normal(scale=0.04, size=n)
            members.append(MemberChange(value + noise.mean(), (nothing, noise / n)))
        members.append(MemberChange(exact[3] + rng.normal(scale=own) - before, (nothing, nothing), own_error_eV=own))
        found = committee_spread(members, of_ladder)
        means.append((before + found.mean[0] - exact.mean()) / found.mean[1])
        spreads.append((found.spread[0] - exact.std(ddof=1)) / found.spread[1])
    for z in map(np.abs, (means, spreads)):
        assert 0.55 < np.mean(z < 1) < 0.80 and 0.88 < np.mean(z < 2) <= 0.99
    alone = committee_spread(members, np.nan)
    assert np.isnan(alone.mean[1]) and np.isnan(alone.spread[1])
    assert not np.isnan(committee_spread(members[:3], np.nan).spread[1])  # the ladder drops out


def test_a_committee_of_one_is_refused():
    with pytest.raises(InvalidInputError, match="2"):
        committee_spread([MemberChange(0.0, (np.zeros(4), np.zeros(4)))])
