"""The undocumented parts of jobflow that this package uses.

Seen in jobflow 0.4.0; ``tests/jobs/test_parts_of_libraries.py`` fails if another version differs.
"""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB, Job, Maker


def run_in_this_job(maker: Maker, *arguments: Any) -> Any:
    """Run a maker within the current job and return its output: call its `make` without jobflow's decorator."""
    return type(maker).make.original(maker, *arguments)  # type: ignore[attr-defined]


def take_place_of(job: Job, current: Job) -> None:
    """Give a job the identity of the job that it replaces, as jobflow does for replacements."""
    job.set_uuid(current.uuid)
    job.index = current.index + 1
    job.metadata = current.metadata


def forget_current_job() -> None:
    """Clear jobflow's record of the job that this process runs."""
    CURRENT_JOB.reset()
