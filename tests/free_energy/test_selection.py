"""Which frames are evaluated: evenly spread, and divided among the ends so that an error needs few of them."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.selection import N_PILOT, next_counts, spread_order

MANY = (10_000, 10_000)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64, 100])
def test_every_beginning_of_the_order_is_spread_over_the_whole(n):
    order = spread_order(n)
    assert sorted(order) == list(range(n))
    for k in range(2, n + 1):
        gaps = np.diff(sorted(order[:k]))
        assert gaps.max() <= 2 * np.ceil(n / k)


def rounds(spreads, available, seed=0, **limits):
    """Return the numbers of frames and the error at the end; errors of the ends scatter as those of n samples."""
    rng = np.random.default_rng(seed)
    samples = [spread * rng.normal(size=n) for spread, n in zip(spreads, available, strict=True)]
    counts, errors = (0, 0), None
    for _ in range(100):
        following = next_counts(counts, available, errors, **limits)
        if following == counts:
            return counts, None if errors is None else float(np.hypot(*errors))
        assert all(new >= old for new, old in zip(following, counts, strict=True))
        counts = following
        errors = [float(x[:n].std(ddof=1)) / np.sqrt(n) for x, n in zip(samples, counts, strict=True)]
    raise AssertionError("no end")


def test_an_error_is_reached_with_few_evaluations():
    """Of 50 seeds, the mean number is close to the smallest one, (s₀ + s₁)² / goal²; equal numbers would need more."""
    spreads, goal = (0.2, 1.0), 0.1
    fewest, equal = sum(spreads) ** 2 / goal**2, 2 * sum(s**2 for s in spreads) / goal**2
    found = [rounds(spreads, MANY, seed, goal=goal) for seed in range(50)]
    assert all(error <= goal for _, error in found)
    assert np.mean([sum(counts) for counts, _ in found]) == pytest.approx(fewest, rel=0.1)
    assert np.mean([sum(counts) for counts, _ in found]) < 0.8 * equal


def test_without_limits_all_frames_are_evaluated():
    assert next_counts((0, 0), (40, 30), None) == (40, 30)
    assert next_counts((40, 30), (40, 30), (0.1, 0.1)) == (40, 30)


def test_a_number_of_evaluations_is_divided_by_the_spreads():
    counts, _ = rounds((0.2, 1.0), MANY, max_total=300)
    assert sum(counts) == pytest.approx(300, abs=2) and counts[1] == pytest.approx(250, abs=25)
    assert rounds((0.2, 1.0), MANY, max_total=9)[0] in {(4, 4), (4, 5), (5, 4)}
    assert sum(rounds((1.0, 1.0), MANY, goal=1e-3, max_total=50)[0]) in (49, 50)


def test_the_other_end_makes_up_for_one_without_more_frames():
    counts, error = rounds((1.0, 1.0), (20, 10_000), goal=0.25)
    assert counts[0] == 20 and error <= 0.25
    counts, error = rounds((1.0, 1.0), (20, 30), goal=0.1)
    assert counts == (20, 30) and error > 0.1


def test_equal_potentials_need_no_more_than_the_first_frames():
    assert rounds((0.0, 0.0), MANY, goal=0.1)[0] == (N_PILOT, N_PILOT)
    assert rounds((0.0, 0.0), MANY, max_total=100)[0] == (N_PILOT, N_PILOT)


@pytest.mark.parametrize("limits", [{"goal": 0.0}, {"max_total": 1}])
def test_limits_that_are_not_positive_are_refused(limits):
    with pytest.raises(InvalidInputError, match=r"positive|at least"):
        next_counts((0, 0), MANY, None, **limits)
