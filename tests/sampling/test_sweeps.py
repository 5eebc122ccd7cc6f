"""Sweeps of Monte Carlo: what a sample contains, how many evaluations are made, and that runs resume bit for bit."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from lattices import ising, places

from alchemflows.errors import RunStoppedError
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.ensembles import Canonical
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.sweeps import run_sweeps
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings

T = 600.0


def settings(**changes) -> MonteCarloSettings:
    values = {"temperature_K": T, "n_equilibration_sweeps": 3, "n_production_sweeps": 5, "attempts_per_sweep": 7}
    return MonteCarloSettings(**(values | changes))


def frozen(checkpoint: Checkpoint | None = None, **changes):
    """Run three replicas of an Ising model; return the run and the number of evaluations."""
    arrangements, model = ising(2, 3, 0.03)
    run = run_sweeps(
        model,
        Canonical(arrangements),
        places(arrangements, 3),
        arrangements.random([[3, 3]], range(3)),
        settings(**changes),
        seeds=range(3),
        checkpoint=checkpoint or Checkpoint(),
    )
    return run, model.n_evaluations


def assert_same(one, other) -> None:
    for a, b in zip(one.series, other.series, strict=True):
        for field in fields(ArrangementSeries):
            assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name
    for name in ("labels", "positions_A", "cells_A"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


def test_samples_are_those_of_the_chains():
    """Each sample is the state after 7 attempts."""
    run, n_evaluations = frozen()
    assert n_evaluations == 1 + 8 * 7
    arrangements, model = ising(2, 3, 0.03)
    chains = MonteCarlo(
        model,
        Canonical(arrangements),
        *places(arrangements, 3),
        arrangements.random([[3, 3]], range(3)),
        temperature_K=T,
        seeds=range(3),
    )
    for sweep in range(8):
        accepted = np.mean([chains.attempt() for _ in range(7)], axis=0)
        if sweep >= 3:
            for b, series in enumerate(run.series):
                assert np.array_equal(series.labels[sweep - 3], chains.current.labels[b])
                assert series.energy_eV[sweep - 3] == chains.current.energy_eV[b]
                assert series.acceptance[sweep - 3] == pytest.approx(accepted[b])
    assert [len(series) for series in run.series] == [5, 5, 5]
    assert [set(series.walker) for series in run.series] == [{0}, {1}, {2}]
    volume = arrangements.system.structure.volume
    assert all(series.volume_A3 == pytest.approx(volume) for series in run.series)
    assert 0 < np.mean([series.acceptance for series in run.series]) < 1


def test_a_sweep_has_an_attempt_for_each_site_by_default():
    assert frozen(attempts_per_sweep=None)[1] == 1 + 8 * 6


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path, stop_at):
    """Stops are within a sweep, in equilibration and in production."""
    straight, _ = frozen()
    asked = iter(range(1, 100))
    with pytest.raises(RunStoppedError):
        frozen(Checkpoint(tmp_path, interval_s=1e9, should_stop=lambda: next(asked) == stop_at))
    resumed, n_evaluations = frozen(Checkpoint(tmp_path, interval_s=1e9))
    assert n_evaluations == 1 + 8 * 7 - [10, 20, 31, 41, 51][stop_at - 1]
    assert_same(resumed, straight)
