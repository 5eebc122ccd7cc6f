"""How far a campaign is, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from rich.console import Group

from alchemflows.campaign.status import STATES, TO_DO, Condition, Outlook, RunningJob, can_go_on
from alchemflows.cli.layout import ResultTable, counted
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA

#: Headings of the labels of conditions, on two lines so that the table fits 80 columns.
_LABELS = ("structure", "transfor-\nmation", "T\n(K)", "p\n(GPa)")
#: Running jobs that are shown one by one.
_SHOWN = 20
#: With more conditions than these, those of the same structure and transformation share a row.
_ROWS = 60


def status_view(name: str, conditions: Sequence[Condition], running: Sequence[RunningJob], outlook: Outlook) -> Group:
    """Return the table of conditions, that of running jobs, and a line on what is left."""
    tables = [_conditions_table(name, conditions)]
    if running:
        tables.append(_running_table(running))
    return Group(*tables, *_outlook_lines(name, conditions, running, outlook))


def status_json(
    name: str, conditions: Sequence[Condition], running: Sequence[RunningJob], outlook: Outlook
) -> dict[str, Any]:
    """Return the same as :func:`status_view` for JSON: all conditions and all running jobs."""
    rows = [
        {
            "structure": row.structure,
            "transformation": row.transformation,
            "temperature_K": row.temperature_K,
            "pressure_GPa": row.pressure_GPa,
            "jobs": dict(zip(STATES, row.counts(), strict=True)),
        }
        for row in conditions
    ]
    return {"campaign": name, "conditions": rows, "running": running, **asdict(outlook)}


def _conditions_table(name: str, conditions: Sequence[Condition]) -> ResultTable:
    """Return the table of jobs by condition and state, without columns that are empty in all rows."""
    alone = len(conditions) <= _ROWS
    rows = []
    for _, group in groupby(conditions, lambda c: (c.structure, c.transformation, c if alone else None)):
        same = list(group)
        counts = [str(sum(numbers) or "") for numbers in zip(*(row.counts() for row in same), strict=True)]
        temperatures, pressures = [row.temperature_K for row in same], [row.pressure_GPa for row in same]
        rows.append([same[0].structure, same[0].transformation, _span(temperatures), _pressures(pressures), *counts])
    totals = [sum(counts) for counts in zip(*(row.counts() for row in conditions), strict=True)]
    headings = [*_LABELS, *STATES]
    footers = ["all", *[""] * (len(_LABELS) - 1), *(str(total or "") for total in totals)]
    shown = [k for k in range(len(headings)) if any(row[k] for row in rows)]
    padding = (0, 0, 0, 1) if len(shown) < len(headings) else (0, 0)
    table = ResultTable(name, show_footer=len(conditions) > 1, padding=padding)
    for place, k in enumerate(shown):
        footer = "all" if place == 0 else footers[k]
        table.add_column(headings[k], footer=footer, justify="left" if k < len(_LABELS) else "right")
    for row in rows:
        table.add_row(*(row[k] for k in shown))
    return table


def _span(values: Sequence[float | None]) -> str:
    """Return a value, or from where to where several are, and how many."""
    different = sorted({value for value in values if value is not None})
    if len(different) < 2:
        return "".join(f"{value:g}" for value in different)
    return f"{different[0]:g} – {different[-1]:g} ({len(different)})"


def _pressures(values: Sequence[float | None]) -> str:
    return "1 atm" if set(values) == {ATMOSPHERE_GPA} else _span(values)


def _running_table(running: Sequence[RunningJob]) -> ResultTable:
    table = ResultTable("running")
    for heading in ("job", "task", "host", "phase", "done", "ns/day"):
        table.add_column(heading, justify="right" if heading in ("job", "done", "ns/day") else "left")
    for job in running[:_SHOWN]:
        task, progress = job.task, job.progress
        temperature = task["temperature_K"]
        labels = [task["structure"], task["transformation"], temperature and f"{temperature:g} K", job.name]
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


def _outlook_lines(
    name: str, conditions: Sequence[Condition], running: Sequence[RunningJob], outlook: Outlook
) -> list[str]:
    n_left = sum(row.states[state] for row in conditions for state in TO_DO)
    if not can_go_on(conditions):
        return _lines_at_the_end(name, conditions, n_left)
    lines = []
    if outlook.share_done is not None:
        lines.append(f"{100 * outlook.share_done:.1f} % of the planned MD steps are done")
    n_sampling = sum(job.progress is not None for job in running)
    left = f"{counted(n_left, 'job')} {'is' if n_left == 1 else 'are'} left"
    if outlook.seconds_left is None:
        lines.append(f"{left}; no job is sampling now, so the remaining time is unknown")
    else:
        end = datetime.now() + timedelta(seconds=outlook.seconds_left)
        lines.append(
            f"{left}; {n_sampling} sampling at {outlook.ns_per_day:.3g} ns/day; "
            f"estimated end of the MD: {end:%Y-%m-%d %H:%M}"
        )
    return lines


def _lines_at_the_end(name: str, conditions: Sequence[Condition], n_waiting: int) -> list[str]:
    """Return what a user can do if no job is ready or running."""
    totals = [sum(numbers) for numbers in zip(*(row.counts() for row in conditions), strict=True)]
    counts = dict(zip(STATES, totals, strict=True))
    lines = []
    if n_failed := counts["failed"]:
        lines.append(f"{counted(n_failed, 'job')} failed; `alchemflows campaign failures {name}` shows why")
    if n_stopped := counts["stopped"]:
        again = f"`alchemflows campaign resume {name}` continues paused jobs"
        lines.append(f"{counted(n_stopped, 'job')} paused or cancelled; {again}")
    if n_waiting:
        lines.append(f"{counted(n_waiting, 'job')} waiting for these")
    return lines or ["nothing is left to do"]
