"""Workers that are stopped, and unreachable databases, on a real MongoDB."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from firetasks import Run
from fireworks import Firework, FWorker, LaunchPad, Workflow
from fireworks.core import launchpad as fireworks_launchpad
from fireworks.core import rocket
from fireworks.core.launchpad import LockedWorkflowError, WFLock
from pymongo.errors import AutoReconnect, OperationFailure, ServerSelectionTimeoutError
from workers import WorkerProcess, checkpoints, wait_for

from alchemflows.errors import UNAUTHORIZED
from alchemflows.execution.local import status, submit
from alchemflows.execution.worker import Worker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, launchpad_of, start_private
from alchemflows.storage.fireworks import lasting_heartbeat, prompt_locks
from alchemflows.storage.mongod import PrivateMongod

#: Runs a command in a place of its own where a folder lies on a disk that is soon full; stopped, and to its end.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=32k small "$1" && shift
"$@" &
until grep -q "could not be written" log; do kill -0 $!; sleep 0.1; done
kill $!
wait $!
exec "$@" --until-idle
"""


@pytest.fixture
def flow(gentle_model, perovskite):
    maker = ThermodynamicIntegrationMaker(
        potential=str(gentle_model), temperature=200.0, n_windows=2, windows_per_job=2, seed=3, relax_maker=None,
        n_equilibration_steps=20, n_production_steps=1500, friction_per_ps=20.0,
    )  # fmt: skip
    return maker.make(perovskite, {"Pb": "Sn"})


def has_samples(database: Database) -> bool:
    return any(checkpoints(database).glob("*/samples-*.npz"))


def samples(database: Database) -> np.ndarray:
    """Return all energies of the two windows."""
    store = database.job_store
    (row,) = store.query({"output.@class": "WindowsDocument"}, load=True)
    from alchemflows.schemas.samples import PackedSeries

    series = [PackedSeries.model_validate(w["series"]).unpack() for w in row["output"]["windows"]]
    return np.array([s.energies_eV for s in series])


def finish(database: Database, fw_ids: list[int], folder: Path) -> None:
    assert WorkerProcess(database, folder, "--until-idle").end() == 0
    assert {job.state for job in status(database, fw_ids)} == {"COMPLETED"}


@pytest.mark.slow
def test_a_stopped_job_goes_on_with_another_worker_to_the_same_samples(database, flow, tmp_path):
    """After SIGTERM, SIGKILL and the end of the wall time, another worker continues without repeating samples."""
    fw_ids = submit(database, flow)
    first = WorkerProcess(database, tmp_path / "one")
    wait_for(lambda: has_samples(database))
    assert first.end(signal.SIGTERM) == 0
    assert status(database, fw_ids)[0].state == "READY"  # immediately, before it counts as lost
    assert "returned to the queue" in first.log.read_text()
    before = len(list(checkpoints(database).glob("*/samples-*.npz")))
    second = WorkerProcess(database, tmp_path / "two")
    wait_for(lambda: len(list(checkpoints(database).glob("*/samples-*.npz"))) > before)
    second.end(signal.SIGKILL)
    database.launchpad.detect_lostruns(expiration_secs=0, rerun=True)
    WorkerProcess(database, tmp_path / "three", "--stop-after", "4").end()
    finish(database, fw_ids, tmp_path / "four")
    launches = database.launchpad.launches.count_documents({"fw_id": fw_ids[0]})
    assert launches >= 3
    broken = samples(database)
    assert broken.shape == (2, 150, 2)
    assert not any(checkpoints(database).iterdir())  # completed jobs need no checkpoints
    database.outputs().delete_many({})
    database.launchpad.rerun_fw(fw_ids[0])
    finish(database, fw_ids, tmp_path / "five")
    assert np.array_equal(samples(database), broken)


@pytest.mark.slow
def test_a_worker_ends_when_it_was_idle_for_long_enough(database, tmp_path):
    """A waiting job does not keep the worker alive, since the worker would hold an idle GPU."""
    launchpad = database.launchpad
    gpu = {"_category": "gpu"}
    analysis = Firework(Run(command="true"))
    launchpad.add_wf(Workflow([analysis, Firework(Run(command="true"), gpu, parents=[analysis])]))
    launchpad.checkout_fw(FWorker(category="__none__"), str(tmp_path))
    launchpad.add_wf(Workflow([Firework(Run(command="sleep 2"), gpu) for _ in range(2)]))  # longer than idle
    (tmp_path / "fworker.yaml").write_text("{name: gpu, category: [gpu], query: '{}'}")
    worker = WorkerProcess(database, tmp_path / "worker", "-w", str(tmp_path / "fworker.yaml"), "--idle-for", "1")
    assert worker.end() == 0
    assert "2 jobs were run" in worker.log.read_text()
    assert sorted(firework["state"] for firework in launchpad.fireworks.find()) == [
        *("COMPLETED", "COMPLETED", "RUNNING", "WAITING")
    ]


def test_the_heartbeat_outlasts_the_database_and_ends_with_the_job(monkeypatch):
    beats = []

    def ping(launchpad, launch_id):
        beats.append(launch_id)
        if len(beats) == 1:
            raise AutoReconnect("away")

    monkeypatch.setattr(rocket, "do_ping", ping)
    monkeypatch.setattr(rocket, "PING_TIME_SECS", 0.01)
    with lasting_heartbeat():
        before = set(threading.enumerate())
        stop = rocket.start_ping_launch(None, 7)
        (heart,) = set(threading.enumerate()) - before
        wait_for(lambda: len(beats) >= 3)
        stop.set()
        heart.join()
        # a job that ends before the first beat has none
        beats.clear()
        monkeypatch.setattr(rocket, "PING_TIME_SECS", 3600)
        stop = rocket.start_ping_launch(None, 8)
        (heart,) = set(threading.enumerate()) - before
        stop.set()
        heart.join()
    assert not beats


def test_a_locked_workflow_is_waited_for(database, monkeypatch):
    """Wait briefly with the lock of this package, then with the lock of FireWorks, which times out."""
    launchpad = database.launchpad
    launchpad.add_wf(Workflow([Firework(Run(command="true"))]))
    workflow = {"nodes": 1}
    launchpad.workflows.update_one(workflow, {"$set": {"locked": True}})
    held = threading.Timer(0.05, launchpad.workflows.update_one, [workflow, {"$unset": {"locked": True}}])
    asked = []
    theirs = WFLock.__enter__
    monkeypatch.setattr(WFLock, "__enter__", lambda lock: asked.append(lock) or theirs(lock))
    with prompt_locks():
        lock = fireworks_launchpad.WFLock
        held.start()
        with lock(launchpad, 1):
            assert launchpad.workflows.find_one(workflow)["locked"]
            assert not asked
            with pytest.raises(LockedWorkflowError), lock(launchpad, 1, expire_secs=0):
                pass
            assert len(asked) == 1
    assert "locked" not in launchpad.workflows.find_one(workflow)
    assert fireworks_launchpad.WFLock is WFLock


def test_a_missing_right_ends_a_worker(database, tmp_path, monkeypatch):
    """A user who may only read does not wait for jobs that it may not run."""

    def refused(*_: object, **__: object) -> bool:
        raise OperationFailure("not authorized", UNAUTHORIZED)

    monkeypatch.setattr("alchemflows.execution.worker.n_ready", lambda *_, **__: 1)
    monkeypatch.setattr("alchemflows.execution.worker.launch_rocket", refused)
    with pytest.raises(OperationFailure):
        Worker(launchpad_of(database), FWorker(), tmp_path).run(stop_after_s=20.0)


def test_a_failed_job_prints_its_traceback(database, tmp_path, capfd):
    """That of an interrupted job is one line instead (tests/launchers/test_local_workers.py)."""
    launchpad = launchpad_of(database)
    launchpad.add_wf(Workflow([Firework(Run(command="false"))]))
    assert Worker(launchpad, FWorker(), tmp_path).run(until_idle=True) == 1
    assert "Traceback" in (said := capfd.readouterr().err) and "CalledProcessError" in said


def test_a_job_that_loses_the_database_prints_no_traceback(database, tmp_path, monkeypatch, capfd):
    """FireWorks would print the traceback of the second error: the one while it stores the first."""
    launchpad, reported = launchpad_of(database), []
    launchpad.add_wf(Workflow([Firework(Run(command="false"))]))
    complete_launch, lost = LaunchPad.complete_launch, []

    def lose_once(*arguments: object, **named: object) -> object:
        if len(lost) < 2:  # while the error is stored, and while FireWorks tries again
            lost.append(True)
            raise ServerSelectionTimeoutError("refused")
        return complete_launch(*arguments, **named)

    monkeypatch.setattr(LaunchPad, "complete_launch", lose_once)
    monkeypatch.setattr("alchemflows.execution.worker._RETRY_S", 0.0)
    Worker(launchpad, FWorker(), tmp_path, sleep_s=0.1, report=reported.append).run(until_idle=True)
    assert len(lost) == 2 and "reachable again" in " ".join(reported)
    said = capfd.readouterr().err
    assert said.count("CalledProcessError:") == 1 and "ServerSelection" not in said


@pytest.mark.slow
def test_an_unreachable_database_loses_no_result(database, flow, tmp_path):
    """A result of a job that ends without a database is stored when the database is reachable again."""
    home = Path(database.environment["ALCHEMFLOWS_HOME"])
    fw_ids = submit(database, flow)
    worker = WorkerProcess(database, tmp_path / "worker", "--until-idle")
    wait_for(lambda: has_samples(database))
    server = PrivateMongod(home)
    server.stop()
    wait_for(lambda: list(checkpoints(database).glob("*/state-000000001520.npz")), 240)
    time.sleep(35)  # longer than pymongo tries
    start_private(Settings(home=home))
    assert worker.process.wait(timeout=300) == 0
    assert {job.state for job in status(database, fw_ids)} == {"COMPLETED"}
    assert samples(database).shape == (2, 150, 2)


@pytest.mark.slow
def test_a_full_disk_loses_no_sample(database, flow, tmp_path):
    """If the disk for checkpoints is full when the job is stopped, it continues from the last complete checkpoint."""
    fw_ids = submit(database, flow)
    folder = checkpoints(database)
    folder.mkdir(parents=True)
    own_mounts = ["unshare", "--user", "--map-root-user", "--mount"]
    worker = WorkerProcess(
        database, tmp_path / "small", before=[*own_mounts, "sh", "-eu", "-c", ON_A_SMALL_DISK, "sh", str(folder)]
    )
    assert worker.process.wait(timeout=300) == 0, worker.log.read_text()
    said = worker.log.read_text()
    assert "could not be written" in said and "No space left on device" in said and "returned to the queue" in said
    assert {job.state for job in status(database, fw_ids)} == {"COMPLETED"}
    crowded = samples(database)
    assert crowded.shape == (2, 150, 2)
    database.outputs().delete_many({})
    database.launchpad.rerun_fw(fw_ids[0])
    finish(database, fw_ids, tmp_path / "roomy")
    assert np.array_equal(samples(database), crowded)
