"""Campaigns on the LaunchPad: submitted once, watched, and mended."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fireworks import LaunchPad, Workflow
from jobflow.managers.fireworks import flow_to_workflow

from alchemflows.campaign.database import Database, launchpad_of, without_passwords
from alchemflows.campaign.specification import Task
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.campaign import Campaign, Resources

#: Workflows that are added at once.
_AT_ONCE = 500
_OF = "spec.campaign"
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


@dataclass(frozen=True)
class Submission:
    """What a submission did.

    Attributes
    ----------
    n_new, n_known
        Tasks that were added, and that were there.
    n_jobs
        Jobs that were added.
    n_others
        Tasks of the campaign in the database that are not in its specification now; they stay.
    """

    n_new: int
    n_known: int
    n_jobs: int
    n_others: int


@dataclass
class Condition:
    """A row of the status: how many jobs of a structure, transformation and condition are in which state."""

    structure: str
    transformation: str
    temperature_K: float
    pressure_GPa: float | None
    states: Counter[str] = field(default_factory=Counter)

    def counts(self) -> list[int]:
        """Return how many jobs are in each of :data:`STATES`."""
        return [sum(self.states[state] for state in states) for states in STATES.values()]


@dataclass(frozen=True)
class Failure:
    """Jobs that failed for one reason."""

    cause: str
    fw_ids: list[int]
    names: list[str]


def submit_campaign(
    database: Database, campaign: Campaign, tasks: Iterable[Task], on_progress: Callable[[int], None] = lambda n: None
) -> Submission:
    """Add the tasks of a campaign that are not in the database yet.

    A task is known by its hash: the same structure, change, settings, model and seed are not done twice, whatever
    campaign of this name they were submitted with first.

    Parameters
    ----------
    database
        Where.
    campaign
        Whose resources the jobs get.
    tasks
        All its tasks.
    on_progress
        Called with the number of tasks added so far.

    Raises
    ------
    DatabaseError
        If there is no LaunchPad.
    InvalidInputError, PotentialError
        What a task's maker refuses; tasks before it may have been added, and a second submission goes on.
    """
    launchpad = launchpad_of(database)
    known = set(launchpad.workflows.distinct("metadata.campaign.task", {"metadata.campaign.name": campaign.name}))
    wanted: dict[str, Task] = {}
    for task in tasks:
        wanted.setdefault(task.key, task)
    new = [task for key, task in wanted.items() if key not in known]
    n_jobs = n_added = 0
    for batch in _batches(new, _AT_ONCE):
        workflows = [_workflow(task, campaign.resources) for task in batch]
        launchpad.bulk_add_wfs(workflows)
        n_jobs += sum(len(workflow.fws) for workflow in workflows)
        n_added += len(workflows)
        on_progress(n_added)
    return Submission(len(new), len(wanted) - len(new), n_jobs, len(known - set(wanted)))


def campaign_status(database: Database, name: str) -> list[Condition]:
    """Return the states of a campaign's jobs, a row for each condition.

    Raises
    ------
    InvalidInputError
        If there is no such campaign.
    """
    fields = {key: f"${_OF}.{key}" for key in _CONDITIONS}
    pipeline: list[dict[str, Any]] = [
        {"$match": {f"{_OF}.name": name}},
        {"$group": {"_id": {**fields, "state": "$state"}, "n": {"$sum": 1}}},
    ]
    rows: dict[tuple, Condition] = {}
    for found in launchpad_of(database).fireworks.aggregate(pipeline):
        key = found["_id"]
        values = tuple(key.get(condition) for condition in _CONDITIONS)
        rows.setdefault(values, Condition(*values)).states[key["state"]] += found["n"]
    if not rows:
        raise InvalidInputError(f"there is no campaign {name!r} in this database; there are: {_names(database)}")
    return [rows[key] for key in sorted(rows, key=lambda k: tuple((v is not None, v) for v in k))]


def failures(database: Database, name: str) -> list[Failure]:
    """Return what failed, by cause, the most frequent first; numbers in messages do not make another cause.

    What may be a password in a message is left out.
    """
    launchpad = launchpad_of(database)
    by_cause: dict[str, Failure] = {}
    kinds: dict[str, str] = {}
    failed = {f"{_OF}.name": name, "state": "FIZZLED"}
    for firework in launchpad.fireworks.find(failed, {"fw_id": 1, "name": 1, "launches": 1}):
        message = _error(launchpad, firework["launches"])
        kind = re.sub(r"[-+]?\d[\d.eE+-]*|0x[0-9a-f]+", "#", message)
        cause = kinds.setdefault(kind, message)
        group = by_cause.setdefault(cause, Failure(cause, [], []))
        group.fw_ids.append(firework["fw_id"])
        group.names.append(firework["name"])
    return sorted(by_cause.values(), key=lambda failure: -len(failure.fw_ids))


def retry(database: Database, name: str, fw_ids: Sequence[int] | None = None) -> int:
    """Run failed jobs of a campaign again, all of them or some; return how many."""
    launchpad = launchpad_of(database)
    chosen: dict[str, Any] = {f"{_OF}.name": name, "state": "FIZZLED"}
    if fw_ids is not None:
        chosen["fw_id"] = {"$in": list(fw_ids)}
    return _each(launchpad, chosen, launchpad.rerun_fw)


def pause(database: Database, name: str) -> int:
    """Keep workers from jobs that have not begun; return how many."""
    launchpad = launchpad_of(database)
    waiting = {f"{_OF}.name": name, "state": {"$in": ["WAITING", "READY", "RESERVED"]}}
    return _each(launchpad, waiting, launchpad.pause_fw)


def resume(database: Database, name: str) -> int:
    """Let paused jobs be done; return how many."""
    launchpad = launchpad_of(database)
    return _each(launchpad, {f"{_OF}.name": name, "state": "PAUSED"}, launchpad.resume_fw)


def cancel(database: Database, name: str) -> int:
    """Give up all jobs that are not completed; what is completed stays. Return how many.

    Jobs that run are told so by FireWorks when they end; they are not killed.
    """
    launchpad = launchpad_of(database)
    unfinished = {f"{_OF}.name": name, "state": {"$nin": ["COMPLETED", "DEFUSED", "ARCHIVED"]}}
    return _each(launchpad, unfinished, launchpad.defuse_fw)


def _each(launchpad: LaunchPad, criteria: dict[str, Any], act: Callable[[int], Any]) -> int:
    fw_ids = [firework["fw_id"] for firework in launchpad.fireworks.find(criteria, {"fw_id": 1})]
    for fw_id in fw_ids:
        act(fw_id)
    return len(fw_ids)


def _workflow(task: Task, resources: Resources) -> Workflow:
    workflow: Workflow = flow_to_workflow(task.flow(), name=str(task), metadata=task.metadata)
    for firework in workflow.fws:
        if resources.priority:
            firework.spec["_priority"] = resources.priority
        if resources.queue:
            firework.spec["_queueadapter"] = dict(resources.queue)
    return workflow


def _error(launchpad: LaunchPad, launches: Sequence[int]) -> str:
    launch = launchpad.launches.find_one(
        {"launch_id": launches[-1] if launches else None}, {"action.stored_data._exception._stacktrace": 1}
    )
    stored = (((launch or {}).get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = str(stored.get("_stacktrace", "")).strip().splitlines()
    return without_passwords(lines[-1]) if lines else "no message"


def _names(database: Database) -> str:
    names = launchpad_of(database).workflows.distinct("metadata.campaign.name")
    return ", ".join(sorted(name for name in names if name)) or "none"


def _batches(items: Iterable[Task], size: int) -> Iterator[list[Task]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
