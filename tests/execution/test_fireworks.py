"""Flows on a real MongoDB with real rlaunch workers, one of which is killed while it samples."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_line import RLAUNCH, StartedCommand
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Lattice, Structure

from alchemflows.execution.local import n_parallel_jobs, status, submit
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.phase_stability import PhaseStabilityMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.results.query import free_energies
from alchemflows.storage.database import Database
from alchemflows.storage.fireworks import LOCKS

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
BCC = [[0, 0, 0], [0.5, 0.5, 0.5]]


@pytest.fixture
def flow(gentle_model, perovskite, request):
    """Four windows of 900 steps (some seconds), or of another number, after a relaxation of a few steps."""
    maker = ThermodynamicIntegrationMaker(
        potential=str(gentle_model),
        temperature=200.0,
        n_windows=4,
        n_equilibration_steps=100,
        n_production_steps=getattr(request, "param", 900),
        seed=11,
    )
    maker.relax_maker.maker.steps = 3
    maker.relax_maker.require_convergence = False
    return maker.make(perovskite, {"Pb": "Sn"})


class Workers:
    """rlaunch processes, each with a name of its own."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self.processes: dict[str, StartedCommand] = {}

    def start(self, name: str) -> None:
        folder = self._folder / name
        folder.mkdir()
        (folder / "my_fworker.yaml").write_text(yaml.safe_dump({"name": name, "category": "", "query": "{}"}))
        (folder / "FW_config.yaml").write_text(yaml.safe_dump({"PING_TIME_SECS": 1, **LOCKS}))
        launchpad = Path(self._database.environment["FW_CONFIG_FILE"]).parent / "my_launchpad.yaml"
        arguments = ["-l", launchpad, "-w", "my_fworker.yaml", "rapidfire", "--nlaunches", "infinite", "--sleep", "1"]
        environment = os.environ | self._database.environment | ONE_THREAD
        self.processes[name] = StartedCommand(arguments, folder, environment, folder / "log", entry=RLAUNCH)

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@pytest.fixture
def workers(database, tmp_path):
    workers = Workers(database, tmp_path)
    yield workers
    workers.stop()


def wait_for(condition, timeout_s: float = 120.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("timed out")


def undisturbed(flow, folder: Path):
    """Run the same flow without a database server, in this process."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
        outputs = run_locally(flow, store=store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
        last = outputs[flow.jobs[-1].uuid]
        return last[max(last)].output
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_a_killed_worker_costs_nothing_but_time(database, workers, flow, tmp_path):
    fw_ids = submit(database, flow)
    workers.start("one")
    workers.start("two")

    def in_production():
        for job in status(database, fw_ids):
            if job.progress is not None and job.progress.phase == "production" and job.state == "RUNNING":
                return job
        return None

    victim = wait_for(in_production)
    launchpad = database.launchpad
    launch = launchpad.launches.find_one({"fw_id": victim.fw_id}, sort=[("launch_id", -1)])
    killed = workers.processes[launch["fworker"]["name"]]
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert status(database, [victim.fw_id])[0].state == "RUNNING"  # the loss is not detected yet

    def recovered():
        lost, _, inconsistent = launchpad.detect_lostruns(expiration_secs=6, rerun=True)
        launchpad.detect_lostruns(expiration_secs=6, refresh=True) if inconsistent else None
        return lost

    wait_for(recovered)
    wait_for(lambda: all(job.state == "COMPLETED" for job in status(database, fw_ids)), timeout_s=240)

    # every window exists once, is complete, and equals that of an undisturbed run
    documents = list(database.outputs().find({"output.@class": "WindowsDocument"}))
    windows = [window for document in documents for window in document["output"]["windows"]]
    assert sorted(window["index"] for window in windows) == [0, 1, 2, 3]
    assert {window["n_samples"] for window in windows} == {90}
    result = database.job_store.get_output(flow.jobs[-1].uuid)
    reference = undisturbed(flow, tmp_path)
    assert [w["mean_dudl_eV"] for w in result["windows"]] == pytest.approx(
        [w.mean_dudl_eV for w in reference.windows], abs=1e-7
    )
    assert result["total"]["delta_f_eV"] == pytest.approx(reference.total.delta_f_eV, abs=1e-6)
    (row,) = free_energies(database)
    assert row["delta_f_eV"] == result["total"]["delta_f_eV"]
    assert row["n_windows"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("flow", [90], indirect=True)
def test_samples_are_read_back_with_plain_pymongo(database, workers, flow):
    """As docs/database.md describes it."""
    import base64
    import io
    import json

    import gridfs

    fw_ids = submit(database, flow)
    workers.start("one")
    wait_for(lambda: all(job.state == "COMPLETED" for job in status(database, fw_ids)), timeout_s=240)

    outputs = database.outputs()
    document = outputs.find_one({"output.@class": "WindowsDocument", "output.windows.index": 2})
    window = next(w for w in document["output"]["windows"] if w["index"] == 2)
    blob = gridfs.GridFS(outputs.database, "samples").find_one({"metadata.blob_uuid": window["series"]["blob_uuid"]})
    packed = json.loads(blob.read())["data"]["npz_base64"]
    arrays = np.load(io.BytesIO(base64.b64decode(packed)))
    energies = arrays["energy_eV"][:, None] + arrays["energy_offsets_eV"] + arrays["energy_fluctuations_eV"]
    assert energies.shape == (9, 4)
    assert arrays["dudl_eV"].mean() == pytest.approx(window["mean_dudl_eV"])
    np.testing.assert_allclose(energies[:, 2], arrays["energy_eV"], atol=1e-5)
    provenance = document["output"]["provenance"]
    assert len(provenance["potential"]["sha256"]) == 64
    assert provenance["seed"] == 11 and provenance["versions"]["torch"]
    used = outputs.find({"output.@class": "FreeEnergyDocument", "output.temperature_K": 200.0}).explain()
    assert "IXSCAN" in str(used["queryPlanner"]["winningPlan"])


@pytest.mark.slow
def test_stopped_local_workers_leave_jobs_that_others_can_take(database, flow, tmp_path):
    """Stop the workers as Ctrl-C does in a run from the command line."""
    from alchemflows.execution.local import LocalWorkers

    fw_ids = submit(database, flow)
    running = set()
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run"):
        wait_for(lambda: any(job.state == "COMPLETED" for job in status(database, fw_ids)))
        wait_for(lambda: running.update(j.fw_id for j in status(database, fw_ids) if j.state == "RUNNING") or running)
    states = {job.state for job in status(database, fw_ids)}
    assert running and "COMPLETED" in states and states <= {"COMPLETED", "READY", "WAITING"}
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_a_local_worker_that_dies_is_replaced(database, flow, tmp_path):
    from alchemflows.execution.local import LocalWorkers, wait

    fw_ids = submit(database, flow)
    killed = []

    def kill_once(jobs):
        """Kill one of two workers while both sample a window."""
        sampling = [job.fw_id for job in jobs if job.progress is not None and job.progress.step > 100]
        if not killed and len(sampling) == 2:
            process = workers._processes[0]
            process.send_signal(signal.SIGSTOP)
            if {job.state for job in status(database, sampling)} == {"RUNNING"}:  # neither has ended meanwhile
                process.kill()
                process.wait()
                killed.append(process.pid)
            else:
                process.send_signal(signal.SIGCONT)

    with LocalWorkers(database, fw_ids, 2, tmp_path / "run") as workers:
        wait(database, fw_ids, kill_once, check=workers.check, interval_s=0.3)
    assert killed and {job.state for job in status(database, fw_ids)} == {"COMPLETED"}
    launches = database.launchpad.launches.count_documents({"state": {"$in": ["FIZZLED", "ARCHIVED"]}})
    assert launches == 1  # the window of the dead worker alone was begun again


def test_workers_that_cannot_start_are_an_error_that_names_their_log(database, flow, tmp_path, monkeypatch):
    from alchemflows.errors import AlchemflowsError
    from alchemflows.execution import local, local_worker

    monkeypatch.setattr(local_worker, "_CODE", "raise SystemExit(3)")
    fw_ids = submit(database, flow)
    with (
        local.LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers,
        pytest.raises(AlchemflowsError, match=r"status 3.*worker-0\.log"),
    ):
        local.wait(database, fw_ids, lambda jobs: None, check=workers.check, interval_s=0.3)


def test_a_job_that_a_worker_took_as_it_died_is_ready_again(database, flow, tmp_path, monkeypatch):
    from fireworks import FWorker

    from alchemflows.execution import local, local_worker

    monkeypatch.setattr(local_worker, "_CODE", "import time; time.sleep(60)")
    fw_ids = submit(database, flow)
    with local.LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers:
        with monkeypatch.context() as patch:
            patch.setattr(database.launchpad, "get_new_launch_id", lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                database.launchpad.checkout_fw(FWorker(name="local"), str(tmp_path / "run"), fw_id=fw_ids[0])
        assert status(database, fw_ids[:1])[0].state == "RESERVED"
        workers._processes[0].kill()
        workers._processes[0].wait()
        workers.check()
        assert status(database, fw_ids[:1])[0].state == "READY"


def test_jobs_that_can_run_at_the_same_time(flow):
    assert n_parallel_jobs(flow) == 4  # the windows; their relaxation comes before, the analysis after


@pytest.mark.parametrize("given", ["1", "1000000", "4,2"])
def test_workers_have_their_share_of_the_cores_and_no_more_threads_than_asked_for(
    database, flow, tmp_path, monkeypatch, given
):
    from alchemflows.execution import local, local_worker

    record = tmp_path / "record"
    monkeypatch.setattr(
        local_worker, "_CODE", f"import os; open({str(record)!r}, 'w').write(os.environ['OMP_NUM_THREADS'])"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    with local.LocalWorkers(database, submit(database, flow), 1, tmp_path / "run") as workers:
        assert workers._processes[0].wait() == 0
    assert record.read_text() == ("1" if given == "1" else str(len(os.sched_getaffinity(0))))


def test_jobs_of_workers_elsewhere_are_left_alone(database, flow, tmp_path):
    """Stopping local workers must not take a job from another machine."""
    from fireworks import FWorker

    from alchemflows.execution.local import LocalWorkers

    fw_ids = submit(database, flow)
    database.launchpad.checkout_fw(FWorker(name="elsewhere"), "/scratch/elsewhere", fw_id=fw_ids[0])
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run"):
        time.sleep(1)
    assert status(database, fw_ids[:1])[0].state == "RUNNING"


@pytest.mark.usefixtures("quick_workers")
def test_a_failed_window_does_not_stop_the_others(database, gentle_model, perovskite, tmp_path):
    from alchemflows.errors import AlchemflowsError
    from alchemflows.execution.local import LocalWorkers, wait

    flow = ThermodynamicIntegrationMaker(
        potential=str(gentle_model),
        temperature=200.0,
        n_windows=3,
        n_equilibration_steps=20,
        n_production_steps=100,
        relax_maker=None,
    ).make(perovskite, {"Pb": "Sn"})
    flow.jobs[0].function_args[1][:] = [7]  # a window that does not exist
    fw_ids = submit(database, flow)
    with (
        LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers,
        pytest.raises(AlchemflowsError, match=r"IndexError.*rerun_fws -i \d+"),
    ):
        wait(database, fw_ids, lambda jobs: None, check=workers.check)
    states = sorted(job.state for job in status(database, fw_ids))
    assert states == ["COMPLETED", "COMPLETED", "FIZZLED", "WAITING"]


@pytest.mark.slow
def test_phases_are_compared_without_one_whose_first_job_failed(database, tmp_path):
    """Phases with a failed job are left out of the comparison, which runs although FireWorks would not start it."""
    from alchemflows.execution.local import LocalWorkers, wait

    absolute = FrenkelLaddMaker(
        potential="mace-demo",
        timestep_fs=4.0,
        n_repeats=2,
        n_cell_steps=60,
        n_equilibration_steps=20,
        n_sampling_steps=40,
        n_switching_steps=40,
        relax_maker=None,
    )
    cells = {
        name: Structure(Lattice.cubic(a), ["Fe", "Fe"], BCC) * (2, 2, 2)
        for name, a in (("bcc", 2.84), ("crushed", 1.2))
    }
    flow = PhaseStabilityMaker(frenkel_ladd_maker=absolute).make(cells, [50.0])
    fw_ids = submit(database, flow)
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers:
        failed = wait(database, fw_ids, lambda jobs: None, check=workers.check)
    assert [job.name.partition(",")[0] for job in failed] == ["mean cell", "Frenkel–Ladd"]
    assert "exploded" in failed[0].error or "crushed" in failed[0].error
    assert "earlier job failed" in failed[1].error
    document = database.job_store.get_output(flow.output.uuid)
    assert [point["gibbs_eV"] is None for point in document["points"]] == [False, True]
    assert document["stable"][0]["phase"] == "bcc" and document["verdict"]["status"] == "not converged"


@pytest.mark.slow
def test_a_ladder_that_refines_itself_on_a_real_database(database, gentle_model, perovskite, tmp_path):
    """Jobs added by a running job are run by the same workers; the output of the flow is the last analysis."""
    from alchemflows.execution.local import LocalWorkers, wait

    maker = ThermodynamicIntegrationMaker(
        potential=str(gentle_model),
        temperature=200.0,
        n_windows=2,
        windows_per_job=2,
        n_equilibration_steps=20,
        n_production_steps=120,
        relax_maker=None,
        target_error=1e-7,
        budget=3,
        seed=4,
    )
    flow = maker.make(perovskite, {"Pb": "Sn"})
    fw_ids = submit(database, flow)
    other = submit(database, maker.make(perovskite, {"Pb": "Sn"}))  # a flow of another user
    seen: dict[int, str] = {}
    with LocalWorkers(database, fw_ids, 1, tmp_path / "run") as workers:
        wait(database, fw_ids, lambda jobs: seen.update({j.fw_id: j.name for j in jobs}), check=workers.check)
    assert len(seen) > len(fw_ids) == 2 and not set(other) & set(seen)
    assert {job.state for job in status(database, sorted(seen))} == {"COMPLETED"}
    assert {job.state for job in status(database, other)} <= {"READY", "WAITING"}
    # jobs that evaluate the potential are for GPU workers, in every round
    categories = {
        fw["name"]: fw["spec"].get("_category")
        for fw in database.launchpad.fireworks.find({"fw_id": {"$in": list(seen)}})
    }
    assert {name: category == "gpu" for name, category in categories.items()} == {
        name: name != "free energy" for name in seen.values()
    }
    result = database.job_store.get_output(flow.output.uuid)
    assert result["refinement"]["n_runs_added"] == 3 and result["refinement"]["target_met"] is False
    assert sum(window["n_runs"] for window in result["windows"]) == 2 + 3
    assert result["verdict"]["status"] == "not converged"
    (row,) = free_energies(database)
    assert row["uuid"] == flow.jobs[-1].uuid and row["verdict"] == "not converged"
    reference = undisturbed(maker.make(perovskite, {"Pb": "Sn"}), tmp_path)
    assert result["total"]["delta_f_eV"] == pytest.approx(reference.total.delta_f_eV, abs=1e-6)
    rounds = [each.model_dump() for each in reference.refinement.rounds]
    assert [each["inserted"] for each in result["refinement"]["rounds"]] == [each["inserted"] for each in rounds]
