"""A campaign with many faults of workers, database and disk, on a real MongoDB with real workers."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure
from pymongo.errors import PyMongoError
from workers import SupervisorProcess, WorkerProcess, checkpoints, wait_for

from alchemflows.campaign.campaign import Campaign
from alchemflows.campaign.status import campaign_status
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, start_private
from alchemflows.storage.mongod import PrivateMongod

N_KILLS = 16
RETRIES = 2
N_WINDOWS, N_REPEATS, WINDOWS_PER_JOB = 8, 3, 2
N_STEPS, INTERVAL = 1000, 10


def campaign(name: str, model: Path, structure, **settings) -> Campaign:
    short = {
        "n_windows": N_WINDOWS,
        "windows_per_job": WINDOWS_PER_JOB,
        "n_equilibration_steps": 20,
        "n_production_steps": N_STEPS,
        "sample_interval_steps": INTERVAL,
        "friction_per_ps": 20.0,
        "relax": False,
    }
    return Campaign(
        name=name,
        structures={"CsPbI3": {"structure": structure.as_dict()}},
        transformations={"PbSn": {"Pb": "Sn"}},
        temperatures_K=[200.0],
        pressures_GPa=[None],
        method={"kind": "thermodynamic-integration", "settings": short | settings},
        potential={"name": str(model), "device": "cpu"},
        repeats=N_REPEATS,
        resources={"category": None},
    )


def poisoned() -> Campaign:
    """Return a campaign of one job, which always fails: its trajectories explode."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    settings = {"n_windows": 2, "windows_per_job": 2, "timestep_fs": 500.0, "relax": False}
    return Campaign(
        name="poison",
        structures={"NaCl": {"structure": cell.as_dict()}},
        transformations={"NaK": {"Na": "K"}},
        temperatures_K=[300.0],
        pressures_GPa=[None],
        method={"kind": "thermodynamic-integration", "settings": settings},
        potential={"name": "mace-demo", "device": "cpu"},
        resources={"category": None},
    )


class Crew:
    """Three workers, each replaced immediately when it ends, and a supervisor."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home, self.folder = home, folder
        self.database = start_private(Settings(home=home))
        self.supervisor = SupervisorProcess(
            self.database, folder / "supervisor", "--retries", str(RETRIES), "--lost-retries", "100"
        )
        self.workers: list[WorkerProcess] = []
        self._n = 0

    def hire(self, *options: str) -> WorkerProcess:
        self._n += 1
        worker = WorkerProcess(self.database, self.folder / f"worker-{self._n}", *options)
        self.workers.append(worker)
        return worker

    def __enter__(self) -> Crew:
        for _ in range(3):
            self.hire()
        return self

    def __exit__(self, *error: object) -> None:
        self.supervisor.kill()
        for worker in self.workers:
            worker.process.send_signal(signal.SIGCONT)
            worker.kill()

    def busy(self) -> tuple[WorkerProcess, dict]:
        """Wait until a worker samples; return it and its job."""

        def found() -> list[tuple[WorkerProcess, dict]]:
            for worker in [worker for worker in self.workers if worker.process.poll() is not None]:
                self.dismiss(worker)
            with contextlib.suppress(PyMongoError):
                jobs = [(worker, worker.running(self.database)) for worker in self.workers]
                return [(worker, job) for worker, job in jobs if job is not None and job["name"].startswith("λ")]
            return []

        return random.choice(wait_for(found, 240))

    def dismiss(self, worker: WorkerProcess) -> None:
        self.workers.remove(worker)
        self.hire()

    def stop_in_good_order(self, worker: WorkerProcess) -> None:
        """Send a worker the signal of a queue; the next one stops by itself, as before a wall time."""
        assert worker.end(signal.SIGTERM) == 0
        self.workers.remove(worker)
        self.hire("--stop-after", "25")

    def database_away(self, seconds: float) -> None:
        """Stop the server while windows run."""
        PrivateMongod(self.home).stop()
        time.sleep(seconds)
        start_private(Settings(home=self.home))

    def race(self, worker: WorkerProcess, job: dict) -> None:
        """Suspend a worker until its job is lost and taken by another worker, then resume it."""
        worker.process.send_signal(signal.SIGSTOP)

        def taken_over() -> bool:
            now = self.database.launchpad.fireworks.find_one({"fw_id": job["fw_id"]})
            return now["state"] in ("RUNNING", "COMPLETED") and now["launches"] != job["launches"]

        wait_for(taken_over)
        time.sleep(3.0)
        worker.process.send_signal(signal.SIGCONT)

    def steps(self) -> dict[str, int]:
        """Return the step of the last checkpoint of each job that has one."""
        last: dict[str, int] = {}
        for path in checkpoints(self.database).glob("*/state-*.npz"):
            step = int(path.stem.split("-")[1])
            last[path.parent.name] = max(step, last.get(path.parent.name, 0))
        return last

    def left(self, name: str) -> int:
        states = [row.states for row in campaign_status(self.database, name)]
        return sum(n for counts in states for state, n in counts.items() if state != "COMPLETED")


def samples(database: Database, plan: Campaign):
    frame = plan.samples(database)
    order = ["task", "index", "time_fs"]
    return frame.sort_values(order)[[*order, "energy_eV", "dudl_eV", "volume_A3"]].reset_index(drop=True)


def delta_f(database: Database, plan: Campaign) -> dict[str, tuple[float, float]]:
    frame = plan.free_energies(database)
    assert len(frame) == N_REPEATS
    return {row.task: (row.delta_f_eV, row.error_eV) for row in frame.itertuples()}


@pytest.fixture
def homes(tmp_path):
    folders = [tmp_path / "disturbed", tmp_path / "undisturbed"]
    yield folders
    for folder in folders:
        PrivateMongod(folder).stop()


@pytest.mark.slow
def test_no_sample_is_lost_or_counted_twice(homes, gentle_model, perovskite, tmp_path, capsys):
    """After 16 kills and all other faults, the results are those of an undisturbed campaign."""
    random.seed(1)
    started = time.monotonic()

    def tell(what: str) -> None:
        """Print the progress immediately, since the test takes minutes."""
        with capsys.disabled():
            print(f"[{time.monotonic() - started:.0f} s: {what}] ", end="", flush=True)

    disturbed, undisturbed = homes
    plan = campaign("halides", gentle_model, perovskite)
    poison = poisoned()
    events: list[str] = []
    with Crew(disturbed, tmp_path / "crew") as crew:
        plan.submit(crew.database)
        poison.submit(crew.database)
        before: dict[str, int] = {}
        damaged: set[str] = set()
        for kill in range(N_KILLS):
            worker, job = crew.busy()
            time.sleep(random.uniform(0.0, 2.0))
            if kill == 3:
                crew.stop_in_good_order(worker)
                events.append("SIGTERM and wall time")
            elif kill == 6:
                crew.database_away(35)
                events.append("database")
            elif kill == 9:
                crew.race(worker, job)
                events.append("race")
            worker, job = crew.busy()
            worker.kill()
            crew.dismiss(worker)
            task = job["spec"]["_tasks"][0]["job"]
            folder = checkpoints(crew.database) / f"{task['uuid']}-{task['index']}"
            states = sorted(folder.glob("state-*.npz"))
            if "checkpoint" not in events and len(states) == 2:
                states[-1].write_bytes(states[-1].read_bytes()[:100])
                damaged.add(folder.name)
                events.append("checkpoint")
            # No resumed job goes back behind a checkpoint, except for the damaged one.
            after = crew.steps()
            for name in before.keys() & after.keys() - damaged:
                assert after[name] >= before[name], (
                    f"kill {kill}: {name} went back from {before[name]} to {after[name]}"
                )
            before = after
            if kill % 4 == 3:
                tell(f"{kill + 1} kills, {crew.left('halides')} jobs left")
        assert crew.left("halides"), "the campaign was done before all kills: it must be made longer"
        wait_for(lambda: not crew.left("halides"), 900)
        tell("done")
        wait_for(lambda: any("is not run again" in line for line in crew.supervisor.said()), 300)
        wait_for(lambda: len(list(checkpoints(crew.database).iterdir())) <= 1)  # of the job that is not run again
        said = crew.supervisor.said()
    assert set(events) == {"SIGTERM and wall time", "database", "race", "checkpoint"}
    database = crew.database
    # The poisoned job was rerun and then given up by the supervisor; it did not delay other jobs.
    (failed,) = database.launchpad.fireworks.find({"spec.campaign.name": "poison", "state": "FIZZLED"}, limit=1)
    assert any(f"job {failed['fw_id']} " in line and "is not run again" in line for line in said)
    tried = {"launch_id": {"$in": [*failed["launches"], *failed["archived_launches"]]}}
    exceptions = tried | {"action.stored_data._exception": {"$exists": True}}
    assert database.launchpad.launches.count_documents(exceptions) == RETRIES + 1
    # Every window exists once and is complete.
    windows = plan.windows(database)
    assert len(windows) == N_WINDOWS * N_REPEATS
    assert not windows.duplicated(["task", "index"]).any()
    assert set(windows["n_samples"]) == {N_STEPS // INTERVAL}
    # The results are those of an undisturbed campaign.
    quiet = start_private(Settings(home=undisturbed))
    plan.submit(quiet)
    pair = [WorkerProcess(quiet, tmp_path / f"quiet-{k}", "--until-idle") for k in range(2)]
    try:
        assert [worker.process.wait(timeout=1800) for worker in pair] == [0, 0]
    finally:
        for worker in pair:
            worker.kill()
    tell("done undisturbed")
    assert samples(database, plan).equals(samples(quiet, plan))
    assert delta_f(database, plan) == delta_f(quiet, plan)
    lost = sum(1 for line in said if "is lost" in line)
    print(json.dumps({"kills": N_KILLS, "found lost": lost, "events": events, "samples": len(samples(quiet, plan))}))
