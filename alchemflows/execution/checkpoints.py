"""Checkpoints that nobody needs any more: those of completed jobs."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

from fireworks import LaunchPad

from alchemflows.jobs.resuming import job_folder
from alchemflows.storage.database import JOB_UUID

#: What is asked of a Firework, to know the folders of its jobs.
JOB_FIELDS = {JOB_UUID: 1, "spec._tasks.job.index": 1}


def job_folders(firework: dict[str, Any]) -> list[str]:
    """Return the names of the folders in which the jobs of a Firework have their checkpoints."""
    tasks = firework.get("spec", {}).get("_tasks", [])
    return [job_folder(task["job"]["uuid"], task["job"]["index"]) for task in tasks if "job" in task]


def remove_completed(launchpad: LaunchPad, checkpoints: Path) -> int:
    """Remove the checkpoints of jobs that are completed, and return of how many.

    Folders of jobs that are not in this LaunchPad are left alone: they may belong to another one.

    Raises
    ------
    OSError
        If the folder of the checkpoints cannot be read; one that is not there holds none.
    """
    try:
        there = {path.name: path for path in checkpoints.iterdir()}
    except FileNotFoundError:
        return 0
    uuids = [name.rpartition("-")[0] for name in there]
    states: dict[str, set[str]] = defaultdict(set)
    for firework in launchpad.fireworks.find({JOB_UUID: {"$in": uuids}}, {"state": 1, **JOB_FIELDS}):
        for name in job_folders(firework):
            states[name].add(firework["state"])
    # A flow may have been added twice: then its jobs share their checkpoints.
    completed = [there[name] for name, found in states.items() if name in there and found == {"COMPLETED"}]
    for path in completed:
        shutil.rmtree(path, ignore_errors=True)
    return sum(not path.exists() for path in completed)
