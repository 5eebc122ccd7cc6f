"""local_workers.sh with real workers, which read their own configuration."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from command_line import programs
from fireworks import Firework, LaunchPad, ScriptTask, Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from paced import pause

SCRIPT = Path(__file__).parents[2] / "launchers" / "local_workers.sh"
#: Each job leaves a file, and waits for that of another, which another worker must have.
RECORD = (
    'echo "$CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS" > record; '
    'until [ "$(cat ../launcher_*/record | wc -l)" -ge 2 ]; do sleep 0.1; done'
)
#: Ends when nothing is left to do.
TO_THE_END = ("--", "--until-idle", "--sleep", "0.5")
CORES = len(os.sched_getaffinity(0))
#: Two GPUs, one of them cut into slices.
NVIDIA_SMI = """#!/bin/sh
echo "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-0)"
echo "  MIG 1g.10gb     Device  0: (UUID: MIG-0)"
echo "GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"
"""


@pytest.fixture(autouse=True)
def nvidia_smi(environment: dict[str, str], tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(NVIDIA_SMI)
    program.chmod(0o755)
    return program


@pytest.fixture
def quick_program(environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """Give the script a program `alchemflows` whose processes need not import the large libraries."""
    with programs(tmp_path / "bin"):
        yield


def add_jobs(launchpad: LaunchPad, number: int, category: str | None, script: str = RECORD) -> None:
    spec = {} if category is None else {"_category": category}
    for _ in range(number):
        launchpad.add_wf(Workflow([Firework(ScriptTask.from_str(script), spec)]))


def run(environment: dict[str, str], *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SCRIPT), *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )


def records(folder: Path) -> list[list[str]]:
    return [file.read_text().rstrip("\n").split(" ") for file in folder.glob("launcher_*/record")]


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that has ended but was not waited for does not."""
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.usefixtures("quick_program")
def test_cpu_workers_share_the_cores(
    launchpad: LaunchPad, config: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    add_jobs(launchpad, 4, None)
    add_jobs(launchpad, 1, "gpu")
    launchpad.add_wf(flow_to_workflow(Flow([pause(0)])))
    for name in ("JOBFLOW", "FW"):  # relative ones, which mean something else in the folder of a job
        environment[f"{name}_CONFIG_FILE"] = os.path.relpath(environment[f"{name}_CONFIG_FILE"], tmp_path)
    shares = {name: value for name, value in environment.items() if name != "OMP_NUM_THREADS"}
    done = run(shares, "cpu", "-n", "2", "-d", "runs", *TO_THE_END, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(tmp_path / "runs") == 4 * [["", str(max(1, CORES // 2))]]
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 5
    logs = list((tmp_path / "runs" / "logs").glob("cpu-*.log"))
    assert len(logs) == 2
    assert all(re.search("jobs? (was|were) run", log.read_text()) for log in logs)


@pytest.mark.usefixtures("quick_program")
def test_a_given_number_of_threads_is_kept(launchpad: LaunchPad, environment: dict[str, str], tmp_path: Path) -> None:
    add_jobs(launchpad, 2, None)
    done = run(environment | {"OMP_NUM_THREADS": "3"}, "cpu", "-n", "2", "-d", "runs", *TO_THE_END, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert records(tmp_path / "runs") == 2 * [["", "3"]]


@pytest.mark.usefixtures("quick_program")
def test_each_gpu_worker_has_its_gpu(launchpad: LaunchPad, environment: dict[str, str], tmp_path: Path) -> None:
    add_jobs(launchpad, 4, "gpu")
    add_jobs(launchpad, 1, None)
    done = run(environment, "gpu", *TO_THE_END, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {tuple(record) for record in records(tmp_path)} == {(k, str(max(1, CORES // 2))) for k in "01"}
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 4


@pytest.mark.usefixtures("quick_program")
def test_an_allocation_of_gpus_is_kept(launchpad: LaunchPad, environment: dict[str, str], tmp_path: Path) -> None:
    add_jobs(launchpad, 2, "gpu")
    environment["CUDA_VISIBLE_DEVICES"] = "5,GPU-7"
    done = run(environment, "gpu", *TO_THE_END, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {record[0] for record in records(tmp_path)} == {"5", "GPU-7"}
    assert "3 workers" in run(environment, "gpu", "-n", "3", folder=tmp_path).stderr


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_workers_and_their_jobs_return_to_the_queue(
    launchpad: LaunchPad, environment: dict[str, str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    for _ in range(3):
        launchpad.add_wf(flow_to_workflow(Flow([pause(300)])))
    command = [str(SCRIPT), "cpu", "-n", "2"]
    script = subprocess.Popen(
        command,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests in the background ignore some
    )
    try:
        wait_for(lambda: len(list(tmp_path.glob("launcher_*/begun"))) == 2)
        pids = [int(pid) for pid in Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()]
        assert len(pids) == 2
        os.killpg(script.pid, number)  # as Ctrl-C in a terminal does; workers get SIGTERM from the script, too
        assert script.wait(timeout=30) == status
        assert not any(map(alive, pids))
    finally:
        script.kill()
    assert [firework["state"] for firework in launchpad.fireworks.find()] == 3 * ["READY"]
    for log in (tmp_path / "logs").iterdir():
        (line,) = [line for line in log.read_text().splitlines() if "is returned to the queue" in line]
        assert "no checkpoint" in line and "Traceback" not in log.read_text()


@pytest.mark.usefixtures("quick_program")
def test_a_failed_worker_is_reported(config: Path, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: broken\n")
    done = run(environment, "cpu", "-n", "2", "-w", "broken.yaml", folder=tmp_path)
    assert done.returncode == 1
    assert "worker 1 failed; see ./logs/cpu-1-" in done.stderr
    assert "worker 2 failed" in done.stderr


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "Usage"),
        (["tpu"], "Usage"),
        (["cpu", "-n", "many"], "many"),
        (["gpu", "-n", "0"], "0"),
        (["cpu", "-w", "missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_arguments(environment: dict[str, str], tmp_path: Path, arguments: list[str], said: str) -> None:
    done = run(environment, *arguments, folder=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert not (tmp_path / "logs").exists()


def test_no_gpu(environment: dict[str, str], nvidia_smi: Path, tmp_path: Path) -> None:
    nvidia_smi.write_text("#!/bin/sh\necho 'No devices were found'\nexit 6\n")
    done = run(environment, "gpu", folder=tmp_path)
    assert done.returncode == 2
    assert "no GPU found" in done.stderr


def test_help() -> None:
    done = subprocess.run([str(SCRIPT), "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: local_workers.sh gpu|cpu")
