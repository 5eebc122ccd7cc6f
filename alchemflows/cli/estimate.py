"""Print the cost of the flow of a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from alchemflows.cli.layout import counted, plain_console

if TYPE_CHECKING:
    from ase import Atoms
    from jobflow import Flow


def print_estimate(flow: Flow, *, as_json: bool = False) -> None:
    """Print the work of a flow, and the time that it needs on this machine.

    Frames that the flow evaluates are read from the database.

    Parameters
    ----------
    flow
        The flow; it is not submitted.
    as_json
        Whether to print JSON.
    """
    from alchemflows.campaign.durations import RELAXATION_STEPS, hours_of_flow
    from alchemflows.campaign.estimate import ladders_of_flow, work_of_flow

    stored = {uuid: _frames(uuid) for uuid in ladders_of_flow(flow)}
    work, hours = work_of_flow(flow, stored=stored), hours_of_flow(flow, stored)
    if as_json:
        counts = {"jobs": work.n_jobs, "replicas": work.n_replicas, "steps": work.n_steps, "bytes": work.n_bytes}
        counts |= {"relaxations": work.n_relaxations, "evaluations": work.n_evaluations}
        times = {"hours": hours.dynamics, "relaxation_hours": hours.relaxations, "evaluation_hours": hours.evaluations}
        print(json.dumps(counts | times, indent=1))
        return
    lines = [f"{flow.name}: {counted(work.n_jobs, 'job')}"]
    if work.n_steps:
        steps = f"{counted(work.n_replicas, 'replica')}, {work.n_steps:,} steps of replicas"
        lines.append(f"{steps}: {_about(hours.dynamics)}")
    if work.n_relaxations:
        assumed = "" if hours.relaxations is None else f" if each takes {RELAXATION_STEPS} steps"
        lines.append(f"up to {counted(work.n_relaxations, 'relaxation')}: {_about(hours.relaxations)}{assumed}")
    if work.n_evaluations:
        evaluations = counted(work.n_evaluations, "evaluation")
        lines.append(f"up to {evaluations} of single configurations: {_about(hours.evaluations)}")
    if len(lines) > 1:
        lines.append(
            "times are those on this device, measured here, without the start of workers and without windows and jobs "
            "that are added while the flow runs"
        )
    else:
        lines.append("no dynamics, relaxations or evaluations")
    console = plain_console()
    for line in lines:
        console.print(line, highlight=False)


def _frames(ladder: str) -> list[Atoms]:
    """Return the frames of both ends of a stored ladder."""
    from alchemflows.cli.configured import connected
    from alchemflows.results.frames import frames_of

    _, *ends = frames_of(connected(), ladder)
    return [atoms for end in ends for atoms in end.frames.atoms()]


def _about(hours: float | None) -> str:
    return "time not estimated" if hours is None else f"about {duration_text(hours)}"


def duration_text(hours: float) -> str:
    """Return a duration with two digits, in seconds, minutes or hours."""
    number, unit = (hours, "hours") if hours >= 1 else (60 * hours, "minutes")
    if number < 1:
        number, unit = 60 * number, "seconds"
    text = f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
    return f"{text} {unit.removesuffix('s') if text == '1' else unit}"
