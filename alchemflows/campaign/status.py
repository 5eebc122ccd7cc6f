"""Report the progress of a campaign: its jobs by state, its running jobs, and the estimated time left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fireworks import LaunchPad

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.progress import Progress, read_progress
from alchemflows.storage import fireworks
from alchemflows.storage.database import Database, launchpad_of

_CONDITIONS = ("structure", "transformation", "temperature_K", "pressure_GPa")
#: FireWorks states by the name shown to users.
STATES: dict[str, tuple[str, ...]] = {
    "finished": ("COMPLETED",),
    "running": ("RUNNING", "RESERVED"),
    "ready": ("READY",),
    "waiting": ("WAITING",),
    "failed": ("FIZZLED",),
    "stopped": ("PAUSED", "DEFUSED", "ARCHIVED"),
}
#: States of jobs that will run without intervention.
TO_DO = ("WAITING", "READY", "RESERVED", "RUNNING")


#: States of jobs that a worker runs or can take; jobs that wait can run only after one of these.
_ACTIVE = ("READY", "RESERVED", "RUNNING")


@dataclass
class Condition:
    """A row of the status: how many jobs of a structure, transformation and condition are in which state.

    Attributes
    ----------
    structure, transformation, temperature_K, pressure_GPa
        The condition; None for a temperature or pressure that the method does not have.
    states
        Number of jobs by FireWorks' state.
    atom_steps
        Their MD steps by state, each step of a replica counted once for each of its sites.
    """

    structure: str
    transformation: str
    temperature_K: float | None
    pressure_GPa: float | None
    states: Counter[str] = field(default_factory=Counter)
    atom_steps: Counter[str] = field(default_factory=Counter)

    def counts(self) -> list[int]:
        """Return how many jobs are in each of :data:`STATES`."""
        return [sum(self.states[state] for state in states) for states in STATES.values()]


@dataclass(frozen=True)
class RunningJob:
    """A running job.

    Attributes
    ----------
    fw_id, name, host
        Values stored by FireWorks.
    task
        The campaign's labels of its task: `structure`, `transformation`, `temperature_K`, ..., `n_sites`.
    progress
        Progress of its sampling; None before or without sampling, or if its launch folder is not accessible.
    """

    fw_id: int
    name: str
    host: str
    task: dict[str, Any]
    progress: Progress | None


@dataclass(frozen=True)
class Outlook:
    """Progress and time left at the current speed.

    Attributes
    ----------
    share_done
        Completed fraction of all planned MD steps; None if no steps are planned.
    ns_per_day
        Total over all replicas that are running now.
    seconds_left
        Estimated time (s) for the remaining steps with the workers that are sampling now; None if there are none.
        Relaxations and analyses are not included.
    """

    share_done: float | None
    ns_per_day: float
    seconds_left: float | None


def check_campaign(database: Database, name: str) -> None:
    """Raise an error if no campaign of this name was submitted.

    Raises
    ------
    InvalidInputError
        If there is no such campaign; the message lists the campaigns of the database.
    """
    launchpad = launchpad_of(database)
    if not any(fireworks.count_states(launchpad, name, ())):
        raise _unknown(launchpad, name)


def _unknown(launchpad: LaunchPad, name: str) -> InvalidInputError:
    names = ", ".join(fireworks.campaign_names(launchpad)) or "none"
    return InvalidInputError(f"there is no campaign {name!r} in this database; there are: {names}")


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
        raise _unknown(launchpad, name)
    return [rows[key] for key in sorted(rows, key=lambda k: tuple((v is not None, v) for v in k))]


def can_go_on(conditions: Sequence[Condition]) -> bool:
    """Tell whether a job is ready or running; otherwise all that wait, wait for failed or stopped jobs."""
    return any(row.states[state] for row in conditions for state in _ACTIVE)


def running_jobs(database: Database, name: str) -> list[RunningJob]:
    """Return the running jobs of a campaign in the order of their FireWorks ids."""
    launchpad = launchpad_of(database)
    jobs = fireworks.campaign_jobs(launchpad, name, ["RUNNING"])
    launches = fireworks.last_launches(launchpad, jobs)
    return [_running(job, launches.get(job.fw_id)) for job in jobs]


def _running(job: fireworks.StoredJob, launch: fireworks.Launch | None) -> RunningJob:
    host, progress = ("?", None) if launch is None else (launch.host, read_progress(Path(launch.folder)))
    return RunningJob(job.fw_id, job.name, host, job.labels, progress)


def outlook(conditions: Sequence[Condition], running: Sequence[RunningJob]) -> Outlook:
    """Return progress and time left, from :func:`campaign_status` and :func:`running_jobs`."""
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
