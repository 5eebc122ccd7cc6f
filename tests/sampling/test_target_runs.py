"""Runs with a calculator from given configurations: harmonic wells, whose averages and free energy are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT
from ase.calculators.harmonic import SpringCalculator
from calculators import WithoutForces
from test_checkpoint import broken

from alchemflows.alchemy.target_model import CalculatorModel
from alchemflows.errors import PotentialError
from alchemflows.free_energy.bridging import bridge
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.target_runs import run_from
from alchemflows.schemas.dynamics import DynamicsSettings

T = 300.0
KT = units.kB * T
SITES = np.array([[1.0, 1.0, 1.0], [4.0, 4.0, 4.0]])
CELL = 6.0 * np.eye(3)
STIFFNESS = 2.0  # of the sampled potential, eV/Å²
FACTOR = 3.0


def target_runs(checkpoint=None, n_runs: int = 4, n_steps: int = 1200, n_of_run: int = 40) -> FrameRecorder:
    """Run wells of FACTOR · STIFFNESS, from configurations of the softer wells."""
    lengths = {"n_equilibration_steps": 100, "n_production_steps": n_steps, "sample_interval_steps": 10}
    dynamics = DynamicsSettings(temperature_K=T, timestep_fs=5.0, friction_per_ps=20.0, **lengths)
    recorder = FrameRecorder(range(n_runs), dynamics.n_samples, n_of_run)
    rng = np.random.default_rng(5)
    first = SITES + rng.normal(scale=np.sqrt(KT / STIFFNESS), size=(n_runs, 2, 3))
    model = CalculatorModel("wells", SpringCalculator(SITES, FACTOR * STIFFNESS), [11, 17])
    cells, masses = np.tile(CELL, (n_runs, 1, 1)), [22.99, 35.45]
    run_from(model, first, cells, masses, dynamics, range(n_runs), recorder, checkpoint=checkpoint or Checkpoint())
    return recorder


def test_bar_between_wells_is_exact():
    recorder = target_runs()
    rng = np.random.default_rng(1)
    source = 0.5 * (FACTOR - 1) * KT * (rng.normal(size=(200, 6)) ** 2).sum(axis=1)
    runs = [recorder.energies_of_window(k) * (1 - 1 / FACTOR) for k in range(4)]
    mean = np.mean([run.mean() for run in runs])
    assert mean == pytest.approx(3 * KT * (1 - 1 / FACTOR), rel=0.25)  # ½ k_B T for each of six modes
    found, exact = bridge(source, runs, T), 3 * KT * np.log(FACTOR)
    assert found.suffices and abs(found.best[0] - exact) < 4 * found.best[1] < 0.3 * exact


def test_runs_continue_bitwise(tmp_path):
    def run(checkpoint):
        return target_runs(checkpoint, n_runs=2, n_steps=200, n_of_run=5)

    whole, again = run(Checkpoint()), broken(run, tmp_path, [3, 4, 5])
    for k in range(2):
        assert len(whole.energies_of_window(k)) == 5
        for a, b in zip(whole.of_window(k), again.of_window(k), strict=True):
            assert np.array_equal(a, b)
        assert np.array_equal(whole.energies_of_window(k), again.energies_of_window(k))


def test_forces_and_stresses_are_those_of_the_calculator():
    rng = np.random.default_rng(2)
    positions = np.array([[[0, 0, 0], [0, 1.8, 1.8]]] * 2) + rng.normal(scale=0.05, size=(2, 2, 3))
    cells = np.tile(3.6 * np.eye(3), (2, 1, 1))
    model, step = CalculatorModel("EMT", EMT(), [29, 29]), 1e-5
    found = model.evaluate(positions, cells, np.zeros((2, 0)))
    moved = positions.copy()
    moved[1, 0, 2] += step
    energies = model.energies(moved, cells, np.zeros((2, 3, 0)))
    assert energies.shape == (2, 3) and energies[0, 0] == found.energy[0]
    assert float(energies[1, 0] - found.energy[1]) / step == pytest.approx(-float(found.forces[1, 0, 2]), abs=1e-4)
    strained = np.eye(3) + np.diag([step, 0, 0])
    stretched = model.energies(positions @ strained, cells @ strained, np.zeros((2, 1, 0)))[:, 0]
    np.testing.assert_allclose((stretched - found.energy) / step / 3.6**3, found.stress[:, 0, 0], atol=1e-4)


def test_calculators_that_fail_are_named():
    with pytest.raises(PotentialError, match="without forces"):
        CalculatorModel("without forces", WithoutForces(), [11, 17]).evaluate(SITES[None], CELL[None], np.zeros((1, 0)))
