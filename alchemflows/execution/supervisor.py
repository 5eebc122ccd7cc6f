"""Look after the jobs in a LaunchPad: rerun those that were lost or failed, tidy up, and keep a queue filled."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pymongo
from fireworks import FWorker, LaunchPad
from fireworks.queue.queue_adapter import QueueAdapterBase
from fireworks.queue.queue_launcher import launch_rocket_to_queue
from fireworks.utilities.fw_serializers import load_object_from_file
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError

from alchemflows.execution.checkpoints import remove_completed
from alchemflows.execution.reruns import RerunPolicy, can_be_rerun, is_needed
from alchemflows.storage.configuration import load_file, without_passwords
from alchemflows.storage.fireworks import (
    FAILED,
    Attempts,
    StoredJob,
    attempts,
    client_of,
    find_jobs,
    jobs_by_id,
    last_launches,
    make_ready,
    n_ready,
    relatives,
    taken_and_not_started,
)

#: How long a database may take for its first answer. (pymongo's own 30 s would pass at each look.)
PING_SECONDS = 5.0


class Queue:
    """The batch queue of a cluster; batch jobs are submitted while there are ready jobs.

    Parameters
    ----------
    qadapter, fworker
        FireWorks' files for a batch job, and for the worker that runs in it.
    max_jobs
        Maximum number of batch jobs of this user in the queue, waiting and running.
    folder
        Folder for the launch folders of batch jobs; compute nodes must see it.

    Raises
    ------
    InvalidInputError
        If a file is missing or FireWorks cannot read it.
    """

    def __init__(self, qadapter: Path, fworker: Path, max_jobs: int, folder: Path) -> None:
        self._qadapter: QueueAdapterBase = load_file(qadapter, load_object_from_file)
        self._fworker: FWorker = load_file(fworker, FWorker.from_file)
        self._max_jobs = max_jobs
        self._folder = folder

    def fill(self, launchpad: LaunchPad) -> tuple[list[str], str | None]:
        """Submit batch jobs, at most one per ready job.

        FireWorks' own ``rapidfire`` would not return until no job is left.

        Returns
        -------
        The identifiers of the new batch jobs, and a message if the queue has a problem, else None.
        """
        ready = n_ready(launchpad, self._fworker)
        if not ready:
            return [], None
        queued = self._qadapter.get_njobs_in_queue()
        if queued is None:
            return [], "the queue does not report its number of jobs; check the queue adapter file"
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
                return submitted, f"the queue rejected a batch job; see the last folder in {self._folder}"
            submitted.append(batch_id)
        return submitted, None


@dataclass
class Supervisor:
    """Look after the jobs in a LaunchPad.

    A job that has used up its reruns stays failed (FIZZLED), and the others continue. Attempts are counted from the
    launches stored with a job, so several supervisors may run at any interval. Failed jobs in a completed workflow are
    left unchanged.

    Attributes
    ----------
    launchpad
        LaunchPad with the jobs.
    report
        Called with a line for each event.
    policy
        When a job is run again.
    queue
        Batch queue to keep filled; None for no queue.
    checkpoints
        Folder of all jobs' checkpoints. Workers that were killed, and those of plain ``rlaunch``, leave some of
        completed jobs; these are removed.
    """

    launchpad: LaunchPad
    report: Callable[[str], None]
    policy: RerunPolicy = field(default_factory=RerunPolicy)
    queue: Queue | None = None
    checkpoints: Path | None = None
    _said: set[str] = field(default_factory=set)
    _unreachable: bool = False

    def run(self, interval_s: float) -> None:
        """Check all jobs at intervals without end; wait while the database is unreachable."""
        while True:
            self.look()
            time.sleep(interval_s)

    def look(self) -> bool:
        """Check all jobs once; return whether the database answered."""
        try:
            with pymongo.timeout(PING_SECONDS):
                client_of(self.launchpad).admin.command("ping")
            if self._unreachable:
                self.report("the database answers again")
            self._unreachable = False
            self._return_taken()
            self._rerun_lost()
            self._rerun_failed()
            if self.checkpoints is not None:
                self._tidy_up(self.checkpoints)
            if self.queue is not None:
                self._fill(self.queue)
        except (ConnectionFailure, ExecutionTimeout) as error:  # its text may quote a URI
            if not self._unreachable:
                self.report(f"the database does not answer ({type(error).__name__})")
            self._unreachable = True
        return not self._unreachable

    def _return_taken(self) -> None:
        """Return jobs to the queue whose worker died, or lost the database, before it stored a launch."""
        seconds = self.policy.lost_after_s
        for job in taken_and_not_started(self.launchpad, seconds):
            if make_ready(self.launchpad, [job.fw_id], seconds):
                self.report(f"{_name(job)} was taken but did not start: returned to the queue")

    def _rerun_lost(self) -> None:
        detect = partial(self.launchpad.detect_lostruns, expiration_secs=self.policy.lost_after_s)
        _, lost, inconsistent = detect()
        # Jobs whose worker died after the job ended but before it stored the state.
        for job in jobs_by_id(self.launchpad, inconsistent):
            with self._others_continue(job):
                detect(refresh=True, query={"fw_id": job.fw_id})
        for job in jobs_by_id(self.launchpad, lost):
            before = attempts(self.launchpad, job)
            again = self.policy.reruns_lost(before)
            with self._others_continue(job):
                detect(rerun=again, fizzle=not again, query={"fw_id": job.fw_id})
                if again:
                    count = _times(before._replace(n_lost=before.n_lost + 1))
                    self.report(f"{_name(job)} is lost: run again ({count})")

    def _rerun_failed(self) -> None:
        for job in find_jobs(self.launchpad, {"state": FAILED}):
            around = relatives(self.launchpad, job.fw_id)
            if not (is_needed(around) and can_be_rerun(around)):
                continue
            before = attempts(self.launchpad, job)
            reason = f"({_times(before)}): {self._error(job)}"
            if not self.policy.reruns_failed(before):
                self._say_once(f"{_name(job)} is not run again {reason}")
                continue
            with self._others_continue(job):
                self.launchpad.rerun_fw(job.fw_id)
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

    def _error(self, job: StoredJob) -> str:
        launch = last_launches(self.launchpad, [job]).get(job.fw_id)
        return (launch and launch.error) or "reason unknown"

    @contextmanager
    def _others_continue(self, job: StoredJob) -> Iterator[None]:
        """Report a problem with one job (locked workflow, task that cannot be imported) and continue with others."""
        try:
            yield
        except PyMongoError:
            raise
        except Exception as error:
            # FireWorks raises some with a stack trace as their text
            reason = traceback.format_exception_only(error)[-1].strip().splitlines()[-1]
            self._say_once(f"{_name(job)} cannot be checked now: {without_passwords(reason)}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self.report(line)


def _name(job: StoredJob) -> str:
    return f"job {job.fw_id} ({job.name})"


def _times(attempts: Attempts) -> str:
    return f"failed {attempts.n_failed}, lost {attempts.n_lost} times"
