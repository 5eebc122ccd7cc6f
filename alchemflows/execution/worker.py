"""A FireWorks worker that stops cleanly and waits for an unreachable database.

``rlaunch rapidfire`` dies with the signal that ends a batch job, and with a database that is unreachable for a minute;
the job that it had then counts as lost, some time later. This one takes jobs in the same way, one after the other, but

- on SIGTERM, or when its time is over, the running job stops after a checkpoint (:mod:`alchemflows.jobs.resuming`),
  is returned to the queue, and continues with any other worker from its checkpoint;
- when the database is unreachable it waits, and a job whose end could not be stored is returned to the queue, too;
- if another worker is updating the same workflow, it retries within milliseconds instead of tenths of a second;
- the checkpoints of a completed job are removed;
- jobs of a campaign that may be sampled in one batch (`jobs_per_batch`) are sampled with the first of them. They are
  returned to the queue with their last checkpoint, so that each is completed as a job of its own, within seconds.
"""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fireworks import FWorker, LaunchPad
from fireworks.core.rocket_launcher import launch_rocket
from fireworks.utilities.fw_utilities import create_datestamp_dir
from pymongo.errors import OperationFailure, PyMongoError

from alchemflows.errors import UNAUTHORIZED, DatabaseError
from alchemflows.execution.batches import claimed_jobs
from alchemflows.execution.checkpoints import job_folders
from alchemflows.execution.reruns import INTERRUPTIONS, was_interrupted
from alchemflows.jobs.companions import companions_from
from alchemflows.jobs.jobflow_parts import forget_current_job
from alchemflows.jobs.resuming import (
    JobInterrupted,
    stop_requested,
    stopped_by_signals,
    wait_for_stop,
)
from alchemflows.settings import Settings
from alchemflows.storage.fireworks import (
    COMPLETED,
    error_class,
    job_of,
    lasting_heartbeat,
    launch_in,
    n_ready,
    prompt_locks,
    tracebacks_in,
)

logger = logging.getLogger(__name__)

_RETRY_S = 5.0


class Worker:
    """Takes jobs from a LaunchPad until it is told to stop.

    Parameters
    ----------
    launchpad, fworker
        Where jobs are, and which ones this worker takes.
    folder
        Folder of the launch directories.
    sleep_s
        Time (s) to wait if there is no job.
    patience_s
        Time (s) for which the database may be unreachable.
    report
        Called with one line for each event.
    """

    def __init__(
        self,
        launchpad: LaunchPad,
        fworker: FWorker,
        folder: Path,
        *,
        sleep_s: float = 10.0,
        patience_s: float = 6 * 3600.0,
        report: Callable[[str], None] = logger.warning,
    ) -> None:
        self._launchpad = launchpad
        self._fworker = fworker
        self._folder = folder.resolve()
        self._sleep_s = sleep_s
        self._patience_s = patience_s
        self._report = report
        self._checkpoints = Settings().checkpoints

    def run(
        self, *, until_idle: bool = False, idle_for_s: float | None = None, stop_after_s: float | None = None
    ) -> int:
        """Run jobs, and return their number.

        Parameters
        ----------
        until_idle
            Whether to end when there is no job for this worker, now or behind those of its category that run.
        idle_for_s
            Time (s) without a ready job after which the worker ends, even if jobs are waiting; None for never.
        stop_after_s
            Stop after this time (s), the current job checkpointed; None for never.

        Raises
        ------
        DatabaseError
            If the database is unreachable for longer than the patience.
        pymongo.errors.OperationFailure
            If the user of the database may not run jobs; waiting would not help.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        n_jobs = 0
        unreachable_since: float | None = None
        idle_since: float | None = None
        unfinished: Path | None = None
        found = False  # after a job, try the next without counting
        source = partial(claimed_jobs, self._launchpad, self._fworker, self._report)
        with stopped_by_signals(stop_after_s), lasting_heartbeat(), prompt_locks(), companions_from(source):
            while not stop_requested():
                try:
                    if unfinished is not None:
                        self._end_launch(unfinished)
                        unfinished = None
                    if unreachable_since is not None:
                        self._report("the database is reachable again")
                        unreachable_since = None
                    if not (found or n_ready(self._launchpad, self._fworker, limit=1)):
                        now = time.monotonic()
                        idle_since = now if idle_since is None else idle_since
                        left_s = math.inf if idle_for_s is None else idle_since + idle_for_s - now
                        if left_s <= 0 or (until_idle and not self._launchpad.future_run_exists(self._fworker)):
                            break
                        wait_for_stop(min(self._sleep_s, left_s))
                        continue
                    idle_since = None
                    unfinished = Path(create_datestamp_dir(str(self._folder), logger, prefix="launcher_"))
                    with contextlib.chdir(unfinished), contextlib.suppress(JobInterrupted):
                        found = self._launch()
                        n_jobs += found
                    forget_current_job()  # jobflow keeps it where a job has failed
                except PyMongoError as error:
                    if isinstance(error, OperationFailure) and error.code == UNAUTHORIZED:
                        raise
                    unreachable_since = time.monotonic() if unreachable_since is None else unreachable_since
                    if time.monotonic() - unreachable_since > self._patience_s:
                        raise DatabaseError(f"the database is unreachable ({type(error).__name__})") from error
                    self._report(f"the database is unreachable ({type(error).__name__}); waiting for it")
                    wait_for_stop(_RETRY_S)
            if unfinished is not None:
                with contextlib.suppress(PyMongoError):  # else it counts as lost after some time
                    self._end_launch(unfinished)
        return n_jobs

    def _launch(self) -> bool:
        """Run a job in the current folder and return whether there was one; print a traceback only if it failed."""
        errors = io.StringIO()
        try:
            with tracebacks_in(errors):
                return bool(launch_rocket(self._launchpad, self._fworker, err_file=errors))
        finally:
            lines = errors.getvalue().splitlines()
            if lines and error_class(lines[-1]) not in INTERRUPTIONS:  # an interruption is reported in one line
                print(*lines, sep="\n", file=sys.stderr, flush=True)

    def _end_launch(self, folder: Path) -> None:
        """Return the job of a launch folder to the queue if it was interrupted; tidy up if it is completed."""
        # FireWorks may have resolved links in the path, or not.
        launch = launch_in(self._launchpad, [str(folder), os.path.realpath(folder)])
        if launch is None:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        if launch.state == COMPLETED and not self._has_checkpoints():
            return
        job = job_of(self._launchpad, launch)
        if job is None:  # it was considered lost and rerun
            return
        if launch.state == COMPLETED:
            for name in job_folders(job):
                shutil.rmtree(self._checkpoints / name, ignore_errors=True)
        elif was_interrupted(launch):
            if launch.state == "RUNNING":
                self._launchpad.mark_fizzled(launch.launch_id)
            self._launchpad.rerun_fw(launch.fw_id)
            reason = (launch.error or "").partition(": ")[2]
            self._report(f"job {launch.fw_id} is returned to the queue" + (f": {reason}" if reason else ""))

    def _has_checkpoints(self) -> bool:
        """Tell whether any job has checkpoints here; a short one makes none."""
        with contextlib.suppress(OSError):
            return any(self._checkpoints.iterdir())
        return False
