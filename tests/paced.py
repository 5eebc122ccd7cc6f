"""Jobs at a pace of their own, whatever the machine: with checkpoints, and without."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from jobflow import job

from alchemflows.jobs.resuming import resumable


@job
def paced(n_steps: int, seconds: float = 0.1) -> dict[str, int]:
    """Take steps of so many seconds, with checkpoints; return at which step this run of the job began."""
    with resumable() as checkpoint:
        saved = checkpoint.load()
        began_at = 0 if saved is None else int(saved.state["step"])
        for step in range(began_at + 1, n_steps + 1):
            time.sleep(seconds)
            checkpoint.offer(step, lambda step=step: {"step": np.array(step)}, last=step == n_steps)
    return {"began_at": began_at}


@job
def pause(seconds: float) -> None:
    """Leave a file, and do nothing for so many seconds."""
    Path("begun").touch()
    for _ in range(round(10 * seconds)):  # a signal just before a sleep is minded after it only
        time.sleep(0.1)
