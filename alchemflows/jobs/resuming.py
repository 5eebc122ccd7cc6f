"""Stopping and resuming of long jobs: the folder of checkpoints of a job, and requests to stop."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobflow import CURRENT_JOB, Job
from monty.json import MontyEncoder

from alchemflows.errors import RunStoppedError
from alchemflows.identity import fingerprint
from alchemflows.jobs.jobflow_parts import forget_current_job
from alchemflows.output_file import check_folder
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.settings import Settings


class JobInterrupted(KeyboardInterrupt):
    """A job without checkpoints was stopped."""


#: Fields of documents that differ between two runs of the same.
_OF_ONE_RUN = ("provenance", "job_uuid", "mean_cell_job")
#: Whether this process was asked to stop. Not a threading.Event: its lock may be held when a signal arrives, and the
#: signal handler would then wait forever.
_stop = False
#: Whether the running code checks `_stop` itself.
_in_blocks = threading.Event()


def request_stop(*_: object) -> None:
    """Ask the job of this process to stop; a signal handler.

    A job that samples stops at the end of its block, after a checkpoint. Any other job stops at once.

    Raises
    ------
    JobInterrupted
        If the job stops at once.
    """
    global _stop
    _stop = True
    if CURRENT_JOB.job is not None and not _in_blocks.is_set():
        forget_current_job()  # a second signal must not interrupt the clean-up after this one
        raise JobInterrupted("it was stopped; it has no checkpoint and will start again from its beginning")


def stop_requested() -> bool:
    """Return whether this process was asked to stop."""
    return _stop


def wait_for_stop(seconds: float) -> None:
    """Sleep for a number of seconds, or until this process is asked to stop."""
    end = time.monotonic() + seconds
    while not _stop and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


@contextmanager
def stopped_by_signals(stop_after_s: float | None = None) -> Iterator[None]:
    """Treat SIGTERM, SIGINT, SIGHUP and an elapsed time limit (s) as requests to stop, within the context."""
    global _stop
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        numbers.append(signal.SIGHUP)
    before = [signal.signal(number, request_stop) for number in numbers]
    timer = threading.Timer(stop_after_s or 0.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    if stop_after_s is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        _stop = False


def job_folder(uuid: str, index: int) -> str:
    """Return the name of the folder for the checkpoints of a FireWorks job."""
    return f"{uuid}-{index}"


def checkpoint_folder(settings: Settings) -> Path:
    """Return the folder of the current job's checkpoints.

    With FireWorks it depends only on the job, so that any worker can resume it. Otherwise it is a subfolder of the
    current folder, named after what the job computes, so that only a job that computes the same continues from it.
    """
    job = CURRENT_JOB.job
    if job is None:
        return Path.cwd() / "checkpoint"
    if "fw_id" not in job.metadata:
        return Path.cwd() / f"checkpoint-{_what_it_computes(job)}"
    return settings.checkpoints / job_folder(job.uuid, job.index)


def _what_it_computes(job: Job) -> str:
    """Return a short hash of function, maker and arguments of a job, with the results that its references name."""
    parts = [job.function.__qualname__, job.maker, job.function_args, job.function_kwargs]
    values = json.loads(MontyEncoder().encode(parts))
    return fingerprint(json.dumps(_repeatable(values), sort_keys=True))[:12]


def _repeatable(value: Any) -> Any:
    """Return a value without what differs between two runs of the same: when documents were made, and by which job."""
    if isinstance(value, list):
        return [_repeatable(each) for each in value]
    if isinstance(value, dict):
        return {name: _repeatable(each) for name, each in value.items() if name not in _OF_ONE_RUN}
    return value


def checkpoint_of(job: Job) -> Checkpoint:
    """Return the checkpoint of another FireWorks job; it stops that job's run when this process is asked to stop."""
    settings = Settings()
    folder = settings.checkpoints / job_folder(job.uuid, job.index)
    return Checkpoint(folder, settings.checkpoint_interval_s, stop_requested)


@contextmanager
def resumable() -> Iterator[Checkpoint]:
    """Yield the checkpoint of the current job; within the context, SIGTERM stops the job after a checkpoint.

    Unless a worker of this package (:mod:`alchemflows.execution.worker`) handles the signal, the process then ends.

    Raises
    ------
    RunStoppedError
        If the job has stopped, and a worker of this package runs it.
    InvalidInputError
        If the folder of checkpoints is not writable.
    """
    settings = Settings()
    check_folder(checkpoint_folder(settings))
    checkpoint = Checkpoint(checkpoint_folder(settings), settings.checkpoint_interval_s, stop_requested)
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, request_stop) if in_main_thread else request_stop
    _in_blocks.set()
    try:
        yield checkpoint
    except RunStoppedError:
        if before is not request_stop and stop_requested():
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        raise
    finally:
        _in_blocks.clear()
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)
    if checkpoint.folder is not None and checkpoint.folder.parent == Path.cwd():
        checkpoint.remove()  # the job is complete, and its output is stored next
