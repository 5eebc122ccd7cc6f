"""Flows that a command submitted and did not finish: find them, and return their stopped jobs to the queue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobflow import Job

from alchemflows.arguments import checked_id
from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.schemas.progress import read_progress
from alchemflows.storage import fireworks
from alchemflows.storage.database import Database, launchpad_of

#: A running job without a heartbeat for this time (s) is lost; local workers send one every 30 s.
LOST_AFTER_S = 90.0


@dataclass(frozen=True)
class SubmittedFlow:
    """A flow as a command submitted it.

    Attributes
    ----------
    name
        Name of the flow.
    fw_ids
        FireWorks ids of its jobs, with those added since.
    result
        UUID of the job that returns the result.
    figures
        Files of figures to draw, by the name of the figure.
    n_parallel_jobs
        Maximum number of its jobs that can run at the same time.
    completed
        Whether all jobs are completed.
    """

    name: str
    fw_ids: list[int]
    result: str
    figures: dict[str, Path]
    n_parallel_jobs: int
    completed: bool


@dataclass(frozen=True)
class UnfinishedJob:
    """A job that is not completed.

    Attributes
    ----------
    job
        The job; results of earlier jobs among its arguments are references.
    n_steps_done
        Number of steps, summed over the replicas, that its last attempt has reported.
    """

    job: Job
    n_steps_done: int


def as_metadata(result: str, figures: Mapping[str, Path], n_parallel_jobs: int) -> dict[str, object]:
    """Return the metadata of a workflow by which :func:`find_flow` finds it again."""
    paths = {name: str(path) for name, path in figures.items()}
    return {"result": result, "figures": paths, "n_parallel_jobs": n_parallel_jobs}


def find_flow(database: Database, beginning: str) -> SubmittedFlow:
    """Return the flow whose result has the given ID.

    Parameters
    ----------
    database
        Where the flow was submitted.
    beginning
        The UUID of the job that returns the result, or its first characters.

    Raises
    ------
    InvalidInputError
        If the text is no beginning of an identifier, if there is no such flow, or if there are several.
    """
    beginning = checked_id(beginning)
    found = fireworks.workflows_by_result(launchpad_of(database), beginning)
    if not found:
        raise InvalidInputError(
            f"no command submitted a flow with the ID {beginning}; to continue a campaign, use `alchemflows worker`"
        )
    if len(found) > 1:
        several = ", ".join(each["metadata"]["result"][:13] for each in found[:5])
        raise InvalidInputError(f"the ID {beginning} fits {len(found)} flows; give more characters: {several}")
    (workflow,) = found
    stored = workflow["metadata"]
    return SubmittedFlow(
        workflow["name"],
        sorted(workflow["nodes"]),
        stored["result"],
        {name: Path(path) for name, path in stored["figures"].items()},
        stored["n_parallel_jobs"],
        completed=workflow["state"] == fireworks.COMPLETED,
    )


def unfinished_jobs(database: Database, flow: SubmittedFlow) -> list[UnfinishedJob]:
    """Return the jobs of a flow that are not completed, in the order of their ids."""
    launchpad = launchpad_of(database)
    stored = [job for job in fireworks.jobs_by_id(launchpad, flow.fw_ids) if job.state != fireworks.COMPLETED]
    launches = fireworks.last_launches(launchpad, stored, earlier=True)
    progress = {fw_id: read_progress(Path(launch.folder)) for fw_id, launch in launches.items()}
    n_done = {fw_id: len(found.temperatures_K) * found.step for fw_id, found in progress.items() if found is not None}
    ids = [job.fw_id for job in stored]
    jobs = fireworks.read_jobs(launchpad, ids)
    return [UnfinishedJob(job, n_done.get(fw_id, 0)) for fw_id, job in zip(ids, jobs, strict=True)]


def return_stopped_jobs(database: Database, flow: SubmittedFlow) -> int:
    """Return lost and failed jobs of a flow to the queue, and return their number.

    Raises
    ------
    DatabaseError
        If a job is running elsewhere, or was running a moment ago.
    InvalidInputError
        If jobs were paused or cancelled.
    """
    launchpad = launchpad_of(database)
    n_lost = fireworks.rerun_lost(launchpad, flow.fw_ids, LOST_AFTER_S)
    fireworks.make_ready(launchpad, flow.fw_ids, LOST_AFTER_S)
    jobs = fireworks.jobs_by_id(launchpad, flow.fw_ids)
    running = [job.fw_id for job in jobs if job.state == "RUNNING"]
    if running:
        raise DatabaseError(
            f"job {running[0]} of this flow is running; if its process was killed, try again after {LOST_AFTER_S:.0f} s"
        )
    stopped = [job for job in jobs if job.state in (fireworks.PAUSED, fireworks.CANCELLED)]
    if stopped:
        raise InvalidInputError(f"job {stopped[0].fw_id} of this flow is {stopped[0].state}; make it ready with lpad")
    failed = [job.fw_id for job in jobs if job.state == fireworks.FAILED]
    for fw_id in failed:
        launchpad.rerun_fw(fw_id)
    return n_lost + len(failed)
