"""How far a campaign is: its jobs by state, those that run at this moment, and when it may be done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.progress import Progress, read_progress
from alchemflows.storage.database import Database, launchpad_of

OF_CAMPAIGN = "spec.campaign"
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
    fields = {key: f"${OF_CAMPAIGN}.{key}" for key in _CONDITIONS}
    pipeline: list[dict[str, Any]] = [
        {"$match": {f"{OF_CAMPAIGN}.name": name}},
        {
            "$group": {
                "_id": {**fields, "state": "$state"},
                "n": {"$sum": 1},
                "atom_steps": {"$sum": f"${OF_CAMPAIGN}.n_atom_steps"},
            }
        },
    ]
    rows: dict[tuple, Condition] = {}
    for found in launchpad_of(database).fireworks.aggregate(pipeline):
        key = found["_id"]
        values = tuple(key.get(condition) for condition in _CONDITIONS)
        row = rows.setdefault(values, Condition(*values))
        row.states[key["state"]] += found["n"]
        row.atom_steps[key["state"]] += found["atom_steps"]
    if not rows:
        raise InvalidInputError(f"there is no campaign {name!r} in this database; there are: {_names(database)}")
    return [rows[key] for key in sorted(rows, key=lambda k: tuple((v is not None, v) for v in k))]


def running_jobs(database: Database, name: str) -> list[RunningJob]:
    """Return the jobs of a campaign that workers have, in the order of their FireWorks ids."""
    launchpad = launchpad_of(database)
    criteria = {f"{OF_CAMPAIGN}.name": name, "state": "RUNNING"}
    found = list(launchpad.fireworks.find(criteria, {"fw_id": 1, "name": 1, "launches": 1, OF_CAMPAIGN: 1}))
    last = [firework["launches"][-1] for firework in found if firework["launches"]]
    fields = {"launch_id": 1, "launch_dir": 1, "host": 1}
    launches = {row["launch_id"]: row for row in launchpad.launches.find({"launch_id": {"$in": last}}, fields)}
    jobs = []
    for firework in sorted(found, key=lambda firework: firework["fw_id"]):
        launch = launches.get((firework["launches"] or [None])[-1], {})
        folder = launch.get("launch_dir")
        jobs.append(
            RunningJob(
                firework["fw_id"],
                firework["name"],
                launch.get("host", "?"),
                firework["spec"]["campaign"],
                read_progress(Path(folder)) if folder else None,
            )
        )
    return jobs


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


def _names(database: Database) -> str:
    names = launchpad_of(database).workflows.distinct("metadata.campaign.name")
    return ", ".join(sorted(name for name in names if name)) or "none"
