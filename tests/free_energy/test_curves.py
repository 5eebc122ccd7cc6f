"""Free energy along a path from works until each point: a stiffening well, whose works obey Crooks' theorem exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from ase import units
from harmonic import assert_honest

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.curves import WorkCurve, work_curve
from alchemflows.free_energy.work import MIN_WORK_OVERLAP

T = 300.0
KT = units.kB * T
STIFFNESS = np.linspace(1.0, 3.0, 41)
EXACT = KT * 6 * np.log(STIFFNESS)  # of 12 modes


def works(stiffness: np.ndarray, n: int, memory: float, rng: np.random.Generator, n_modes: int = 12) -> np.ndarray:
    """Return the work until each change of stiffness, shape (n, m): a change, then one step of relaxation."""
    x = rng.normal(0, np.sqrt(1 / stiffness[0]), (n, n_modes))
    done = [np.zeros(n)]
    for before, after in pairwise(stiffness):
        done.append(done[-1] + KT * (after - before) / 2 * (x**2).sum(axis=1))
        x = memory * x + rng.normal(0, np.sqrt((1 - memory**2) / after), x.shape)
    return np.array(done).T


def curve(n: int, seed: int, memory: float = 0.8) -> WorkCurve:
    rng = np.random.default_rng(seed)
    return work_curve(works(STIFFNESS, n, memory, rng), works(STIFFNESS[::-1], n, memory, rng), T)


@pytest.mark.parametrize("n", [4, 16])
def test_errors_are_honest_at_every_point(n):
    curves = [curve(n, seed) for seed in range(200)]
    assert all(each.ends.overlap > MIN_WORK_OVERLAP for each in curves)
    for k in (3, 20, 40):
        row = np.eye(len(STIFFNESS))[k]
        values, errors = np.array([each.combined(row) for each in curves])[..., 0].T
        assert_honest(values, errors, EXACT[k])
    # A difference between two points has its own, smaller error.
    row = np.eye(len(STIFFNESS))[30] - np.eye(len(STIFFNESS))[25]
    values, errors = np.array([each.combined(row) for each in curves])[..., 0].T
    assert_honest(values, errors, EXACT[30] - EXACT[25])


def test_many_quick_switches_give_the_exact_curve_and_its_end_is_that_of_bar():
    found = curve(4000, 0, memory=0.95)
    assert 0.5 * KT < found.dissipation_eV[-1] < 3 * KT and found.dissipation_eV[0] == 0
    values, errors = found.combined(np.eye(len(STIFFNESS)))
    assert values[0] == pytest.approx(0, abs=1e-9) and values[-1] == pytest.approx(found.ends.bar[0])
    assert errors[-1] == pytest.approx(found.ends.bar[1], rel=0.05)
    assert (np.abs(values - EXACT)[1:] < 4 * errors[1:]).all() and errors.max() < 0.03 * KT


def test_without_overlap_the_error_is_at_least_the_dissipation():
    rng = np.random.default_rng(1)
    quick = [np.array([1.0, 30.0]), np.array([30.0, 1.0])]
    found = work_curve(*(works(each, 4, 0.0, rng, n_modes=60) for each in quick), T)
    (value,), (error,) = found.combined([0, 1])
    assert found.ends.overlap < MIN_WORK_OVERLAP
    assert value == pytest.approx(found.ends.mean[0])
    assert error >= abs(found.dissipation_eV[-1]) > 20 * KT


def test_invalid_works_are_named():
    with pytest.raises(InvalidInputError, match=r"\(3, 5\).*\(3, 4\)"):
        work_curve(np.zeros((3, 5)), np.zeros((3, 4)), T)
    with pytest.raises(InvalidInputError, match="1 forward"):
        work_curve(np.zeros((1, 5)), np.zeros((3, 5)), T)
