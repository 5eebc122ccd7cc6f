"""Measure on this machine how long the work of a flow takes (steps, relaxations, evaluations), and its memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from ase import Atoms
from jobflow import Job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.targets import load_target
from alchemflows.alchemy.topology import Nodes
from alchemflows.campaign.estimate import Stored, costs_left, frames_of_cost, sizes_of, system_of
from alchemflows.campaign.task import Task
from alchemflows.jobs.companions import batch_key_of
from alchemflows.jobs.cost import cost_of
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec

#: Maximum number of measured evaluations, and of evaluations before them, in which compiled code warms up.
_MEASURED = 5
#: Time (s) after which no further evaluation is measured; large models need seconds for one.
_LONGEST_S = 2.0
#: Approximate number of atoms in a batch whose time is measured, by device: one replica alone would not fill a GPU.
_ATOMS_MEASURED = {"cpu": 100, "cuda": 400}
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


def hours_of_jobs(
    jobs: Sequence[Job], stored: Stored | None = None, n_steps_done: Sequence[int] | None = None
) -> Hours:
    """Measure the times of the work of the jobs of a flow.

    The first system with a potential is measured, with equal weights of the elements of each group; times of other
    systems are in proportion to their numbers of sites. Targets of corrections are measured with frames.

    Parameters
    ----------
    jobs
        The jobs.
    stored
        Frames of the ladders that the jobs evaluate (:func:`~alchemflows.campaign.estimate.ladders_of_jobs`).
    n_steps_done
        Steps that each job has already done, summed over its replicas; they are not counted.
    """
    measured = next(((s, p) for s, p in ((system_of(job), _potential_of(job)) for job in jobs) if s and p), None)

    @cache
    def of_step() -> float:
        assert measured is not None
        system, potential = measured
        return _seconds_per_atom(system, _middle(system), potential)

    @cache
    def of_relaxation_step() -> float:
        assert measured is not None
        system, potential = measured
        return _seconds_per_atom(system, _middle(system), potential.model_copy(update={"dtype": "float64"}), n=1)

    of_frames: dict[tuple[str, bool, bytes], float] = {}

    def of_frame(target: PotentialSpec | CalculatorSpec, images: Sequence[Atoms], forces: bool) -> float:
        same = (target.model_dump_json(), forces, images[0].numbers.tobytes())
        if same not in of_frames:
            of_frames[same] = _seconds_per_frame(target, images, forces)
        return of_frames[same]

    seconds: dict[str, list[float]] = {"dynamics": [], "relaxations": [], "evaluations": []}
    costs, sizes = costs_left(jobs, n_steps_done), sizes_of(jobs, None, stored)
    for job, cost, size in zip(jobs, costs, sizes, strict=True):
        images, target = frames_of_cost(cost, stored or {}), getattr(job.maker, "target", None)
        if cost.frames is not None:
            if len(images) and isinstance(target, PotentialSpec | CalculatorSpec):
                seconds["evaluations"].append(len(images) * of_frame(target, images, cost.frames.forces))
                if cost.n_steps:
                    seconds["dynamics"].append(cost.n_steps * of_frame(target, images, True))
        elif measured is not None:
            if cost.n_steps:
                seconds["dynamics"].append(cost.n_steps * size * of_step())
            if cost.n_evaluations:
                seconds["evaluations"].append(cost.n_evaluations * size * of_step())
            if cost.n_relaxations:
                n_steps = cost.n_relaxations * RELAXATION_STEPS
                seconds["relaxations"].append(n_steps * size * of_relaxation_step())
    return Hours(**{name: sum(each) / 3600 if each else None for name, each in seconds.items()})


@dataclass(frozen=True)
class LargestBatch:
    """The batch of replicas with most atoms among some jobs; an alchemical atom counts once per element.

    Attributes
    ----------
    n_replicas
        Replicas of dynamics in the batch.
    n_bytes
        Memory on a GPU (bytes), see :mod:`alchemflows.alchemy.memory`.
    """

    n_replicas: int
    n_bytes: int


def largest_batch(jobs: Iterable[Job], jobs_per_batch: int = 1) -> LargestBatch | None:
    """Estimate the memory of the largest batch of some jobs; None if no job with a system runs dynamics of replicas.

    The tensors of one replica are counted on the CPU, with equal weights of the elements of each group.

    Parameters
    ----------
    jobs
        The jobs.
    jobs_per_batch
        Maximum number of jobs that are sampled in one batch, if they can be (:mod:`alchemflows.jobs.companions`).
    """
    # The jobs with most atoms of each key, in decreasing order; a job without a key is a batch of its own.
    together: dict[str | None, list[_BatchShare]] = defaultdict(list)
    for job in jobs:
        cost, system, potential = cost_of(job), system_of(job), _potential_of(job)
        if cost.n_replicas and cost.n_steps and system is not None and potential is not None:
            key = batch_key_of(job)
            parts = together[key]
            parts.append(_BatchShare(cost.n_replicas, cost.n_replicas * _n_nodes(system), system, potential))
            parts.sort(key=lambda part: -part.n_nodes)
            del parts[1 if key is None else jobs_per_batch :]
    if not together:
        return None
    largest = max(together.values(), key=lambda parts: sum(part.n_nodes for part in parts))
    bytes_of_replica = {part.kind: part.bytes_of_replica for part in reversed(largest)}
    known = {kind: estimate() for kind, estimate in bytes_of_replica.items()}
    return LargestBatch(
        sum(part.n_replicas for part in largest), sum(part.n_replicas * known[part.kind] for part in largest)
    )


@dataclass(frozen=True)
class _BatchShare:
    """Replicas of one job in a batch, and their number of atoms."""

    n_replicas: int
    n_nodes: int
    system: AlchemicalSystem
    potential: PotentialSpec

    @property
    def kind(self) -> tuple[object, ...]:
        """What the memory of a replica depends on."""
        system = self.system
        return self.potential.model_dump_json(), system.groups, system.coupling, system.n_sites, system.structure.volume

    def bytes_of_replica(self) -> int:
        """Estimate the memory of a replica (bytes)."""
        crystal = self.system.structure
        loaded = load_potential(self.potential.model_copy(update={"device": "cpu"}))
        model = AlchemicalPotential(self.system, loaded, static_shapes=True)
        return model.replica_bytes(crystal.cart_coords, crystal.lattice.matrix, _middle(self.system))


def seconds_per_atom_step(task: Task) -> float:
    """Measure the time (s) of a step per replica and atom, for the crystal of a task on the device of its potential."""
    assert task.potential is not None
    system, weights = AlchemicalSystem.from_structure(next(iter(task.crystals.values())))
    return _seconds_per_atom(system, weights, task.potential)


def _potential_of(job: Job) -> PotentialSpec | None:
    """Return the potential of a job: of its maker, or among its arguments."""
    given = (getattr(job.maker, "potential", None), *job.function_args, *job.function_kwargs.values())
    return next((each for each in given if isinstance(each, PotentialSpec)), None)


def _n_nodes(system: AlchemicalSystem) -> int:
    """Return the number of sites of a system, where one of several elements counts once for each."""
    return len(Nodes(system, np.ones(system.n_weights, dtype=bool)))


def _middle(system: AlchemicalSystem) -> np.ndarray:
    """Return equal weights of the elements of each group, shape (C,)."""
    return np.array([1 / len(group.channels) for group in system.groups for _ in group.channels])


def _seconds_per_atom(
    system: AlchemicalSystem, weights: np.ndarray, potential: PotentialSpec, n: int | None = None
) -> float:
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
        Number of replicas in the batch; if not given, that of a batch that the device computes efficiently.
    """
    model = AlchemicalPotential(system, load_potential(potential))
    n = n or max(1, _ATOMS_MEASURED.get(model.device.type, 400) // system.n_sites)
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
