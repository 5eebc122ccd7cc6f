"""Submit a flow, work it off with local FireWorks workers, and watch it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from fireworks import LaunchPad, Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from alchemflows.campaign.database import LOCKS, Database
from alchemflows.errors import AlchemflowsError, DatabaseError
from alchemflows.schemas.progress import Progress, read_progress

FAILED_STATES = ("FIZZLED", "DEFUSED", "PAUSED")


@dataclass(frozen=True)
class JobStatus:
    """One job of a submitted flow.

    Attributes
    ----------
    fw_id, name, state
        As FireWorks has them.
    progress
        How far a running job is, where it says so.
    error
        The last line of what a failed job raised.
    """

    fw_id: int
    name: str
    state: str
    progress: Progress | None = None
    error: str | None = None


def submit(database: Database, flow: Flow) -> list[int]:
    """Add a flow to the LaunchPad and return the FireWorks ids of its jobs, in their order.

    Raises
    ------
    DatabaseError
        If no LaunchPad is configured.
    """
    launchpad = _launchpad(database)
    workflow: Workflow = flow_to_workflow(flow)
    temporary = [firework.fw_id for firework in workflow.fws]
    ids = launchpad.add_wf(workflow)
    return [ids[fw_id] for fw_id in temporary]


def status(database: Database, fw_ids: list[int]) -> list[JobStatus]:
    """Return the state of some jobs, in the order of their ids given."""
    launchpad = _launchpad(database)
    found = launchpad.fireworks.find({"fw_id": {"$in": fw_ids}}, {"fw_id": 1, "name": 1, "state": 1, "launches": 1})
    by_id = {}
    for firework in found:
        progress = error = None
        if firework["launches"] and firework["state"] in ("RUNNING", *FAILED_STATES):
            launch = launchpad.launches.find_one(
                {"launch_id": firework["launches"][-1]}, {"launch_dir": 1, "action.stored_data._exception": 1}
            )
            progress = read_progress(Path(launch["launch_dir"]))
            stored = ((launch.get("action") or {}).get("stored_data") or {}).get("_exception") or {}
            lines = str(stored.get("_stacktrace", "")).strip().splitlines()
            error = lines[-1] if lines else None
        by_id[firework["fw_id"]] = JobStatus(firework["fw_id"], firework["name"], firework["state"], progress, error)
    return [by_id[fw_id] for fw_id in fw_ids]


@contextmanager
def local_workers(database: Database, fw_ids: list[int], n_workers: int, folder: Path) -> Iterator[None]:
    """Run ``rlaunch`` workers for some jobs while the context lasts.

    Each gets its share of the CPU cores: torch threads of several workers on the same cores would slow
    each other down. When the context ends, the workers are stopped; a job that one of them was running can
    then be started again by any worker.

    Parameters
    ----------
    database
        Where the jobs are.
    fw_ids
        The only jobs that the workers take.
    n_workers
        How many.
    folder
        Folder for launch directories and the workers' logs.
    """
    launchpad = _launchpad(database)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # my_launchpad.yaml may hold a password
    # rlaunch reads FW_config.yaml in its folder before any other.
    launchpad.to_file(str(folder / "my_launchpad.yaml"))
    fworker = {"name": "local", "category": "", "query": f'{{"fw_id": {{"$in": {fw_ids}}}}}'}
    (folder / "my_fworker.yaml").write_text(yaml.safe_dump(fworker))
    fast = {"PING_TIME_SECS": 30, "RUN_EXPIRATION_SECS": 300, **LOCKS}
    (folder / "FW_config.yaml").write_text(yaml.safe_dump(fast))
    threads = str(max(1, (os.cpu_count() or 1) // n_workers))
    environment = (
        os.environ
        | database.environment
        | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore"}
    )
    command = [sys.executable, "-c", "from fireworks.scripts.rlaunch_run import rlaunch; rlaunch()"]
    command += ["-l", "my_launchpad.yaml", "-w", "my_fworker.yaml"]
    command += ["rapidfire", "--nlaunches", "infinite", "--sleep", "1"]
    workers = []
    try:
        for k in range(n_workers):
            with (folder / f"worker-{k}.log").open("w") as log:
                workers.append(
                    # A session of its own: rlaunch takes Ctrl-C for the failure of a job and goes on with the next.
                    subprocess.Popen(
                        command,
                        cwd=folder,
                        env=environment,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        yield
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        _give_back(launchpad, fw_ids)


def _give_back(launchpad: LaunchPad, fw_ids: list[int]) -> None:
    """Make the jobs of stopped workers ready for others."""
    # A worker that is stopped within an update of its workflow leaves it locked for ever; others unlock in time.
    locked = {"nodes": {"$in": fw_ids}, "locked": {"$exists": True}}
    deadline = time.monotonic() + 3.0
    while launchpad.workflows.find_one(locked, {"_id": 1}) and time.monotonic() < deadline:
        time.sleep(0.2)
    launchpad.workflows.update_many(locked, {"$unset": {"locked": True}})
    launchpad.detect_lostruns(expiration_secs=0, rerun=True, refresh=True, launch_query={"fw_id": {"$in": fw_ids}})


def wait(
    database: Database,
    fw_ids: list[int],
    on_status: Callable[[list[JobStatus]], None],
    *,
    interval_s: float = 1.0,
) -> None:
    """Wait until all jobs are completed, reporting their states at intervals.

    Raises
    ------
    AlchemflowsError
        If a job fails; the message says which and why.
    """
    while True:
        jobs = status(database, fw_ids)
        on_status(jobs)
        for job in jobs:
            if job.state in FAILED_STATES:
                raise AlchemflowsError(f"job {job.fw_id} ({job.name}) is {job.state}: {job.error or 'no reason given'}")
        if all(job.state == "COMPLETED" for job in jobs):
            return
        time.sleep(interval_s)


def _launchpad(database: Database) -> LaunchPad:
    if database.launchpad is None:
        raise DatabaseError("jobflow is configured, but FireWorks is not: set FW_CONFIG_FILE (templates in db_config/)")
    return database.launchpad
