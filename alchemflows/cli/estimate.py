"""Print the cost of the flow of a command, or of what is left of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemflows.cli.layout import counted, plain_console

if TYPE_CHECKING:
    from ase import Atoms
    from jobflow import Job


def print_estimate(
    name: str, jobs: Sequence[Job], *, n_steps_done: Sequence[int] | None = None, as_json: bool = False
) -> None:
    """Print the work of the jobs of a flow, its time on this machine, and the memory of its largest batch.

    Frames that the jobs evaluate are read from the database.

    Parameters
    ----------
    name
        Name of the flow.
    jobs
        Its jobs; none is submitted or run.
    n_steps_done
        For jobs that were interrupted, the steps that each has already done, summed over its replicas.
    as_json
        Whether to print JSON.
    """
    from alchemflows.campaign.durations import RELAXATION_STEPS, hours_of_jobs, largest_batch
    from alchemflows.campaign.estimate import ladders_of_jobs, work_of_jobs

    stored = {uuid: _frames(uuid) for uuid in ladders_of_jobs(jobs)}
    work = work_of_jobs(jobs, stored=stored, n_steps_done=n_steps_done)
    hours = hours_of_jobs(jobs, stored, n_steps_done)
    batch = largest_batch(jobs)
    if as_json:
        counts = {"jobs": work.n_jobs, "replicas": work.n_replicas, "steps": work.n_steps, "bytes": work.n_bytes}
        counts |= {"relaxations": work.n_relaxations, "evaluations": work.n_evaluations}
        times = {"hours": hours.dynamics, "relaxation_hours": hours.relaxations, "evaluation_hours": hours.evaluations}
        largest = {"batch_replicas": batch.n_replicas, "batch_bytes": batch.n_bytes} if batch else {}
        print(json.dumps(counts | times | largest, indent=1))
        return
    lines = [f"{name}: {counted(work.n_jobs, 'job')}{' left' if n_steps_done is not None else ''}"]
    if work.n_steps:
        steps = f"{counted(work.n_replicas, 'replica')}, {work.n_steps:,} steps of replicas"
        lines.append(f"{steps}: {_about(hours.dynamics)}")
    if batch is not None:
        lines.append(batch_text(batch.n_replicas, batch.n_bytes))
    if work.n_relaxations:
        assumed = "" if hours.relaxations is None else f" if each takes {RELAXATION_STEPS} steps"
        lines.append(f"up to {counted(work.n_relaxations, 'relaxation')}: {_about(hours.relaxations)}{assumed}")
    if work.n_evaluations:
        evaluations = counted(work.n_evaluations, "evaluation")
        lines.append(f"up to {evaluations} of single configurations: {_about(hours.evaluations)}")
    if len(lines) > 1:
        lines.append(
            "times are measured on this device; they do not include the start of workers, nor windows and jobs that "
            "are added while the flow runs"
        )
    else:
        lines.append("no dynamics, relaxations or evaluations")
    console = plain_console()
    for line in lines:
        console.print(line, highlight=False)


def _frames(ladder: str) -> list[Atoms]:
    """Return the frames of a stored result that targets can evaluate: both ends of a ladder, or other states."""
    from alchemflows.cli.configured import connected
    from alchemflows.results.frames import states_of

    _, states = states_of(connected(), ladder)
    return [atoms for state in states if state.frames.is_ordered for atoms in state.frames.atoms()]


def _about(hours: float | None) -> str:
    return "time not estimated" if hours is None else f"about {duration_text(hours)}"


def batch_text(n_replicas: int, n_bytes: int) -> str:
    """Return the size of the largest batch in words."""
    return f"largest batch: {counted(n_replicas, 'replica')}, about {n_bytes / 2**30:.2g} GiB of memory on a GPU"


def duration_text(hours: float) -> str:
    """Return a duration with two digits, in seconds, minutes or hours."""
    number, unit = (hours, "hours") if hours >= 1 else (60 * hours, "minutes")
    if number < 1:
        number, unit = 60 * number, "seconds"
    text = f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
    return f"{text} {unit.removesuffix('s') if text == '1' else unit}"
