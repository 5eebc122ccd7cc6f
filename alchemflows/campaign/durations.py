"""Measure on this machine how long the work of a flow takes: steps, relaxations and evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from jobflow import Flow, Job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.targets import load_target
from alchemflows.campaign.estimate import Stored, frames_of_cost, sizes_of, system_of
from alchemflows.campaign.task import Task
from alchemflows.jobs.cost import cost_of
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec

#: Maximum number of measured evaluations, and of evaluations before them, in which compiled code warms up.
_MEASURED = 5
#: Time (s) after which no further evaluation is measured; large models need seconds for one.
_LONGEST_S = 2.0
#: Approximate number of atoms in a batch whose time is measured: one replica alone would not fill a GPU.
_ATOMS_MEASURED = 400
#: Number of steps that each relaxation is assumed to take.
RELAXATION_STEPS = 50


@dataclass(frozen=True)
class Hours:
    """Times (h) of the work of a flow on the devices of its potentials; None where there is none or it is not measured.

    Attributes
    ----------
    dynamics
        Of all steps of replicas.
    relaxations
        Of all relaxations, if each takes :data:`RELAXATION_STEPS` steps.
    evaluations
        Of all evaluations of single configurations.
    """

    dynamics: float | None
    relaxations: float | None
    evaluations: float | None


def hours_of_flow(flow: Flow, stored: Stored | None = None) -> Hours:
    """Measure the times of the work of a flow.

    The first system with a potential is measured, with equal weights of the elements of each group; times of other
    systems are in proportion to their numbers of sites. Targets of corrections are measured with frames.

    Parameters
    ----------
    flow
        The flow.
    stored
        Frames of the ladders that the flow evaluates (:func:`~alchemflows.campaign.estimate.ladders_of_flow`).
    """
    jobs = [job for job, _ in flow.iterflow()]
    measured = next(((s, p) for s, p in ((system_of(job), _potential_of(job)) for job in jobs) if s and p), None)

    @cache
    def of_step() -> float:
        assert measured is not None
        system, potential = measured
        return _seconds_per_atom(system, _middle(system), potential, max(1, _ATOMS_MEASURED // system.n_sites))

    @cache
    def of_relaxation_step() -> float:
        assert measured is not None
        system, potential = measured
        return _seconds_per_atom(system, _middle(system), potential.model_copy(update={"dtype": "float64"}), 1)

    seconds: dict[str, list[float]] = {"dynamics": [], "relaxations": [], "evaluations": []}
    for job, size in zip(jobs, sizes_of(jobs, None, stored), strict=True):
        cost = cost_of(job)
        images, target = frames_of_cost(cost, stored or {}), getattr(job.maker, "target", None)
        if cost.frames is not None:
            if len(images) and isinstance(target, PotentialSpec | CalculatorSpec):
                seconds["evaluations"].append(len(images) * _seconds_per_frame(target, images, cost.frames.forces))
                if cost.n_steps:
                    seconds["dynamics"].append(cost.n_steps * _seconds_per_frame(target, images, True))
        elif measured is not None:
            if cost.n_steps:
                seconds["dynamics"].append(cost.n_steps * size * of_step())
            if cost.n_evaluations:
                seconds["evaluations"].append(cost.n_evaluations * size * of_step())
            if cost.n_relaxations:
                n_steps = cost.n_relaxations * RELAXATION_STEPS
                seconds["relaxations"].append(n_steps * size * of_relaxation_step())
    return Hours(**{name: sum(each) / 3600 if each else None for name, each in seconds.items()})


def seconds_per_atom_step(task: Task) -> float:
    """Measure the time (s) of a step per replica and atom, for the crystal of a task on the device of its potential."""
    assert task.potential is not None
    system, weights = AlchemicalSystem.from_structure(next(iter(task.crystals.values())))
    return _seconds_per_atom(system, weights, task.potential, max(1, _ATOMS_MEASURED // system.n_sites))


def _potential_of(job: Job) -> PotentialSpec | None:
    """Return the potential of a job: of its maker, or among its arguments."""
    given = (getattr(job.maker, "potential", None), *job.function_args, *job.function_kwargs.values())
    return next((each for each in given if isinstance(each, PotentialSpec)), None)


def _middle(system: AlchemicalSystem) -> np.ndarray:
    """Return equal weights of the elements of each group, shape (C,)."""
    return np.array([1 / len(group.channels) for group in system.groups for _ in group.channels])


def _seconds_per_atom(system: AlchemicalSystem, weights: np.ndarray, potential: PotentialSpec, n: int) -> float:
    """Measure the time (s) of a step per replica and atom on the device of a potential.

    Energies, forces, stress and ∂E/∂w of a batch are computed, as in the dynamics.

    Parameters
    ----------
    system
        The crystal.
    weights
        Its weights, shape (C,).
    potential
        The potential.
    n
        Number of replicas in the batch.
    """
    model = AlchemicalPotential(system, load_potential(potential))
    crystal = system.structure
    x, h = (np.tile(a, (n, 1, 1)) for a in (crystal.cart_coords, crystal.lattice.matrix))
    w = np.tile(weights, (n, 1))

    def evaluate() -> None:
        float(model.evaluate(x, h, w).energy.sum())  # waits for the device

    return _seconds_of(evaluate) / (n * len(crystal))


def _seconds_per_frame(spec: PotentialSpec | CalculatorSpec, images: Sequence[Atoms], forces: bool) -> float:
    """Measure the time (s) in which a target evaluates one frame."""
    target = load_target(spec)
    batch = list(images[: target.n_at_once])
    batch = [atoms for atoms in batch if np.array_equal(atoms.numbers, batch[0].numbers)]
    return _seconds_of(lambda: (target.forces if forces else target.energies)(batch)) / len(batch)


def _seconds_of(evaluate: Callable[[], object]) -> float:
    """Return the shortest time (s) of several evaluations, after others that are not counted."""
    _times(evaluate)
    return min(_times(evaluate))


def _times(evaluate: Callable[[], object]) -> list[float]:
    """Return the times (s) of several evaluations; of one if that takes long."""
    times: list[float] = []
    while len(times) < _MEASURED and sum(times) < _LONGEST_S:
        started = time.perf_counter()
        evaluate()
        times.append(time.perf_counter() - started)
    return times
