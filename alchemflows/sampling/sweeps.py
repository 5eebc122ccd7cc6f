"""Sweeps of Monte Carlo on arrangements: equilibration and production of a batch of replicas.

A sweep is a number of attempted moves of each replica. Positions and cells are constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.sampling.blocks import Blocks, Samples
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.ensembles import Ensemble
from alchemflows.sampling.langevin import State
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.proposals import Proposal
from alchemflows.schemas.monte_carlo import ArrangementSeries, MonteCarloSettings
from alchemflows.schemas.progress import Progress

#: Number of steps between two progress reports and possible checkpoints.
BLOCK = 10


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
    """

    series: list[ArrangementSeries]
    labels: np.ndarray
    positions_A: np.ndarray
    cells_A: np.ndarray


class Sweeps:
    """Sweeps of B replicas, step by step; a step is one attempted move of each replica.

    Parameters
    ----------
    chains
        The replicas.
    settings
        Number of attempts per sweep.
    temperatures_K
        Temperature of each replica (K), shape (B,).

    Attributes
    ----------
    n_steps
        Number of completed steps.
    length
        Number of steps of a sweep.
    """

    def __init__(self, chains: MonteCarlo, settings: MonteCarloSettings, temperatures_K: np.ndarray) -> None:
        self.chains = chains
        self.n_steps = 0
        arrangements = chains.ensemble.arrangements
        n_sites = int((arrangements.allowed.sum(axis=1) > 1).sum())
        self.length = self._n_attempts = settings.attempts_per_sweep or n_sites
        self._temperatures_K = temperatures_K
        self._n_accepted_before = chains.n_accepted.copy()

    @property
    def timestep_fs(self) -> float:
        """Mean time of a step (fs)."""
        return 0.0

    def kinetic_temperatures(self) -> torch.Tensor:
        """Return the temperature of each replica (K), shape (B,)."""
        return torch.as_tensor(self._temperatures_K)

    def step(self) -> None:
        """Make one step."""
        if self.n_steps % self.length == 0:
            self._n_accepted_before = self.chains.n_accepted.copy()
        self.chains.attempt()
        self.n_steps += 1

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
            "sweeps_n_steps": np.array(self.n_steps),
            "sweeps_n_accepted_before": self._n_accepted_before,
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot` of the same run."""
        self.chains.restore(snapshot)
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
        Conditions, numbers of sweeps and moves.
    seeds
        One seed for each replica, all different.
    temperatures_K
        Temperature of each replica (K); by default that of the settings.
    on_progress
        Function called after each block of :data:`BLOCK` steps. A step is one attempted move of each replica.
    checkpoint
        Receives the state after each block. If it contains one from an earlier attempt, the run continues from it, with
        the same results as an uninterrupted run.

    Raises
    ------
    InvalidInputError
        As for :class:`~alchemflows.sampling.monte_carlo.MonteCarlo`.
    TrajectoryError
        If an energy or a gradient is not finite.
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
    positions, cells = (start.positions, start.cells) if isinstance(start, State) else start
    labels = ensemble.arrangements.check(labels)
    n_replicas = len(labels)
    temperatures = np.full(n_replicas, settings.temperature_K) if temperatures_K is None else np.array(temperatures_K)
    chains = MonteCarlo(
        model,
        ensemble,
        positions,
        cells,
        labels,
        temperature_K=temperatures,
        seeds=seeds,
        proposal=Proposal(settings.proposal, settings.balancing),
    )
    sweeps = Sweeps(chains, settings, temperatures)
    samples = Samples(*(field.name for field in fields(ArrangementSeries)))
    n_equilibration = settings.n_equilibration_sweeps * sweeps.length
    n_steps = n_equilibration + settings.n_production_sweeps * sweeps.length
    blocks = Blocks(sweeps, n_steps, samples=samples, on_progress=on_progress, checkpoint=checkpoint)
    for phase, first, end in (("equilibration", 0, n_equilibration), ("production", n_equilibration, n_steps)):
        for step, _ in blocks.steps(phase, first, end, BLOCK):
            sweeps.step()
            if phase == "production" and step % sweeps.length == 0:
                samples.append(**sweeps.sample(), walker=np.arange(n_replicas))
    arrays = samples.since(0)
    series = [
        ArrangementSeries(**{name: np.ascontiguousarray(values[:, b]) for name, values in arrays.items()})
        for b in range(n_replicas)
    ]
    final = chains.current
    return SweepsRun(series, final.labels, final.positions_A, final.cells_A)
