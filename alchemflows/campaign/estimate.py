"""Estimate the cost of flows and campaigns: jobs, replicas, steps, and the measured time of a step."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jobflow import Flow, Job

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.campaign.task import Task
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.cost import cost_of
from alchemflows.schemas.potential import PotentialSpec

#: Maximum number of measured evaluations, and of evaluations before them, in which compiled code warms up.
_MEASURED = 5
#: Time (s) after which no further evaluation is measured; large models need seconds for one.
_LONGEST_S = 2.0
#: Approximate number of atoms in a batch whose time is measured: one replica alone would not fill a GPU.
_ATOMS_MEASURED = 400


@dataclass(frozen=True)
class Work:
    """The amount of work in tasks.

    Attributes
    ----------
    n_tasks, n_jobs
        Flows, and jobs in them.
    n_replicas
        Simulated replicas: windows, repeats, both directions of switches.
    n_steps
        Time steps summed over replicas; a batch of B replicas and 1000 steps counts as 1000 B. An attempted move of
        Monte Carlo counts as a step.
    n_atom_steps
        Steps of replicas times the number of atoms.
    n_bytes
        Size of the samples in the database (bytes).
    """

    n_tasks: int = 0
    n_jobs: int = 0
    n_replicas: int = 0
    n_steps: int = 0
    n_atom_steps: int = 0
    n_bytes: int = 0

    def __add__(self, other: Work) -> Work:
        mine, others = vars(self), vars(other)
        return Work(**{name: mine[name] + others[name] for name in mine})


def work_of(task: Task) -> Work:
    """Return the work of a task, without windows that a refined ladder may add.

    Raises
    ------
    InvalidInputError, PotentialError
        What the task's maker refuses.
    """
    return work_of_flow(task.flow(), task.n_sites if len(task.crystals) == 1 else None)


def work_of_flow(flow: Flow, n_sites: int | None = None) -> Work:
    """Return the work of a flow, without jobs that it adds while it runs.

    Parameters
    ----------
    flow
        The flow.
    n_sites
        Number of sites of the cells of jobs without a system among their arguments; by default that of the largest
        system of another job.
    """
    jobs = [job for job, _ in flow.iterflow()]
    costs = [cost_of(job) for job in jobs]
    systems = list(map(system_of, jobs))
    largest = n_sites or max((system.n_sites for system in systems if system is not None), default=0)
    sizes = [largest if system is None else system.n_sites for system in systems]
    return Work(
        n_tasks=1,
        n_jobs=len(jobs),
        n_replicas=sum(cost.n_replicas for cost in costs),
        n_steps=sum(cost.n_steps for cost in costs),
        n_atom_steps=sum(cost.n_steps * size for cost, size in zip(costs, sizes, strict=True)),
        n_bytes=sum(cost.n_bytes for cost in costs),
    )


def system_of(job: Job) -> AlchemicalSystem | None:
    """Return the alchemical system among the arguments of a job; None if there is none."""
    for argument in (*job.function_args, *job.function_kwargs.values()):
        if isinstance(argument, AlchemicalPath | Disorder):
            return argument.system
        if isinstance(argument, AlchemicalSystem):
            return argument
    return None


def hours_of_flow(flow: Flow, work: Work) -> float | None:
    """Measure the time (h) of the dynamics of a flow on the device of its potential; None without dynamics.

    The first system is measured, with equal weights of the elements of each group.

    Parameters
    ----------
    flow
        The flow.
    work
        Its work (:func:`work_of_flow`).
    """
    for job, _ in flow.iterflow():
        system, potential = system_of(job), getattr(job.maker, "potential", None)
        if work.n_steps and system is not None and potential is not None:
            weights = np.array([1 / len(group.channels) for group in system.groups for _ in group.channels])
            return _seconds_per_atom_step(system, weights, potential) * work.n_atom_steps / 3600
    return None


def seconds_per_atom_step(task: Task) -> float:
    """Measure the time (s) of a step per replica and atom, for the crystal of a task on the device of its potential."""
    assert task.potential is not None
    system, weights = AlchemicalSystem.from_structure(next(iter(task.crystals.values())))
    return _seconds_per_atom_step(system, weights, task.potential)


def _seconds_per_atom_step(system: AlchemicalSystem, weights: np.ndarray, potential: PotentialSpec) -> float:
    """Measure the time (s) of a step per replica and atom on the device of a potential.

    Energies, forces, stress and ∂E/∂w of a batch are computed, as in the dynamics; relaxations are not counted.
    """
    n_replicas = max(1, _ATOMS_MEASURED // system.n_sites)
    model = AlchemicalPotential(system, load_potential(potential))
    crystal = system.structure
    x, h = (np.tile(a, (n_replicas, 1, 1)) for a in (crystal.cart_coords, crystal.lattice.matrix))
    w = np.tile(weights, (n_replicas, 1))

    def evaluate() -> None:
        float(model.evaluate(x, h, w).energy.sum())  # waits for the device

    _times(evaluate)
    return min(_times(evaluate)) / (n_replicas * len(crystal))


def _times(evaluate: Callable[[], None]) -> list[float]:
    """Return the times (s) of several evaluations; of one if that takes long."""
    times: list[float] = []
    while len(times) < _MEASURED and sum(times) < _LONGEST_S:
        started = time.perf_counter()
        evaluate()
        times.append(time.perf_counter() - started)
    return times


def narrow_cells(tasks: Iterable[Task]) -> dict[str, tuple[float, float]]:
    """Return width and cutoff (Å), by name, of the structures whose cell is narrower than the cutoff.

    Atoms there interact with their own periodic images. The energy is correct, but the thermal motion is artificial.
    """
    crystals = {name: (task, crystal) for task in tasks for name, crystal in task.crystals.items()}
    found = {}
    for name, (task, crystal) in crystals.items():
        if task.potential is None:
            continue
        cutoff = load_potential(task.potential.model_copy(update={"device": "cpu"})).cutoff_A
        width = min(crystal.lattice.d_hkl(plane) for plane in ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
        if width < cutoff:
            found[name] = (width, cutoff)
    return found


def writable_space(folder: Path) -> int:
    """Return the free space of a folder (bytes); create the folder if it does not exist.

    Raises
    ------
    InvalidInputError
        If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return shutil.disk_usage(folder).free
    except OSError as error:
        raise InvalidInputError(f"the folder of the checkpoints, {folder}, cannot be used: {error.strerror}") from error


def check_space(needed: int, free: int | None, what: str) -> None:
    """Raise if the needed space exceeds the free space; disks whose free space is unknown are skipped.

    Raises
    ------
    InvalidInputError
        If there is too little free space.
    """
    if free is not None and needed > free:
        raise InvalidInputError(
            f"{needed / 1e9:.3g} GB of samples are expected, and {what} has {free / 1e9:.3g} GB left"
        )


def total(works: Iterable[Work]) -> Work:
    """Return the total work."""
    return sum(works, Work())
