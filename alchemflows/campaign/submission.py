"""Campaigns on the LaunchPad: submit, pause, resume, cancel and retry."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from fireworks import LaunchPad, Workflow
from jobflow import Flow, Job
from jobflow.managers.fireworks import flow_to_workflow

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.campaign.extension import extension
from alchemflows.campaign.task import Task
from alchemflows.execution.reruns import can_be_rerun
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.companions import batch_key_of
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.campaign import CampaignSpec, JobKind, Resources
from alchemflows.storage import fireworks
from alchemflows.storage.database import Database, launchpad_of
from alchemflows.storage.locking import submitting

T = TypeVar("T")

#: Workflows that are added at once. With more of them in memory the garbage collector has more to walk through.
_AT_ONCE = 100


@dataclass(frozen=True)
class Submission:
    """The result of a submission.

    Attributes
    ----------
    n_new, n_known
        Numbers of tasks added, and of tasks already in the database.
    n_extended
        Finished ladders that are continued because more runs are now requested.
    n_unfinished
        Unfinished ladders for which more runs are requested; submit again after they finish to continue them.
    n_jobs
        Jobs that were added.
    n_others
        Tasks in the database that are no longer in the specification of the campaign; they are kept.
    """

    n_new: int
    n_known: int
    n_extended: int
    n_unfinished: int
    n_jobs: int
    n_others: int


@dataclass(frozen=True)
class Failure:
    """Jobs that failed for one reason."""

    cause: str
    fw_ids: list[int]
    names: list[str]


def submit_campaign(database: Database, campaign: CampaignSpec, tasks: Iterable[Task]) -> Submission:
    """Add the tasks of a campaign that are not in the database yet, and continue ladders with more runs.

    A task is identified by its hash, so the same structure, transformation, settings, potential and seed are computed
    once per campaign name. The hash does not include the number of runs. If another process is submitting the campaign,
    wait for it.

    Parameters
    ----------
    database
        Where.
    campaign
        Campaign with the resources of the jobs.
    tasks
        All its tasks.

    Raises
    ------
    DatabaseError
        If there is no LaunchPad.
    InvalidInputError, PotentialError
        What a task's maker refuses. A task of each structure and transformation is checked before any is added. Where a
        maker refuses only some conditions, tasks before them may have been added; a second submission adds the rest.
    """
    launchpad = launchpad_of(database)
    with submitting(launchpad, campaign.name) as alive, _modules_kept():
        fireworks.remove_incomplete(launchpad, campaign.name)
        return _submit(database, campaign, tasks, alive)


def _submit(database: Database, campaign: CampaignSpec, tasks: Iterable[Task], alive: Callable[[], None]) -> Submission:
    launchpad = launchpad_of(database)
    known = fireworks.submitted_tasks(launchpad, campaign.name)
    wanted: dict[str, Task] = {}
    for task in tasks:
        wanted.setdefault(task.key, task)
    new = [task for key, task in wanted.items() if key not in known]
    behind = [task for key, task in wanted.items() if known.get(key, task.n_runs) < task.n_runs]
    unfinished = _unfinished(launchpad, behind)
    if len(new) > _AT_ONCE:  # else all flows are made before the first is added
        for task in {(task.structure, task.transformation): task for task in new}.values():
            task.flow()
    n_jobs = n_extended = 0

    def flows() -> Iterator[tuple[Task, Flow]]:
        nonlocal n_extended
        yield from ((task, task.flow()) for task in new)
        for task in behind:
            if task.key not in unfinished and (flow := extension(database, task)) is not None:
                n_extended += 1
                yield task, flow

    for batch in _batches(flows(), _AT_ONCE):
        workflows = [_workflow(task, flow, campaign.resources) for task, flow in batch]
        alive()
        fireworks.add_workflows(launchpad, workflows)
        n_jobs += sum(len(workflow.fws) for workflow in workflows)
    return Submission(
        len(new), len(wanted) - len(new), n_extended, len(unfinished), n_jobs, len(known.keys() - wanted.keys())
    )


def failures(database: Database, name: str) -> list[Failure]:
    """Return failed jobs by cause, most frequent first; messages that differ only in numbers are one cause.

    Passwords are removed from messages.
    """
    launchpad = launchpad_of(database)
    by_cause: dict[str, Failure] = {}
    kinds: dict[str, str] = {}
    jobs = fireworks.campaign_jobs(launchpad, name, [fireworks.FAILED])
    launches = fireworks.last_launches(launchpad, jobs)
    for job in jobs:
        launch = launches.get(job.fw_id)
        message = (launch and launch.error) or "no message"
        kind = re.sub(r"[-+]?\d[\d.eE+-]*|0x[0-9a-f]+", "#", message)
        cause = kinds.setdefault(kind, message)
        group = by_cause.setdefault(cause, Failure(cause, [], []))
        group.fw_ids.append(job.fw_id)
        group.names.append(job.name)
    return sorted(by_cause.values(), key=lambda failure: -len(failure.fw_ids))


def retry(database: Database, name: str, fw_ids: Sequence[int] | None = None) -> int:
    """Run failed jobs of a campaign again, all of them or some; return how many.

    Jobs that used up their reruns are rerun once, since earlier launches still count. A job that cannot be rerun now
    (:func:`~alchemflows.execution.reruns.can_be_rerun`) is left out; if it failed with one that it follows, it is rerun
    with that one.
    """
    launchpad = launchpad_of(database)
    failed = fireworks.campaign_jobs(launchpad, name, [fireworks.FAILED], fw_ids)
    return _each(
        [job.fw_id for job in failed if can_be_rerun(fireworks.relatives(launchpad, job.fw_id))], launchpad.rerun_fw
    )


def pause(database: Database, name: str) -> int:
    """Pause jobs that have not started; return how many."""
    launchpad = launchpad_of(database)
    return _each(_ids(launchpad, name, fireworks.NOT_STARTED), launchpad.pause_fw)


def resume(database: Database, name: str, *, cancelled: bool = False) -> int:
    """Return paused jobs to the queue, or cancelled ones; return how many."""
    launchpad = launchpad_of(database)
    if cancelled:
        return _each(_ids(launchpad, name, [fireworks.CANCELLED]), launchpad.reignite_fw)
    return _each(_ids(launchpad, name, [fireworks.PAUSED]), launchpad.resume_fw)


def cancel(database: Database, name: str) -> int:
    """Cancel all jobs that are not completed; completed results are kept. Return how many.

    Running jobs are not killed; they are cancelled when they end.
    """
    launchpad = launchpad_of(database)
    return _each(fireworks.unfinished_ids(launchpad, name), launchpad.defuse_fw)


@contextmanager
def _modules_kept() -> Iterator[None]:
    """Exclude existing objects from garbage collection, which took a quarter of the time for thousands of jobs."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _ids(launchpad: LaunchPad, name: str, states: Sequence[str]) -> list[int]:
    return [job.fw_id for job in fireworks.campaign_jobs(launchpad, name, states)]


def _each(fw_ids: Sequence[int], act: Callable[[int], object]) -> int:
    for fw_id in fw_ids:
        act(fw_id)
    return len(fw_ids)


def _unfinished(launchpad: LaunchPad, tasks: Sequence[Task]) -> set[str]:
    """Return the keys of tasks that have a workflow which is not completed."""
    found: set[str] = set()
    for batch in _batches(tasks, _AT_ONCE):
        keys = [task.key for task in batch]
        found |= fireworks.unfinished_tasks(launchpad, batch[0].campaign, keys)
    return found


def _workflow(task: Task, flow: Flow, resources: Resources) -> Workflow:
    _resources_of_refinement(flow, resources)
    metadata = {"campaign": {**task.metadata["campaign"], "n_runs": task.n_runs}}
    # An extension refers to outputs of jobs that are in the database already.
    workflow: Workflow = flow_to_workflow(flow, allow_external_references=True, name=str(task), metadata=metadata)
    for firework, job in fireworks.jobs_of(workflow):
        n_steps = cost_of(job).n_steps
        kind: JobKind = job.metadata["campaign"]["job_kind"]
        batch = resources.batch(batch_key_of(job))
        job.config.manager_config.update(batch)  # where the running job finds it; workers find other jobs by the spec
        fireworks.add_to_spec(firework, resources.spec(kind) | batch, {"n_atom_steps": n_steps * task.n_sites})
    return workflow


def _resources_of_refinement(flow: Flow, resources: Resources) -> None:
    """Give windows added by refinement, and the analysis after them, the resources of the other jobs."""
    sampling, analysis = resources.spec("sampling"), resources.spec("analysis")
    if resources.category is not None:
        sampling.setdefault("_category", resources.category)
    for job in flow.jobs:
        if isinstance(job, Job) and isinstance(job.maker, AnalyseMaker) and job.maker.refinement.budget:
            # Otherwise jobflow would apply the resources of the analysis to the windows.
            job.update_config(
                {"manager_config": analysis, "pass_manager_config": False}, function_filter=AnalyseMaker.make
            )
            path = next(argument for argument in job.function_args if isinstance(argument, AlchemicalPath))
            batch = resources.batch(job.maker.rounds.windows.batch_key(path))
            job.update_config({"manager_config": sampling | batch}, function_filter=WindowsMaker.make)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
