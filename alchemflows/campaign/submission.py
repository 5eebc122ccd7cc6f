"""Campaigns on the LaunchPad: submitted once, paused, given up, mended."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from fireworks import LaunchPad, Workflow
from jobflow import Flow, Job
from jobflow.managers.fireworks import flow_to_workflow

from alchemflows.campaign.extension import extension
from alchemflows.campaign.specification import Task
from alchemflows.campaign.status import OF_CAMPAIGN
from alchemflows.campaign.steps import job_kind, replica_steps
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.schemas.campaign import CampaignMetadata, CampaignSpec, Resources
from alchemflows.schemas.document import current_version
from alchemflows.storage.configuration import without_passwords
from alchemflows.storage.database import Database, launchpad_of
from alchemflows.storage.locking import submitting

T = TypeVar("T")

#: Workflows that are added at once. With more of them in memory the garbage collector has more to walk through.
_AT_ONCE = 100


@dataclass(frozen=True)
class Submission:
    """What a submission did.

    Attributes
    ----------
    n_new, n_known
        Tasks that were added, and that were there.
    n_extended
        Of those that were there: finished ladders that are continued, since their windows are to have more runs now.
    n_unfinished
        Ladders that are to have more runs and are not finished; a submission after they are continues them.
    n_jobs
        Jobs that were added.
    n_others
        Tasks of the campaign in the database that are not in its specification now; they stay.
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
    """Add the tasks of a campaign that are not in the database yet, and continue ladders that are to be longer.

    A task is known by its hash: the same structure, change, settings, model and seed are not done twice, whatever
    campaign of this name they were submitted with first. How many runs its windows have is not in it. While another
    process submits the campaign, this waits.

    Parameters
    ----------
    database
        Where.
    campaign
        Whose resources the jobs get.
    tasks
        All its tasks.

    Raises
    ------
    DatabaseError
        If there is no LaunchPad.
    InvalidInputError, PotentialError
        What a task's maker refuses. A task of each structure and transformation is checked before any is added. Where a
        maker refuses only some conditions, tasks before them may have been added, and a second submission goes on.
    """
    launchpad = launchpad_of(database)
    with submitting(launchpad, campaign.name) as alive, _modules_kept():
        _set_halves_aside(launchpad, campaign.name)
        return _submit(database, campaign, tasks, alive)


def _submit(database: Database, campaign: CampaignSpec, tasks: Iterable[Task], alive: Callable[[], None]) -> Submission:
    launchpad = launchpad_of(database)
    known = _known(launchpad, campaign.name)
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
        launchpad.bulk_add_wfs(workflows)
        n_jobs += sum(len(workflow.fws) for workflow in workflows)
    return Submission(
        len(new), len(wanted) - len(new), n_extended, len(unfinished), n_jobs, len(known.keys() - wanted.keys())
    )


def failures(database: Database, name: str) -> list[Failure]:
    """Return what failed, by cause, the most frequent first; numbers in messages do not make another cause.

    What may be a password in a message is left out.
    """
    launchpad = launchpad_of(database)
    by_cause: dict[str, Failure] = {}
    kinds: dict[str, str] = {}
    failed = {f"{OF_CAMPAIGN}.name": name, "state": "FIZZLED"}
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
    chosen: dict[str, Any] = {f"{OF_CAMPAIGN}.name": name, "state": "FIZZLED"}
    if fw_ids is not None:
        chosen["fw_id"] = {"$in": list(fw_ids)}
    return _each(launchpad, chosen, launchpad.rerun_fw)


def pause(database: Database, name: str) -> int:
    """Keep workers from jobs that have not begun; return how many."""
    launchpad = launchpad_of(database)
    waiting = {f"{OF_CAMPAIGN}.name": name, "state": {"$in": ["WAITING", "READY", "RESERVED"]}}
    return _each(launchpad, waiting, launchpad.pause_fw)


def resume(database: Database, name: str, *, cancelled: bool = False) -> int:
    """Let paused jobs be done, or those that were given up; return how many."""
    launchpad = launchpad_of(database)
    state, act = ("DEFUSED", launchpad.reignite_fw) if cancelled else ("PAUSED", launchpad.resume_fw)
    return _each(launchpad, {f"{OF_CAMPAIGN}.name": name, "state": state}, act)


def cancel(database: Database, name: str) -> int:
    """Give up all jobs that are not completed; what is completed stays. Return how many.

    Jobs that run are told so by FireWorks when they end; they are not killed.
    """
    launchpad = launchpad_of(database)
    unfinished = {f"{OF_CAMPAIGN}.name": name, "state": {"$nin": ["COMPLETED", "DEFUSED", "ARCHIVED"]}}
    return _each(launchpad, unfinished, launchpad.defuse_fw)


@contextmanager
def _modules_kept() -> Iterator[None]:
    """Keep the garbage collector from what is there now: of the time that thousands of jobs take, it took a quarter."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _each(launchpad: LaunchPad, criteria: dict[str, Any], act: Callable[[int], Any]) -> int:
    fw_ids = [firework["fw_id"] for firework in launchpad.fireworks.find(criteria, {"fw_id": 1})]
    for fw_id in fw_ids:
        act(fw_id)
    return len(fw_ids)


def _known(launchpad: LaunchPad, name: str) -> dict[str, int]:
    """Return the tasks of a campaign in the LaunchPad, and the runs that their windows have, or will have.

    Raises
    ------
    DocumentVersionError
        If a newer release has submitted some of them: their keys may be others.
    """
    newer = {"metadata.campaign.schema_version": {"$gt": current_version("CampaignMetadata")}}
    if found := launchpad.workflows.find_one({"metadata.campaign.name": name} | newer, {"metadata.campaign": 1}):
        CampaignMetadata.read(found["metadata"]["campaign"])
    pipeline: list[dict[str, Any]] = [
        {"$match": {"metadata.campaign.name": name}},
        {"$group": {"_id": "$metadata.campaign.task", "n_runs": {"$max": "$metadata.campaign.n_runs"}}},
    ]
    return {found["_id"]: found["n_runs"] or 1 for found in launchpad.workflows.aggregate(pipeline)}


def _set_halves_aside(launchpad: LaunchPad, name: str) -> None:
    """Let workflows be added again whose submission was killed: FireWorks adds their jobs after them."""
    campaign = {"metadata.campaign.name": name}
    count = [{"$match": campaign}, {"$group": {"_id": None, "n": {"$sum": {"$size": "$nodes"}}}}]
    expected = sum(found["n"] for found in launchpad.workflows.aggregate(count))
    if launchpad.fireworks.count_documents({f"{OF_CAMPAIGN}.name": name}) >= expected:
        return
    jobs = {"from": "fireworks", "localField": "nodes", "foreignField": "fw_id", "as": "jobs"}
    halves: list[dict[str, Any]] = [
        {"$match": {**campaign, "state": {"$ne": "COMPLETED"}}},
        {"$lookup": {**jobs, "pipeline": [{"$project": {"_id": 1}}]}},
        {"$match": {"$expr": {"$lt": [{"$size": "$jobs"}, {"$size": "$nodes"}]}}},
        {"$project": {"nodes": 1}},
    ]
    for half in list(launchpad.workflows.aggregate(halves)):
        launchpad.fireworks.delete_many({"fw_id": {"$in": half["nodes"]}})
        launchpad.workflows.update_one({"_id": half["_id"]}, {"$set": {"state": "ARCHIVED", "metadata": {}}})


def _unfinished(launchpad: LaunchPad, tasks: Sequence[Task]) -> set[str]:
    """Return the keys of tasks that have a workflow which is not completed."""
    found: set[str] = set()
    for batch in _batches(tasks, _AT_ONCE):
        criteria = {"metadata.campaign.task": {"$in": [task.key for task in batch]}, "state": {"$ne": "COMPLETED"}}
        criteria["metadata.campaign.name"] = batch[0].campaign
        found.update(launchpad.workflows.distinct("metadata.campaign.task", criteria))
    return found


def _workflow(task: Task, flow: Flow, resources: Resources) -> Workflow:
    _resources_of_refinement(flow, resources)
    metadata = {"campaign": {**task.metadata["campaign"], "n_runs": task.n_runs}}
    # An extension refers to outputs of jobs that are in the database already.
    workflow: Workflow = flow_to_workflow(flow, allow_external_references=True, name=str(task), metadata=metadata)
    for firework in workflow.fws:
        _, n_steps = replica_steps(firework.tasks[0]["job"])
        firework.spec["campaign"] = {**firework.spec["campaign"], "n_atom_steps": n_steps * len(task.crystal)}
        firework.spec.update(resources.spec(job_kind(firework.tasks[0]["job"])))
    return workflow


def _resources_of_refinement(flow: Flow, resources: Resources) -> None:
    """Let the windows that a ladder adds by itself, and the analysis behind them, have what its other jobs have."""
    sampling, analysis = resources.spec("sampling"), resources.spec("analysis")
    if resources.category is not None:
        sampling.setdefault("_category", resources.category)
    for job in flow.jobs:
        if isinstance(job, Job) and isinstance(job.maker, AnalyseMaker) and job.maker.refinement.budget:
            # jobflow would give what an analysis has to the windows, too.
            job.update_config({"manager_config": analysis, "pass_manager_config": False}, name_filter=job.name)
            job.update_config({"manager_config": sampling}, name_filter="λ")


def _error(launchpad: LaunchPad, launches: Sequence[int]) -> str:
    launch = launchpad.launches.find_one(
        {"launch_id": launches[-1] if launches else None}, {"action.stored_data._exception._stacktrace": 1}
    )
    stored = (((launch or {}).get("action") or {}).get("stored_data") or {}).get("_exception") or {}
    lines = str(stored.get("_stacktrace", "")).strip().splitlines()
    return without_passwords(lines[-1]) if lines else "no message"


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
