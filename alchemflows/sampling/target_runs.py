"""Short runs of dynamics from given configurations, whose configurations are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.sampling.blocks import Blocks
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.progress import Progress


def run_from(
    model: EnergyModel,
    positions: ArrayLike,
    cells: ArrayLike,
    masses: ArrayLike,
    dynamics: DynamicsSettings,
    seeds: Sequence[int],
    recorder: FrameRecorder,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> None:
    """Equilibrate and sample B replicas of a crystal without weights, each from its own configuration.

    Parameters
    ----------
    model
        Potential without weights.
    positions, cells
        First configurations (Å), shapes (B, N, 3) and (B, 3, 3).
    masses
        Masses in atomic mass units, shape (N,).
    dynamics
        Conditions, and lengths of equilibration and production.
    seeds
        One seed for each replica.
    recorder
        Keeps configurations and energies of the samples.
    on_progress
        Function called after each sample.
    checkpoint
        As for :func:`~alchemflows.sampling.windows.run_windows`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    TrajectoryError
        If a trajectory explodes.
    PotentialError
        If the potential cannot be evaluated.
    """
    n = len(seeds)
    weights = np.zeros((n, 0))
    langevin = Langevin.under(dynamics, model, (positions, cells), weights, np.tile(masses, (n, 1)), seeds)
    interval, n_equilibration = dynamics.sample_interval_steps, dynamics.n_equilibration_steps
    n_steps = n_equilibration + dynamics.n_samples * interval
    blocks = Blocks(langevin, n_steps, parts=[recorder], on_progress=on_progress, checkpoint=checkpoint)
    for _, ends_block in blocks.steps("equilibration", 0, n_equilibration, interval):
        langevin.step(check=ends_block)
    for step, ends_block in blocks.steps("production", n_equilibration, n_steps, interval):
        langevin.step(check=ends_block)
        if ends_block:
            sample = (step - n_equilibration) // interval - 1
            recorder.see(sample, langevin.positions, langevin.cells, energies=langevin.evaluation.energy)
