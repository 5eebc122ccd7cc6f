"""Jobs that are told to stop where no worker of this package runs them, and those that cannot stop in good order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from jobflow import job

from alchemflows.jobs import resuming
from alchemflows.jobs.resuming import JobInterrupted, resumable, stop_requested, stopped_by_signals

CODE = """
import sys
from jobflow import run_locally
from pymatgen.core import Structure
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
maker = ThermodynamicIntegrationMaker(
    potential=sys.argv[1], temperature=200.0, n_windows=2, relax_maker=None, n_production_steps=100000, timestep_fs=0.5
)
run_locally(maker.make(Structure.from_file(sys.argv[2]), {"Pb": "Sn"}), root_dir=sys.argv[3], create_folders=True)
"""


def test_a_signal_ends_the_process_after_a_checkpoint(gentle_model, perovskite, tmp_path):
    perovskite.to(str(tmp_path / "cell.json"))
    arguments = [sys.executable, "-c", CODE, str(gentle_model), str(tmp_path / "cell.json"), str(tmp_path)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("job_*/progress.json")):
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.terminate()
        assert process.wait(timeout=60) == -signal.SIGTERM  # as without a handler, a moment later
    finally:
        process.kill()
    assert len(list(tmp_path.glob("job_*/checkpoint/state-*.npz"))) == 1


def test_what_cannot_stop_in_good_order_stops_at_once():
    """A worker's signal reaches a job between its blocks as an interrupt, which nothing takes for an error."""

    @job
    def stubborn():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:
            raise AssertionError("taken for an error") from error

    with stopped_by_signals(), pytest.raises(JobInterrupted):
        stubborn().run(None)
    assert not stop_requested()  # the next worker of this process was not asked


def test_a_second_signal_does_not_disturb_the_end():
    """A queue signals the worker and the script that started it, which passes the signal on."""
    ended = []

    @job
    def stubborn():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGHUP)
            ended.append(True)

    with stopped_by_signals(), pytest.raises(JobInterrupted):
        stubborn().run(None)
    assert ended


def test_no_handler_stays_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGTERM)
    with resumable() as checkpoint:
        assert signal.getsignal(signal.SIGTERM) is resuming.request_stop
        checkpoint.offer(1, dict, last=True)
        assert (tmp_path / "checkpoint").is_dir()
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "checkpoint").exists()  # nobody else would find it


def test_a_time_that_is_over_asks_for_a_stop():
    with stopped_by_signals(stop_after_s=0.2):
        resuming.wait_for_stop(10.0)
        assert stop_requested()
