"""Frames: which configurations are kept, what is stored of them, and that they change nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, HarmonicWells, harmonic_path
from test_checkpoint import LAMBDAS, broken, dynamics

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.reweighting import reweight
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.frames import FrameRecorder, evenly_spaced
from alchemflows.sampling.windows import run_windows
from alchemflows.schemas.frames import RESOLUTION_A, Frames, packed_bytes

KT = 300.0 * units.kB
SALT = [{11: 1.0}, {17: 1.0}]


def frames(n=20, move_A=0.1, cells=None, composition=SALT):
    rng = np.random.default_rng(5)
    cells = np.tile(6.0 * np.eye(3), (n, 1, 1)) if cells is None else cells
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) @ cells
    positions = sites + rng.normal(0, move_A, (n, 2, 3))
    return Frames.of(composition, positions, cells, rng.normal(-3, 0.1, n), 20.0 * np.arange(1, n + 1)), positions


def run(checkpoint=None, n_frames=7, windows=(0, 2), **changes):
    path = harmonic_path(2)
    wells = HarmonicWells(path.system.structure.cart_coords, (2.0, 3.0))
    settings = dynamics(**changes)
    recorder = FrameRecorder(windows, settings.n_samples, n_frames)
    options = {} if checkpoint is None else {"checkpoint": checkpoint}
    found = run_windows(
        wells, path, LAMBDAS, range(3), settings, [1, 2, 3], exchange_seed=4, recorder=recorder, **options
    )
    return found, recorder, wells, path


@pytest.mark.parametrize(("n_samples", "n_frames"), [(2000, 100), (16, 7), (5, 100), (7, 7), (100, 1)])
def test_frames_are_evenly_spaced_and_end_with_the_last_sample(n_samples, n_frames):
    kept = evenly_spaced(n_samples, n_frames)
    assert len(kept) == len(set(kept)) == min(n_samples, n_frames)
    assert kept[-1] == n_samples - 1 and kept == sorted(kept)
    steps = np.diff([-1, *kept])
    assert steps.max() - steps.min() <= 1


@pytest.mark.parametrize("exchanged", [False, True])
def test_energies_of_frames_are_those_of_their_samples(exchanged):
    """Also with replica exchange, when windows move between replicas."""
    found, recorder, wells, path = run(replica_exchange=exchanged, n_production_steps=200)
    for window in (0, 2):
        kept, positions, cells = recorder.of_window(window)
        assert len(kept) == 7
        at_all = np.tile(path.weights(LAMBDAS), (7, 1, 1))
        energies = wells.energies(*map(torch.as_tensor, (positions, cells, at_all)))
        np.testing.assert_allclose(energies[:, window], found.series[window].energy_eV[kept], rtol=1e-12)
    assert recorder.of_window(1) is None


def test_frames_change_no_trajectory():
    plain, recorder, *_ = run(n_frames=0)
    kept = run()[0]
    assert all(np.array_equal(a.energies_eV, b.energies_eV) for a, b in zip(plain.series, kept.series, strict=True))
    assert recorder.of_window(0) is None and recorder.snapshot() == {}


@pytest.mark.parametrize("exchanged", [False, True])
def test_a_resumed_run_has_the_same_frames_bitwise(tmp_path, exchanged):
    whole = run(Checkpoint(), replica_exchange=exchanged)[1]
    found = []

    def once(checkpoint):
        *_, recorder, _, _ = run(checkpoint, replica_exchange=exchanged)
        found.append(recorder)

    broken(once, tmp_path, [9, 2, 3, 5])
    for window in (0, 2):
        for a, b in zip(whole.of_window(window), found[-1].of_window(window), strict=True):
            assert np.array_equal(a, b)


def test_a_checkpoint_without_frames_is_continued():
    """An earlier release wrote it: there are frames of the rest."""
    recorder = FrameRecorder([0], 10, 5)
    recorder.restore({"positions": np.zeros((1, 2, 3))})
    assert recorder.of_window(0) is None


@pytest.mark.parametrize("move_A", [0.0, 0.1, 30.0], ids=["at rest", "vibrating", "diffusing"])
def test_stored_coordinates_are_rounded_little(move_A):
    before, positions = frames(move_A=move_A)
    packed = before.packed()
    after = Frames.unpacked(type(packed).model_validate_json(packed.model_dump_json()))
    np.testing.assert_allclose(after.positions_A, positions, rtol=0, atol=RESOLUTION_A)
    assert packed.arrays()["steps"].dtype == (np.int32 if move_A > 10 else np.int16)
    assert packed.arrays()["cell_changes_A"].shape == (0, 3, 3)
    for name in ("energy_eV", "time_fs", "cells_A"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_moving_cells_are_stored():
    strains = 1 + np.random.default_rng(2).normal(0, 0.01, (20, 1, 1))
    before, positions = frames(cells=strains * 6.0 * np.eye(3))
    after = Frames.unpacked(before.packed())
    np.testing.assert_allclose(after.cells_A, before.cells_A, rtol=0, atol=1e-7)
    np.testing.assert_allclose(after.positions_A, positions, rtol=0, atol=RESOLUTION_A)
    np.testing.assert_allclose(after.volume_A3, 216 * strains[:, 0, 0] ** 3)


def test_the_estimate_of_space_is_that_of_the_packed_frames():
    n, sites = 100, 64
    rng = np.random.default_rng(1)
    for cells_vary in (False, True):
        scale = 1 + 0.01 * rng.normal(size=(n, 1, 1)) * cells_vary
        cells = scale * 11.0 * np.eye(3)
        positions = rng.normal(0, 3, (1, sites, 3)) + rng.normal(0, 0.1, (n, sites, 3))
        stored = Frames.of([{11: 1.0}] * sites, positions, cells, np.zeros(n), np.zeros(n)).packed()
        assert packed_bytes(n, sites, cells_vary=cells_vary) == pytest.approx(len(stored.npz_base64), rel=0.05)
    assert packed_bytes(0, sites, cells_vary=True) == 0


def test_structures_have_mixed_sites_and_no_vacant_ones():
    mixed, _ = frames(n=3, composition=[{11: 0.25, 19: 0.75}, {}])
    (first, *_) = mixed.structures()
    assert len(first) == 1 and first[0].species.get_el_amt_dict() == {"Na": 0.25, "K": 0.75}
    assert mixed.elements == {11, 19} and not mixed.is_ordered
    with pytest.raises(InvalidInputError, match="several elements"):
        mixed.atoms()
    ordered, positions = frames(n=3)
    atoms = ordered.atoms()[1]
    assert atoms.get_chemical_formula() == "ClNa" and atoms.get_potential_energy() == ordered.energy_eV[1]
    np.testing.assert_allclose(atoms.positions, positions[1])
    assert ordered.structures()[1].composition.reduced_formula == "NaCl"


def test_parts_of_a_run_are_joined():
    first, second = frames(n=4)[0], frames(n=6)[0]
    joined = Frames.joined([first, second])
    assert len(joined) == 10 and np.array_equal(joined.energy_eV[4:], second.energy_eV)
    with pytest.raises(InvalidInputError, match="different crystals"):
        Frames.joined([first, frames(composition=[{19: 1.0}, {17: 1.0}])[0]])


def test_frames_of_moving_cells():
    path = harmonic_path(2)
    volume = path.system.structure.volume
    crystal = HarmonicCrystal(
        path.system.structure.frac_coords, [np.diag([4.0, 5.0])] * 2, [20.0 / volume] * 2, [volume] * 2
    )
    settings = dynamics(pressure_GPa=0.02, barostat_time_ps=0.1, temperature_K=100.0)
    recorder = FrameRecorder([0], settings.n_samples, 4)
    found = run_windows(crystal, path, LAMBDAS, [0, 2], settings, [1, 2], recorder=recorder)
    kept, _, cells = recorder.of_window(0)
    np.testing.assert_allclose(np.linalg.det(cells), found.series[0].volume_A3[kept])


def test_frames_of_dynamics_give_the_exact_correction():
    """Wells of both ends become 10 % stiffer and 10 % softer, with an offset: ΔΔF is known, from frames as stored."""
    stiffness, targets, offsets = (2.0, 3.0), (2.2, 2.7), (-40.0, 25.0)
    path = harmonic_path(4)
    centres = path.system.structure.cart_coords
    settings = dynamics(friction_per_ps=50.0, n_production_steps=4000, sample_interval_steps=20)
    n_repeats, indices = 8, [0, 2]
    recorder = FrameRecorder(range(2 * n_repeats), settings.n_samples, 100)
    run = run_windows(
        HarmonicWells(centres, stiffness), path, LAMBDAS, indices * n_repeats, settings, range(2 * n_repeats),
        recorder=recorder,
    )  # fmt: skip
    exact = 6 * KT * np.log([2.2 / 2.0, 2.7 / 3.0]) + offsets
    z = []
    for window in range(2 * n_repeats):
        kept, positions, cells = recorder.of_window(window)
        end = window % 2
        energy = run.series[window].energy_eV[kept]
        stored = Frames.unpacked(Frames.of([{82: 1.0}] * 4, positions, cells, energy, kept).packed())
        target = offsets[end] + 0.5 * targets[end] * ((stored.positions_A - centres) ** 2).sum(axis=(1, 2))
        found = reweight(target - stored.energy_eV, 300.0)
        z.append((found.best[0] - exact[end]) / found.best[1])
    assert np.abs(z).max() < 4 and np.mean(np.abs(z) < 2) >= 0.8
    assert abs(np.mean(z)) < 1
