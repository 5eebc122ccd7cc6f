"""Look after the jobs in a LaunchPad: rerun those that were lost or failed, tidy up, and keep a queue filled."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pymongo
from fireworks import FWorker, LaunchPad
from fireworks.fw_config import RUN_EXPIRATION_SECS
from fireworks.queue.queue_adapter import QueueAdapterBase
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.utilities.fw_serializers import load_object_from_file
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError

from alchemflows.execution.checkpoints import remove_completed
from alchemflows.storage.configuration import load_file, without_passwords

#: States of jobs that a worker or a batch job holds.
HELD_STATES = ("RESERVED", "RUNNING")
#: How long a database may take for its first answer. (pymongo's own 30 s would pass at each look.)
PING_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """How often a job is tried again.

    Attributes
    ----------
    retries
        Reruns of a job that failed.
    lost_retries
        Reruns of a job that was lost: at a wall time, which is nobody's fault; but a job may also kill its worker.
    lost_after_s
        A running job without a sign of life for so long is lost.
    """

    retries: int = 3
    lost_retries: int = 20
    lost_after_s: float = RUN_EXPIRATION_SECS


class Queue:
    """The queue of a cluster, into which batch jobs go as long as there is work for them.

    Parameters
    ----------
    qadapter, fworker
        FireWorks' files for a batch job, and for the worker that runs in it.
    max_jobs
        Batch jobs of this user in the queue, waiting and running.
    folder
        Folder for the launch folders of batch jobs; compute nodes must see it.

    Raises
    ------
    InvalidInputError
        If a file is missing or is not what it should be.
    """

    def __init__(self, qadapter: Path, fworker: Path, max_jobs: int, folder: Path) -> None:
        self._qadapter: QueueAdapterBase = load_file(qadapter, load_object_from_file)
        self._fworker: FWorker = load_file(fworker, FWorker.from_file)
        self._max_jobs = max_jobs
        self._folder = folder

    def fill(self, launchpad: LaunchPad) -> tuple[list[str], str | None]:
        """Submit batch jobs, no more at once than jobs are ready.

        FireWorks' own ``rapidfire`` would stay until nothing is left to do.

        Returns
        -------
        The identifiers of the new batch jobs, and what is wrong with the queue, if something is.
        """
        ready = launchpad.fireworks.count_documents({"state": "READY", **self._fworker.query})
        if not ready:
            return [], None
        queued = self._qadapter.get_njobs_in_queue()
        if queued is None:
            return [], "the queue does not say how many jobs are in it"
        self._folder.mkdir(parents=True, exist_ok=True)
        submitted: list[str] = []
        for _ in range(min(ready, self._max_jobs - queued)):
            batch_id = launch_rocket_to_queue(
                launchpad,
                self._fworker,
                self._qadapter,
                str(self._folder),
                create_launcher_dir=True,
                strm_lvl="CRITICAL",
            )
            if batch_id is None:  # nothing is ready any more
                break
            if not batch_id:
                return submitted, f"the queue takes no batch job; see the last folder in {self._folder}"
            submitted.append(batch_id)
        return submitted, None


@dataclass
class Supervisor:
    """Look after the jobs in a LaunchPad.

    A job that has used up its reruns is set aside, FIZZLED as it is, and the rest goes on. What counts is stored with
    the job (its launches), so that it does not matter who looks, and how often. Failed jobs that others did without, in
    a workflow that is completed, are left alone.

    Attributes
    ----------
    launchpad
        Whose jobs.
    report
        Called with a line for each event.
    limits
        How often a job is tried again.
    queue
        What to keep filled, if anything.
    checkpoints
        Folder of all jobs' checkpoints. Workers that were killed, and those of plain ``rlaunch``, leave some of
        completed jobs; these are removed.
    """

    launchpad: LaunchPad
    report: Callable[[str], None]
    limits: Limits = Limits()
    queue: Queue | None = None
    checkpoints: Path | None = None
    _said: set[str] = field(default_factory=set)
    _away: bool = False

    def run(self, interval_s: float) -> None:
        """Look at intervals, for ever. A database that is away is waited for."""
        while True:
            self.look()
            time.sleep(interval_s)

    def look(self) -> bool:
        """Do once what is to be done; tell whether the database answered."""
        try:
            with pymongo.timeout(PING_SECONDS):
                self.launchpad.connection.admin.command("ping")
            if self._away:
                self.report("the database answers again")
            self._away = False
            self._free_reserved()
            self._rerun_lost()
            self._rerun_failed()
            if self.checkpoints is not None:
                self._tidy_up(self.checkpoints)
            if self.queue is not None:
                self._fill(self.queue)
        except (ConnectionFailure, ExecutionTimeout) as error:  # its text may quote a URI
            if not self._away:
                self.report(f"the database does not answer ({type(error).__name__})")
            self._away = True
        return not self._away

    def _free_reserved(self) -> None:
        """Give back jobs whose worker died, or lost the database, between taking them and writing down a launch.

        FireWorks looks for lost jobs among launches, and never finds these. One that waits in a queue has a launch.
        """
        for job in self._jobs(never_begun(self.limits.lost_after_s)):
            if make_ready(self.launchpad, {"fw_id": job["fw_id"]}, self.limits.lost_after_s):
                self.report(f"{_name(job)} was taken, but never begun: it is ready again")

    def _rerun_lost(self) -> None:
        detect = partial(self.launchpad.detect_lostruns, expiration_secs=self.limits.lost_after_s)
        _, lost, inconsistent = detect()
        # Jobs whose worker died after its work was done, but before it could say so.
        for job in self._jobs({"fw_id": {"$in": inconsistent}}):
            with self._others_go_on(job):
                detect(refresh=True, query={"fw_id": job["fw_id"]})
        for job in self._jobs({"fw_id": {"$in": lost}}):
            n_failed, n_lost = self._attempts(job)
            again = n_lost < self.limits.lost_retries
            with self._others_go_on(job):
                detect(rerun=again, fizzle=not again, query={"fw_id": job["fw_id"]})
                if again:
                    self.report(f"{_name(job)} is lost: run again ({_times(n_failed, n_lost + 1)})")

    def _rerun_failed(self) -> None:
        for job in self._jobs({"state": "FIZZLED"}):
            workflow = self.launchpad.workflows.find_one({"nodes": job["fw_id"]}, {"links": 1, "state": 1, "nodes": 1})
            if workflow is None or workflow["state"] in ("COMPLETED", "ARCHIVED", "DEFUSED"):
                continue
            states = {
                fw["fw_id"]: fw["state"]
                for fw in self.launchpad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, {"fw_id": 1, "state": 1})
            }
            links = {int(parent): children for parent, children in workflow["links"].items()}
            parents = [parent for parent, children in links.items() if job["fw_id"] in children]
            # It follows its parent; and what is running behind it would have the ground pulled away.
            if any(states[parent] == "FIZZLED" for parent in parents) or any(
                states[behind] in HELD_STATES for behind in _behind(job["fw_id"], links)
            ):
                continue
            n_failed, n_lost = self._attempts(job)
            reason = f"({_times(n_failed, n_lost)}): {self._error(job)}"
            if n_failed > self.limits.retries or n_lost > self.limits.lost_retries:
                self._say_once(f"{_name(job)} is set aside {reason}")
                continue
            with self._others_go_on(job):
                self.launchpad.rerun_fw(job["fw_id"])
                self.report(f"{_name(job)} has failed: run again {reason}")

    def _tidy_up(self, checkpoints: Path) -> None:
        try:
            if number := remove_completed(self.launchpad, checkpoints):
                self.report(f"removed the checkpoints of {number} completed jobs")
        except OSError as error:
            self._say_once(f"the checkpoints in {checkpoints} cannot be read: {error.strerror}")

    def _fill(self, queue: Queue) -> None:
        submitted, problem = queue.fill(self.launchpad)
        if submitted:
            self.report(f"submitted {len(submitted)} batch jobs: {', '.join(submitted)}")
        if problem:
            self.report(problem)

    def _jobs(self, query: dict[str, Any]) -> list[dict[str, Any]]:
        fields = {"fw_id": 1, "name": 1, "launches": 1, "archived_launches": 1}
        return list(self.launchpad.fireworks.find(query, fields, sort=[("fw_id", 1)]))

    def _attempts(self, job: dict[str, Any]) -> tuple[int, int]:
        """Count the launches of a job that ended with an exception, and those that ended without a word."""
        launches = {"launch_id": {"$in": [*job["launches"], *job["archived_launches"]]}, "state": "FIZZLED"}
        count = self.launchpad.launches.count_documents
        n_failed = count({**launches, "action.stored_data._exception": {"$exists": True}})
        return n_failed, count(launches) - n_failed

    def _error(self, job: dict[str, Any]) -> str:
        launch = self.launchpad.launches.find_one(
            {"launch_id": {"$in": job["launches"]}}, {"action.stored_data._exception": 1}, sort=[("launch_id", -1)]
        )
        stored = (((launch or {}).get("action") or {}).get("stored_data") or {}).get("_exception") or {}
        lines = str(stored.get("_stacktrace", "")).strip().splitlines()
        return without_passwords(lines[-1]) if lines else "no reason is known"

    @contextmanager
    def _others_go_on(self, job: dict[str, Any]) -> Iterator[None]:
        """Keep to itself what is wrong with one job: a workflow that is locked, tasks that cannot be imported here."""
        try:
            yield
        except PyMongoError:
            raise
        except Exception as error:
            # FireWorks raises some with a stack trace as their text
            reason = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
            self._say_once(f"{_name(job)} cannot be dealt with now: {without_passwords(reason)}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.report(line)


def never_begun(seconds: float) -> dict[str, Any]:
    """Return the query of jobs that were taken so many seconds ago, and have no launch."""
    return {"state": "RESERVED", "launches": [], "updated_on": {"$lte": datetime.now(UTC) - timedelta(seconds=seconds)}}


def make_ready(launchpad: LaunchPad, query: dict[str, Any], seconds: float) -> int:
    """Make jobs that were taken so many seconds ago, and never begun, ready for others; return how many."""
    ready = {"$set": {"state": "READY", "updated_on": datetime.now(UTC).isoformat()}}
    number: int = launchpad.fireworks.update_many({**query, **never_begun(seconds)}, ready).modified_count
    return number


def _behind(fw_id: int, links: dict[int, list[int]]) -> set[int]:
    """Return the jobs that depend on a job, however far behind it."""
    found: set[int] = set()
    ahead = list(links.get(fw_id, []))
    while ahead:
        child = ahead.pop()
        if child not in found:
            found.add(child)
            ahead += links.get(child, [])
    return found


def _name(job: dict[str, Any]) -> str:
    return f"job {job['fw_id']} ({job['name']})"


def _times(n_failed: int, n_lost: int) -> str:
    return f"failed {n_failed}, lost {n_lost} times"
