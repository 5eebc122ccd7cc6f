"""Submit a flow, run it with local FireWorks workers, and wait for it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml
from fireworks import Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from alchemflows.errors import AlchemflowsError
from alchemflows.execution import local_worker
from alchemflows.execution.reruns import LOCAL
from alchemflows.jobs.cost import cost_of
from alchemflows.schemas.progress import Progress, read_progress
from alchemflows.storage import fireworks
from alchemflows.storage.database import Database, launchpad_of

#: States of jobs that workers do not take, and of those that they have or will take.
STOPPED_STATES = (fireworks.FAILED, fireworks.CANCELLED, fireworks.PAUSED)
ACTIVE_STATES = ("READY", *fireworks.HELD)


@dataclass(frozen=True)
class JobStatus:
    """One job of a submitted flow.

    Attributes
    ----------
    fw_id, name, state
        As FireWorks has them.
    progress
        Progress of a running job; None if it reports none.
    error
        Last line of the error of a failed job.
    """

    fw_id: int
    name: str
    state: str
    progress: Progress | None = None
    error: str | None = None


def submit(database: Database, flow: Flow, metadata: Mapping[str, Any] | None = None) -> list[int]:
    """Add a flow to the LaunchPad and return the FireWorks ids of its jobs, in their order.

    Parameters
    ----------
    database
        Where it is added.
    flow
        The flow.
    metadata
        Metadata of the workflow. If jobs of the flow belong to one campaign, the name of the campaign is added.

    Raises
    ------
    DatabaseError
        If no LaunchPad is configured, or it has not been initialised.
    """
    launchpad = launchpad_of(database)
    given = [job.metadata.get("campaign") for job, _ in flow.iterflow()]
    names = {each.get("name") for each in given if isinstance(each, Mapping)} - {None}
    campaign = {"campaign": {"name": names.pop()}} if len(names) == 1 else {}
    workflow: Workflow = flow_to_workflow(flow, metadata={**(metadata or {}), **campaign})
    for firework, job in fireworks.jobs_of(workflow):
        if n_sites := firework.spec.get("campaign", {}).get("n_sites"):
            fireworks.add_to_spec(firework, {}, {"n_atom_steps": cost_of(job).n_steps * n_sites})
    fireworks.add_workflows(launchpad, [workflow])
    return [firework.fw_id for firework in workflow.fws]


def n_parallel_jobs(flow: Flow) -> int:
    """Return the maximum number of jobs of a flow that can run at the same time."""
    import networkx  # jobflow makes a flow's graph of it

    return max(len(jobs) for jobs in networkx.topological_generations(flow.graph))


def status(database: Database, fw_ids: list[int]) -> list[JobStatus]:
    """Return the state of some jobs, in the order of their ids given."""
    launchpad = launchpad_of(database)
    jobs = fireworks.jobs_by_id(launchpad, fw_ids)
    launches = fireworks.last_launches(launchpad, [job for job in jobs if job.state in ("RUNNING", *STOPPED_STATES)])
    by_id = {}
    for job in jobs:
        launch = launches.get(job.fw_id)
        progress, error = (read_progress(Path(launch.folder)), launch.error) if launch else (None, None)
        by_id[job.fw_id] = JobStatus(job.fw_id, job.name, job.state, progress, error)
    return [by_id[fw_id] for fw_id in fw_ids]


class LocalWorkers:
    """Workers on this machine for some jobs; a context manager, which stops them at its end.

    Each gets its share of the CPU cores, or OMP_NUM_THREADS if that is less: torch threads of several workers on the
    same cores would slow each other down. A job that one of them was running when it stopped is continued by any other
    worker.

    Parameters
    ----------
    database
        Where the jobs are.
    fw_ids
        The jobs of a submitted flow: the workers take these, jobs that these add to their flow, and no others.
    n_workers
        Number of workers.
    folder
        Folder for launch directories and the workers' logs.
    """

    def __init__(self, database: Database, fw_ids: list[int], n_workers: int, folder: Path) -> None:
        self._database = database
        self._launchpad = launchpad_of(database)
        self._fw_ids = fw_ids
        self._folder = folder.resolve()
        self._environment = os.environ | database.environment | _threads(n_workers)
        self._processes: list[subprocess.Popen | None] = [None] * n_workers
        self._n_restarts = 0

    def __enter__(self) -> LocalWorkers:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        query = fireworks.worker_query(self._launchpad, self._fw_ids)
        fworker = {"name": "local", "category": "", "query": json.dumps(query)}
        (self._folder / "my_fworker.yaml").write_text(yaml.safe_dump(fworker))
        self._launchpad_file.touch(mode=0o600)  # it may hold a password
        self._launchpad.to_file(str(self._launchpad_file))
        for k in range(len(self._processes)):
            self._start(k)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        alive = [process for process in self._processes if process is not None]
        for process in alive:
            process.terminate()
        for process in alive:
            process.wait()
        self._launchpad_file.unlink(missing_ok=True)
        self._return_jobs(self._folder)

    def check(self) -> None:
        """Restart workers that have died, and return their jobs to the queue.

        Raises
        ------
        AlchemflowsError
            If workers keep dying; the message names the log.
        """
        for k, process in enumerate(self._processes):
            if process is None or process.poll() is None:
                continue
            if not LOCAL.restarts_worker(self._n_restarts):
                raise AlchemflowsError(
                    f"a worker has died with status {process.returncode}, again and again: "
                    f"see {self._worker_folder(k)}.log"
                )
            self._n_restarts += 1
            self._return_jobs(self._worker_folder(k))
            self._start(k)

    @property
    def _launchpad_file(self) -> Path:
        return self._folder / "my_launchpad.yaml"

    def _worker_folder(self, k: int) -> Path:
        return self._folder / f"worker-{k}"

    def _start(self, k: int) -> None:
        folder = self._worker_folder(k)
        folder.mkdir(exist_ok=True)
        # FireWorks reads FW_config.yaml in its folder before any other.
        settings = {"PING_TIME_SECS": 30, "RUN_EXPIRATION_SECS": 300, **fireworks.LOCKS}
        (folder / "FW_config.yaml").write_text(yaml.safe_dump(settings))
        files = (self._launchpad_file, self._folder / "my_fworker.yaml")
        self._processes[k] = local_worker.start(*files, folder, Path(f"{folder}.log"), self._environment)

    def _return_jobs(self, folder: Path) -> None:
        """Return the jobs that stopped workers were running below a folder to the queue."""
        fw_ids, _ = fireworks.members(self._launchpad, self._fw_ids)
        deadline = time.monotonic() + 3.0
        fireworks.unlock(self._launchpad, self._fw_ids, 3.0)
        fireworks.rerun_lost(self._launchpad, fw_ids, 0, below=str(folder))
        # Between taking a job and storing its launch a worker needs moments, too.
        while fireworks.any_taken(self._launchpad, fw_ids) and time.monotonic() < deadline:
            time.sleep(0.1)
        fireworks.make_ready(self._launchpad, fw_ids, LOCAL.lost_after_s)


def wait(
    database: Database,
    fw_ids: list[int],
    on_status: Callable[[list[JobStatus]], None],
    *,
    check: Callable[[], None] = lambda: None,
    interval_s: float = 1.0,
    command: str | None = None,
) -> list[JobStatus]:
    """Wait until the workflows are completed, with the jobs that they add; report the states of jobs at intervals.

    If a job fails, wait for the jobs that do not depend on it. If the jobs that depend on it can run without its
    output, the workflow is still completed, and the failed jobs are returned.

    Parameters
    ----------
    database, fw_ids
        Which jobs.
    on_status
        Called with the states.
    check
        Called each time, to look after the workers (:meth:`LocalWorkers.check`).
    interval_s
        Time (s) between two checks.
    command
        Command that continues the workflow after a failure, for the error message; None for those of FireWorks.

    Raises
    ------
    AlchemflowsError
        If a job failed whose output others need; the message names it, the reason, and how to continue.
    """
    launchpad = launchpad_of(database)
    while True:
        # The workflow before its jobs: what it has added by then is in its list.
        current, completed = fireworks.members(launchpad, fw_ids)
        jobs = status(database, current)
        on_status(jobs)
        failed = [job for job in jobs if job.state in STOPPED_STATES]
        active = any(job.state in ACTIVE_STATES for job in jobs)
        if completed and not active:
            return failed
        if failed and not active:
            reasons = "; ".join(map(_reason, failed))
            ids = ",".join(str(job.fw_id) for job in failed)
            again = f"`{command}`" if command else f"`lpad rerun_fws -i {ids}` and `alchemflows worker --until-idle`"
            raise AlchemflowsError(f"{reasons}. Completed jobs are kept; remove the cause, then run {again}")
        check()
        time.sleep(interval_s)


def _reason(job: JobStatus) -> str:
    """Return in words why a job did not complete."""
    if job.state == fireworks.FAILED:
        return f"job {job.fw_id} ({job.name}) failed: {job.error}"
    return f"job {job.fw_id} ({job.name}) is {'paused' if job.state == fireworks.PAUSED else 'cancelled'}"


def n_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads(n_workers: int) -> dict[str, str]:
    cores = n_cores()
    given = os.environ.get("OMP_NUM_THREADS", "")
    threads = str(max(1, min(cores // n_workers, int(given) if given.isdecimal() else cores)))
    return {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "PYTHONWARNINGS": "ignore"}
