"""What jobs cost: their makers say so, for estimates and for the resources of a queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jobflow import Job

from alchemflows.schemas.campaign import JobKind
from alchemflows.schemas.dynamics import SwitchingSettings


@dataclass(frozen=True)
class JobCost:
    """What one job costs.

    Attributes
    ----------
    kind
        ``relaxation``, ``sampling`` or ``analysis``.
    n_replicas
        Replicas that dynamics move.
    n_steps
        Time steps of all replicas together: of a batch of B for 1000 steps, 1000 B.
    n_bytes
        Size of its samples in the database, where they are large.
    """

    kind: JobKind = "analysis"
    n_replicas: int = 0
    n_steps: int = 0
    n_bytes: int = 0


@runtime_checkable
class CostlyMaker(Protocol):
    """A maker whose job is more than an analysis."""

    def cost(self, *args: Any, **kwargs: Any) -> JobCost:
        """Return what the job costs that ``make`` gives with the same arguments; none of them is resolved yet."""
        ...


def cost_of(job: Job) -> JobCost:
    """Return what a job costs; that of a maker that does not say is an analysis."""
    if not isinstance(job.maker, CostlyMaker):
        return JobCost()
    return job.maker.cost(*job.function_args, **job.function_kwargs)


def cost_of_switches(settings: SwitchingSettings) -> JobCost:
    """Return what the equilibration of both ends and the switches both ways cost."""
    n = 2 * settings.n_repeats
    return JobCost("sampling", n, n * (settings.n_equilibration_steps + settings.n_switching_steps))
