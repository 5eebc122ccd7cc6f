"""Long jobs that can be stopped and go on: where a job keeps its checkpoints, and how it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobflow import CURRENT_JOB

from alchemflows.errors import RunStoppedError
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.settings import Settings

_stop = threading.Event()


def request_stop(*_: object) -> None:
    """Ask what runs in this process to stop in good order, at the end of its block; also a handler of signals."""
    _stop.set()


def stop_requested() -> bool:
    """Tell whether this process was asked to stop."""
    return _stop.is_set()


def checkpoint_folder(settings: Settings) -> Path:
    """Return where the current job has its checkpoints.

    With FireWorks it is a folder that belongs to the job, whoever runs it and where; otherwise it is in the folder of
    the job, which nobody else will run.
    """
    job = CURRENT_JOB.job
    if job is None or "fw_id" not in job.metadata:
        return Path.cwd() / "checkpoint"
    return settings.checkpoints.expanduser() / f"{job.uuid}-{job.index}"


@contextmanager
def resumable() -> Iterator[Checkpoint]:
    """Give the current job its checkpoints; within, SIGTERM stops it in good order.

    Where no worker of this package minds the signal (:mod:`alchemflows.campaign.worker`), it then ends the process, as
    it would have done at once.

    Raises
    ------
    RunStoppedError
        If the job has stopped, and a worker of this package runs it.
    """
    settings = Settings()
    checkpoint = Checkpoint(checkpoint_folder(settings), settings.checkpoint_interval_s, stop_requested)
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, request_stop) if in_main_thread else request_stop
    try:
        yield checkpoint
    except RunStoppedError:
        if before is not request_stop and stop_requested():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
    if checkpoint.folder is not None and checkpoint.folder.parent == Path.cwd():
        checkpoint.remove()  # what a job of its own folder returns is stored next
