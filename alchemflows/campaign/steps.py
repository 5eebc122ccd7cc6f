"""What a job of a campaign does: how many replicas it moves, for how many steps, and how much it samples."""

from __future__ import annotations

from jobflow import Job

from alchemflows.jobs.equilibrium import EquilibriumMaker
from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.jobs.vacancy import RemovalMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.campaign import JobKind


def replica_steps(job: Job) -> tuple[int, int]:
    """Return how many replicas a job moves, and their time steps in all; (0, 0) for a job that moves none."""
    maker = job.maker
    if isinstance(maker, WindowsMaker):
        n, more = len(job.function_args[1]), job.function_kwargs
        equilibration = 0 if more.get("first_runs") else maker.dynamics.n_equilibration_steps
        return n, n * (equilibration + more.get("n_runs", 1) * maker.dynamics.n_production_steps)
    if isinstance(maker, EquilibriumMaker):
        steps = maker.dynamics.n_equilibration_steps + maker.dynamics.n_production_steps
        return maker.n_replicas, maker.n_replicas * steps
    if isinstance(maker, SwitchesMaker | RemovalMaker):
        n = 2 * maker.settings.n_repeats
        return n, n * (maker.settings.n_equilibration_steps + maker.settings.n_switching_steps)
    if isinstance(maker, EinsteinSwitchesMaker):
        settings, n = maker.settings, maker.settings.n_repeats
        sampled = n * (settings.n_equilibration_steps + maker.n_sampling_steps)
        return 2 * n, sampled + 2 * n * settings.n_switching_steps
    return 0, 0


def job_kind(job: Job) -> JobKind:
    """Return of which kind a job of a campaign is."""
    if isinstance(job.maker, AlchemicalRelaxMaker):
        return "relaxation"
    return "sampling" if replica_steps(job)[0] else "analysis"


def sample_bytes(job: Job) -> int:
    """Return how large the samples of a window job are in the database, other jobs' being small; 0 for those."""
    maker = job.maker
    if not isinstance(maker, WindowsMaker):
        return 0
    n_samples = job.function_kwargs.get("n_runs", 1) * maker.dynamics.n_samples
    # The energies at all λ of the grid in single precision and five more numbers (PackedSeries), as base64.
    return len(job.function_args[1]) * n_samples * (4 * len(maker.lambdas) + 40) * 4 // 3
