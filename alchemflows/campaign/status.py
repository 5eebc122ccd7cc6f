"""How far a campaign is: its jobs by state, those that run at this moment, and when it may be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.progress import Progress, read_progress
from alchemflows.storage import fireworks
from alchemflows.storage.database import Database, launchpad_of

_CONDITIONS = ("structure", "transformation", "temperature_K", "pressure_GPa")
#: What people are told of the states of FireWorks.
STATES: dict[str, tuple[str, ...]] = {
    "finished": ("COMPLETED",),
    "running": ("RUNNING", "RESERVED"),
    "ready": ("READY",),
    "waiting": ("WAITING",),
    "failed": ("FIZZLED",),
    "stopped": ("PAUSED", "DEFUSED", "ARCHIVED"),
}
#: States of jobs that will be done without anybody's help.
TO_DO = ("WAITING", "READY", "RESERVED", "RUNNING")


@dataclass
class Condition:
    """A row of the status: how many jobs of a structure, transformation and condition are in which state.

    Attributes
    ----------
    structure, transformation, temperature_K, pressure_GPa
        The condition.
    states
        Number of jobs by FireWorks' state.
    atom_steps
        Their MD steps by state, each step of a replica counted once for each of its sites.
    """

    structure: str
    transformation: str
    temperature_K: float
    pressure_GPa: float | None
    states: Counter[str] = field(default_factory=Counter)
    atom_steps: Counter[str] = field(default_factory=Counter)

    def counts(self) -> list[int]:
        """Return how many jobs are in each of :data:`STATES`."""
        return [sum(self.states[state] for state in states) for states in STATES.values()]


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker has.

    Attributes
    ----------
    fw_id, name, host
        As FireWorks has them.
    task
        The campaign's labels of its task: `structure`, `transformation`, `temperature_K`, ..., `n_sites`.
    progress
        How far its sampling is; None where it does not sample (yet), or its launch folder cannot be seen from here.
    """

    fw_id: int
    name: str
    host: str
    task: dict[str, Any]
    progress: Progress | None


@dataclass(frozen=True)
class Outlook:
    """What is left, at the speed of this moment.

    Attributes
    ----------
    share_done
        Share of all planned MD steps; None where none are planned.
    ns_per_day
        Of all replicas that move now.
    seconds_left
        Until the steps left are done by as many workers as sample now; None while none does. Relaxations and analyses
        are not in it.
    """

    share_done: float | None
    ns_per_day: float
    seconds_left: float | None


def campaign_status(database: Database, name: str) -> list[Condition]:
    """Return the states of a campaign's jobs, a row for each condition; read from an index alone.

    Raises
    ------
    InvalidInputError
        If there is no such campaign.
    """
    launchpad = launchpad_of(database)
    rows: dict[tuple, Condition] = {}
    for values, state, n_jobs, atom_steps in fireworks.count_states(launchpad, name, _CONDITIONS):
        row = rows.setdefault(values, Condition(*values))
        row.states[state] += n_jobs
        row.atom_steps[state] += atom_steps
    if not rows:
        names = ", ".join(fireworks.campaign_names(launchpad)) or "none"
        raise InvalidInputError(f"there is no campaign {name!r} in this database; there are: {names}")
    return [rows[key] for key in sorted(rows, key=lambda k: tuple((v is not None, v) for v in k))]


def running_jobs(database: Database, name: str) -> list[RunningJob]:
    """Return the jobs of a campaign that workers have, in the order of their FireWorks ids."""
    launchpad = launchpad_of(database)
    jobs = fireworks.campaign_jobs(launchpad, name, ["RUNNING"])
    launches = fireworks.last_launches(launchpad, jobs)
    return [_running(job, launches.get(job.fw_id)) for job in jobs]


def _running(job: fireworks.StoredJob, launch: fireworks.Launch | None) -> RunningJob:
    host, progress = ("?", None) if launch is None else (launch.host, read_progress(Path(launch.folder)))
    return RunningJob(job.fw_id, job.name, host, job.labels, progress)


def outlook(conditions: Sequence[Condition], running: Sequence[RunningJob]) -> Outlook:
    """Return what is left of a campaign, from :func:`campaign_status` and :func:`running_jobs`."""
    total = sum(sum(row.atom_steps.values()) for row in conditions)
    done = float(sum(row.atom_steps["COMPLETED"] for row in conditions))
    left = float(sum(row.atom_steps[state] for row in conditions for state in TO_DO))
    speed = ns_per_day = 0.0
    for job in running:
        if job.progress is None:
            continue
        sites = len(job.progress.temperatures_K) * job.task["n_sites"]
        done += sites * job.progress.step
        left -= sites * job.progress.step
        speed += sites * (job.progress.steps_per_s or 0.0)
        ns_per_day += job.progress.ns_per_day or 0.0
    return Outlook(done / total if total else None, ns_per_day, left / speed if speed else None)
