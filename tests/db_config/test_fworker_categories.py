"""Who takes which job: the two fworker files, real rlaunch workers, and the flow of the package."""

from __future__ import annotations

from pathlib import Path

from command_line import RLAUNCH, run_command
from fireworks import Firework, LaunchPad, PyTask, Workflow
from jobflow.managers.fireworks import flow_to_workflow
from pymatgen.core import Structure

from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker


def rlaunch(environment: dict[str, str], config: Path, fworker: str, folder: Path, *command: str) -> None:
    files = ("-l", str(config / "my_launchpad.yaml"), "-w", str(config / fworker))
    done = run_command([*files, *command], folder, environment, timeout=60, entry=RLAUNCH)
    assert done.returncode == 0, done.stderr


def states(launchpad: LaunchPad) -> dict[str, str]:
    return {fw["name"]: fw["state"] for fw in launchpad.fireworks.find()}


def new_launchpad(config: Path) -> LaunchPad:
    launchpad = LaunchPad.from_file(str(config / "my_launchpad.yaml"))
    launchpad.reset("", require_password=False)
    return launchpad


def job(name: str, category: str | None, parents: list[Firework] | None = None) -> Firework:
    spec = {} if category is None else {"_category": category}
    return Firework(PyTask(func="time.time"), spec, name=name, parents=parents)


def test_each_worker_takes_its_own_jobs(filled: Path, environment: dict[str, str], tmp_path: Path) -> None:
    launchpad = new_launchpad(filled)
    for name, category in (("sample", "gpu"), ("plain", None), ("other", "other")):
        launchpad.add_wf(Workflow([job(name, category)]))
    rlaunch(environment, filled, "my_fworker_cpu.yaml", tmp_path, "rapidfire")
    assert states(launchpad) == {"sample": "READY", "plain": "COMPLETED", "other": "READY"}
    rlaunch(environment, filled, "my_fworker_gpu.yaml", tmp_path, "rapidfire")
    assert states(launchpad) == {"sample": "COMPLETED", "plain": "COMPLETED", "other": "READY"}


def test_a_flow_goes_from_worker_to_worker(filled: Path, environment: dict[str, str], tmp_path: Path) -> None:
    launchpad = new_launchpad(filled)
    sample = job("sample", "gpu")
    launchpad.add_wf(Workflow([sample, job("analyse", None, [sample])]))
    rlaunch(environment, filled, "my_fworker_cpu.yaml", tmp_path, "singleshot")
    assert states(launchpad) == {"sample": "READY", "analyse": "WAITING"}
    rlaunch(environment, filled, "my_fworker_gpu.yaml", tmp_path, "singleshot")
    assert states(launchpad) == {"sample": "COMPLETED", "analyse": "READY"}
    rlaunch(environment, filled, "my_fworker_cpu.yaml", tmp_path, "singleshot")
    assert states(launchpad) == {"sample": "COMPLETED", "analyse": "COMPLETED"}


def test_jobs_with_a_potential_are_of_the_category_of_the_gpu_workers(
    gentle_model: Path, perovskite: Structure
) -> None:
    maker = ThermodynamicIntegrationMaker(potential=str(gentle_model), n_windows=3)
    workflow = flow_to_workflow(maker.make(perovskite, {"Pb": "Sn"}))
    categories = [(fw.name, fw.spec.get("_category")) for fw in workflow.fws]
    assert GPU_CATEGORY == "gpu"
    assert len(categories) == 3 + 3 + 1  # relaxations of both ends and of the mixture, windows, analysis
    assert all(category == "gpu" for _, category in categories[:-1]), categories
    assert "_category" not in workflow.fws[-1].spec
