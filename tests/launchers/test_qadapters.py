"""The qadapters: `qlaunch` submits with them to queues that run the script at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from command_line import programs
from fireworks import Firework, LaunchPad, ScriptTask, Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow
from paced import pause

LAUNCHERS = Path(__file__).parents[2] / "launchers"
REQUESTS = {
    "slurm_gpu": ["#SBATCH --gres=gpu:1", "#SBATCH --time=04:00:00", "#SBATCH --nodes=1", "#SBATCH --cpus-per-task=8"],
    "slurm_node": [
        "#SBATCH --gres=gpu:4",
        "#SBATCH --time=04:00:00",
        "#SBATCH --nodes=1",
        "#SBATCH --cpus-per-task=32",
    ],
    "pbs_gpu": ["#PBS -l select=1:ncpus=8:ngpus=1", "#PBS -q gpu-queue"],
    "pbs_node": ["#PBS -l select=1:ncpus=32:ngpus=4", "#PBS -q gpu-queue"],
}
NODES = [kind for kind in REQUESTS if kind.endswith("node")]
SUBMIT = {"slurm": ("sbatch", "Submitted batch job 17"), "pbs": ("qsub", "17.server")}
#: Each job leaves a file.
RECORD = "echo $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS > record"
CORES = len(os.sched_getaffinity(0))


@pytest.fixture(params=["slurm_gpu", "pbs_gpu", *(pytest.param(k, marks=pytest.mark.slow) for k in NODES)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def script(kind: str, config: Path, environment: dict[str, str], tmp_path: Path) -> str:
    """Print the script as the README does."""
    (command,) = re.findall(r"python -c '(.*?)'", (LAUNCHERS / "README.md").read_text(), re.DOTALL)
    (tmp_path / "my_qadapter.yaml").write_text((config / f"{kind}_qadapter.yaml").read_text())
    environment["PYTHONWARNINGS"] = "always::UserWarning"
    done = subprocess.run(
        ["python", "-c", command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "not present in template" not in done.stderr  # FireWorks warns of keys that its template does not use
    return done.stdout


def test_script_asks_for_a_gpu_and_runs_a_worker(kind: str, script: str, config: Path, tmp_path: Path) -> None:
    lines = script.splitlines()
    walltime = {"slurm": "#SBATCH --time=04:00:00", "pbs": "#PBS -l walltime=04:00:00"}[kind.partition("_")[0]]
    for request in [*REQUESTS[kind], walltime]:
        assert request in lines
    assert "$$" not in script
    assert not re.search(r"<[A-Z_]+>", script)
    assert "account" not in script
    assert "#PBS -A" not in script

    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands[0] == f"source {config}/bin/activate"
    assert f"export FW_CONFIG_FILE={config}/FW_config.yaml" in commands
    assert f"export JOBFLOW_CONFIG_FILE={config}/jobflow.yaml" in commands
    assert commands[-2] == f"cd {tmp_path}"
    worker = f"{config}/local_workers.sh gpu" if kind.endswith("node") else "alchemflows worker"
    assert commands[-1].startswith(f"exec {worker} -w {config}/my_fworker_gpu.yaml ")
    # The queue reads no requests after the first command.
    assert lines.index(commands[0]) > max(i for i, line in enumerate(lines) if line.startswith(("#SBATCH", "#PBS")))


def test_numbers_fit_together(kind: str) -> None:
    content = yaml.safe_load((LAUNCHERS / f"{kind}_qadapter.yaml").read_text())
    hours, minutes, seconds = map(int, content["walltime"].split(":"))
    stop_after = int(re.search(r"--stop-after (\d+)", content["rocket_launch"])[1])
    left = 3600 * hours + 60 * minutes + seconds - stop_after
    assert 120 <= left <= 600  # to begin the batch job, and to end it after a block of steps and a checkpoint
    if kind.endswith("node"):  # there the workers share the cores
        assert "unset OMP_NUM_THREADS" in content["pre_rocket"]
        return
    cores = content["cpus_per_task"] if kind == "slurm_gpu" else re.search(r"ncpus=(\d+)", content["select"])[1]
    assert f"OMP_NUM_THREADS={cores}\n" in content["pre_rocket"]


def test_qlaunch_runs_gpu_jobs(
    kind: str, launchpad: LaunchPad, config: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    for category in ("gpu", "gpu", None):
        spec = {"_category": category} if category else {}
        # The pause leaves the second job to the second worker.
        job = f"{RECORD}; sleep 4" if kind.endswith("node") else RECORD
        launchpad.add_wf(Workflow([Firework(ScriptTask.from_str(job), spec)]))
    program, answer = SUBMIT[kind.partition("_")[0]]
    # As in a queue: of the submitting environment only HOME, and the GPUs assigned by the queue.
    gpus = "0,1" if kind.endswith("node") else "0"
    run = f'env -i HOME="$HOME" PATH=/usr/bin:/bin CUDA_VISIBLE_DEVICES={gpus} bash "$1" > batch.log 2>&1'
    (tmp_path / "bin" / program).write_text(f"#!/bin/sh\n{run}\necho '{answer}'\n")
    (tmp_path / "bin" / program).chmod(0o755)
    text = (config / f"{kind}_qadapter.yaml").read_text()
    assert text.count("--idle-for 120") == 1
    (tmp_path / "my_qadapter.yaml").write_text(text.replace("--idle-for 120", "--idle-for 1"))
    files = ["-q", str(tmp_path / "my_qadapter.yaml"), "-w", str(config / "my_fworker_gpu.yaml")]
    with programs(tmp_path / "bin"):  # the worker need not import the large libraries
        done = subprocess.run(
            ["qlaunch", *files, "rapidfire", "--nlaunches", "1"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    states = [(fw["spec"].get("_category"), fw["state"]) for fw in launchpad.fireworks.find()]
    assert sorted(states, key=str) == [("gpu", "COMPLETED"), ("gpu", "COMPLETED"), (None, "READY")], done.stdout
    records = sorted(file.read_text().split() for file in tmp_path.glob("block_*/launcher_*/launcher_*/record"))
    threads = str(max(1, CORES // 2))
    assert records == ([["0", threads], ["1", threads]] if kind.endswith("node") else 2 * [["0", "8"]])


def test_a_signal_to_the_batch_script_reaches_the_workers(
    kind: str, script: str, launchpad: LaunchPad, environment: dict[str, str], tmp_path: Path
) -> None:
    """PBS signals only the process of the script; an intermediate shell would end and leave its worker running."""
    workers = 2 if kind.endswith("node") else 1
    for _ in range(workers + 1):
        workflow = flow_to_workflow(Flow([pause(300)]))
        workflow.fws[0].spec["_category"] = "gpu"
        launchpad.add_wf(workflow)
    (tmp_path / "batch.sh").write_text(script)
    environment["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(workers)))
    with (tmp_path / "batch.log").open("w") as log:
        batch = subprocess.Popen(
            ["bash", "batch.sh"], env=environment, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + 60
        while len(list(tmp_path.glob("launcher_*/begun"))) < workers:
            assert time.monotonic() < end and batch.poll() is None, (tmp_path / "batch.log").read_text()
            time.sleep(0.1)
        batch.terminate()
        assert batch.wait(timeout=30) == (143 if kind.endswith("node") else 0)
        assert [firework["state"] for firework in launchpad.fireworks.find()] == (workers + 1) * ["READY"]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(batch.pid, signal.SIGKILL)
