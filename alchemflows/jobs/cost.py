"""Costs of jobs, which their makers state; used for estimates and for queue resources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jobflow import Job, OutputReference

from alchemflows.schemas.campaign import JobKind
from alchemflows.schemas.dynamics import SwitchingSettings


@dataclass(frozen=True)
class FrameCost:
    """Frames of a stored result that a job evaluates: of both ends of a ladder, or of other states.

    Attributes
    ----------
    ladder
        Identifier of the result.
    most
        Maximum number of frames; None for all.
    forces
        Whether forces are computed too.
    """

    ladder: str
    most: int | None = None
    forces: bool = False


@dataclass(frozen=True)
class JobCost:
    """Cost of one job.

    Attributes
    ----------
    kind
        ``relaxation``, ``sampling`` or ``analysis``.
    n_replicas
        Number of replicas of the dynamics.
    n_steps
        Time steps summed over all replicas: 1000 B for a batch of B replicas and 1000 steps.
    n_bytes
        Size of the samples in the database (bytes); 0 if it is negligible.
    n_relaxations
        Number of relaxations; a descent on the composition has one for each of its maximum number of steps.
    n_evaluations
        Number of evaluations of single configurations, besides those of dynamics, relaxations and frames.
    frames
        Frames that are evaluated; none for most jobs.
    n_frames
        Number of configurations that are stored and that other jobs can evaluate as frames of a ladder, a crystal or a
        liquid.
    """

    kind: JobKind = "analysis"
    n_replicas: int = 0
    n_steps: int = 0
    n_bytes: int = 0
    n_relaxations: int = 0
    n_evaluations: int = 0
    frames: FrameCost | None = None
    n_frames: int = 0


@runtime_checkable
class CostlyMaker(Protocol):
    """A maker whose jobs do more than an analysis."""

    def cost(self, *args: Any, **kwargs: Any) -> JobCost:
        """Return the cost of the job that ``make`` returns for the same arguments, whose references are unresolved."""
        ...


def cost_of(job: Job) -> JobCost:
    """Return the cost of a job; a job whose maker states no cost counts as an analysis."""
    if not isinstance(job.maker, CostlyMaker):
        return JobCost()
    return job.maker.cost(*job.function_args, **job.function_kwargs)


def cost_of_frames(ladder: OutputReference | str, most: int | None = None, *, forces: bool = False) -> FrameCost:
    """Return the frames of a ladder, given by its output or the identifier of its job, that a job evaluates."""
    return FrameCost(ladder if isinstance(ladder, str) else ladder.uuid, most, forces)


def cost_of_switches(settings: SwitchingSettings) -> JobCost:
    """Return the cost of the equilibration at both ends and of the switches in both directions."""
    n = 2 * settings.n_repeats
    return JobCost("sampling", n, n * (settings.n_equilibration_steps + settings.n_switching_steps))
