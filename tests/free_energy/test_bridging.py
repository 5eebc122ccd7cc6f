"""BAR between configurations of two potentials: exact values, agreement with pymbar, and what it refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pymbar import bar

from alchemflows.analysis.correction import reasons_against, reasons_against_bridge
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.bridging import bridge
from alchemflows.free_energy.reweighting import reweight
from alchemflows.schemas.reasons import Reason

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from correction_rows import KT, N_MODES, T, differences_eV, exact_eV


def harmonic(change: float, n: int = 400, offset_eV: float = 0.0, seed: int = 0):
    """Return ΔU at configurations of harmonic modes and of the target, whose force constants differ."""
    rng = np.random.default_rng(seed)
    source = differences_eV(n, change, 0.0, offset_eV, rng)
    return source, [differences_eV(n // 4, change, 0.0, 0.0, rng) / (1 + change) + offset_eV for _ in range(4)]


def test_value_and_independent_error_are_those_of_pymbar():
    source, runs = harmonic(0.3)
    found, target = bridge(source, runs, T), np.concatenate(runs)
    reference = bar(source / KT, -target / KT)
    assert found.best[0] == pytest.approx(KT * reference["Delta_f"], abs=1e-6)
    assert found.best[1] == pytest.approx(KT * reference["dDelta_f"], rel=0.25)
    assert (found.n_frames, found.mean_eV) == (400, pytest.approx(target.mean()))
    assert found.curve[-1] == found.best and len(found.curve) == 4 and found.halves_sigma < 4


def test_bar_is_right_where_reweighting_fails():
    """Force constants at λ = 0 become five times as large, so that no configuration is typical of the target."""
    source, runs = harmonic(1.0)
    assert Reason.FRAMES_OVERLAP in {Reason.of(text) for text in reasons_against("end", reweight(source, T))}
    found = bridge(source, runs, T)
    assert found.suffices and reasons_against_bridge("end", found, 400) == []
    assert abs(found.best[0] - exact_eV(1.0, 0.0)) < 4 * found.best[1] < 0.1
    assert found.influences_eV.shape == (400,) and abs(N_MODES * KT / 2 * np.log(2) - exact_eV(1.0, 0.0)) < 1e-12


def test_a_constant_difference_only_shifts_the_value():
    plain, shifted = bridge(*harmonic(0.3), T), bridge(*harmonic(0.3, offset_eV=-5000.0), T)
    assert shifted.best[0] == pytest.approx(plain.best[0] - 5000.0, abs=1e-6)
    assert (shifted.best[1], shifted.overlap) == pytest.approx((plain.best[1], plain.overlap), rel=1e-5)
    equal = bridge(np.full(10, 2.0), [np.full(5, 2.0)], T)
    assert equal.best == (2.0, 0.0) and equal.overlap == pytest.approx(1.0)


def test_without_overlap_bar_is_not_used():
    source, runs = harmonic(30.0, n=40)
    found = bridge(source, runs, T)
    assert not found.suffices
    (reason,) = reasons_against_bridge("end", found, 40)
    assert Reason.of(reason) is Reason.TARGET_OVERLAP


def test_drifting_and_short_runs_are_reasons():
    source, runs = harmonic(0.3)
    drifting = [run + np.linspace(-3 * KT, 3 * KT, len(run)) for run in runs]
    found = bridge(source + np.linspace(-3 * KT, 3 * KT, len(source)), drifting, T)
    assert Reason.TARGET_HALVES in {Reason.of(text) for text in reasons_against_bridge("end", found, 400)}
    few = bridge(source, [run[:2] for run in runs], T)
    assert [Reason.of(text) for text in reasons_against_bridge("end", few, 5)] == [
        Reason.FEW_FRAMES, Reason.FEW_TARGET_FRAMES
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "runs"), [(np.ones(3), [np.ones(9)]), (np.ones(9), []), (np.ones(9), [[1.0, 2.0, np.nan, 3.0]])]
)
def test_bad_input_is_refused(source, runs):
    with pytest.raises(InvalidInputError, match=r"configurations|finite"):
        bridge(source, runs, T)
