"""The progress of jobs in a terminal, or in the lines of a log."""

from __future__ import annotations

import time
from datetime import timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from alchemflows.execution.local import JobStatus

_STATES = {"WAITING": "waiting", "READY": "waiting", "RESERVED": "queued", "RUNNING": "starting", "COMPLETED": "done"}
#: Seconds between two lines of a log about frames.
_INTERVAL_S = 10.0


class FrameProgress:
    """A progress bar of evaluated frames with the time left; in a log file, a line every ten seconds.

    Parameters
    ----------
    what
        What is evaluated.
    console
        Where it is shown.
    interval_s
        Smallest time between two lines of a log (s).
    """

    def __init__(self, what: str, console: Console, interval_s: float = _INTERVAL_S) -> None:
        self._what, self._console, self._interval_s = what, console, interval_s
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total}"))
        self._bar = Progress(
            *columns, TimeRemainingColumn(), TextColumn("left"), console=console, disable=not console.is_terminal
        )
        self._task: TaskID | None = None
        self._began_s = self._said_s = time.monotonic()
        self._first: tuple[float, int] | None = None  # the potential is loaded before; this says nothing of the speed

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def __call__(self, done: int, total: int) -> None:
        """Show the number of frames that are evaluated, of all frames."""
        now_s = time.monotonic()
        if not self._bar.disable:
            if self._task is None:
                self._task = self._bar.add_task(self._what, total=total)
            self._bar.update(self._task, completed=done)
        elif self._first is None:
            self._first = now_s, done
        elif now_s - self._said_s >= self._interval_s and done < total:
            self._said_s = now_s
            first_s, first = self._first
            left = timedelta(seconds=round((now_s - first_s) * (total - done) / (done - first)))
            past = timedelta(seconds=round(now_s - self._began_s))
            self._console.print(f"{past}  {self._what}  {done} of {total}  {left} left", highlight=False)


class JobProgress:
    """A progress bar for each job; in a log file, a line for each state, phase and quarter of a job.

    Lines of a log begin with the time since the workers were started.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._shown: dict[int, TaskID] = {}
        self._said: dict[int, tuple[str, int]] = {}
        self._began_s = time.monotonic()

    def __enter__(self) -> JobProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, jobs: list[JobStatus]) -> None:
        """Show the jobs as they are now."""
        for job in jobs:
            state = _STATES.get(job.state, job.state.lower())
            share = 1.0 if job.state == "COMPLETED" else 0.0
            if job.state == "RUNNING" and job.progress is not None:
                state = job.progress.phase
                if (mean_K := job.progress.mean_temperature_K) is not None:
                    state += f", mean {mean_K:.0f} K"
                if (left := job.progress.seconds_left) is not None:
                    state += f", {timedelta(seconds=round(left))} left"
                share = job.progress.step / job.progress.n_steps
            if self._bars.disable:
                self._say(job, state, share)
            else:
                if job.fw_id not in self._shown:
                    self._shown[job.fw_id] = self._bars.add_task(job.name, total=1.0, state=state, start=False)
                if share > 0 or job.state == "RUNNING":
                    self._bars.start_task(self._shown[job.fw_id])
                self._bars.update(self._shown[job.fw_id], completed=share, state=state)

    def _say(self, job: JobStatus, state: str, share: float) -> None:
        quarter = (state.split(",")[0], int(4 * share))
        if state != "waiting" and self._said.get(job.fw_id) != quarter:
            self._said[job.fw_id] = quarter
            past = timedelta(seconds=round(time.monotonic() - self._began_s))
            self._console.print(f"{past}  {job.name:<18} {100 * share:3.0f} %  {state}", highlight=False)
