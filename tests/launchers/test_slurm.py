"""The launchers on a real SLURM of one node (slurm_cluster.sh), with a real MongoDB and λ-windows."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_line import COMMAND
from fireworks import Firework, LaunchPad, ScriptTask, Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from paced import paced
from pymatgen.core import Structure

from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.schemas.progress import Progress, read_progress

pytestmark = pytest.mark.slurm
SCRIPT = Path(__file__).with_name("slurm_cluster.sh")
LOCAL_WORKERS = Path(__file__).parents[2] / "launchers" / "local_workers.sh"
NOT_TO_BE_HAD = 3
N_STEPS = 1000
#: What users set in their copies: cores, wall time, and here shorter waits.
SETTINGS = {
    "slurm_gpu_qadapter.yaml": [
        (r"cpus_per_task: 8", "cpus_per_task: 2"),
        (r"OMP_NUM_THREADS=8", "OMP_NUM_THREADS=1"),
        (r'walltime: "04:00:00"', 'walltime: "00:05:00"'),
        (r"--idle-for 120", "--idle-for 3 --sleep 0.5"),
    ],
    "slurm_node_qadapter.yaml": [
        (r"cpus_per_task: 32", "cpus_per_task: 4"),
        (r"gres: gpu:4", "gres: gpu:2"),
        (r'walltime: "04:00:00"', 'walltime: "00:05:00"'),
        (r"--idle-for 120", "--idle-for 3 --sleep 0.5"),
    ],
    "FW_config.yaml": [(r"PING_TIME_SECS: 300", "PING_TIME_SECS: 1")],
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run SLURM; return the environment in which its commands find it."""
    folder = tmp_path_factory.mktemp("slurm")
    try:
        started = subprocess.run([str(SCRIPT), "start", str(folder)], stderr=subprocess.PIPE, text=True, check=False)
        if started.returncode == NOT_TO_BE_HAD and not os.environ.get("CI"):
            pytest.skip(f"NOT TESTED, for want of SLURM: {started.stderr.strip()}")
        assert started.returncode == 0, started.stderr
        yield {"SLURM_CONF": str(folder / "slurm.conf")}
    finally:
        subprocess.run([str(SCRIPT), "stop", str(folder)], check=True)


@pytest.fixture
def user(slurm: dict[str, str], config: Path, environment: dict[str, str]) -> dict[str, str]:
    """Return the environment of a user of the cluster, whose files are filled in."""
    for name, settings in SETTINGS.items():
        text = (config / name).read_text()
        for pattern, value in settings:
            text, found = re.subn(pattern, value, text)
            assert found == 1 or value in text, f"{name} has no {pattern}"
        (config / name).write_text(text)
    return environment | slurm | {"PYTHONWARNINGS": "ignore", "ALCHEMFLOWS_CHECKPOINT_INTERVAL_S": "0.2"}


@pytest.fixture
def call(user: dict[str, str], tmp_path: Path) -> Callable[..., str]:
    def run(*command: object) -> str:
        arguments = [str(word) for word in command]
        done = subprocess.run(
            arguments, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def qlaunch(call: Callable[..., str], config: Path) -> Callable[[str], int]:
    """Return what submits a batch job with a qadapter and gives its number."""

    def submit(name: str) -> int:
        call("qlaunch", "-q", config / name, "-w", config / "my_fworker_gpu.yaml", "rapidfire", "--nlaunches", "1")
        return max(int(number) for number in call("squeue", "-h", "-t", "all", "-o", "%i").split())

    return submit


@pytest.fixture
def job(call: Callable[..., str]) -> Callable[[int], dict[str, str]]:
    """Return what gives all that SLURM knows of a batch job."""
    return lambda number: dict(re.findall(r"([\w:/]+)=(\S*)", call("scontrol", "show", "job", number)))


@pytest.fixture
def cpu_worker(user: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """Run the worker for the analysis, as on a login node."""
    command = [str(LOCAL_WORKERS), "cpu", "-d", str(tmp_path / "login-node"), "--", "--sleep", "1"]
    worker = subprocess.Popen(command, env=user)
    yield
    worker.terminate()
    assert worker.wait(timeout=30) == 143


def flow(model: Path, structure: Structure, n_windows: int, n_steps: int, windows_per_job: int = 1) -> Flow:
    return ThermodynamicIntegrationMaker(
        potential=str(model),
        temperature=200.0,
        n_windows=n_windows,
        windows_per_job=windows_per_job,
        n_equilibration_steps=20,
        n_production_steps=n_steps,
        relax_maker=None,
        seed=3,
    ).make(structure, {"Pb": "Sn"})


def submit(launchpad: LaunchPad, *flows: Flow) -> None:
    for each in flows:
        launchpad.add_wf(flow_to_workflow(each))


def states(launchpad: LaunchPad, query: dict | None = None) -> list[str]:
    return sorted(firework["state"] for firework in launchpad.fireworks.find(query or {}))


def wait_for(condition: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.2)


def outputs(launchpad: LaunchPad, kind: str) -> list[dict]:
    return [each["output"] for each in launchpad.db["outputs"].find({"output.@class": kind})]


@pytest.fixture
def launchpad(launchpad: LaunchPad) -> LaunchPad:
    launchpad.db["outputs"].delete_many({})
    return launchpad


def test_qlaunch_submits_and_windows_are_run(
    launchpad, qlaunch, job, cpu_worker, gentle_model: Path, perovskite: Structure
) -> None:
    submit(launchpad, flow(gentle_model, perovskite, n_windows=3, n_steps=60))
    number = qlaunch("slurm_gpu_qadapter.yaml")
    requested = job(number)
    assert requested["TresPerNode"] == "gres:gpu:1"
    assert requested["NumNodes"] in ("1", "1-1")  # the second while the job is pending
    assert requested["NumCPUs"] == "2" and requested["CPUs/Task"] == "2"
    assert requested["TimeLimit"] == "00:05:00" and requested["JobName"] == "alchemflows"
    wait_for(lambda: set(states(launchpad)) == {"COMPLETED"})
    wait_for(lambda: job(number)["JobState"] == "COMPLETED")  # it ends when no job is left
    workers = {
        (
            firework["spec"].get("_category"),
            launchpad.launches.find_one({"fw_id": firework["fw_id"]})["fworker"]["name"],
        )
        for firework in launchpad.fireworks.find()
    }
    assert workers == {("gpu", "gpu"), (None, "cpu")}
    (document,) = outputs(launchpad, "FreeEnergyDocument")
    assert [window["n_runs"] for window in document["windows"]] == [1, 1, 1]


@pytest.fixture
def adapted(config: Path) -> Callable[[str, str], str]:
    """Return what writes a copy of the qadapter for a GPU in which something is replaced, and gives its name."""

    def write(old: str, new: str) -> str:
        text = (config / "slurm_gpu_qadapter.yaml").read_text()
        assert text.count(old) == 1
        (config / "adapted.yaml").write_text(text.replace(old, new))
        return "adapted.yaml"

    return write


@pytest.fixture
def stopped_at(tmp_path: Path) -> Callable[[], int]:
    """Return what gives the step of the last checkpoint of the only job that has any."""

    def step() -> int:
        found = (tmp_path / ".alchemflows" / "checkpoints").glob("*/**/state-*.npz")
        return max((int(path.stem.split("-")[1]) for path in found), default=0)

    return step


def first_step(launchpad: LaunchPad, n_launches: int) -> int:
    """Return the first step that the last launch of the only job that runs does say."""
    found: list[Progress] = []

    def said() -> bool:
        launches = list(launchpad.launches.find({"fworker.name": "gpu"}, sort=[("launch_id", 1)]))
        progress = read_progress(Path(launches[-1]["launch_dir"])) if len(launches) == n_launches else None
        found.extend([] if progress is None else [progress])
        return bool(found)

    wait_for(said)
    return found[0].step


@pytest.fixture
def sampling(launchpad, gentle_model: Path, perovskite: Structure, stopped_at) -> Callable[[], None]:
    """Submit two windows in one job; return a function that waits until both have sampled for some time."""
    submit(launchpad, flow(gentle_model, perovskite, n_windows=2, n_steps=N_STEPS, windows_per_job=2))
    return lambda: wait_for(lambda: stopped_at() >= 300)


def assert_complete(launchpad: LaunchPad, n_launches: int) -> None:
    windows = [window for document in outputs(launchpad, "WindowsDocument") for window in document["windows"]]
    assert sorted((window["index"], window["n_samples"]) for window in windows) == [(k, N_STEPS // 10) for k in (0, 1)]
    assert launchpad.launches.count_documents({"fworker.name": "gpu"}) == n_launches
    assert launchpad.launches.count_documents({}) == n_launches + 1  # and the analysis
    assert len(outputs(launchpad, "FreeEnergyDocument")) == 1


def test_scancel_leaves_the_job_ready_and_the_next_batch_job_goes_on(
    launchpad, qlaunch, job, call, cpu_worker, sampling, stopped_at
) -> None:
    """SLURM sends SIGTERM, as at the time limit or on preemption."""
    first = qlaunch("slurm_gpu_qadapter.yaml")
    sampling()
    call("scancel", first)
    wait_for(lambda: job(first)["JobState"] == "CANCELLED")
    wait_for(lambda: not call("squeue", "-h"))  # it has ended, too
    assert states(launchpad) == ["READY", "WAITING"]
    step = stopped_at()
    assert 300 <= step < N_STEPS
    second = qlaunch("slurm_gpu_qadapter.yaml")
    assert first_step(launchpad, 2) > step  # no step is repeated
    wait_for(lambda: job(second)["JobState"] == "COMPLETED")
    wait_for(lambda: set(states(launchpad)) == {"COMPLETED"})
    assert_complete(launchpad, 2)


def test_scancel_of_a_whole_node_leaves_all_its_jobs_ready(launchpad, qlaunch, job, call, tmp_path: Path) -> None:
    submit(launchpad, *(Flow([paced(1000)]) for _ in range(2)))
    launchpad.fireworks.update_many({}, {"$set": {"spec._category": "gpu"}})
    number = qlaunch("slurm_node_qadapter.yaml")
    checkpoints = tmp_path / ".alchemflows" / "checkpoints"
    wait_for(lambda: len({path.parent for path in checkpoints.glob("*/state-*.npz")}) == 2)
    call("scancel", number)
    wait_for(lambda: job(number)["JobState"] == "CANCELLED")
    wait_for(lambda: not call("squeue", "-h"))
    assert states(launchpad) == ["READY", "READY"]


def test_a_worker_stops_before_its_time_is_over_and_the_next_batch_job_goes_on(
    launchpad, qlaunch, job, adapted, stopped_at
) -> None:
    long = paced(100)
    submit(launchpad, Flow([long]))
    launchpad.fireworks.update_many({}, {"$set": {"spec._category": "gpu"}})
    first = qlaunch(adapted("--stop-after 14100", "--stop-after 5"))
    wait_for(lambda: job(first)["JobState"] == "COMPLETED")  # not TIMEOUT
    assert states(launchpad) == ["READY"]
    step = stopped_at()
    assert 0 < step < 100
    second = qlaunch("slurm_gpu_qadapter.yaml")
    wait_for(lambda: job(second)["JobState"] == "COMPLETED")
    assert states(launchpad) == ["COMPLETED"]
    assert launchpad.db["outputs"].find_one({"uuid": long.uuid})["output"] == {"began_at": step}


def test_job_killed_at_the_time_limit_is_completed_by_the_next(
    launchpad, config: Path, tmp_path: Path, qlaunch, job, call, cpu_worker, adapted, sampling, stopped_at
) -> None:
    # A worker that hangs and ignores SIGTERM. It is stopped repeatedly, since SLURM continues stopped processes.
    hang = f"trap '' TERM; me=$BASHPID; while sleep 0.1; do [ ! -e {tmp_path}/stop ] || kill -STOP $me; done &"
    first = qlaunch(adapted("exec alchemflows", f"{hang} exec env --block-signal=TERM alchemflows"))
    sampling()
    (victim,) = launchpad.fireworks.find({"state": "RUNNING"})
    # SLURM checks limits twice a minute, and the shortest limit is a minute; here the limit is shortened.
    (tmp_path / "stop").touch()
    call("scontrol", "update", f"JobId={first}", "EndTime=now+1")
    wait_for(lambda: job(first)["JobState"] == "TIMEOUT")
    wait_for(lambda: not call("squeue", "-h"))
    assert states(launchpad, {"fw_id": victim["fw_id"]}) == ["RUNNING"]  # the loss is not detected yet
    step = stopped_at()
    assert 300 <= step < N_STEPS

    files = ["-q", config / "slurm_gpu_qadapter.yaml", "-w", config / "my_fworker_gpu.yaml"]
    said: list[str] = []

    def found_lost() -> bool:
        said.append(call(*COMMAND, "supervise", "--once", "--lost-after", 3, *files))
        return "is lost" in said[-1]

    wait_for(found_lost)
    assert "run again (failed 0, lost 1 times)" in said[-1], said
    (second,) = map(int, re.findall(r"submitted 1 batch jobs: (\d+)", said[-1]))
    assert second > first
    assert first_step(launchpad, 2) > step
    wait_for(lambda: set(states(launchpad)) == {"COMPLETED"})
    wait_for(lambda: job(second)["JobState"] == "COMPLETED")
    assert_complete(launchpad, 2)


def test_workers_for_all_gpus_share_one_allocation(launchpad, qlaunch, job) -> None:
    record = 'echo "$SLURM_JOB_ID $CUDA_VISIBLE_DEVICES $PPID" > record; sleep 2'
    for _ in range(8):
        launchpad.add_wf(Workflow([Firework(ScriptTask.from_str(record), {"_category": "gpu"})]))
    number = qlaunch("slurm_node_qadapter.yaml")
    requested = job(number)
    assert requested["TresPerNode"] == "gres:gpu:2" and requested["NumCPUs"] == "4"
    wait_for(lambda: job(number)["JobState"] == "COMPLETED")
    assert states(launchpad) == 8 * ["COMPLETED"]
    folders = [Path(launch["launch_dir"]) for launch in launchpad.launches.find()]
    records = [(folder / "record").read_text().split() for folder in folders]
    assert {batch_job for batch_job, _, _ in records} == {str(number)}
    workers = {(gpu, worker) for _, gpu, worker in records}
    assert sorted(gpu for gpu, _ in workers) == ["0", "1"]  # each GPU has one worker, and each worker one GPU
    assert len({worker for _, worker in workers}) == 2
