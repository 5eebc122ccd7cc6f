"""Windows of one job, ready to be sampled: alone, or in one batch with the windows of other jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.inputs import started_from
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.progress import Progress
from alchemflows.schemas.samples import PackedSeries
from alchemflows.schemas.windows import PackedState

if TYPE_CHECKING:
    import torch

    from alchemflows.alchemy.interfaces import EnergyModel
    from alchemflows.alchemy.potential import AlchemicalPotential
    from alchemflows.sampling.checkpoint import Checkpoint
    from alchemflows.sampling.frames import FrameRecorder
    from alchemflows.sampling.langevin import State
    from alchemflows.sampling.sites import SiteWatch
    from alchemflows.sampling.windows import WindowsRun

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class WindowsPlan:
    """Windows of one job, with everything that :func:`~alchemflows.sampling.windows.run_windows` needs.

    Attributes
    ----------
    model
        Potential of the system of `path`.
    path, lambdas, dynamics
        As for ``run_windows``; `dynamics` has the lengths of all production runs of the job.
    windows
        Indices of the windows in the grid of λ.
    first_runs
        Number of completed production runs of each window.
    seeds
        Seed of each window.
    temperatures_K
        Temperature of the windows, and those of their replicas at other temperatures.
    starts
        Start of each replica: all windows at one temperature after another.
    state
        State from which all replicas continue; None if they start from their structures.
    exchange_seed
        Seed of replica exchange.
    watch, recorder
        Statistics of sites, if there are any, and configurations to keep.
    """

    model: AlchemicalPotential
    path: AlchemicalPath
    lambdas: Sequence[float]
    dynamics: DynamicsSettings
    windows: Sequence[int]
    first_runs: Sequence[int]
    seeds: Sequence[int]
    temperatures_K: Sequence[float]
    starts: StartStructures
    state: State | None
    exchange_seed: int
    watch: SiteWatch | None
    recorder: FrameRecorder

    @property
    def n_steps(self) -> int:
        """Number of steps, equilibration and all production runs together."""
        return self.dynamics.n_equilibration_steps + self.dynamics.n_samples * self.dynamics.sample_interval_steps

    def run(self, model: EnergyModel, on_progress: OnProgress, checkpoint: Checkpoint) -> WindowsRun:
        """Sample the windows with the potential of the plan, or another that gives the same results."""
        from alchemflows.sampling.windows import run_windows

        others = self.temperatures_K[1:]
        return run_windows(
            model,
            self.path,
            self.lambdas,
            list(self.windows) * len(self.temperatures_K),
            self.dynamics,
            [*self.seeds, *(other for t in others for other in _seeds_at(self.seeds, t))],
            temperatures_K=[t for t in self.temperatures_K for _ in self.windows] if others else None,
            start=self.starts.positions_and_cells() if self.state is None else self.state,
            exchange_seed=self.exchange_seed,
            watch=self.watch,
            recorder=self.recorder,
            on_progress=on_progress,
            checkpoint=checkpoint,
        )


def run_in_one_batch(
    plans: Sequence[WindowsPlan], checkpoints: Sequence[Checkpoint], on_progress: OnProgress
) -> list[WindowsRun | Exception]:
    """Sample the windows of several jobs, all replicas in one batch.

    Each plan has its own dynamics, conditions and checkpoints, so that its trajectories are those of a run alone, up to
    the rounding of batched sums. Plans with fewer steps end earlier.

    Parameters
    ----------
    plans
        Plans with the same potential and number of sites.
    checkpoints
        Checkpoints of each plan.
    on_progress
        Called after each block of the first plan that has not ended, with the temperatures of all replicas.

    Returns
    -------
    results
        The run of each plan, or the exception that ended it without ending the others.
    """
    from alchemflows.alchemy.lockstep import systems_in_lockstep

    progress = _JointProgress(on_progress)

    def task(number: int) -> Callable[[EnergyModel], WindowsRun]:
        return lambda seat: plans[number].run(seat, progress.of(number), checkpoints[number])

    return systems_in_lockstep([plan.model for plan in plans], [task(number) for number in range(len(plans))])


class _JointProgress:
    """Progress of several runs in one batch."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._current: dict[int, Progress] = {}
        self._lock = Lock()  # the runs report from several threads

    def of(self, number: int) -> OnProgress:
        """Return the function that receives the progress of one run."""

        def report(progress: Progress) -> None:
            with self._lock:
                self._current[number] = progress
                unfinished = [k for k, each in sorted(self._current.items()) if each.step < each.n_steps]
                if number == min(unfinished, default=number):
                    self._on_progress(self._joined(progress, unfinished or [number]))

        return report

    def _joined(self, progress: Progress, numbers: Sequence[int]) -> Progress:
        """Return the progress of one run with the temperatures of all replicas of some runs."""
        means = [each.mean_temperature_K for each in self._current.values() if each.mean_temperature_K is not None]
        temperatures = tuple(t for k in numbers for t in self._current[k].temperatures_K)
        return replace(progress, temperatures_K=temperatures, mean_temperature_K=fmean(means) if means else None)


@dataclass(frozen=True)
class StartStructures:
    """Start structures of the replicas of a batch.

    Attributes
    ----------
    structures
        Positions and cell from which each window starts.
    sites
        Crystal of each window before any dynamics.
    start_lambdas
        λ at which this crystal was relaxed; None if unknown.
    """

    structures: list[Structure]
    sites: list[Structure]
    start_lambdas: list[float | None]

    @classmethod
    def of_states(cls, system: AlchemicalSystem, states: Sequence[Mapping[str, np.ndarray]]) -> StartStructures:
        """Return the start structures of replicas that start from stored final states."""
        species = system.structure.species
        return cls(
            [Structure(Lattice(s["cell_A"]), species, s["positions_A"], coords_are_cartesian=True) for s in states],
            [Structure(Lattice(s["sites_cell_A"]), species, s["sites"]) for s in states],
            [None if np.isnan(s["start_lambda"]) else float(s["start_lambda"]) for s in states],
        )

    def repeated(self, n_times: int) -> StartStructures:
        """Return the same start structures for replicas at several temperatures."""
        return StartStructures(self.structures * n_times, self.sites * n_times, self.start_lambdas * n_times)

    def positions_and_cells(self) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.stack([structure.cart_coords for structure in self.structures]),
            np.stack([structure.lattice.matrix for structure in self.structures]),
        )

    def kept(self, window: int, origin: int) -> dict[str, np.ndarray]:
        """Return the arrays that an extended window needs of its start; `origin` accounts for replica exchange."""
        start = self.start_lambdas[window]
        return {
            "sites": self.sites[origin].frac_coords,
            "sites_cell_A": self.sites[origin].lattice.matrix,
            "start_lambda": np.array(np.nan if start is None else start),
        }


def starts_of(
    system: AlchemicalSystem,
    n: int,
    structure: Structure | None,
    ends: Sequence[Structure] | None,
    start_lambdas: Sequence[float] | None,
) -> StartStructures:
    """Return the start structures of n windows, from the arguments of :meth:`WindowsMaker.make`.

    Raises
    ------
    InvalidInputError
        If starts are missing.
    """
    if ends is not None:
        if start_lambdas is None or len(start_lambdas) != n or not set(start_lambdas) <= {0, 1}:
            raise InvalidInputError(f"start_lambdas must be λ = 0 or 1 for each of {n} windows; got {start_lambdas}")
        relaxed = [started_from(system, end).structure for end in ends]
        chosen = [relaxed[int(value)] for value in start_lambdas]
        return StartStructures(chosen, chosen, [float(value) for value in start_lambdas])
    common = [started_from(system, structure).structure] * n
    return StartStructures(common, common, [None] * n)


def end_states(
    starts: Sequence[PackedState | PackedSeries], n: int, n_others: int, *, continued: bool
) -> list[dict[str, np.ndarray]]:
    """Return the final states from which n windows and their replicas at other temperatures start.

    Parameters
    ----------
    starts
        Final states of n windows.
    n
        Number of windows.
    n_others
        Number of other temperatures.
    continued
        Whether the same replicas continue. Otherwise they are equilibrated, and replicas without a stored state start
        from that of their window.

    Returns
    -------
    states
        All windows at one temperature after another.

    Raises
    ------
    InvalidInputError
        If there is not one state of each window, or states of replicas that continue are not stored.
    """
    if len(starts) != n:
        raise InvalidInputError(f"{n} windows need one entry of starts each; got {len(starts)}")
    own = [start.end() for start in starts]
    others = [PackedState.exchanged(state) for state in own]
    if continued and any(len(each) != n_others for each in others):
        raise InvalidInputError(
            "exchange_temperatures: the windows cannot be extended, since the final states of their replicas at other "
            f"temperatures are not stored; {n_others} are needed, found {[len(each) for each in others]}"
        )
    batches = [
        [each[j] if len(each) == n_others else state for state, each in zip(own, others, strict=True)]
        for j in range(n_others)
    ]
    return [state for batch in (own, *batches) for state in batch]


def _seeds_at(seeds: Sequence[int], temperature_K: float) -> list[int]:
    """Return the seeds of replicas at another temperature from those of the windows."""
    from alchemflows.sampling.seeds import derived_seeds

    return [derived_seeds(seed, f"exchange at {temperature_K:g} K", 1)[0] for seed in seeds]


def joined_states(states: Sequence[Mapping[str, np.ndarray]], device: torch.device) -> State:
    """Return the stored final states of several replicas as one state."""
    import torch

    from alchemflows.sampling.langevin import State

    positions, cells, velocities = (
        torch.as_tensor(np.stack([arrays[name] for arrays in states]), device=device)
        for name in ("positions_A", "cell_A", "velocities_A_per_fs")
    )
    return State(positions, cells, velocities / units.fs)
