"""Frames of both ends of switches, from the second half of their equilibration."""

from __future__ import annotations

import numpy as np
import torch
from harmonic import HarmonicWells, harmonic_path
from test_checkpoint import broken

from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.switching import BLOCK, equilibrate_ends, n_samples_of_ends, times_of_ends_fs
from alchemflows.schemas.dynamics import SwitchingSettings


def settings(**changes) -> SwitchingSettings:
    lengths = {"n_repeats": 2, "n_equilibration_steps": 215, "n_switching_steps": 40, "timestep_fs": 2.0}
    return SwitchingSettings(temperature_K=300.0, **lengths | changes)


def equilibrated(checkpoint=None, n_frames=3, **changes):
    path, conditions = harmonic_path(2), settings(**changes)
    wells = HarmonicWells(path.system.structure.cart_coords, (2.0, 3.0))
    recorder = FrameRecorder(range(4), n_samples_of_ends(conditions), n_frames)
    options = {} if checkpoint is None else {"checkpoint": checkpoint}
    end = equilibrate_ends(wells, path, conditions, [1, 2, 3, 4], recorder=recorder, **options)
    return end, recorder, wells, path


def test_energies_are_those_of_the_configurations_at_each_end():
    _, recorder, wells, path = equilibrated()
    for replica, value in enumerate((0.0, 0.0, 1.0, 1.0)):
        kept, positions, cells = recorder.of_window(replica)
        assert len(kept) == 3
        at_end = np.tile(path.weights([value]), (3, 1, 1))
        energies = wells.energies(*map(torch.as_tensor, (positions, cells, at_end)))
        np.testing.assert_allclose(energies[:, 0], recorder.energies_of_window(replica), rtol=1e-12)


def test_times_are_those_of_the_second_half():
    """Of ten blocks of 20 steps of 2 fs; the rest of 15 steps is no sample."""
    assert times_of_ends_fs(settings()).tolist() == [2.0 * BLOCK * k for k in range(6, 11)]
    assert n_samples_of_ends(settings(n_equilibration_steps=0)) == 0


def test_frames_change_no_trajectory_and_continue_bitwise(tmp_path):
    end, whole, *_ = equilibrated(Checkpoint())
    assert torch.equal(end.positions, equilibrated(n_frames=0)[0].positions)
    found = []

    def once(checkpoint):
        found.append(equilibrated(checkpoint)[1])

    broken(once, tmp_path, [2, 3, 4])
    for replica in range(4):
        for a, b in zip(whole.of_window(replica), found[-1].of_window(replica), strict=True):
            assert np.array_equal(a, b)
        assert np.array_equal(whole.energies_of_window(replica), found[-1].energies_of_window(replica))
