"""Reweighting of frames to another potential: exact values, and what is said if the potentials do not overlap."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from alchemflows.analysis.correction import reasons_against
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.reweighting import effective_size, reweight, sum_of_stages
from alchemflows.schemas.reasons import Reason

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from correction_rows import KT, T, differences_eV, exact_eV


def keys(found) -> set[Reason | None]:
    return {Reason.of(text) for text in reasons_against("NaCl (λ = 0)", found)}


def test_both_estimators_are_exact_for_gaussian_differences():
    sigma = 0.8
    x = np.random.default_rng(1).normal(size=20_000)
    found = reweight(3.0 + KT * sigma * x, T)
    exact = 3.0 - KT * sigma**2 / 2
    for value, error in (found.exponential, found.cumulant):
        assert abs(value - exact) < 3 * error < 0.05 * KT
    assert found.best == found.exponential and keys(found) == set()
    assert found.spread_eV == pytest.approx(sigma * KT, rel=0.02)
    assert found.n_effective == pytest.approx(20_000 * np.exp(-(sigma**2)), rel=0.05)


def test_the_cumulant_is_biased_where_differences_are_not_gaussian_and_the_exponential_average_is_not():
    found = reweight(differences_eV(20_000, 0.3, 0.0, 0.0, np.random.default_rng(2)), T)
    exact = exact_eV(0.3, 0.0)
    assert abs(found.exponential[0] - exact) < 3 * found.exponential[1]
    assert found.cumulant[0] - exact < -5 * found.cumulant[1]
    assert found.estimator == "exponential"


@pytest.mark.parametrize("offset_eV", [-1e5, 12.3, 1e5])
def test_a_constant_difference_is_only_added(offset_eV):
    differences = differences_eV(200, 0.2, 0.0, 0.0, np.random.default_rng(3))
    plain, shifted = reweight(differences, T), reweight(differences + offset_eV, T)
    assert shifted.best[0] - offset_eV == pytest.approx(plain.best[0], abs=1e-9 * abs(offset_eV))
    assert shifted.best[1] == pytest.approx(plain.best[1], rel=1e-6)
    assert shifted.n_effective == pytest.approx(plain.n_effective, rel=1e-6)


@pytest.mark.parametrize("change", [-0.6, 3.0], ids=["softer", "stiffer"])
def test_potentials_that_do_not_overlap_are_found_out(change):
    """Of 50 seeds, none is called converged. The weights of the softer target have no finite variance."""
    for seed in range(50):
        found = reweight(differences_eV(100, change, 0.0, 0.0, np.random.default_rng(seed)), T)
        assert Reason.FRAMES_OVERLAP in keys(found)
        assert found.n_effective < 15 and found.estimator == "cumulant"
        assert found.best[1] >= found.cumulant[1]


def test_potentials_that_overlap_are_converged():
    """Of 50 seeds, at most two have a reason against them."""
    found = [reweight(differences_eV(100, 0.1, 0.0, 0.0, np.random.default_rng(seed)), T) for seed in range(50)]
    assert sum(bool(keys(each)) for each in found) <= 2
    sizes = [each.n_effective for each in found]
    assert np.median(sizes) == pytest.approx(100 * np.exp(-12 * 0.1**2), rel=0.2)


def test_correlated_frames_count_less():
    rng = np.random.default_rng(4)
    plain, correlated = (reweight(differences_eV(4000, 0.1, memory, 0.0, rng), T) for memory in (0.0, 5.0))
    assert plain.inefficiency == pytest.approx(1, abs=0.2)
    assert correlated.inefficiency == pytest.approx(5, rel=0.3)  # squares decay twice as fast as the modes
    assert correlated.n_effective < 0.4 * plain.n_effective
    assert correlated.best[1] > 1.7 * plain.best[1]
    few = reweight(differences_eV(40, 0.1, 10.0, 0.0, rng), T)
    assert Reason.FEW_FRAMES in keys(few)


def test_ten_frames_are_too_few_for_an_error():
    """Ten frames are a tenth of the default."""
    found = [reweight(differences_eV(10, 0.05, 0.0, 0.0, np.random.default_rng(seed)), T) for seed in range(50)]
    assert all(Reason.FEW_FRAMES in keys(each) for each in found)


def test_a_drift_is_found():
    rng = np.random.default_rng(5)
    drifting = differences_eV(400, 0.05, 0.0, 0.0, rng) + KT * np.repeat([0.0, 2.0], 200)
    assert Reason.FRAMES_HALVES in keys(reweight(drifting, T))


def test_the_curve_ends_with_the_estimate():
    found = reweight(differences_eV(100, 0.2, 0.0, 1.0, np.random.default_rng(6)), T)
    assert found.curve[-1] == found.best and len(found.curve) == 4
    assert all(abs(value - found.best[0]) < 4 * error for value, error in found.curve)
    few = reweight([0.0, 0.1, 0.05, 0.02, 0.0], T)
    assert few.curve[0] is None and few.halves_sigma is None


def test_equal_potentials_have_no_error():
    found = reweight(np.full(10, 2.5), T)
    assert found.best == (2.5, 0.0) and found.n_effective == 10


@pytest.mark.parametrize("differences", [[1.0, 2.0, 3.0], [1.0, np.nan, 2.0, 3.0], [[1.0, 2.0, 3.0, 4.0]]])
def test_bad_differences_are_refused(differences):
    with pytest.raises(InvalidInputError, match=r"configurations|finite"):
        reweight(differences, T)


def test_the_effective_size_is_small_without_overlap():
    """The formula of Kish alone would give more than one configuration, whatever the distance."""
    x = np.random.default_rng(0).normal(0, 5, 1000)
    assert effective_size(x) < 1e-6
    assert effective_size(np.zeros(7)) == 7


def test_stages_add_up_to_one_change():
    """With the same configurations in both stages the sum is that of one stage, also its error."""
    rng = np.random.default_rng(7)
    before, after = differences_eV(200, 0.1, 1.0, 0.5, rng), differences_eV(200, 0.05, 1.0, -2.0, rng)
    whole, rows = reweight(before + after, T), np.arange(200)
    stages = [reweight(before, T), reweight(after, T, before)]
    value, error = sum_of_stages(stages, [rows, rows])
    assert whole.estimator == stages[0].estimator == stages[1].estimator == "exponential"
    assert value == pytest.approx(whole.exponential[0], abs=1e-12)
    assert error == pytest.approx(whole.exponential[1], rel=0.1)
    there_and_back = [stages[0], reweight(-before, T, before)]
    value, error = sum_of_stages(there_and_back, [rows, rows])
    assert abs(value) < 1e-12 and error < 0.1 * stages[0].best[1]


def test_a_target_close_to_the_one_before_needs_few_configurations():
    """The error of the second stage is its own: the poor overlap with the sampled potential is in the first one."""
    rng = np.random.default_rng(8)
    before = differences_eV(1000, 0.25, 0.0, 0.0, rng)
    near = 3.0 + KT * 0.05 * rng.normal(size=1000)
    few = slice(None, None, 20)
    found = reweight(near[few], T, before[few])
    assert abs(found.best[0] - 3.0) < 4 * found.best[1] < 0.15 * KT
    alone = reweight((before + near)[few], T)
    assert alone.best[1] > 5 * found.best[1]


def test_effective_size_in_stages():
    """Weights of both stages: a constant second change leaves what the first has left."""
    x = np.random.default_rng(9).normal(0, 0.5, 5000)
    assert effective_size(np.zeros(5000), x) == pytest.approx(effective_size(x), rel=1e-6)
    both = np.random.default_rng(10).normal(0, 0.5, 5000)
    assert effective_size(both, x) == pytest.approx(5000 * np.exp(-0.5), rel=0.1)
