"""Use parts of FireWorks that it does not document: collections, stored launches, locks and heartbeats.

Seen in FireWorks 2.0.9 and 2.1.4. ``tests/storage/test_fireworks_parts.py`` fails if another version differs;
only this file has to be adapted then.
"""

from __future__ import annotations

import contextlib
import io
import logging
import random
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple, TextIO

from fireworks import Firework, FWorker, LaunchPad, Workflow, fw_config
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core import rocket
from fireworks.core.launchpad import WFLock
from fireworks.utilities.fw_utilities import get_fw_logger
from jobflow import Job
from pymongo import MongoClient
from pymongo.database import Database as MongoDatabase
from pymongo.errors import PyMongoError

from alchemflows.errors import DatabaseError
from alchemflows.schemas.campaign import CampaignMetadata
from alchemflows.schemas.document import current_version
from alchemflows.storage.configuration import without_passwords

#: FireWorks options for workflow locks. A lock is held briefly, but a worker that dies never releases it.
LOCKS = {"WFLOCK_EXPIRATION_SECS": 60, "WFLOCK_EXPIRATION_KILL": True}

#: Names of the loggers of a LaunchPad and of a launched job.
_LOGGER, _JOB_LOGGER = "launchpad", "rocket.launcher"

#: GridFS in which FireWorks stores actions that are too large for a document.
LARGE_ACTIONS = ("fw_gridfs.files", "fw_gridfs.chunks")

#: Actions allowed to each role on the collections of FireWorks.
RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "submitter": {
        **dict.fromkeys(LARGE_ACTIONS, ("find",)),
        "fw_id_assigner": ("find", "update"),
        "fireworks": ("find", "insert", "update", "remove"),  # jobs of a killed submission are removed
        "workflows": ("find", "insert", "update"),
        "launches": ("find", "insert", "update"),
        "offline_runs": ("find",),
    },
    "worker": {
        **dict.fromkeys(LARGE_ACTIONS, ("find", "insert", "listIndexes")),
        "fw_id_assigner": ("find", "update"),
        "fireworks": ("find", "insert", "update"),  # jobs may add jobs
        "workflows": ("find", "update"),
        "launches": ("find", "insert", "update"),
    },
    "reader": dict.fromkeys(("fireworks", "workflows", "launches", *LARGE_ACTIONS), ("find",)),
}

_UUID, _INDEX, _HOSTS = (f"spec._tasks.job.{field}" for field in ("uuid", "index", "hosts"))
_LABELS = "spec.campaign"
_STACK_TRACE = "action.stored_data._exception._stacktrace"
_NAME, _TASK = "metadata.campaign.name", "metadata.campaign.task"
#: Entry of the spec of jobs that a worker may sample in one batch.
_BATCH = "spec.batch"
#: Number of ready jobs that are considered for each job to take.
_CANDIDATES = 4

#: Indexes: a job by its UUID; the status of a campaign is read from one alone; a worker finds its launch.
INDEXES: dict[str, tuple[tuple[str, ...], ...]] = {
    "fireworks": (
        (_UUID,),
        (
            *(f"{_LABELS}.{key}" for key in ("name", "structure", "transformation", "temperature_K", "pressure_GPa")),
            f"{_LABELS}.n_atom_steps",
            "state",
        ),
    ),
    "workflows": ((_NAME, _TASK),),
    "launches": (("launch_dir",),),
}

#: States of jobs.
COMPLETED, FAILED, PAUSED, CANCELLED = "COMPLETED", "FIZZLED", "PAUSED", "DEFUSED"
#: States of jobs that a worker or a batch job holds.
HELD = ("RESERVED", "RUNNING")
#: States of jobs that have not started.
NOT_STARTED = ("WAITING", "READY", "RESERVED")
#: States of jobs and workflows that are run again only on request.
ENDED = (COMPLETED, CANCELLED, "ARCHIVED")

#: How often, and for how long, to try to lock a workflow before FireWorks' own way of waiting.
_LOCK_RETRY_S = 0.005
_LOCK_PATIENCE_S = 0.2


@dataclass(frozen=True)
class StoredJob:
    """A job in the LaunchPad.

    Attributes
    ----------
    fw_id, name, state
        Values stored by FireWorks.
    launches, earlier_launches
        Identifiers of its launches: of the present attempt, and of those before reruns.
    uuids
        UUID and index of each jobflow job in it.
    labels
        Labels stored by its campaign; empty for other jobs.
    """

    fw_id: int
    name: str
    state: str
    launches: list[int]
    earlier_launches: list[int]
    uuids: list[tuple[str, int]]
    labels: dict[str, Any]


def error_class(line: str) -> str:
    """Return the class of an error, without its module, from the last line of its stack trace."""
    return line.split(":")[0].rpartition(".")[2]


@dataclass(frozen=True)
class Launch:
    """One attempt to run a job.

    Attributes
    ----------
    launch_id, fw_id, state, host, folder
        Values stored by FireWorks.
    error
        Last line of the stack trace, with passwords removed; None if there is no stack trace.
    """

    launch_id: int
    fw_id: int
    state: str
    host: str
    folder: str
    error: str | None

    @property
    def error_class(self) -> str | None:
        """Name of the class of the error, without its module."""
        return None if self.error is None else error_class(self.error)


class Attempts(NamedTuple):
    """Numbers of launches of a job that failed with an exception and that were lost."""

    n_failed: int
    n_lost: int


class Relatives(NamedTuple):
    """State of a job's workflow, and states of the jobs that it follows directly and of all that depend on it."""

    workflow: str
    parents: set[str]
    dependents: set[str]


# Jobs


def log_only_errors() -> None:
    """Hide what LaunchPads log, except errors."""
    logging.getLogger(_LOGGER).setLevel(logging.ERROR)


def print_only_warnings() -> None:
    """Print of what FireWorks logs only warnings and errors; its log files stay complete."""
    for level in (fw_config.STREAM_LOGLEVEL, fw_config.ROCKET_STREAM_LOGLEVEL):
        get_fw_logger(_JOB_LOGGER, stream_level=level)  # FireWorks adds one handler for each level
    for name in (_LOGGER, _JOB_LOGGER):
        for handler in logging.getLogger(name).handlers:
            if not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))


def find_jobs(launchpad: LaunchPad, query: Mapping[str, Any]) -> list[StoredJob]:
    """Return the jobs of a query, in the order of their ids."""
    fields = dict.fromkeys(("fw_id", "name", "state", "launches", "archived_launches", _UUID, _INDEX, _LABELS), 1)
    return [_stored_job(row) for row in launchpad.fireworks.find(query, fields, sort=[("fw_id", 1)])]


def _stored_job(row: Mapping[str, Any]) -> StoredJob:
    spec = row.get("spec", {})
    jobs = [task["job"] for task in spec.get("_tasks", []) if task.get("job")]
    return StoredJob(
        row["fw_id"],
        row["name"],
        row["state"],
        row["launches"],
        row["archived_launches"],
        [(job["uuid"], job["index"]) for job in jobs],
        spec.get("campaign", {}),
    )


def jobs_by_id(launchpad: LaunchPad, fw_ids: Sequence[int]) -> list[StoredJob]:
    """Return jobs in the order of their ids."""
    return find_jobs(launchpad, {"fw_id": {"$in": list(fw_ids)}})


def jobs_by_uuid(launchpad: LaunchPad, uuids: Sequence[str]) -> list[StoredJob]:
    """Return the jobs that contain jobflow jobs with the given UUIDs."""
    return find_jobs(launchpad, {_UUID: {"$in": list(uuids)}})


def job_of(launchpad: LaunchPad, launch: Launch) -> StoredJob | None:
    """Return the job of a launch; None if it was rerun since then."""
    found = find_jobs(launchpad, {"fw_id": launch.fw_id, "launches": launch.launch_id})
    return found[0] if found else None


def n_ready(launchpad: LaunchPad, fworker: FWorker, limit: int = 0) -> int:
    """Return the number of jobs that a worker could take now; stop counting at the limit unless it is 0."""
    query = {**fworker.query, "state": "READY"}
    number: int = launchpad.fireworks.count_documents(query, **({"limit": limit} if limit else {}))
    return number


def worker_query(launchpad: LaunchPad, fw_ids: Sequence[int]) -> dict[str, Any]:
    """Return the query of a worker that takes only the given jobs and the jobs that they add to their flows."""
    mine: list[dict[str, Any]] = [{"fw_id": {"$in": list(fw_ids)}}]
    # Jobs that are added to a running flow have its identifier among their hosts.
    if flows := launchpad.fireworks.distinct(_HOSTS, mine[0]):
        mine.append({_HOSTS: {"$in": flows}})
    return {"$or": mine}


def members(launchpad: LaunchPad, fw_ids: Sequence[int]) -> tuple[list[int], bool]:
    """Return the ids of all jobs in the workflows of some jobs, and whether these workflows are completed.

    The jobs given come first, then those that running jobs have added. A workflow is not completed
    while other jobs are replacing one of its jobs, even if that job itself is completed.
    """
    workflows = list(launchpad.workflows.find({"nodes": {"$in": list(fw_ids)}}, {"nodes": 1, "state": 1}))
    added = {fw_id for workflow in workflows for fw_id in workflow["nodes"]} - set(fw_ids)
    return [*fw_ids, *sorted(added)], all(workflow["state"] == COMPLETED for workflow in workflows)


def workflows_by_result(launchpad: LaunchPad, beginning: str) -> list[dict[str, Any]]:
    """Return name, nodes, state and metadata of the workflows whose result's UUID begins with a text."""
    of_job = launchpad.fireworks.find({_UUID: {"$regex": f"^{re.escape(beginning)}"}}, {"fw_id": 1})
    nodes = [row["fw_id"] for row in of_job]
    criteria = {"nodes": {"$in": nodes}, "metadata.result": {"$regex": f"^{re.escape(beginning)}"}}
    return list(launchpad.workflows.find(criteria, dict.fromkeys(("name", "nodes", "state", "metadata"), 1)))


def relatives(launchpad: LaunchPad, fw_id: int) -> Relatives | None:
    """Return the states of the workflow, the parents and the dependents of a job; None without a workflow."""
    workflow = launchpad.workflows.find_one({"nodes": fw_id}, {"links": 1, "state": 1, "nodes": 1})
    if workflow is None:
        return None
    links = {int(parent): children for parent, children in workflow["links"].items()}
    rows = launchpad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, {"fw_id": 1, "state": 1})
    states = {row["fw_id"]: row["state"] for row in rows}
    parents = {states[parent] for parent, children in links.items() if fw_id in children}
    return Relatives(workflow["state"], parents, {states[each] for each in _dependents(fw_id, links)})


def _dependents(fw_id: int, links: Mapping[int, Sequence[int]]) -> set[int]:
    found: set[int] = set()
    ahead = list(links.get(fw_id, []))
    while ahead:
        child = ahead.pop()
        if child not in found:
            found.add(child)
            ahead += links.get(child, [])
    return found


# Launches


def last_launches(launchpad: LaunchPad, jobs: Sequence[StoredJob], *, earlier: bool = False) -> dict[int, Launch]:
    """Return the last launch of each job that has one, by the job's id; with `earlier`, also one before a rerun."""
    launches = [[*(job.earlier_launches if earlier else ()), *job.launches] for job in jobs]
    return _launches(launchpad, {"launch_id": {"$in": [each[-1] for each in launches if each]}})


def launch_in(launchpad: LaunchPad, folders: Sequence[str]) -> Launch | None:
    """Return the last launch in a folder, given by one or several spellings of its path."""
    launches = _launches(launchpad, {"launch_dir": {"$in": list(folders)}}).values()
    return max(launches, key=lambda launch: launch.launch_id, default=None)


def _launches(launchpad: LaunchPad, query: Mapping[str, Any]) -> dict[int, Launch]:
    """Return launches by job, the last one of each."""
    fields = dict.fromkeys(("launch_id", "fw_id", "state", "host", "launch_dir", _STACK_TRACE), 1)
    rows = launchpad.launches.find(query, fields, sort=[("launch_id", 1)])
    return {
        row["fw_id"]: Launch(
            row["launch_id"], row["fw_id"], row["state"], row.get("host") or "?", row["launch_dir"], _error(row)
        )
        for row in rows
    }


def _error(row: Mapping[str, Any]) -> str | None:
    stored = ((row.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = str(stored.get("_stacktrace", "")).strip().splitlines()
    return without_passwords(lines[-1]) if lines else None


def attempts(launchpad: LaunchPad, job: StoredJob) -> Attempts:
    """Count the failed and lost launches of a job, including those before reruns."""
    launches = {"launch_id": {"$in": [*job.launches, *job.earlier_launches]}, "state": FAILED}
    count = launchpad.launches.count_documents
    n_failed = count({**launches, _STACK_TRACE: {"$exists": True}})
    return Attempts(n_failed, count(launches) - n_failed)


def rerun_lost(launchpad: LaunchPad, fw_ids: Sequence[int], after_s: float, below: str = "") -> int:
    """Return to the queue those of the given jobs that sent no heartbeat for a time (s); return their number.

    With `below`, only jobs whose launch folders are below that folder.
    """
    mine: dict[str, Any] = {"fw_id": {"$in": list(fw_ids)}}
    if below:
        mine["launch_dir"] = {"$regex": f"^{re.escape(below)}/"}
    lost = launchpad.detect_lostruns(expiration_secs=after_s, rerun=True, refresh=True, launch_query=mine)
    return len(lost[1])


# Jobs that were taken and have no launch; locks


def taken_and_not_started(launchpad: LaunchPad, seconds: float) -> list[StoredJob]:
    """Return the jobs that were taken from the queue at least the given time (s) ago and have no launch.

    FireWorks searches for lost jobs among launches and therefore misses these. A job that waits in a batch queue has a
    launch.
    """
    return find_jobs(launchpad, _taken(seconds))


def make_ready(launchpad: LaunchPad, fw_ids: Sequence[int], seconds: float) -> int:
    """Return to the queue the jobs taken at least the given time (s) ago without a launch; return their number."""
    ready = {"$set": {"state": "READY", "updated_on": datetime.now(UTC).isoformat()}}
    taken = {"fw_id": {"$in": list(fw_ids)}, **_taken(seconds)}
    number: int = launchpad.fireworks.update_many(taken, ready).modified_count
    return number


def any_taken(launchpad: LaunchPad, fw_ids: Sequence[int]) -> bool:
    """Tell whether any of the given jobs was taken and has no launch yet."""
    return launchpad.fireworks.find_one({"fw_id": {"$in": list(fw_ids)}, **_taken(0.0)}, {"_id": 1}) is not None


def claim(
    launchpad: LaunchPad, fworker: FWorker, key: str, n_jobs: int, accepts: Callable[[Job], bool]
) -> dict[int, Job]:
    """Take ready jobs that may be sampled in one batch, and return them by their ids.

    A job is taken by a single operation of the database, so that no two workers take the same one. Other workers do not
    take it until it is returned (:func:`make_ready`). It has no launch, so that a supervisor returns it if this is not
    done; see :func:`keep_claimed`.

    Parameters
    ----------
    launchpad, fworker
        Where jobs are, and which ones this worker takes.
    key
        Key of the jobs, see :mod:`alchemflows.jobs.companions`.
    n_jobs
        Maximum number of jobs to take.
    accepts
        Whether a job is taken.

    Raises
    ------
    pymongo.errors.PyMongoError
        If the database does not answer. Jobs taken before are returned, if this is possible.
    """
    ready = {**fworker.query, "state": "READY", f"{_BATCH}.key": key}
    in_order = [("spec._priority", -1), ("created_on", 1), ("fw_id", 1)]
    # A limit, since jobs are sorted in memory; those that others take, or that are rejected, are replaced by the rest.
    candidates = launchpad.fireworks.find(ready, {"fw_id": 1}, sort=in_order, limit=_CANDIDATES * n_jobs)
    found: dict[int, Job] = {}
    taken: list[int] = []
    try:
        for fw_id in [row["fw_id"] for row in candidates]:
            if len(found) == n_jobs:
                break
            if not _take(launchpad, fw_id):
                continue
            taken.append(fw_id)
            job = _accepted(launchpad, fw_id, accepts)
            if job is None:
                make_ready(launchpad, [fw_id], 0.0)
            else:
                found[fw_id] = job
    except BaseException:
        with contextlib.suppress(PyMongoError):
            make_ready(launchpad, taken, 0.0)
        raise
    return found


def _take(launchpad: LaunchPad, fw_id: int) -> bool:
    """Reserve a job if it is ready, and return whether it was."""
    ready = {"fw_id": fw_id, "state": "READY"}
    reserved = {"$set": {"state": "RESERVED", "updated_on": datetime.now(UTC)}}
    return launchpad.fireworks.find_one_and_update(ready, reserved, {"_id": 1}) is not None


def _accepted(launchpad: LaunchPad, fw_id: int, accepts: Callable[[Job], bool]) -> Job | None:
    """Return the jobflow job of a Firework; None if it is not accepted."""
    try:
        (job,) = read_jobs(launchpad, [fw_id])
        return job if accepts(job) else None
    except PyMongoError:
        raise
    except Exception:  # it cannot be read here; FireWorks stores the reason when a worker takes it
        return None


def keep_claimed(launchpad: LaunchPad, fw_ids: Sequence[int]) -> None:
    """Record that jobs of :func:`claim` are still held."""
    held = {"fw_id": {"$in": list(fw_ids)}, **_taken(0.0)}
    launchpad.fireworks.update_many(held, {"$set": {"updated_on": datetime.now(UTC)}})


def _taken(seconds: float) -> dict[str, Any]:
    return {"state": "RESERVED", "launches": [], "updated_on": {"$lte": datetime.now(UTC) - timedelta(seconds=seconds)}}


def unlock(launchpad: LaunchPad, fw_ids: Sequence[int], patience_s: float) -> None:
    """Unlock the workflows of some jobs that stay locked for longer than the patience.

    A worker that is stopped while it updates a workflow never releases the lock. Otherwise a lock is held only briefly.
    """
    locked = {"nodes": {"$in": list(fw_ids)}, "locked": {"$exists": True}}
    deadline = time.monotonic() + patience_s
    while launchpad.workflows.find_one(locked, {"_id": 1}) and time.monotonic() < deadline:
        time.sleep(0.1)
    launchpad.workflows.update_many(locked, {"$unset": {"locked": True}})


class _PromptLock(WFLock):
    """Workflow lock that retries within milliseconds before it falls back to FireWorks' slower retries."""

    def __enter__(self) -> None:
        free = {"nodes": self.fw_id, "locked": {"$exists": False}}
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while self.lp.workflows.find_one_and_update(free, {"$set": {"locked": True}}, {"_id": 1}) is None:
            if time.monotonic() > deadline:
                super().__enter__()
                return
            time.sleep(_LOCK_RETRY_S * random.uniform(0.5, 1.5))


@contextlib.contextmanager
def prompt_locks() -> Iterator[None]:
    """Make FireWorks retry a locked workflow within milliseconds."""
    fireworks_launchpad.WFLock = _PromptLock
    try:
        yield
    finally:
        fireworks_launchpad.WFLock = WFLock


@contextlib.contextmanager
def tracebacks_in(stream: TextIO) -> Iterator[None]:
    """Make FireWorks write the tracebacks of a job to a stream.

    FireWorks would write that of an error which follows another one, such as a loss of the database while it stores the
    error of a job, to stderr.
    """

    def print_exc(limit: int | None = None, file: TextIO | None = None, chain: bool = True) -> None:
        traceback.print_exc(limit, file or stream, chain)

    rocket.traceback = SimpleNamespace(print_exc=print_exc, format_exc=traceback.format_exc)
    try:
        yield
    finally:
        rocket.traceback = traceback


@contextlib.contextmanager
def lasting_heartbeat() -> Iterator[None]:
    """Let the heartbeat of a running job continue after the database was unreachable, and end with the job.

    The heartbeat of FireWorks ends with the first failure, and is sent once more after the job has ended.
    """
    theirs = rocket.ping_launch

    def lasting(launchpad: LaunchPad, launch_id: int, stop: threading.Event, master: threading.Thread) -> None:
        while not stop.wait(rocket.PING_TIME_SECS) and master.is_alive():
            with contextlib.suppress(PyMongoError):
                rocket.do_ping(launchpad, launch_id)

    rocket.ping_launch = lasting
    try:
        yield
    finally:
        rocket.ping_launch = theirs


# Campaigns


def campaign_jobs(
    launchpad: LaunchPad, name: str, states: Sequence[str], fw_ids: Sequence[int] | None = None
) -> list[StoredJob]:
    """Return the jobs of a campaign in the given states, optionally only those with the given ids."""
    query: dict[str, Any] = {f"{_LABELS}.name": name, "state": {"$in": list(states)}}
    return find_jobs(launchpad, query if fw_ids is None else {**query, "fw_id": {"$in": list(fw_ids)}})


def unfinished_ids(launchpad: LaunchPad, name: str) -> list[int]:
    """Return the ids of the jobs of a campaign that have not ended."""
    query = {f"{_LABELS}.name": name, "state": {"$nin": list(ENDED)}}
    return [row["fw_id"] for row in launchpad.fireworks.find(query, {"fw_id": 1})]


def count_states(launchpad: LaunchPad, name: str, labels: Sequence[str]) -> Iterator[tuple[tuple, str, int, int]]:
    """Yield label values, state, number of jobs, and total MD steps times sites for each combination.

    Only an index is read.
    """
    group = {"_id": {**{key: f"${_LABELS}.{key}" for key in labels}, "state": "$state"}, "n": {"$sum": 1}}
    steps = {"atom_steps": {"$sum": f"${_LABELS}.n_atom_steps"}}
    for row in launchpad.fireworks.aggregate([{"$match": {f"{_LABELS}.name": name}}, {"$group": group | steps}]):
        values = tuple(row["_id"].get(key) for key in labels)
        yield values, row["_id"]["state"], row["n"], row["atom_steps"]


def campaign_names(launchpad: LaunchPad) -> list[str]:
    """Return the names of all campaigns."""
    return sorted(name for name in launchpad.workflows.distinct(_NAME) if name)


def submitted_tasks(launchpad: LaunchPad, name: str) -> dict[str, int]:
    """Return the number of runs per window, stored or queued, by the keys of a campaign's tasks.

    Raises
    ------
    DocumentVersionError
        If a newer release has submitted some of them, since its keys may differ.
    """
    newer = {_NAME: name, "metadata.campaign.schema_version": {"$gt": current_version("CampaignMetadata")}}
    if found := launchpad.workflows.find_one(newer, {"metadata.campaign": 1}):
        CampaignMetadata.read(found["metadata"]["campaign"])
    group = {"_id": f"${_TASK}", "n_runs": {"$max": "$metadata.campaign.n_runs"}}
    return {
        row["_id"]: row["n_runs"] or 1
        for row in launchpad.workflows.aggregate([{"$match": {_NAME: name}}, {"$group": group}])
        if row["_id"] is not None  # corrections of ladders are no tasks
    }


def unfinished_tasks(launchpad: LaunchPad, name: str, keys: Sequence[str]) -> set[str]:
    """Return the given task keys that have an unfinished workflow."""
    query = {_TASK: {"$in": list(keys)}, "state": {"$ne": COMPLETED}, _NAME: name}
    return set(launchpad.workflows.distinct(_TASK, query))


def remove_incomplete(launchpad: LaunchPad, name: str) -> None:
    """Remove workflows of a campaign whose submission was killed before all their jobs were added."""
    campaign = {_NAME: name}
    count = [{"$match": campaign}, {"$group": {"_id": None, "n": {"$sum": {"$size": "$nodes"}}}}]
    expected = sum(row["n"] for row in launchpad.workflows.aggregate(count))
    if launchpad.fireworks.count_documents({f"{_LABELS}.name": name}) >= expected:
        return
    jobs = {"from": "fireworks", "localField": "nodes", "foreignField": "fw_id", "as": "jobs"}
    incomplete: list[dict[str, Any]] = [
        {"$match": {**campaign, "state": {"$ne": COMPLETED}}},
        {"$lookup": {**jobs, "pipeline": [{"$project": {"_id": 1}}]}},
        {"$match": {"$expr": {"$lt": [{"$size": "$jobs"}, {"$size": "$nodes"}]}}},
        {"$project": {"nodes": 1}},
    ]
    for workflow in list(launchpad.workflows.aggregate(incomplete)):
        launchpad.fireworks.delete_many({"fw_id": {"$in": workflow["nodes"]}})
        launchpad.workflows.update_one({"_id": workflow["_id"]}, {"$set": {"state": "ARCHIVED", "metadata": {}}})


def add_workflows(launchpad: LaunchPad, workflows: Sequence[Workflow]) -> None:
    """Add workflows, each before its jobs, and number their jobs in their order.

    FireWorks' `add_wf` adds the jobs first. A process that is killed in between then leaves jobs without a workflow,
    which no worker can run and nothing removes.

    Raises
    ------
    DatabaseError
        If the LaunchPad has not been initialised.
    """
    if launchpad.fw_id_assigner.find_one({}, {"_id": 1}) is None:
        raise DatabaseError("the LaunchPad has never been initialised: run `lpad reset` once (db_config/README.md)")
    with contextlib.redirect_stderr(io.StringIO()):  # progress bar
        launchpad.bulk_add_wfs(list(workflows))


def read_jobs(launchpad: LaunchPad, fw_ids: Sequence[int]) -> list[Job]:
    """Return the jobflow jobs of Fireworks that were made of a flow."""
    return [launchpad.get_fw_by_id(fw_id).tasks[0]["job"] for fw_id in fw_ids]


def jobs_of(workflow: Workflow) -> Iterator[tuple[Firework, Job]]:
    """Yield the jobs of a workflow that was made of a flow, each with its Firework."""
    for firework in workflow.fws:
        yield firework, firework.tasks[0]["job"]


def add_to_spec(firework: Firework, entries: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    """Add entries, for example a category, to the spec of a Firework, and labels to its campaign labels."""
    firework.spec.update(entries)
    firework.spec["campaign"] = {**firework.spec["campaign"], **labels}


# The database


def database_of(launchpad: LaunchPad) -> MongoDatabase:
    """Return the database of a LaunchPad."""
    return launchpad.db


def client_of(launchpad: LaunchPad) -> MongoClient:
    """Return the connection of a LaunchPad."""
    return launchpad.connection


def initialise(launchpad: LaunchPad) -> None:
    """Initialise a new database as ``lpad reset`` does; leave a database in use unchanged."""
    start = {"next_fw_id": 1, "next_launch_id": 1}
    before = launchpad.fw_id_assigner.find_one_and_update({}, {"$setOnInsert": start}, upsert=True)
    if before is None:
        launchpad.tuneup()


def create_indexes(database: MongoDatabase) -> None:
    """Create the indexes of FireWorks' collections that this package uses, where they are missing."""
    for collection, indexes in INDEXES.items():
        for fields in indexes:
            database[collection].create_index(list(fields))
