"""Count the work of flows and campaigns: jobs, replicas, steps, relaxations and evaluations."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from jobflow import Flow, Job

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.campaign.task import Task
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.cost import JobCost, cost_of

#: Configurations of stored ladders, those of both ends, by the identifier of the ladder.
Stored = Mapping[str, Sequence[Atoms]]


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
    n_relaxations
        Relaxations; descents on the composition have one for each of their maximum number of steps.
    n_evaluations
        Evaluations of single configurations, such as frames of stored ladders.
    """

    n_tasks: int = 0
    n_jobs: int = 0
    n_replicas: int = 0
    n_steps: int = 0
    n_atom_steps: int = 0
    n_bytes: int = 0
    n_relaxations: int = 0
    n_evaluations: int = 0

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
    return work_of_jobs(jobs_of_flow(task.flow()), task.n_sites if len(task.crystals) == 1 else None)


def jobs_of_flow(flow: Flow) -> list[Job]:
    """Return the jobs of a flow, each after those whose results it needs."""
    return [job for job, _ in flow.iterflow()]


def work_of_jobs(
    jobs: Sequence[Job],
    n_sites: int | None = None,
    stored: Stored | None = None,
    n_steps_done: Sequence[int] | None = None,
) -> Work:
    """Return the work of the jobs of a flow, without those that they add while they run.

    Parameters
    ----------
    jobs
        The jobs.
    n_sites
        Number of sites of the cells of jobs without a system among their arguments; by default that of the largest
        system of another job.
    stored
        Frames of the stored results that the jobs evaluate (:func:`ladders_of_jobs`). Frames of a result that the jobs
        themselves compute are counted too; those of other results are not.
    n_steps_done
        Steps that each job has already done, summed over its replicas; they are not counted.
    """
    costs = costs_left(jobs, n_steps_done)
    sizes = sizes_of(jobs, n_sites, stored or {})
    return Work(
        n_tasks=1,
        n_jobs=len(jobs),
        n_replicas=sum(cost.n_replicas for cost in costs),
        n_steps=sum(cost.n_steps for cost in costs),
        n_atom_steps=sum(cost.n_steps * size for cost, size in zip(costs, sizes, strict=True)),
        n_bytes=sum(cost.n_bytes for cost in costs),
        n_relaxations=sum(cost.n_relaxations for cost in costs),
        n_evaluations=sum(cost.n_evaluations for cost in costs) + sum(_frames_evaluated(jobs, costs, stored or {})),
    )


def costs_left(jobs: Sequence[Job], n_steps_done: Sequence[int] | None = None) -> list[JobCost]:
    """Return the costs of jobs, without the steps that each has done."""
    done = n_steps_done or [0] * len(jobs)
    costs = zip(map(cost_of, jobs), done, strict=True)
    return [replace(cost, n_steps=max(0, cost.n_steps - n_steps)) for cost, n_steps in costs]


def ladders_of_jobs(jobs: Sequence[Job]) -> list[str]:
    """Return the identifiers of the ladders whose frames jobs evaluate, each once."""
    frames = [cost_of(job).frames for job in jobs]
    return list(dict.fromkeys(each.ladder for each in frames if each is not None))


def frames_of_cost(cost: JobCost, stored: Stored) -> Sequence[Atoms]:
    """Return the frames that a job evaluates; none if they are not known."""
    return [] if cost.frames is None else stored.get(cost.frames.ladder, [])[: cost.frames.most]


def _frames_evaluated(jobs: Sequence[Job], costs: Sequence[JobCost], stored: Stored) -> list[int]:
    """Return the number of frames that each job evaluates: of a stored result, or of one that the jobs compute."""
    known = {job.uuid: (job, cost) for job, cost in zip(jobs, costs, strict=True)}

    def computed(result: str) -> int:
        """Return the number of frames that the job of a result, and the jobs before it, store."""
        before, left = set(), [result]
        while left:
            if (uuid := left.pop()) in known and uuid not in before:
                before.add(uuid)
                left += known[uuid][0].input_uuids
        return sum(known[uuid][1].n_frames for uuid in before)

    numbers = []
    for cost in costs:
        if cost.frames is None or cost.frames.ladder not in known:
            numbers.append(len(frames_of_cost(cost, stored)))
        else:
            n_frames = computed(cost.frames.ladder)
            numbers.append(n_frames if cost.frames.most is None else min(n_frames, cost.frames.most))
    return numbers


def sizes_of(jobs: Sequence[Job], n_sites: int | None = None, stored: Stored | None = None) -> list[int]:
    """Return the number of sites of the cell of each job; see :func:`work_of_jobs` for the parameters."""
    systems = list(map(system_of, jobs))
    largest = n_sites or max((system.n_sites for system in systems if system is not None), default=0)
    sizes = [largest if system is None else system.n_sites for system in systems]
    frames = [frames_of_cost(cost_of(job), stored or {}) for job in jobs]
    return [len(images[0]) if len(images) else size for images, size in zip(frames, sizes, strict=True)]


def system_of(job: Job) -> AlchemicalSystem | None:
    """Return the alchemical system among the arguments of a job; None if there is none."""
    for argument in (*job.function_args, *job.function_kwargs.values()):
        if isinstance(argument, AlchemicalPath | Disorder):
            return argument.system
        if isinstance(argument, AlchemicalSystem):
            return argument
    return None


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
