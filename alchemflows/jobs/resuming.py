"""Long jobs that can be stopped and go on: where a job keeps its checkpoints, and how it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobflow import CURRENT_JOB

from alchemflows.errors import RunStoppedError
from alchemflows.jobs.jobflow_parts import forget_current_job
from alchemflows.output_file import check_folder
from alchemflows.sampling.checkpoint import Checkpoint
from alchemflows.settings import Settings


class JobInterrupted(KeyboardInterrupt):
    """A job that cannot stop in good order was stopped."""


#: Whether this process was asked to stop. No threading.Event: a signal may come while its lock is held, for which the
#: handler would wait without end.
_stop = False
#: Whether what runs looks at `_stop` by itself.
_in_blocks = threading.Event()


def request_stop(*_: object) -> None:
    """Ask what runs in this process to stop in good order; a handler of signals.

    A job that samples stops at the end of its block, any other at once: it has nothing to lose but its time.

    Raises
    ------
    JobInterrupted
        In the latter case.
    """
    global _stop
    _stop = True
    if CURRENT_JOB.job is not None and not _in_blocks.is_set():
        forget_current_job()  # a second signal, as a queue and a script may send, must not end what ends the job
        raise JobInterrupted("stopped; this job begins anew")


def stop_requested() -> bool:
    """Tell whether this process was asked to stop."""
    return _stop


def wait_for_stop(seconds: float) -> None:
    """Sleep, but no longer than until this process is asked to stop."""
    end = time.monotonic() + seconds
    while not _stop and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))


@contextmanager
def stopped_by_signals(stop_after_s: float | None = None) -> Iterator[None]:
    """Let SIGTERM, SIGINT, SIGHUP and the end of a time ask for a stop, within."""
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
    """Return the name of the folder in which a job of FireWorks has its checkpoints."""
    return f"{uuid}-{index}"


def checkpoint_folder(settings: Settings) -> Path:
    """Return where the current job has its checkpoints.

    With FireWorks it is a folder that belongs to the job, whoever runs it and where; otherwise it is in the folder of
    the job, which nobody else will run.
    """
    job = CURRENT_JOB.job
    if job is None or "fw_id" not in job.metadata:
        return Path.cwd() / "checkpoint"
    return settings.checkpoints.expanduser() / job_folder(job.uuid, job.index)


@contextmanager
def resumable() -> Iterator[Checkpoint]:
    """Give the current job its checkpoints; within, SIGTERM stops it in good order.

    Where no worker of this package minds the signal (:mod:`alchemflows.execution.worker`), it then ends the process, as
    it would have done at once.

    Raises
    ------
    RunStoppedError
        If the job has stopped, and a worker of this package runs it.
    InvalidInputError
        If checkpoints could not be written to their folder.
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
        checkpoint.remove()  # what a job of its own folder returns is stored next
