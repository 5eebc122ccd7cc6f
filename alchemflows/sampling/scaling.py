"""Sweep the temperature or the pressure of a crystal in finite time, forward and back, and see where it is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymatgen.core import Structure

from alchemflows.alchemy.scaled import ScaledPath, ScaledPotential
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.forces import ForceSquares
from alchemflows.sampling.liquids import LiquidHistory
from alchemflows.sampling.schedules import geometric, schedule
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sites import CORRELATION_TIME_FS, SiteHistory
from alchemflows.sampling.switching import BLOCK, Switches, equilibrate_ends, switch
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.liquid import LiquidSummary
from alchemflows.schemas.progress import Progress
from alchemflows.schemas.sites import SitesSummary

#: Largest number of sections of a run, in each of which it is checked whether the crystal is still the same structure.
N_SECTIONS = 20
#: Shortest section (fs): twice the correlation time of displacements, for the noise of mean positions.
MIN_SECTION_FS = 2 * CORRELATION_TIME_FS


@dataclass(frozen=True)
class Sweep:
    """Switches between two temperatures or pressures.

    Attributes
    ----------
    switches
        Work, ∂E/∂w and squares of the forces along the switches.
    lost_on_the_way_up, lost_on_the_way_down
        λ at which the crystal melted or became another structure in switches to λ = 1, and to λ = 0; None if it did
        not: the beginning of the first section in which it was lost, see
        :class:`~alchemflows.sampling.sites.SiteHistory`. It is the end of the path if the crystal was lost there before
        the switches. In runs that are shorter than :data:`MIN_SECTION_FS` it is not determined.
    summaries
        Displacements of the atoms in each of the 2n replicas during the switches; empty for a liquid.
    kind_counts
        Number of atoms of each kind in the squares of the forces, shape (kinds,).
    liquid
        Diffusion and order of a liquid during the switches; None for a crystal.
    """

    switches: Switches
    lost_on_the_way_up: float | None
    lost_on_the_way_down: float | None
    summaries: list[SitesSummary]
    kind_counts: np.ndarray
    liquid: LiquidSummary | None = None


def sweep(
    model: ScaledPotential,
    path: ScaledPath,
    settings: SwitchingSettings,
    structure: Structure,
    seed: int,
    purpose: str,
    *,
    liquid: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Sweep:
    """Equilibrate replicas at both ends of a path over temperatures or pressures, and switch each to the other end.

    The factor s of the path changes by equal factors in equal times, so that ln T is linear in time. With the speed
    ds/dt ∝ s the dissipation is spread nearly evenly over the path, since the variance of a harmonic energy is
    proportional to 1/s². The pressure changes linearly.

    Parameters
    ----------
    model
        Potential with a scaled enthalpy.
    path
        The path. Dynamics start from the structure of its system.
    settings
        Temperature of the dynamics, and lengths. At constant pressure its pressure must be 0, since that of the crystal
        is part of the model.
    structure
        The crystal whose sites the atoms must not leave.
    seed
        Seed from which the seeds of all replicas are derived.
    purpose
        Name of this sweep; different names give different random numbers for the same seed.
    liquid
        Whether it is a liquid, which is lost where it crystallizes. The structure is then a configuration of it.
    on_progress, checkpoint
        As for :func:`~alchemflows.sampling.switching.equilibrate_and_switch`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    TrajectoryError
        If a trajectory explodes.
    """
    n = settings.n_repeats
    ratio = path.final[-2] / path.initial[-2]

    def ramp(values: np.ndarray) -> np.ndarray:
        return geometric(ratio, values)

    common: dict[str, Any] = {"fix_centre_of_mass": True, "on_progress": on_progress}
    before = _history(structure, liquid, settings, settings.n_equilibration_steps, model)
    ends = equilibrate_ends(
        model,
        path,
        settings,
        derived_seeds(seed, f"equilibration of {purpose}", 2 * n),
        watch=before,
        checkpoint=checkpoint.stage("equilibration"),
        **common,
    )
    during = _history(structure, liquid, settings, settings.n_switching_steps, model)
    own = path.initial_weights[: path.system.n_weights]
    squares = ForceSquares(path.system.masses(own, "harmonic"), 2 * n, model.device)
    switches = switch(
        model,
        path,
        settings,
        ends,
        derived_seeds(seed, f"switching of {purpose}", 2 * n),
        watch=during,
        ramp=ramp,
        squares=squares,
        checkpoint=checkpoint.stage("switching"),
        **common,
    )
    steps = _looks(settings, settings.n_switching_steps) * BLOCK * np.arange(during.lost.shape[1])
    begins = ramp(schedule(settings.schedule, steps / settings.n_switching_steps))
    ends_at = ramp(schedule(settings.schedule, 1 - steps / settings.n_switching_steps))
    # At the ends, before the switches or at their beginning.
    low, high = (
        bool(before.lost[replicas].any() or during.lost[replicas, :1].any()) for replicas in (slice(n), slice(n, None))
    )
    up, down = _first(begins, during.lost[:n]), _first(ends_at, during.lost[n:])
    return Sweep(
        switches,
        lost_on_the_way_up=(1.0 if high else None) if up is None or low else up,
        lost_on_the_way_down=(0.0 if low else None) if down is None or high else down,
        summaries=during.summaries() if isinstance(during, SiteHistory) else [],
        kind_counts=squares.counts,
        liquid=during.summary() if isinstance(during, LiquidHistory) else None,
    )


def _looks(settings: SwitchingSettings, n_steps: int) -> int:
    """Return the number of blocks in a section of a run; a run that is shorter has no section."""
    shortest = MIN_SECTION_FS / (BLOCK * settings.timestep_fs)
    return max(int(np.ceil(shortest)), n_steps // (BLOCK * N_SECTIONS))


def _history(
    structure: Structure, liquid: bool, settings: SwitchingSettings, n_steps: int, model: ScaledPotential
) -> SiteHistory | LiquidHistory:
    looks, n_replicas = _looks(settings, n_steps), 2 * settings.n_repeats
    section_fs = looks * BLOCK * settings.timestep_fs
    if liquid:
        return LiquidHistory(structure, n_replicas, section_fs / looks, model.device, looks_per_section=looks)
    return SiteHistory([structure] * n_replicas, model.device, looks_per_section=looks, section_fs=section_fs)


def _first(lambdas: np.ndarray, lost: np.ndarray) -> float | None:
    """Return λ at the beginning of the first section in which a replica was lost."""
    found = np.flatnonzero(lost.any(axis=0))
    return float(lambdas[found[0]]) if len(found) else None
