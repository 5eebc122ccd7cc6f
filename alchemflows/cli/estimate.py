"""Print the cost of the flow of a command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from alchemflows.cli.layout import counted, plain_console

if TYPE_CHECKING:
    from jobflow import Flow


def print_estimate(flow: Flow, *, as_json: bool = False) -> None:
    """Print the number of jobs and steps of a flow, and the time that its dynamics needs on this machine.

    Parameters
    ----------
    flow
        The flow; it is not submitted.
    as_json
        Whether to print JSON.
    """
    from alchemflows.campaign.estimate import hours_of_flow, work_of_flow

    work = work_of_flow(flow)
    hours = hours_of_flow(flow, work)
    if as_json:
        counts = {"jobs": work.n_jobs, "replicas": work.n_replicas, "steps": work.n_steps, "bytes": work.n_bytes}
        print(json.dumps(counts | {"hours": hours}, indent=1))
        return
    console = plain_console()
    console.print(f"{flow.name}: {counted(work.n_jobs, 'job')}", highlight=False)
    if hours is None:
        console.print("no dynamics; the time of other work, such as relaxations, is not estimated", highlight=False)
        return
    console.print(f"{counted(work.n_replicas, 'replica')}, {work.n_steps:,} steps of replicas", highlight=False)
    console.print(
        f"about {duration_text(hours)} of dynamics on this device (measured here), without relaxations, the start of "
        "workers, and windows that a refinement adds",
        highlight=False,
    )


def duration_text(hours: float) -> str:
    """Return a duration with two digits, in seconds, minutes or hours."""
    number, unit = (hours, "hours") if hours >= 1 else (60 * hours, "minutes")
    if number < 1:
        number, unit = 60 * number, "seconds"
    return f"{number:,.0f} {unit}" if number >= 10 else f"{number:.2g} {unit}"
