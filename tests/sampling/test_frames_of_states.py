"""Frames of runs of equilibrium and of Monte Carlo: what is kept, that they resume bitwise, and how they are stored."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harmonic import HarmonicCrystal
from lattices import places, random_mixture
from mobile_wells import pairs_of_wells
from pymatgen.core import Lattice, Structure
from test_checkpoint import broken

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.frames import arranged_frames
from alchemflows.analysis.monte_carlo import snapshot
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.ensembles import Canonical
from alchemflows.sampling.equilibrium import sample_equilibrium
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.sweeps import run_sweeps
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.monte_carlo import MonteCarloSettings

SWEEPS = {"temperature_K": 600.0, "n_equilibration_sweeps": 2, "n_production_sweeps": 8, "attempts_per_sweep": 5}
MOBILE = MonteCarloSettings(**SWEEPS, n_md_steps=4, timestep_fs=20.0, pressure_GPa=0.1, barostat_time_ps=0.2)


def swept(model, arrangements, settings, checkpoint=None, n_frames=3, counts=((2, 2),)):
    recorder = FrameRecorder(range(2), settings.n_production_sweeps, n_frames)
    run = run_sweeps(
        model,
        Canonical(arrangements),
        places(arrangements, 2),
        arrangements.random(counts, range(2)),
        settings,
        seeds=range(2),
        recorder=recorder,
        checkpoint=checkpoint or Checkpoint(),
    )
    return run, recorder


def test_frames_of_moving_atoms_have_the_energies_of_the_samples():
    model = pairs_of_wells(4, shift_A=0.1, bulk_modulus_eV_per_A3=0.5)
    run, recorder = swept(model, model.arrangements, MOBILE)
    for replica, series in enumerate(run.series):
        kept, positions, cells = recorder.of_window(replica)
        assert kept.tolist() == [1, 4, 7] and np.ptp(positions, axis=0).max() > 0.01
        weights = model.arrangements.weights(series.labels[kept])
        found = model.evaluate(*map(torch.as_tensor, (positions, cells, weights))).energy
        np.testing.assert_allclose(found, series.energy_eV[kept], rtol=1e-12)
        frames = arranged_frames(model.arrangements, series, (kept, positions, cells), MOBILE)
        assert frames.sweeps.tolist() == [2, 5, 8] and frames.time_fs.tolist() == [160.0, 400.0, 640.0]
        stored = Frames.unpacked(frames.packed())
        np.testing.assert_allclose(stored.positions_A, positions, atol=1e-4)
        assert np.array_equal(stored.occupied, frames.occupied) and np.array_equal(stored.sweeps, frames.sweeps)
        for atoms, labels in zip(stored.atoms(), series.labels[kept], strict=True):
            assert atoms.get_chemical_symbols() == [model.arrangements.species[label] for label in labels]


def test_frames_of_sweeps_change_nothing_and_continue_bitwise(tmp_path):
    model = pairs_of_wells(4, shift_A=0.1, bulk_modulus_eV_per_A3=0.5)
    run, whole = swept(model, model.arrangements, MOBILE)
    assert np.array_equal(run.positions_A, swept(model, model.arrangements, MOBILE, n_frames=0)[0].positions_A)
    found = []

    def once(checkpoint):
        found.append(swept(model, model.arrangements, MOBILE, checkpoint)[1])

    broken(once, tmp_path, [2, 3, 3])
    for replica in range(2):
        for a, b in zip(whole.of_window(replica), found[-1].of_window(replica), strict=True):
            assert np.array_equal(a, b)


def test_frames_of_frozen_atoms_are_arrangements_and_take_no_space_for_positions():
    """Also with vacancies: they are the structures of the samples."""
    arrangements, model = random_mixture()
    settings = MonteCarloSettings(**SWEEPS)
    counts = [[1, 1, 0, 0, 1], [0, 0, 2, 1, 0]]
    assert arrangements.species == ("Na", "K", "Cl", "I", "vacancy")
    run, recorder = swept(model, arrangements, settings, counts=counts)
    recorded = recorder.of_window(0)
    kept, positions, cells = recorded
    frames = arranged_frames(arrangements, run.series[0], recorded, settings)
    packed = frames.packed()
    assert len(packed.arrays()["steps"]) == 0
    stored = Frames.unpacked(packed)
    assert stored.is_ordered and stored.elements == {11, 17, 19, 53} and not stored.time_fs.any()
    for k, (structure, atoms) in enumerate(zip(stored.structures(), stored.atoms(), strict=True)):
        expected = snapshot(arrangements, run.series[0].labels[kept[k]], positions[k], cells[k])
        assert structure.matches(expected) and len(structure) == len(atoms) == 5
        assert [site.specie.symbol for site in structure] == [site.specie.symbol for site in expected]
        assert atoms.get_chemical_symbols() == [site.specie.symbol for site in expected]
        assert atoms.get_potential_energy() == run.series[0].energy_eV[kept[k]]
    twice = Frames.joined([stored, stored])
    assert len(twice) == 6 and twice.occupied.shape == (6, 6) and twice.sweeps.tolist() == [2, 5, 8] * 2
    with pytest.raises(InvalidInputError, match="different crystals"):
        Frames.joined([stored, Frames.of([{11: 1.0}], [[[0, 0, 0]]], [np.eye(3)], [0.0], [1.0])])


def test_frames_of_equilibrium_have_its_energies_and_continue_bitwise(tmp_path):
    crystal = Structure(Lattice.cubic(6.0), ["Na", "Cl"], [[0.1, 0.2, 0.3], [0.6, 0.6, 0.5]])
    system = AlchemicalSystem(crystal, (SiteGroup((0,), ((11,),)),))
    model = HarmonicCrystal(crystal.frac_coords, [np.diag([2.0, 3.0])])
    lengths = {"n_equilibration_steps": 40, "n_production_steps": 200, "sample_interval_steps": 10}
    dynamics = DynamicsSettings(temperature_K=300.0, **lengths)

    def sampled(checkpoint, n_frames=7):
        recorder = FrameRecorder(range(2), dynamics.n_samples, n_frames)
        run = sample_equilibrium(model, system, [1.0], dynamics, [1, 2], recorder=recorder, checkpoint=checkpoint)
        return run, recorder

    run, whole = sampled(Checkpoint())
    assert np.array_equal(run.energy_eV, sampled(Checkpoint(), 0)[0].energy_eV)
    again, resumed = broken(sampled, tmp_path, [2, 5, 9])
    assert np.array_equal(run.energy_eV, again.energy_eV)
    for replica in range(2):
        kept, positions, cells = whole.of_window(replica)
        assert len(kept) == 7
        for a, b in zip((kept, positions, cells), resumed.of_window(replica), strict=True):
            assert np.array_equal(a, b)
        energies = model.evaluate(*map(torch.as_tensor, (positions, cells, np.ones((7, 1))))).energy
        np.testing.assert_allclose(energies, run.energy_eV[kept, replica], rtol=1e-12)
