"""Corrections at constant pressure: frames of a crystal whose volume fluctuates, and another crystal as the target."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import AtWeights, HarmonicCrystal, assert_honest, harmonic_path
from test_checkpoint import LAMBDAS, dynamics

from alchemflows.free_energy.bridging import bridge
from alchemflows.free_energy.reweighting import reweight
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.target_runs import run_from
from alchemflows.sampling.windows import run_windows
from alchemflows.schemas.frames import Frames

T, PRESSURE_GPA = 300.0, 0.1
KT = units.kB * T
OFFSET_EV = -40.0
N_REPEATS, N_FRAMES, N_RUNS = 50, 60, 4
PATH = harmonic_path(2)
MASSES = np.array([atom.specie.atomic_mass for atom in PATH.system.structure])
VOLUME = PATH.system.structure.volume
CONDITIONS = {"pressure_GPa": PRESSURE_GPA, "barostat_time_ps": 0.05, "timestep_fs": 4.0, "friction_per_ps": 20.0}


def crystals(stiffening: float, bulk_kT: float, volume: float) -> HarmonicCrystal:
    """Return the sampled crystal (weights 1, 0) and a target (0, 1) of other springs, bulk modulus and volume."""
    springs = np.diag([2.0, 3.0])
    bulk = [KT * b / VOLUME for b in (1000.0, bulk_kT)]
    return HarmonicCrystal(
        PATH.system.structure.frac_coords, [springs, stiffening * springs], bulk, [VOLUME, volume * VOLUME]
    )


@pytest.fixture(scope="module")
def stored() -> list[Frames]:
    """Return frames of the sampled crystal as they are stored, of independent runs."""
    lengths = {"n_equilibration_steps": 200, "n_production_steps": 30 * N_FRAMES, "sample_interval_steps": 30}
    settings = dynamics(**CONDITIONS, **lengths)
    recorder = FrameRecorder(range(N_REPEATS), settings.n_samples, N_FRAMES)
    model = crystals(1.0, 1000.0, 1.0)
    run = run_windows(model, PATH, LAMBDAS, [0] * N_REPEATS, settings, range(N_REPEATS), recorder=recorder)
    found = []
    for k in range(N_REPEATS):
        kept, positions, cells = recorder.of_window(k)
        energy = run.series[k].energy_eV[kept]
        found.append(Frames.unpacked(Frames.of([{82: 1.0}] * 2, positions, cells, energy, kept).packed()))
    assert all(frames.volume_A3.std() > 0.01 * VOLUME for frames in found)
    return found


def target_eV(model: HarmonicCrystal, positions, cells) -> np.ndarray:
    """Energies of configurations with the target."""
    weights = np.tile([[[0.0, 1.0]]], (len(positions), 1, 1))
    return model.energies(*map(torch.as_tensor, (positions, cells, weights)))[:, 0].numpy() + OFFSET_EV


def at_constant_volume_eV(stiffening: float) -> float:
    return 3 * KT * np.log(stiffening) + OFFSET_EV


def test_reweighted_frames_give_the_exact_correction(stored):
    """ΔG contains the ratio of the integrals over the volume, with pV in both."""
    model = crystals(1.15, 1150.0, 1.01)
    exact = model.delta_g_eV(T, PRESSURE_GPA) + OFFSET_EV
    found = [
        reweight(target_eV(model, frames.positions_A, frames.cells_A) - frames.energy_eV, T).best for frames in stored
    ]
    assert_honest([value for value, _ in found], [error for _, error in found], exact)
    error = np.mean([error for _, error in found])
    assert error < 0.25 * KT and abs(exact - at_constant_volume_eV(1.15)) > 3 * error / np.sqrt(N_REPEATS)


def test_a_target_that_is_sampled_at_constant_pressure_is_exact(stored):
    """Runs with the target start from frames; reweighting alone would fail for the stiff target."""
    model = crystals(4.0, 2500.0, 0.96)
    lengths = {"n_equilibration_steps": 200, "n_production_steps": 900, "sample_interval_steps": 30}
    settings = dynamics(**CONDITIONS, **lengths)
    recorder = FrameRecorder(range(N_REPEATS * N_RUNS), settings.n_samples, settings.n_samples)
    first = [frames.positions_A[row] for frames in stored for row in range(0, N_FRAMES, N_FRAMES // N_RUNS)]
    cells = [frames.cells_A[row] for frames in stored for row in range(0, N_FRAMES, N_FRAMES // N_RUNS)]
    target = AtWeights(model, [0.0, 1.0])
    run_from(target, first, cells, MASSES, settings, range(900, 900 + len(first)), recorder)
    exact, found = model.delta_g_eV(T, PRESSURE_GPA) + OFFSET_EV, []
    volumes, density = model.volume_density((0.0, 1.0), T, PRESSURE_GPA)
    means = []
    for repeat, frames in enumerate(stored):
        runs = []
        for k in range(N_RUNS * repeat, N_RUNS * (repeat + 1)):
            _, positions, moved = recorder.of_window(k)
            means.append(np.abs(np.linalg.det(moved)).mean())
            energies = recorder.energies_of_window(k) + OFFSET_EV
            np.testing.assert_allclose(energies, target_eV(model, positions, moved), rtol=1e-9)
            sampled = model.energies(
                *map(torch.as_tensor, (positions, moved, np.tile([[[1.0, 0.0]]], (len(moved), 1, 1))))
            )
            runs.append(energies - sampled[:, 0].numpy())
        source = target_eV(model, frames.positions_A, frames.cells_A) - frames.energy_eV
        bridged = bridge(source, runs, T)
        assert bridged.suffices
        found.append(bridged.best)
    assert abs(np.mean(means) - density @ volumes / density.sum()) < 4 * np.std(means) / np.sqrt(len(means))
    values, errors = np.transpose(found)
    assert_honest(values, errors, exact)
    assert errors.mean() < 0.3 * KT and abs(exact - at_constant_volume_eV(4.0)) > 4 * errors.mean() / np.sqrt(N_REPEATS)
