"""Sample λ windows: replicas at fixed λ, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.path import WeightPath
from alchemflows.errors import RunStoppedError, TrajectoryError
from alchemflows.sampling.blocks import Blocks, Samples
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.exchange import NeighbourExchange
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin, State
from alchemflows.sampling.sites import SiteWatch
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.progress import Progress
from alchemflows.schemas.samples import WindowSeries


class WindowsStoppedError(TrajectoryError):
    """Sampling failed (a trajectory exploded, a device ran out of memory); `series` holds the samples until then."""

    def __init__(self, message: str, series: list[WindowSeries]) -> None:
        super().__init__(message)
        self.series = series


@dataclass(frozen=True)
class WindowsRun:
    """Results of sampling: time series and final state of each window, and the initial replica that ended in it."""

    series: list[WindowSeries]
    end: State
    origins: list[int]


def window_seed(seed: int, index: int, first_run: int = 0) -> int:
    """Return the seed of one window, derived from the seed of the ladder.

    A window that is continued after `first_run` production runs gets a different seed, so that its noise does not
    repeat.
    """
    entropy = [seed, index & 0xFFFFFFFF] + ([first_run] if first_run else [])
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]) >> 1


def sample_windows(
    model: EnergyModel,
    path: WeightPath,
    lambdas: Sequence[float],
    indices: Sequence[int],
    dynamics: DynamicsSettings,
    *,
    seed: int = 0,
    fix_centre_of_mass: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[WindowSeries]:
    """Equilibrate and sample some windows of a ladder in one batch, starting from the structure of the path.

    Calls :func:`run_windows` with seeds derived from the seed of the ladder.
    """
    seeds = [window_seed(seed, index) for index in indices]
    return run_windows(
        model,
        path,
        lambdas,
        indices,
        dynamics,
        seeds,
        exchange_seed=window_seed(seed, -1),
        fix_centre_of_mass=fix_centre_of_mass,
        on_progress=on_progress,
    ).series


def run_windows(
    model: EnergyModel,
    path: WeightPath,
    lambdas: Sequence[float],
    indices: Sequence[int],
    dynamics: DynamicsSettings,
    seeds: Sequence[int],
    *,
    start: State | tuple[ArrayLike, ArrayLike] | None = None,
    exchange_seed: int = 0,
    fix_centre_of_mass: bool = False,
    watch: SiteWatch | None = None,
    recorder: FrameRecorder | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> WindowsRun:
    """Equilibrate and sample some windows of a ladder in one batch.

    If a pressure is given, the cells move. With replica exchange, neighbouring windows of the batch may swap their
    configurations after each sample, with the probability that preserves equilibrium in every window (Sugita, Kitao &
    Okamoto, J. Chem. Phys. 113, 6042, 2000).

    Parameters
    ----------
    model
        Potential of ``path.system``.
    path
        Path through the weights.
    lambdas
        λ at K points; the energy of every sample is evaluated at each of them.
    indices
        Indices of the points to sample.
    dynamics
        Conditions, and lengths of equilibration and production.
    seeds
        One seed for each of `indices`; without replica exchange, the trajectory of a window does not depend on the
        other windows of the batch.
    start
        Initial state of each replica (to continue a run), or its positions and cells (Å); by default the structure of
        the path.
    exchange_seed
        Seed for replica exchange.
    fix_centre_of_mass
        Whether the centre of mass is fixed, as springs to fixed sites require. All windows then have the masses at
        λ = ½, so that the fixed point does not depend on λ.
    watch
        Collects statistics of the positions at each sample; its summaries are in the order of `indices`.
    recorder
        Keeps configurations of some of `indices`.
    on_progress
        Function called after each block of `sample_interval_steps` steps.
    checkpoint
        Receives the state after each block. If it contains one from an earlier attempt, the run continues from it, with
        the same results as an uninterrupted run.

    Raises
    ------
    WindowsStoppedError
        If a trajectory explodes or another error occurs; it contains the samples until then.
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    """
    system = path.system
    n_replicas = len(indices)
    own = np.asarray(lambdas)[list(indices)]
    at_windows = path.weights(lambdas)
    ladder = np.broadcast_to(at_windows, (n_replicas, *at_windows.shape))
    exchange = _Exchange(indices, dynamics.temperature_K, exchange_seed) if dynamics.replica_exchange else None
    samples = Samples(*(field.name for field in fields(WindowSeries)))
    interval = dynamics.sample_interval_steps
    n_equilibration = dynamics.n_equilibration_steps
    n_steps = n_equilibration + dynamics.n_samples * interval
    if start is None:
        start = (
            np.tile(system.structure.cart_coords, (n_replicas, 1, 1)),
            np.tile(system.structure.lattice.matrix, (n_replicas, 1, 1)),
        )
    try:
        langevin = Langevin.under(
            dynamics,
            model,
            start,
            path.weights(own),
            path.masses(np.full(n_replicas, 0.5) if fix_centre_of_mass else own),
            seeds,
            fix_centre_of_mass=fix_centre_of_mass,
        )
        parts = [part for part in (exchange, watch, recorder) if part is not None]
        blocks = Blocks(langevin, n_steps, parts=parts, samples=samples, on_progress=on_progress, checkpoint=checkpoint)
        for _, ends_block in blocks.steps("equilibration", 0, n_equilibration, interval):
            langevin.step(check=ends_block)
        for step, ends_block in blocks.steps("production", n_equilibration, n_steps, interval):
            langevin.step(weight_gradients=ends_block, check=ends_block)
            if not ends_block:
                continue
            evaluation = langevin.evaluation
            assert evaluation.weight_gradients is not None
            dudl = evaluation.weight_gradients.cpu().numpy() @ path.direction
            energies = model.energies(langevin.positions, langevin.cells, ladder).cpu().numpy()
            for quantity, values in (("dU/dλ", dudl), ("the energy at a window", energies.sum(axis=1))):
                if not np.isfinite(values).all():
                    b = int(np.flatnonzero(~np.isfinite(values))[0])
                    raise TrajectoryError(f"replica {b} exploded at step {langevin.n_steps}: {quantity} is not finite")
            # Element k is the replica in window k of the batch.
            order = np.arange(n_replicas) if exchange is None else exchange.replicas
            samples.append(
                time_fs=np.full(n_replicas, (step - n_equilibration) * dynamics.timestep_fs),
                energy_eV=evaluation.energy.cpu().numpy()[order],
                dudl_eV=dudl[order],
                temperature_K=langevin.kinetic_temperatures().cpu().numpy()[order],
                energies_eV=energies[order],
                volume_A3=langevin.volumes().cpu().numpy()[order],
            )
            swapped = None if exchange is None else order.tolist()
            if watch is not None:
                watch.see(langevin.positions, langevin.cells, swapped)
            if recorder is not None:
                recorder.see(len(samples) - 1, langevin.positions, langevin.cells, swapped)
            if exchange is not None and (swaps := exchange.attempt(energies)) is not None:
                langevin.exchange(swaps)
    except RunStoppedError:
        raise
    except Exception as error:
        windows = range(n_replicas) if exchange is None else np.argsort(exchange.replicas)
        labels = ", ".join(f"{b}: λ = {own[k]:g}" for b, k in enumerate(windows))
        reason = str(error) if isinstance(error, TrajectoryError) else f"{type(error).__name__}: {error}"
        stopped = _series(samples, n_replicas, len(lambdas))
        raise WindowsStoppedError(f"{reason} (replicas {labels})", stopped) from error
    end, origins = langevin.state, list(range(n_replicas))
    if exchange is not None:
        origins = exchange.replicas.tolist()
        end = end.select(origins)
    return WindowsRun(_series(samples, n_replicas, len(lambdas)), end, origins)


class _Exchange(NeighbourExchange):
    """Replica exchange between neighbouring windows of a batch; windows move between the replicas."""

    def __init__(self, indices: Sequence[int], temperature_K: float, seed: int) -> None:
        super().__init__([sorted(range(len(indices)), key=lambda k: indices[k])], seed)
        self._indices = list(indices)
        self._beta = 1 / (units.kB * temperature_K)

    def attempt(self, energies: np.ndarray) -> list[int] | None:
        """Return, for each replica, the replica whose λ it takes over; None if no swap is accepted.

        Energies (eV) have shape (B, K): each replica at the λ of all windows.
        """

        def log_ratio(first: int, second: int) -> float:
            a, b = self.replicas[first], self.replicas[second]
            i, j = self._indices[first], self._indices[second]
            return float(self._beta * (energies[a, i] + energies[b, j] - energies[a, j] - energies[b, i]))

        takes = list(range(len(self.replicas)))
        for first, second in self.swap(log_ratio):
            a, b = (int(self.replicas[place]) for place in (first, second))
            takes[a], takes[b] = b, a
        return takes if takes != list(range(len(takes))) else None


def _series(samples: Samples, n_replicas: int, n_windows: int) -> list[WindowSeries]:
    """Return the time series of each window; they are empty before the first sample."""
    arrays = samples.since(0)
    if not len(samples):
        arrays = {name: np.empty((0, n_replicas)) for name in arrays} | {
            "energies_eV": np.empty((0, n_replicas, n_windows))
        }
    return [
        WindowSeries(**{name: np.ascontiguousarray(values[:, b]) for name, values in arrays.items()})
        for b in range(n_replicas)
    ]
