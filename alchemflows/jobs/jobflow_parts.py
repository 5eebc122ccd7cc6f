"""What this package uses of jobflow beyond its documented calls.

Seen in jobflow 0.4.0; ``tests/jobs/test_parts_of_libraries.py`` fails where another version differs.
"""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB, Job, Maker


def run_in_this_job(maker: Maker, *arguments: Any) -> Any:
    """Return what the job of a maker would return, within the job that runs: its `make` without jobflow's decorator."""
    return type(maker).make.original(maker, *arguments)  # type: ignore[attr-defined]


def take_place_of(job: Job, current: Job) -> None:
    """Give a job the identity of the one that it replaces, as jobflow does where one job replaces another."""
    job.set_uuid(current.uuid)
    job.index = current.index + 1
    job.metadata = current.metadata


def forget_current_job() -> None:
    """Let jobflow forget the job that this process runs."""
    CURRENT_JOB.reset()
