"""What a campaign will cost: jobs, replicas, steps, and the time of a short measured step."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jobflow import Job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.campaign.specification import Task
from alchemflows.jobs.equilibrium import EquilibriumMaker
from alchemflows.jobs.frenkel_ladd import EinsteinSwitchesMaker
from alchemflows.jobs.switching import SwitchesMaker
from alchemflows.jobs.vacancy import RemovalMaker
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.potential import PotentialSpec

#: Steps that are measured, after as many that warm up.
_MEASURED = 5


@dataclass(frozen=True)
class Work:
    """How much there is to do.

    Attributes
    ----------
    n_tasks, n_jobs
        Flows, and jobs in them.
    n_replicas
        Replicas that move: windows, repeats, both directions of switches.
    n_steps
        Time steps of replicas: of a batch of B for 1000 steps, 1000 B.
    n_atom_steps
        The same times the number of atoms.
    """

    n_tasks: int = 0
    n_jobs: int = 0
    n_replicas: int = 0
    n_steps: int = 0
    n_atom_steps: int = 0

    def __add__(self, other: Work) -> Work:
        mine, others = vars(self), vars(other)
        return Work(**{name: mine[name] + others[name] for name in mine})


def replica_steps(job: Job) -> tuple[int, int]:
    """Return how many replicas a job moves, and their time steps in all; (0, 0) for a job that moves none."""
    maker = job.maker
    if isinstance(maker, WindowsMaker):
        n = len(job.function_args[2] if len(job.function_args) > 2 else job.function_kwargs["indices"])
        return n, n * (maker.dynamics.n_equilibration_steps + maker.dynamics.n_production_steps)
    if isinstance(maker, EquilibriumMaker):
        steps = maker.dynamics.n_equilibration_steps + maker.dynamics.n_production_steps
        return maker.n_replicas, maker.n_replicas * steps
    if isinstance(maker, SwitchesMaker | RemovalMaker):
        n = 2 * maker.settings.n_repeats
        return n, n * (maker.settings.n_equilibration_steps + maker.settings.n_switching_steps)
    if isinstance(maker, EinsteinSwitchesMaker):
        settings, n = maker.settings, maker.settings.n_repeats
        sampled = n * (settings.n_equilibration_steps + maker.n_sampling_steps)
        return 2 * n, sampled + 2 * n * settings.n_switching_steps
    return 0, 0


def work_of(task: Task) -> Work:
    """Return how much a task is, windows that a ladder may add by itself not counted.

    Raises
    ------
    InvalidInputError, PotentialError
        What the task's maker refuses.
    """
    jobs = [job for job, _ in task.flow().iterflow()]
    moved = [replica_steps(job) for job in jobs]
    steps = sum(n for _, n in moved)
    return Work(1, len(jobs), sum(n for n, _ in moved), steps, steps * len(task.crystal))


def seconds_per_atom_step(task: Task, n_replicas: int = 1) -> float:
    """Measure a step of a task's crystal here, on the device that the potential names, as time per replica and atom.

    Energies, forces, stress and ∂E/∂w of a batch, as in the dynamics; relaxations are not counted.
    """
    assert isinstance(task.maker.potential, PotentialSpec)
    system, weights = AlchemicalSystem.from_structure(task.crystal)
    model = AlchemicalPotential(system, load_potential(task.maker.potential))
    x, h = (np.tile(a, (n_replicas, 1, 1)) for a in (task.crystal.cart_coords, task.crystal.lattice.matrix))
    w = np.tile(weights, (n_replicas, 1))
    started = 0.0
    for k in range(2 * _MEASURED):
        if k == _MEASURED:
            started = time.perf_counter()
        evaluation = model.evaluate(x, h, w)
        float(evaluation.energy.sum())  # waits for the device
    return (time.perf_counter() - started) / (_MEASURED * n_replicas * len(task.crystal))


def total(works: Iterable[Work]) -> Work:
    """Return the sum."""
    return sum(works, Work())
