"""Sample λ windows: replicas at fixed λ, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.path import WeightPath
from alchemflows.errors import InvalidInputError, RunStoppedError, TrajectoryError
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
    """Results of sampling: time series and final state of each window, and the initial replica that ended in it.

    `exchange` has the rates of replica exchange, if there was any.
    """

    series: list[WindowSeries]
    end: State
    origins: list[int]
    exchange: ExchangeRates | None = None


@dataclass(frozen=True)
class ExchangeRates:
    """How often windows of a batch exchanged their replicas.

    Attributes
    ----------
    pairs
        Each two windows that were exchanged, as their positions in the batch, shape (P, 2).
    tried, accepted
        Number of attempts and of exchanges of each pair, shape (P,).
    round_trips
        Number of times that each replica went from the lowest to the highest temperature and back, shape (B,); zero if
        all temperatures are equal.
    """

    pairs: np.ndarray
    tried: np.ndarray
    accepted: np.ndarray
    round_trips: np.ndarray

    def shares(self) -> dict[tuple[int, int], float]:
        """Return the share of accepted attempts of each pair."""
        shares = self.accepted / np.maximum(self.tried, 1)
        return {(int(a), int(b)): float(share) for (a, b), share in zip(self.pairs, shares, strict=True)}


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
    temperatures_K: Sequence[float] | None = None,
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
    Okamoto, J. Chem. Phys. 113, 6042, 2000). Windows of one λ at several temperatures always swap configurations of
    neighbouring temperatures; velocities are then scaled by the square root of the ratio of the temperatures (Sugita &
    Okamoto, Chem. Phys. Lett. 314, 141, 1999). At constant pressure the ratio of probabilities contains the volumes
    (Okabe, Kawata, Okamoto & Mikami, Chem. Phys. Lett. 335, 435, 2001).

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
    temperatures_K
        Temperature (K) of each of `indices`, which may then contain an index several times; by default that of
        `dynamics` for all.
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
    InvalidInputError
        If the number of temperatures is not that of `indices`, or two windows have the same λ and temperature.
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
    exchange = _exchange(indices, temperatures_K, dynamics, exchange_seed)
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
            temperatures_K=temperatures_K,
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
            volumes = langevin.volumes().cpu().numpy()
            samples.append(
                time_fs=np.full(n_replicas, (step - n_equilibration) * dynamics.timestep_fs),
                energy_eV=evaluation.energy.cpu().numpy()[order],
                dudl_eV=dudl[order],
                temperature_K=langevin.kinetic_temperatures().cpu().numpy()[order],
                energies_eV=energies[order],
                volume_A3=volumes[order],
            )
            swapped = None if exchange is None else order.tolist()
            if watch is not None:
                watch.see(langevin.positions, langevin.cells, swapped)
            if recorder is not None:
                recorder.see(len(samples) - 1, langevin.positions, langevin.cells, swapped)
            if exchange is not None and (swaps := exchange.attempt(energies, volumes)) is not None:
                langevin.exchange(swaps)
    except RunStoppedError:
        raise
    except Exception as error:
        windows = range(n_replicas) if exchange is None else np.argsort(exchange.replicas)
        at = [""] * n_replicas if temperatures_K is None else [f" at {each:g} K" for each in temperatures_K]
        labels = ", ".join(f"{b}: λ = {own[k]:g}{at[k]}" for b, k in enumerate(windows))
        reason = str(error) if isinstance(error, TrajectoryError) else f"{type(error).__name__}: {error}"
        stopped = _series(samples, n_replicas, len(lambdas))
        raise WindowsStoppedError(f"{reason} (replicas {labels})", stopped) from error
    end, origins = langevin.state, list(range(n_replicas))
    if exchange is not None:
        origins = exchange.replicas.tolist()
        end = end.select(origins)
    rates = None if exchange is None else exchange.rates
    return WindowsRun(_series(samples, n_replicas, len(lambdas)), end, origins, rates)


class _Exchange(NeighbourExchange):
    """Replica exchange between neighbouring windows of a batch; windows move between the replicas.

    Parameters
    ----------
    indices
        Index of λ of each window.
    temperatures_K
        Temperature (K) of each window.
    seed
        Seed of the decisions.
    along_lambda
        Whether neighbours in λ at one temperature are exchanged; neighbours in temperature at one λ always are.
    pressure_GPa
        Pressure (GPa); None at constant volume.
    """

    def __init__(
        self,
        indices: Sequence[int],
        temperatures_K: Sequence[float],
        seed: int,
        *,
        along_lambda: bool = True,
        pressure_GPa: float | None = None,
    ) -> None:
        places = range(len(indices))
        heights = sorted(set(temperatures_K))
        ladders = [[k for k in places if temperatures_K[k] == t] for t in heights] if along_lambda else []
        ladders = [sorted(ladder, key=lambda k: indices[k]) for ladder in ladders]
        columns = [[k for k in places if indices[k] == index] for index in sorted(set(indices))]
        ladders += [sorted(column, key=lambda k: temperatures_K[k]) for column in columns if len(column) > 1]
        super().__init__([*ladders, *([k] for k in places)], seed)
        self._indices = list(indices)
        self._betas = 1 / (units.kB * np.array(temperatures_K, dtype=float))
        self._pressure = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa  # eV/Å³
        self._counts = np.zeros((2, len(indices), len(indices)), dtype=np.int64)  # attempts and exchanges of pairs
        # 1 and -1 at the highest and lowest temperature, 0 elsewhere; the last of both at which each replica was.
        self._extremes = np.array([(t == heights[-1]) * 1 - (t == heights[0]) * 1 for t in temperatures_K])
        self._last_extreme = self._extremes.copy()
        self._half_trips = np.zeros(len(indices), dtype=np.int64)

    @property
    def rates(self) -> ExchangeRates:
        """Numbers of attempts and exchanges so far."""
        tried, accepted = self._counts
        pairs = np.argwhere(tried)
        at = tuple(pairs.T)
        return ExchangeRates(pairs, tried[at], accepted[at], self._half_trips // 2)

    def attempt(self, energies: np.ndarray, volumes: np.ndarray) -> list[int] | None:
        """Return, for each replica, the replica whose window it takes over; None if no swap is accepted.

        Energies (eV) have shape (B, K): each replica at the λ of all windows. Volumes (Å³) have shape (B,).
        """
        enthalpies = energies + self._pressure * volumes[:, None]

        def log_ratio(first: int, second: int) -> float:
            a, b = self.replicas[first], self.replicas[second]
            i, j = self._indices[first], self._indices[second]
            ahead = self._betas[first] * (enthalpies[a, i] - enthalpies[b, i])
            return float(ahead + self._betas[second] * (enthalpies[b, j] - enthalpies[a, j]))

        before = self.replicas.copy()
        pairs = self.pairs
        for number, chosen in enumerate((pairs, self.swap(log_ratio))):
            for first, second in chosen:
                self._counts[number, first, second] += 1
        self._follow()
        takes = np.arange(len(before))
        takes[self.replicas] = before
        return None if np.array_equal(self.replicas, before) else takes.tolist()

    def _follow(self) -> None:
        """Count passages of the replicas between the lowest and the highest temperature."""
        extreme = np.zeros_like(self._extremes)
        extreme[self.replicas] = self._extremes
        self._half_trips += (extreme * self._last_extreme == -1).astype(np.int64)
        self._last_extreme = np.where(extreme != 0, extreme, self._last_extreme)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the complete state, from which :meth:`restore` continues bit for bit."""
        return super().snapshot() | {
            "exchange_counts": self._counts.copy(),
            "exchange_last_extreme": self._last_extreme.copy(),
            "exchange_half_trips": self._half_trips.copy(),
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`; checkpoints of earlier releases have no numbers of exchanges."""
        super().restore(snapshot)
        self._counts = snapshot.get("exchange_counts", self._counts).copy()
        self._last_extreme = snapshot.get("exchange_last_extreme", self._last_extreme).copy()
        self._half_trips = snapshot.get("exchange_half_trips", self._half_trips).copy()


def _exchange(
    indices: Sequence[int], temperatures_K: Sequence[float] | None, dynamics: DynamicsSettings, seed: int
) -> _Exchange | None:
    """Return the replica exchange of a batch; None without any."""
    heights = [dynamics.temperature_K] * len(indices) if temperatures_K is None else list(temperatures_K)
    if len(heights) != len(indices):
        raise InvalidInputError(f"temperatures_K: one for each of the {len(indices)} windows; got {len(heights)}")
    if temperatures_K is not None and len(set(zip(indices, heights, strict=True))) < len(indices):
        raise InvalidInputError(f"temperatures_K: two windows have the same λ and temperature; got {heights}")
    if not dynamics.replica_exchange and len(set(heights)) == 1:
        return None
    return _Exchange(indices, heights, seed, along_lambda=dynamics.replica_exchange, pressure_GPa=dynamics.pressure_GPa)


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
