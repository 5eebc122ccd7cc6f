"""Remove the checkpoints of completed jobs."""

from __future__ import annotations

import shutil
from collections import defaultdict
from pathlib import Path

from fireworks import LaunchPad

from alchemflows.jobs.resuming import job_folder
from alchemflows.storage.fireworks import COMPLETED, StoredJob, jobs_by_uuid


def job_folders(job: StoredJob) -> list[str]:
    """Return the names of the folders in which a job has its checkpoints."""
    return [job_folder(uuid, index) for uuid, index in job.uuids]


def remove_completed(launchpad: LaunchPad, checkpoints: Path) -> int:
    """Remove the checkpoints of completed jobs, and return the number of these jobs.

    Folders of jobs that are not in this LaunchPad are left alone: they may belong to another one.

    Raises
    ------
    OSError
        If the folder of the checkpoints exists but cannot be read.
    """
    try:
        there = {path.name: path for path in checkpoints.iterdir()}
    except FileNotFoundError:
        return 0
    states: dict[str, set[str]] = defaultdict(set)
    for job in jobs_by_uuid(launchpad, [name.rpartition("-")[0] for name in there]):
        for name in job_folders(job):
            states[name].add(job.state)
    # A flow may have been added twice: then its jobs share their checkpoints.
    completed = [there[name] for name, found in states.items() if name in there and found == {COMPLETED}]
    for path in completed:
        shutil.rmtree(path, ignore_errors=True)
    return sum(not path.exists() for path in completed)
