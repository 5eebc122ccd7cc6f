"""A FireWorks worker that minds its process.

``rlaunch rapidfire`` dies with the signal that ends a batch job, and with a database that is away for a minute; the job
that it had then counts as lost, some time later. This one takes jobs in the same way, one after the other, but

- on SIGTERM, or when its time is over, the running job stops in good order (:mod:`alchemflows.jobs.resuming`),
  is given back, ready for any other worker, and goes on there from its checkpoint;
- when the database is away it waits, and a job whose end could not be stored is given back, too;
- where another worker writes into the same workflow, it waits for moments instead of tenths of a second;
- the checkpoints of a completed job are removed.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fireworks import FWorker, LaunchPad
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core import rocket
from fireworks.core.launchpad import WFLock
from fireworks.core.rocket_launcher import launch_rocket
from fireworks.utilities.fw_utilities import create_datestamp_dir
from jobflow import CURRENT_JOB
from pymongo.errors import PyMongoError

from alchemflows.errors import DatabaseError
from alchemflows.execution.checkpoints import JOB_FIELDS, job_folders
from alchemflows.jobs.resuming import JobInterrupted, stop_requested, stopped_by_signals, wait_for_stop
from alchemflows.settings import Settings

logger = logging.getLogger(__name__)

#: Errors after which a job is given back instead of being left failed; they are not its own fault.
_NOT_ITS_FAULT = (
    "RunStoppedError",
    "JobInterrupted",
    "AutoReconnect",
    "ConnectionFailure",
    "NetworkTimeout",
    "NotPrimaryError",
    "ServerSelectionTimeoutError",
)
_RETRY_S = 5.0
#: How often, and for how long, to try to lock a workflow before FireWorks' own way of waiting.
_LOCK_RETRY_S = 0.005
_LOCK_PATIENCE_S = 0.2


class Worker:
    """Takes jobs from a LaunchPad until it is told to stop.

    Parameters
    ----------
    launchpad, fworker
        Where jobs are, and which ones this worker takes.
    folder
        Folder of the launch directories.
    sleep_s
        How long to wait where there is no job.
    patience_s
        How long a database may be away.
    report
        Takes a line for what happens besides the jobs.
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
        self._checkpoints = Settings().checkpoints.expanduser()

    def run(
        self, *, until_idle: bool = False, idle_for_s: float | None = None, stop_after_s: float | None = None
    ) -> int:
        """Work, and return how many jobs were run.

        Parameters
        ----------
        until_idle
            Whether to end when there is no job for this worker, now or behind those of its category that run.
        idle_for_s
            End after so many seconds without a job, whatever other workers' jobs may make ready later; None for never.
        stop_after_s
            Stop in good order after so many seconds; None for never.

        Raises
        ------
        DatabaseError
            If the database is away for longer than the patience.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        n_jobs = 0
        away_since: float | None = None
        idle_since: float | None = None
        unfinished: Path | None = None
        found = False  # where there was a job there may be another
        with stopped_by_signals(stop_after_s), _heartbeat_that_lasts(), _prompt_locks():
            while not stop_requested():
                try:
                    if unfinished is not None:
                        self._settle(unfinished)
                        unfinished = None
                    if away_since is not None:
                        self._report("the database is there again")
                        away_since = None
                    if not (found or self._is_ready()):
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
                        found = launch_rocket(self._launchpad, self._fworker)
                        n_jobs += found
                    CURRENT_JOB.reset()  # jobflow leaves it where a job has failed
                except PyMongoError as error:
                    away_since = time.monotonic() if away_since is None else away_since
                    if time.monotonic() - away_since > self._patience_s:
                        raise DatabaseError(f"the database is away ({type(error).__name__})") from error
                    self._report(f"the database is away ({type(error).__name__}); waiting for it")
                    wait_for_stop(_RETRY_S)
            if unfinished is not None:
                with contextlib.suppress(PyMongoError):  # else it counts as lost after some time
                    self._settle(unfinished)
        return n_jobs

    def _is_ready(self) -> bool:
        """Tell whether there is a job for this worker, without reading all of it, as FireWorks does."""
        query = {**self._fworker.query, "state": "READY"}
        return self._launchpad.fireworks.find_one(query, {"fw_id": 1}) is not None

    def _settle(self, folder: Path) -> None:
        """Give the job of a launch folder back if it has not come to its end; tidy up if it has."""
        # FireWorks may have resolved links in the path, or not.
        launch = self._launchpad.launches.find_one(
            {"launch_dir": {"$in": [str(folder), os.path.realpath(folder)]}},
            {"launch_id": 1, "fw_id": 1, "state": 1, "action.stored_data._exception._stacktrace": 1},
            sort=[("launch_id", -1)],
        )
        if launch is None:
            with contextlib.suppress(OSError):
                folder.rmdir()
            return
        if launch["state"] == "COMPLETED" and not self._has_checkpoints():
            return
        # Not if somebody took it for lost and runs it again.
        mine = {"fw_id": launch["fw_id"], "launches": launch["launch_id"]}
        firework = self._launchpad.fireworks.find_one(mine, JOB_FIELDS)
        if firework is None:
            return
        if launch["state"] == "COMPLETED":
            for name in job_folders(firework):
                shutil.rmtree(self._checkpoints / name, ignore_errors=True)
        elif launch["state"] == "RUNNING" or (launch["state"] == "FIZZLED" and not _its_own_fault(launch)):
            if launch["state"] == "RUNNING":
                self._launchpad.mark_fizzled(launch["launch_id"])
            self._launchpad.rerun_fw(launch["fw_id"])
            self._report(f"job {launch['fw_id']} is given back")

    def _has_checkpoints(self) -> bool:
        """Tell whether any job has checkpoints here; a short one makes none."""
        with contextlib.suppress(OSError):
            return any(self._checkpoints.iterdir())
        return False


def _its_own_fault(launch: dict[str, Any]) -> bool:
    stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = str(stored.get("_stacktrace", "")).strip().splitlines()
    kind = lines[-1].split(":")[0].rpartition(".")[2] if lines else ""
    return kind not in _NOT_ITS_FAULT


@contextlib.contextmanager
def _heartbeat_that_lasts() -> Iterator[None]:
    """Let the heartbeat of a running job go on after the database was away, and end with the job.

    FireWorks' own ends with the first failure, and beats once more when the job has ended.
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


class _PromptLock(WFLock):
    """FireWorks' lock of a workflow; who finds it taken, for some milliseconds, need not sleep a tenth of a second."""

    def __enter__(self) -> None:
        free = {"nodes": self.fw_id, "locked": {"$exists": False}}
        deadline = time.monotonic() + _LOCK_PATIENCE_S
        while self.lp.workflows.find_one_and_update(free, {"$set": {"locked": True}}, {"_id": 1}) is None:
            if time.monotonic() > deadline:
                super().__enter__()
                return
            time.sleep(_LOCK_RETRY_S * random.uniform(0.5, 1.5))


@contextlib.contextmanager
def _prompt_locks() -> Iterator[None]:
    """Let FireWorks lock workflows in this way."""
    fireworks_launchpad.WFLock = _PromptLock
    try:
        yield
    finally:
        fireworks_launchpad.WFLock = WFLock
