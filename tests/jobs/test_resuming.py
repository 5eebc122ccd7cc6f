"""Tests of jobs that are asked to stop, with and without checkpoints."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
from command_line import CODE, StartedCommand
from jobflow import JobStore, OutputReference, job
from maggma.stores import MemoryStore

from alchemflows.errors import RunStoppedError
from alchemflows.jobs import resuming
from alchemflows.jobs.resuming import JobInterrupted, resumable, stop_requested, stopped_by_signals
from alchemflows.jobs.state_correction import CorrectStatesMaker
from alchemflows.settings import Settings

RUN = """
import sys
from jobflow import run_locally
from pymatgen.core import Structure
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
maker = ThermodynamicIntegrationMaker(
    potential=sys.argv[1], temperature=200.0, n_windows=2, relax_maker=None, n_production_steps=100000, timestep_fs=0.5
)
run_locally(maker.make(Structure.from_file(sys.argv[2]), {"Pb": "Sn"}), root_dir=sys.argv[3], create_folders=True)
"""


def test_signal_ends_the_process_after_a_checkpoint(gentle_model, perovskite, tmp_path):
    perovskite.to(str(tmp_path / "cell.json"))
    arguments = [RUN, gentle_model, tmp_path / "cell.json", tmp_path]
    process = StartedCommand(arguments, tmp_path, os.environ, tmp_path / "log", entry=CODE)
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("job_*/progress.json")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM  # the same exit status as without a handler
    finally:
        process.kill()
    assert len(list(tmp_path.glob("job_*/checkpoint-*/state-*.npz"))) == 1


def test_job_without_checkpoints_stops_at_once():
    """The job receives an interrupt, which a handler of exceptions in the job does not catch."""

    @job
    def interrupted():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:
            raise AssertionError("the interrupt was caught as an Exception") from error

    with stopped_by_signals(), pytest.raises(JobInterrupted):
        interrupted().run(None)
    assert not stop_requested()  # the request does not reach the next worker in this process


def test_second_signal_does_not_interrupt_the_clean_up():
    """A queue signals both the worker and its script, which forwards the signal, so the worker receives two."""
    ended = []

    @job
    def interrupted():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGHUP)
            ended.append(True)

    with stopped_by_signals(), pytest.raises(JobInterrupted):
        interrupted().run(None)
    assert ended


def test_signal_handler_and_checkpoint_are_removed_at_the_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with resumable() as checkpoint:
        assert signal.getsignal(signal.SIGTERM) is resuming.request_stop
        checkpoint.offer(1, dict, last=True)
        assert (tmp_path / "checkpoint").is_dir()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "checkpoint").exists()  # no other job could use it


def test_only_a_job_that_computes_the_same_continues_a_run(tmp_path, monkeypatch):
    """Without FireWorks jobs may have one folder in common. Seed, and who computed an argument, make the difference."""
    monkeypatch.chdir(tmp_path)
    store = JobStore(MemoryStore())
    store.connect()
    stop = True
    monkeypatch.setattr(resuming, "stop_requested", lambda: stop)

    @job
    def last_step(seed, crystal):
        with resumable() as checkpoint:
            saved = checkpoint.load()
            step = 1 if saved is None else 1 + int(saved.state["step"])
            checkpoint.offer(step, lambda: {"step": np.array(step)}, last=not stop)
        return step

    def crystal(age: int) -> dict:
        return {"a_A": 5.6, "provenance": {"wall_time_s": age}, "job_uuid": str(age)}

    with stopped_by_signals(), pytest.raises(RunStoppedError):
        last_step(1, crystal(1)).run(store)
    stop = False
    assert last_step(2, crystal(1)).run(store).output == 1
    assert last_step(1, {"a_A": 5.7}).run(store).output == 1
    assert last_step(1, crystal(2)).run(store).output == 2
    assert not list(tmp_path.iterdir())


def test_jobs_that_read_different_results_do_not_continue_each_other(tmp_path, monkeypatch):
    """Jobs that correct a result get a reference to it, which is not resolved."""
    monkeypatch.chdir(tmp_path)
    flow = [CorrectStatesMaker().make(OutputReference(uuid)) for uuid in ("one", "other", "one")]
    folders = []
    for each in flow:
        monkeypatch.setattr(resuming.CURRENT_JOB, "job", each)
        folders.append(resuming.checkpoint_folder(Settings()))
    assert folders[0] == folders[2] != folders[1]


def test_elapsed_time_limit_requests_a_stop():
    with stopped_by_signals(stop_after_s=0.2):
        resuming.wait_for_stop(10.0)
        assert stop_requested()
