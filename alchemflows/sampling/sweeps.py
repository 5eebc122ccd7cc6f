"""Sweeps of Monte Carlo on arrangements: equilibration and production of a batch of replicas.

A sweep is a number of attempted moves of each replica, followed by steps of Langevin dynamics at constant volume or
pressure. Moves change species at once, or by dynamics (:mod:`alchemflows.sampling.candidate_moves`). Without either
dynamics, positions and cells are constant. Moves and dynamics keep the joint distribution of arrangements, positions
and cells, exp{−β [E + Φ + PV]}, so that their sequence samples it. Moves are exact, dynamics up to their time step.

Velocities are independent of arrangements and positions. If an atom changes its species, its velocity is scaled by
√(m / m'), which turns the Maxwell–Boltzmann distribution of the mass m into that of m'.

With replica exchange, neighbouring replicas of a ladder may exchange their configurations after each sweep. With the
reduced potential u_b(x) = β_b [E(x) + Φ_b(x) + P V(x)] of replica b, the exchange of x and y is accepted with the
probability min{1, exp[u_a(x) + u_b(y) − u_a(y) − u_b(x)]}. Velocities are scaled by √(T' / T).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.errors import ExplosionError, InvalidInputError
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.sampling.blocks import Blocks, Resumable, Samples
from alchemflows.sampling.candidate_moves import CandidateSwitch
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.ensembles import Ensemble
from alchemflows.sampling.exchange import ExchangeStatistics, NeighbourExchange
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin, State
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sites import SiteWatch
from alchemflows.schemas.dynamics import MIN_SAMPLES
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.progress import Progress
from alchemflows.schemas.reasons import Reason

#: Number of steps between two progress reports and possible checkpoints; 1 if moves are carried out by dynamics.
BLOCK = 10


@dataclass(frozen=True)
class Explosion:
    """An explosion in the dynamics between sweeps of production, at which the sampling of all replicas ended.

    Attributes
    ----------
    replica
        Index of the replica.
    sweep, n_sweeps
        Number of its sweep, counted from 1, and of all sweeps of the run, both with those of the equilibration.
    quantities
        The quantities beyond their limits, as a text.
    """

    replica: int
    sweep: int
    n_sweeps: int
    quantities: str

    def reason(self, where: str) -> str:
        """Return the reason of a verdict; `where` names the conditions of the replica."""
        return Reason.EXPLODED.because(
            where=where, replica=self.replica, sweep=self.sweep, total=self.n_sweeps, quantities=self.quantities
        )


@dataclass(frozen=True)
class SweepsRun:
    """Results of sweeps of B replicas.

    Attributes
    ----------
    series
        Time series of each replica.
    labels
        Final arrangements, shape (B, n).
    positions_A, cells_A
        Final positions and cells (Å), shapes (B, N, 3) and (B, 3, 3).
    exchange
        Statistics of replica exchange in production; None without it.
    explosion
        The explosion that ended the run before its last sweep; None without one.
    """

    series: list[ArrangementSeries]
    labels: np.ndarray
    positions_A: np.ndarray
    cells_A: np.ndarray
    exchange: ExchangeStatistics | None = None
    explosion: Explosion | None = None


class Sweeps:
    """Sweeps of B replicas, step by step.

    A step is one attempted move of each replica, or one step of dynamics.

    Parameters
    ----------
    chains
        The replicas.
    settings
        Numbers of attempts and of steps of dynamics per sweep.
    temperatures_K
        Temperature of each replica (K), shape (B,).
    langevin
        Dynamics after the moves of a sweep; needed if the settings have steps of dynamics.

    Attributes
    ----------
    n_steps
        Number of completed steps.
    length
        Number of steps of a sweep.
    timestep_fs
        Mean time of a step (fs).
    """

    def __init__(
        self,
        chains: MonteCarlo,
        settings: MonteCarloSettings,
        temperatures_K: np.ndarray,
        langevin: Langevin | None = None,
    ) -> None:
        self.chains = chains
        self.n_steps = 0
        self._arrangements = chains.ensemble.arrangements
        n_sites = int((self._arrangements.allowed.sum(axis=1) > 1).sum())
        self._n_attempts = settings.n_attempts(n_sites)
        self.length = self._n_attempts + settings.n_md_steps
        self.timestep_fs = settings.sweep_fs(n_sites) / self.length
        self._temperatures_K = temperatures_K
        # Without dynamics, all replicas have the same constant volume.
        self._pressure = (settings.pressure_GPa or 0.0) * units.GPa if settings.n_md_steps else 0.0
        self._langevin = langevin
        self._n_accepted_before = chains.n_accepted.copy()

    @property
    def n_sweeps(self) -> int:
        """Number of completed sweeps."""
        return self.n_steps // self.length

    def kinetic_temperatures(self) -> torch.Tensor:
        """Return the kinetic temperature of each replica (K), shape (B,); that of the bath without dynamics."""
        return (
            torch.as_tensor(self._temperatures_K) if self._langevin is None else self._langevin.kinetic_temperatures()
        )

    def bath_temperatures(self) -> torch.Tensor:
        """Return the temperature of each replica (K), shape (B,)."""
        return torch.as_tensor(self._temperatures_K)

    def step(self) -> None:
        """Make one step."""
        place = self.n_steps % self.length
        if place == 0:
            self._n_accepted_before = self.chains.n_accepted.copy()
        if place < self._n_attempts:
            self.chains.attempt()
        else:
            assert self._langevin is not None
            try:
                self._move_atoms(self._langevin, first=place == self._n_attempts, last=place == self.length - 1)
            except ExplosionError as error:
                raise ExplosionError(
                    f"{error} (in sweep {self.n_sweeps + 1}); the crystal may have melted or evaporated: use a lower "
                    "temperature or a shorter time step",
                    replica=error.replica,
                    quantities=error.quantities,
                ) from error
        self.n_steps += 1

    def _move_atoms(self, langevin: Langevin, *, first: bool, last: bool) -> None:
        """Make one step of dynamics, with the arrangements of the chains; after the last one, the chains continue."""
        if first:
            current = self.chains.current
            weights = self._arrangements.weights(current.labels)
            masses = self._arrangements.system.masses(weights)
            langevin.move_to(current.positions_A, current.cells_A, weights, masses)
        langevin.step(weight_gradients=last and self.chains.proposal.informed, check=last)
        if last:
            slopes = np.zeros_like(self.chains.current.slopes_eV)
            if (gradients := langevin.evaluation.weight_gradients) is not None:
                slopes = self._arrangements.slopes(gradients.cpu().numpy())
            positions, cells, energy = (
                values.cpu().numpy() for values in (langevin.positions, langevin.cells, langevin.evaluation.energy)
            )
            self.chains.continue_at(positions, cells, energy, slopes)

    def exchange(self, exchange: NeighbourExchange) -> None:
        """Try to exchange the configurations of neighbouring replicas."""
        place = np.arange(len(self._temperatures_K))
        partner = place.copy()
        for a, b in exchange.pairs:
            partner[[a, b]] = b, a
        own, other = (self.chains.reduced_energies(order, self._pressure) for order in (place, partner))
        swapped = exchange.swap(lambda a, b: float(own[a] + own[b] - other[a] - other[b]))
        if not swapped:
            return
        order = place.copy()
        for a, b in swapped:
            order[[a, b]] = b, a
        self.chains.permute(order)
        if self._langevin is not None:
            self._langevin.permute(order.tolist())

    def sample(self) -> dict[str, np.ndarray]:
        """Return the quantities of a sample after a sweep, as in :class:`ArrangementSeries`, replica by replica."""
        current = self.chains.current
        return {
            "energy_eV": current.energy_eV,
            "volume_A3": np.abs(np.linalg.det(current.cells_A)),
            "labels": current.labels,
            "acceptance": (self.chains.n_accepted - self._n_accepted_before) / self._n_attempts,
        }

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the complete state, from which :meth:`restore` continues bit for bit."""
        return {
            **self.chains.snapshot(),
            **({} if self._langevin is None else self._langevin.snapshot()),
            "sweeps_n_steps": np.array(self.n_steps),
            "sweeps_n_accepted_before": self._n_accepted_before,
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot` of the same run."""
        self.chains.restore(snapshot)
        if self._langevin is not None:
            self._langevin.restore(snapshot)
        self.n_steps = int(snapshot["sweeps_n_steps"])
        self._n_accepted_before = snapshot["sweeps_n_accepted_before"].copy()


def run_sweeps(
    model: EnergyModel,
    ensemble: Ensemble,
    start: State | tuple[ArrayLike, ArrayLike],
    labels: ArrayLike,
    settings: MonteCarloSettings,
    *,
    seeds: Sequence[int],
    temperatures_K: Sequence[float] | np.ndarray | None = None,
    ladders: Sequence[Sequence[int]] | None = None,
    exchange_seed: int = 0,
    recorder: FrameRecorder | None = None,
    watch: SiteWatch | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> SweepsRun:
    """Equilibrate and sample arrangements of B replicas in one batch.

    Parameters
    ----------
    model
        Potential of ``ensemble.arrangements.system``.
    ensemble
        Ensemble and its moves; its parameters may differ between replicas.
    start
        Initial state, or positions and cells (Å), shapes (B, N, 3) and (B, 3, 3).
    labels
        Initial arrangements, shape (B, n).
    settings
        Conditions, numbers of sweeps, moves and steps of dynamics.
    seeds
        One seed for each replica, all different; those of the dynamics are derived from them.
    temperatures_K
        Temperature of each replica (K); by default that of the settings.
    ladders
        Replicas of each ladder of replica exchange in the order in which they are neighbours. All ladders have the same
        number of replicas, and each replica is in one. By default, all replicas form one ladder in their order.
    exchange_seed
        Seed for replica exchange.
    recorder
        Keeps positions and cells of the samples.
    watch
        Collects statistics of the positions at each sample, for each replica at its temperature.
    on_progress
        Function called after each block of steps, see :data:`BLOCK`. See :class:`Sweeps` for what a step is.
    checkpoint
        Receives the state after each block. If it contains one from an earlier attempt, the run continues from it, with
        the same results as an uninterrupted run.

    Raises
    ------
    InvalidInputError
        As for :class:`~alchemflows.sampling.monte_carlo.MonteCarlo`; if atoms move and a species is a vacancy; or if
        replicas that exchange configurations differ in what is constant: composition, cell or positions.
    ExplosionError
        If a trajectory explodes before there are :data:`~alchemflows.schemas.dynamics.MIN_SAMPLES` samples. Later, the
        run ends, with the samples of all replicas up to the sweep before.
    TrajectoryError
        If an energy or a gradient of an arrangement is not finite.
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.

    Examples
    --------
    >>> import numpy as np
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPotential, load_potential
    >>> from alchemflows.alchemy.arrangements import Disorder
    >>> from alchemflows.sampling.arrangements import Arrangements
    >>> from alchemflows.sampling.ensembles import Canonical
    >>> from alchemflows.sampling.sweeps import run_sweeps
    >>> from alchemflows.schemas.monte_carlo import MonteCarloSettings
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> arrangements = Arrangements.of(Disorder(mixed))
    >>> crystal = arrangements.system.structure
    >>> run = run_sweeps(
    ...     AlchemicalPotential(arrangements.system, load_potential("mace-demo")),
    ...     Canonical(arrangements),
    ...     (np.tile(crystal.cart_coords, (2, 1, 1)), np.tile(crystal.lattice.matrix, (2, 1, 1))),
    ...     arrangements.random([[2, 2]], seeds=[0, 1]),
    ...     MonteCarloSettings(temperature_K=600, n_equilibration_sweeps=1, n_production_sweeps=4),
    ...     seeds=[0, 1],
    ... )
    >>> [series.labels.shape for series in run.series]
    [(4, 4), (4, 4)]
    """
    labels = ensemble.arrangements.check(labels)
    n_replicas = len(labels)
    ladders = [range(n_replicas)] if ladders is None else ladders
    if sorted(place for ladder in ladders for place in ladder) != list(range(n_replicas)):
        raise InvalidInputError(f"ladders: each of the {n_replicas} replicas must be in one ladder; got {ladders}")
    if len(set(map(len, ladders))) > 1:
        raise InvalidInputError(f"ladders: all must have the same number of replicas; got {ladders}")
    temperatures = np.full(n_replicas, settings.temperature_K) if temperatures_K is None else np.array(temperatures_K)
    sweeps = _at_start(model, ensemble, start, labels, settings, seeds, temperatures)
    samples = Samples(*(field.name for field in fields(ArrangementSeries)))
    n_equilibration = settings.n_equilibration_sweeps * sweeps.length
    n_steps = n_equilibration + settings.n_production_sweeps * sweeps.length
    block = 1 if settings.n_switching_steps else BLOCK
    exchange = NeighbourExchange(ladders, exchange_seed)
    parts: list[Resumable] = [exchange, *(part for part in (recorder, watch) if part is not None)]
    blocks = Blocks(sweeps, n_steps, parts=parts, samples=samples, on_progress=on_progress, checkpoint=checkpoint)
    explosion = None
    try:
        for phase, first, end in (("equilibration", 0, n_equilibration), ("production", n_equilibration, n_steps)):
            for step, _ in blocks.steps(phase, first, end, block):
                sweeps.step()
                if step % sweeps.length == 0:
                    if phase == "production":
                        samples.append(**sweeps.sample(), walker=exchange.replicas.copy())
                        current = sweeps.chains.current
                        positions, cells = map(torch.as_tensor, (current.positions_A, current.cells_A))
                        if recorder is not None:
                            recorder.see(len(samples) - 1, positions, cells)
                        if watch is not None:
                            watch.see(positions, cells)
                    if settings.replica_exchange and step < n_steps:
                        sweeps.exchange(exchange)
    except ExplosionError as error:
        if len(samples) < MIN_SAMPLES:
            raise
        explosion = Explosion(error.replica, sweeps.n_sweeps + 1, n_steps // sweeps.length, error.quantities)
    arrays = samples.since(0)
    series = [
        ArrangementSeries(**{name: np.ascontiguousarray(values[:, b]) for name, values in arrays.items()})
        for b in range(n_replicas)
    ]
    final, statistics = sweeps.chains.current, None
    if settings.replica_exchange:
        statistics = ExchangeStatistics.of(arrays["walker"], ladders, settings.n_equilibration_sweeps)
    return SweepsRun(series, final.labels, final.positions_A, final.cells_A, statistics, explosion)


def _at_start(
    model: EnergyModel,
    ensemble: Ensemble,
    start: State | tuple[ArrayLike, ArrayLike],
    labels: np.ndarray,
    settings: MonteCarloSettings,
    seeds: Sequence[int],
    temperatures_K: np.ndarray,
) -> Sweeps:
    """Return the replicas in their initial state, after a check of what is asked of them."""
    arrangements = ensemble.arrangements
    positions, cells = (start.positions, start.cells) if isinstance(start, State) else start
    _check_vacancies(arrangements, settings)
    if settings.replica_exchange:
        _check_exchange(ensemble, settings, positions, cells, labels)
    chains = MonteCarlo(
        model,
        ensemble,
        positions,
        cells,
        labels,
        temperature_K=temperatures_K,
        seeds=seeds,
        proposal=Proposal(settings.proposal, settings.balancing, settings.n_tries),
        switch=_switch(settings),
    )
    langevin = None
    if settings.n_md_steps:
        weights = arrangements.weights(labels)
        langevin = Langevin.under(
            settings,
            model,
            start,
            weights,
            arrangements.system.masses(weights),
            [derived_seeds(seed, "dynamics", 1)[0] for seed in seeds],
            temperatures_K=temperatures_K,
        )
    return Sweeps(chains, settings, temperatures_K, langevin)


def _switch(settings: MonteCarloSettings) -> CandidateSwitch | None:
    """Return how moves are carried out by dynamics, if they are."""
    if not settings.n_switching_steps:
        return None
    return CandidateSwitch(
        settings.n_switching_steps, settings.timestep_fs, settings.friction_per_ps, settings.schedule
    )


def _check_vacancies(arrangements: Arrangements, settings: MonteCarloSettings) -> None:
    """Check that no species is a vacancy if atoms move."""
    for name in ("n_md_steps", "n_switching_steps"):
        if getattr(settings, name) and VACANCY in arrangements.species:
            raise InvalidInputError(
                f"{name} = {getattr(settings, name)}: atoms cannot move if a species is a {VACANCY}, since an empty "
                f"site has no position; set {name} = 0"
            )


def _check_exchange(
    ensemble: Ensemble,
    settings: MonteCarloSettings,
    positions: ArrayLike | torch.Tensor,
    cells: ArrayLike | torch.Tensor,
    labels: np.ndarray,
) -> None:
    """Check that replicas that exchange configurations agree in what is constant."""
    constant: dict[str, ArrayLike | torch.Tensor] = {}
    if not settings.n_md_steps and not settings.n_switching_steps:
        constant["positions"] = positions
    if not settings.n_md_steps or settings.pressure_GPa is None:
        constant["cells"] = cells
    if ensemble.conserves_composition:
        constant["compositions"] = ensemble.arrangements.counts(labels)
    for name, values in constant.items():
        each = torch.as_tensor(np.asarray(values) if not isinstance(values, torch.Tensor) else values)
        if not (each == each[:1]).all():
            raise InvalidInputError(
                f"replica_exchange: the {name} do not change in this run, and must be the same for all replicas"
            )
