"""How far a campaign is, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group
from rich.table import Table

from alchemflows.campaign.status import STATES, TO_DO, Condition, Outlook, RunningJob

#: Running jobs that are shown one by one.
_SHOWN = 20


def status_view(name: str, conditions: Sequence[Condition], running: Sequence[RunningJob], outlook: Outlook) -> Group:
    """Return the table of conditions, that of running jobs, and a line on what is left."""
    tables = [_conditions_table(name, conditions)]
    if running:
        tables.append(_running_table(running))
    return Group(*tables, *_outlook_lines(conditions, running, outlook))


def _conditions_table(name: str, conditions: Sequence[Condition]) -> Table:
    table = Table(title=name, title_justify="left", show_footer=len(conditions) > 1)
    for heading, footer in (("structure", "all"), ("transformation", ""), ("T (K)", ""), ("p (GPa)", "")):
        table.add_column(heading, footer=footer)
    totals = [sum(counts) for counts in zip(*(row.counts() for row in conditions), strict=True)]
    for heading, total in zip(STATES, totals, strict=True):
        table.add_column(heading, footer=str(total or ""), justify="right")
    for row in conditions:
        pressure = "" if row.pressure_GPa is None else f"{row.pressure_GPa:g}"
        counts = [str(n or "") for n in row.counts()]
        table.add_row(row.structure, row.transformation, f"{row.temperature_K:g}", pressure, *counts)
    return table


def _running_table(running: Sequence[RunningJob]) -> Table:
    table = Table(title="running", title_justify="left")
    for heading in ("job", "task", "host", "phase", "done", "ns/day"):
        table.add_column(heading, justify="right" if heading in ("job", "done", "ns/day") else "left")
    for job in running[:_SHOWN]:
        task, progress = job.task, job.progress
        labels = [task["structure"], task["transformation"], f"{task['temperature_K']:g} K", job.name]
        speed = None if progress is None else progress.ns_per_day
        table.add_row(
            str(job.fw_id),
            ", ".join(label for label in labels if label),
            job.host,
            "" if progress is None else progress.phase,
            "" if progress is None else f"{100 * progress.step / progress.n_steps:.0f} %",
            "" if speed is None else f"{speed:.3g}",
        )
    if len(running) > _SHOWN:
        table.caption = f"and {len(running) - _SHOWN} more"
    return table


def _outlook_lines(conditions: Sequence[Condition], running: Sequence[RunningJob], outlook: Outlook) -> list[str]:
    n_left = sum(row.states[state] for row in conditions for state in TO_DO)
    if not n_left:
        return ["nothing is left to do"]
    lines = []
    if outlook.share_done is not None:
        lines.append(f"{100 * outlook.share_done:.1f} % of the planned MD steps are done")
    n_sampling = sum(job.progress is not None for job in running)
    if outlook.seconds_left is None:
        lines.append(f"{n_left} jobs are left; none samples at this moment, so that nobody knows for how long")
    else:
        end = datetime.now() + timedelta(seconds=outlook.seconds_left)
        lines.append(
            f"{n_left} jobs are left; {n_sampling} sample at {outlook.ns_per_day:.3g} ns/day together: the MD may be "
            f"done by {end:%Y-%m-%d %H:%M}"
        )
    return lines
