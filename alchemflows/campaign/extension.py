"""Extend finished ladders of a campaign: continue their stored windows with more runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from jobflow import Flow, OutputReference

from alchemflows.campaign.task import Task, label
from alchemflows.errors import DatabaseError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.refine import Standing
from alchemflows.results.stored import of_campaign
from alchemflows.schemas.document import decoded, migrated
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.storage.database import Database


def extension(database: Database, task: Task) -> Flow | None:
    """Return the flow that extends the windows of a task to its number of runs, or None if they have it.

    Parameters
    ----------
    database
        Database with the ladder.
    task
        A task whose ladder is finished, perhaps with fewer runs.

    Raises
    ------
    DatabaseError
        If its analysis, or a job that sampled its windows, is not in the database.
    InvalidInputError, PotentialError
        What the task's maker refuses.
    """
    document = _analysis(database, task)
    maker = cast(ThermodynamicIntegrationMaker, task.maker)
    (crystal,) = task.crystals.values()
    flow = maker.extended(
        crystal,
        dict(task.substitution),
        _standing(database, document.window_jobs),
        document.window_jobs,
        history=document.refinement.rounds,
        **task.arguments,
    )
    if flow is not None:
        label(flow.jobs, task.metadata)
    return flow


def _analysis(database: Database, task: Task) -> FreeEnergyDocument:
    criteria = of_campaign(task.campaign, "FreeEnergyDocument") | {"metadata.campaign.task": task.key}
    if task.potential is not None:
        from alchemflows.alchemy.backends import resolve

        # A committee may have run the ladder of the task with other potentials too.
        own = resolve(task.potential)[1].record
        criteria |= {"output.provenance.potential.sha256": own.sha256, "output.provenance.potential.head": own.head}
    row = database.outputs().find_one(criteria, {"output": 1}, sort=[("completed_at", -1)])
    if row is None:
        raise DatabaseError(f"the free energy of {task} is not in the database")
    return decoded(row["output"])


def _standing(database: Database, jobs: Sequence[str]) -> dict[int, Standing]:
    """Return the number of runs of each window, and a reference to its samples, by its index in the grid."""
    criteria = {"uuid": {"$in": list(jobs)}, "output.@class": "WindowsDocument"}
    found = database.outputs().find(criteria, {"uuid": 1, "output": 1})
    rows = {row["uuid"]: migrated("WindowsDocument", row["output"])["windows"] for row in found}
    standing: dict[int, Standing] = {}
    for uuid in jobs:
        if uuid not in rows:
            raise DatabaseError(f"the output of the window job {uuid} is not in the database")
        for place, window in enumerate(rows[uuid]):
            n_runs = window["first_run"] + window["n_runs"]
            if window["index"] not in standing or n_runs > standing[window["index"]].n_runs:
                end = OutputReference(uuid).windows[place].series
                standing[window["index"]] = Standing(n_runs, end)
    return standing
