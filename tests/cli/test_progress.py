"""Progress of jobs in a log and in a terminal, and the number of local workers."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from alchemflows.cli import progress as module
from alchemflows.cli import running
from alchemflows.cli.progress import FrameProgress, JobProgress
from alchemflows.execution.local import JobStatus
from alchemflows.schemas.progress import Progress

#: Temperatures of the windows of a ladder, which together have a mean of 305 K.
WINDOWS_K = (280.0, 330.0) * 6


def running_job(step: int, phase: str = "production") -> JobStatus:
    sampled = Progress(phase, step, 100, WINDOWS_K, 2.0, steps_per_s=0.5, mean_temperature_K=305.2)
    return JobStatus(7, "windows", "RUNNING", sampled)


def test_lines_of_a_log_have_the_time_so_far_and_one_mean_temperature(monkeypatch):
    clock = SimpleNamespace(now=50.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    stream = StringIO()
    with JobProgress(Console(file=stream, width=200)) as show:
        for now, job in (
            (51.0, JobStatus(7, "windows", "READY")),
            (60.0, JobStatus(7, "windows", "RUNNING")),
            (111.0, running_job(10, "equilibration")),
            (112.0, running_job(11, "equilibration")),  # same phase and quarter: no line
            (171.0, running_job(40)),
            (3655.0, JobStatus(7, "windows", "COMPLETED")),
        ):
            clock.now = now
            show([job])
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["0:00:10", "windows", "0", "%", "starting"],
        ["0:01:01", "windows", "10", "%", "equilibration,", "mean", "305", "K,", "0:03:00", "left"],
        ["0:02:01", "windows", "40", "%", "production,", "mean", "305", "K,", "0:02:00", "left"],
        ["1:00:05", "windows", "100", "%", "done"],
    ]


def test_a_job_without_dynamics_has_no_temperature():
    stream = StringIO()
    with JobProgress(Console(file=stream, width=200)) as show:
        show([JobStatus(3, "correction", "RUNNING", Progress("evaluation", 30, 40, (), 0.0, steps_per_s=2.0))])
    assert stream.getvalue().split()[1:] == ["correction", "75", "%", "evaluation,", "0:00:05", "left"]


def test_a_terminal_has_a_bar_for_each_job():
    stream = StringIO()
    with JobProgress(Console(file=stream, width=120, force_terminal=True, _environ={})) as show:
        show([running_job(40), JobStatus(8, "analyse", "WAITING")])
    text = stream.getvalue()
    assert "windows" in text and "40 %" in text and "mean 305 K, 0:02:00 left" in text
    assert "analyse" in text and "waiting" in text


@pytest.mark.parametrize(
    ("device", "given", "n_jobs", "cores", "short", "expected"),
    [
        ("cpu", None, 11, 2, None, 2),  # one per core
        ("cpu", None, 11, 64, None, 4),  # more would need much memory
        ("cpu", None, 3, 64, None, 3),  # no more than can run at the same time
        ("cpu", None, 11, 64, 10, 1),  # lengths for tests
        ("cuda", None, 11, 64, None, 1),
        ("cuda", 3, 11, 64, None, 3),
        ("cpu", 7, 1, 2, 10, 7),
    ],
)
def test_number_of_workers(monkeypatch, device, given, n_jobs, cores, short, expected):
    monkeypatch.setattr("alchemflows.alchemy.backends.check_device", torch.device)
    monkeypatch.setattr("alchemflows.execution.local.n_cores", lambda: cores)
    monkeypatch.setattr(running, "settings", lambda: SimpleNamespace(short=short))
    assert running.n_workers(device, given, n_jobs) == expected


def test_frames_that_are_left_and_their_time(monkeypatch):
    """A log has lines with the time left, not more often than the interval; a terminal has a bar.

    The time before the first frame, in which the potential is loaded, is not in the estimate.
    """
    clock = iter([0.0, 20.0, 46.0, 47.0, 76.0])
    monkeypatch.setattr("alchemflows.cli.progress.time.monotonic", lambda: next(clock))
    stream = StringIO()
    with FrameProgress("features of frames", Console(file=stream, width=120)) as show:
        for done in (4, 30, 31, 60):
            show(done, 120)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and all("of 120" in line for line in lines)
    assert "30 of 120" in lines[0] and "0:01:30 left" in lines[0] and "0:01:00 left" in lines[1]
    assert lines[0].startswith("0:00:46")
    monkeypatch.undo()
    stream = StringIO()
    with FrameProgress("features of frames", Console(file=stream, width=120, force_terminal=True, _environ={})) as show:
        show(3, 6)
        show(6, 6)
    assert "6 of 6" in stream.getvalue()
