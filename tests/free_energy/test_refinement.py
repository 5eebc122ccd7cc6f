"""What the next round of a ladder would be."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.free_energy.estimators import MIN_INDEPENDENT
from alchemflows.free_energy.refinement import AIM, Plan, plan_round

GRID = np.linspace(0, 1, 9).tolist()


def plan(overlaps, variances=(1.0, 1.0, 1.0), n_runs=(1, 1, 1), *, independent=None, target=None, budget=10):
    windows = [0, 4, 8]
    samples = [100.0] * 3 if independent is None else independent
    return plan_round(GRID, windows, overlaps, variances, n_runs, samples, target=target, budget=budget)


def test_poor_overlap_gets_a_window_in_the_middle():
    assert plan([0.01, 0.2]) == Plan(insert=[2])
    assert plan([0.2, 0.0]) == Plan(insert=[6])
    assert plan([0.01, 0.0]) == Plan(insert=[2, 6])
    assert plan([0.01, 0.0], budget=1) == Plan(insert=[6])  # the worse one
    assert plan([0.2, 0.2]) == plan([0.0, 0.0], budget=0) == Plan()
    # the error means nothing while windows do not overlap
    assert plan([0.01, 0.2], variances=[np.nan] * 3, target=0.1) == Plan(insert=[2])
    assert plan([np.nan, 0.2], target=0.1) == Plan(insert=[2])


def test_a_gap_without_grid_points_is_left():
    arguments = ([0.0], [1.0, 1.0], [1, 1], [100.0, 100.0])
    assert plan_round([0.0, 1.0], [0, 1], *arguments, target=None, budget=5) == Plan()
    assert plan_round([0.0, 0.2, 0.3, 1.0], [0, 3], *arguments, target=None, budget=5) == Plan(insert=[2])


def test_windows_are_added_where_the_trapezoid_rule_misses_the_curve():
    good = ([0.2, 0.2], [1.0] * 3, [1] * 3, [100.0] * 3)
    options = {"target": 9.0, "budget": 10, "tolerance": 0.1}
    assert plan_round(GRID, [0, 4, 8], *good, misfits=[0.3, 0.01], **options) == Plan(insert=[2])
    assert plan_round(GRID, [0, 4, 8], *good, misfits=[0.2, -0.3], **options | {"tolerance": 0.05}) == Plan(
        insert=[2, 6]
    )
    assert plan_round(GRID, [0, 4, 8], *good, misfits=[0.05, 0.01], **options) == Plan()
    assert plan_round(GRID, [0, 4, 8], *good, misfits=[0.3, -0.29], **options) == Plan()
    poor = ([0.2, 0.0], [1.0] * 3, [1] * 3, [100.0] * 3)
    assert plan_round(GRID, [0, 4, 8], *poor, misfits=[0.3, 0.01], **options) == Plan(insert=[6])  # overlap first


def test_runs_go_where_the_variance_is():
    assert plan([0.2, 0.2], [9.0, 1.0, 1.0], target=3.1, budget=10) == Plan(extend={0: 1})
    assert plan([0.2, 0.2], [1.0, 1.0, 1.0], target=np.sqrt(3.0)) == Plan()
    assert plan([0.2, 0.2], [1.0, 1.0, 9.0], [1, 1, 1], target=0.1) == Plan(
        extend={0: 1, 4: 1, 8: 1}
    )  # at most doubled
    assert plan([0.2, 0.2], [1.0, 1.0, 9.0], target=0.1, budget=1) == Plan(extend={8: 1})
    assert plan([0.2, 0.2], [1.0, 1.0, 9.0], target=0.1, budget=0) == Plan()
    assert plan([0.2, 0.2], [np.nan] * 3, target=0.1) == Plan()


def test_thin_windows_are_sampled_longer():
    few = [100.0, MIN_INDEPENDENT - 1, 2.0]
    assert plan([0.2, 0.2], independent=few) == Plan(extend={4: 1, 8: 1})
    assert plan([0.2, 0.2], independent=few, budget=1) == Plan(extend={8: 1})
    assert plan([0.2, 0.2], n_runs=[1, 4, 4], independent=few) == Plan(
        extend={4: 1, 8: 4}
    )  # 4/9 of a run, and a double
    assert plan([0.2, 0.2], [9.0, 1.0, 1.0], independent=few, target=2.9) == Plan(extend={0: 1, 4: 1, 8: 1})


@pytest.mark.parametrize("seed", range(5))
def test_the_plan_reaches_the_aim_as_cheaply_as_any(seed):
    """Against all plans of the same cost: variances v m/(m + a)."""
    rng = np.random.default_rng(seed)
    variances, runs = rng.uniform(0.1, 3.0, 3), rng.integers(2, 5, 3)
    target = np.sqrt(0.75 * variances.sum())
    found = plan([0.2, 0.2], variances, runs.tolist(), target=target, budget=100).extend
    added = np.array([found.get(k, 0) for k in (0, 4, 8)])

    def variance(extra):
        return (variances * runs / (runs + extra)).sum()

    assert variance(added) <= AIM * target**2
    cheaper = [
        np.array([a, b, c])
        for a in range(runs[0] + 1)
        for b in range(runs[1] + 1)
        for c in range(runs[2] + 1)
        if a + b + c < added.sum()
    ]
    assert all(variance(extra) > AIM * target**2 for extra in cheaper)
