"""The job that samples arrangements of a disordered crystal by Monte Carlo."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import error_of_mean
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.sampling.compositions import chemical_potentials, ensemble_of, target_shares
from alchemflows.sampling.ensembles import Ensemble
from alchemflows.sampling.reactions import Reaction
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.frames import packed_bytes
from alchemflows.schemas.monte_carlo import ArrangementSeries, CompositionControl, MonteCarloSettings
from alchemflows.schemas.monte_carlo_result import Average, MonteCarloDocument, StartEnergies
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential
    from alchemflows.sampling.checkpoint import Checkpoint
    from alchemflows.sampling.frames import FrameRecorder
    from alchemflows.sampling.sites import SiteWatch

#: First arrangements of the replicas at a temperature: of the first half and of the second half.
STARTS = ("random", "quenched")


@dataclass
class ArrangementsMaker(Maker):
    """Sample the arrangements of a disordered crystal at one or several temperatures, all replicas in one batch.

    At each temperature, half of the replicas start from random arrangements, the others from arrangements of low
    energy (:func:`~alchemflows.sampling.starts.quenched`). For replica exchange, the k-th replicas of all temperatures
    form a ladder; replicas of different ladders are independent.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Conditions, numbers of sweeps and moves; the temperatures are those of `temperatures_K`.
    temperatures_K
        Temperatures (K), ascending.
    n_replicas
        Number of replicas at each temperature; an even number.
    composition
        What controls the composition.
    seed
        Seed from which all others derive.
    n_frames
        Number of configurations that are stored at each temperature, of all replicas together; 0 for none.
    """

    name: str = "arrangements"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: MonteCarloSettings = field(default_factory=lambda: MonteCarloSettings(temperature_K=300.0))
    temperatures_K: Sequence[float] = (300.0,)
    n_replicas: int = 4
    composition: CompositionControl = field(default_factory=CompositionControl)
    seed: int = 0
    n_frames: int = 100

    def cost(self, disorder: Disorder, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; each evaluation of a replica is a step."""
        settings = self.settings
        n_sites = sum(len(sublattice.sites) for sublattice in disorder.sublattices)
        n_attempts = settings.n_attempts(n_sites)
        n_steps = n_attempts * settings.evaluations_per_attempt + settings.n_md_steps
        n_sweeps = settings.n_equilibration_sweeps + settings.n_production_sweeps
        n = len(self.temperatures_K) * self.n_replicas
        # Base64 of labels in 8 bits, of three numbers and of an index (PackedArrangements).
        n_bytes = n * settings.n_production_sweeps * (n_sites + 28) * 4 // 3
        n_bytes += n * bytes_of_frames(disorder, settings, self._n_of_replica())
        return JobCost("sampling", n, n * n_sweeps * n_steps, n_bytes)

    def _n_of_replica(self) -> int:
        """Return the number of configurations of each replica that are wanted."""
        return math.ceil(self.n_frames / self.n_replicas)

    @job(output_schema=MonteCarloDocument, data=["series", "frames"], config=JobConfig(expose_store=True))
    def make(
        self,
        disorder: Disorder,
        wave_vectors: Sequence[Sequence[float]] = (),
        structure: Structure | None = None,
    ) -> MonteCarloDocument:
        """Sample the arrangements.

        Parameters
        ----------
        disorder
            The crystal in its supercell.
        wave_vectors
            Wave vectors of order parameters, in units of the reciprocal lattice vectors of the unit cell.
        structure
            Positions and cell to start from; those of the supercell if not given.

        Raises
        ------
        InvalidInputError
            If the control of the composition is invalid, or a wave does not fit into the supercell.
        TrajectoryError
            If an energy is not finite, or a trajectory explodes before there are enough samples.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.analysis.monte_carlo import SampledReplica, monte_carlo_document
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.sweeps import run_sweeps

        require_store()
        started = time.perf_counter()
        arrangements = Arrangements.of(disorder)
        ensemble = ensemble_of(arrangements, self.composition)
        crystal = started_from(disorder.system, structure).structure
        model = potential_of_job(self.potential, arrangements.system)
        temperatures = np.repeat(self.temperatures_K, self.n_replicas)
        starts = [STARTS[2 * k // self.n_replicas] for k in range(self.n_replicas)] * len(self.temperatures_K)
        seeds = derived_seeds(self.seed, "chains", len(temperatures))
        positions = np.tile(crystal.cart_coords, (len(temperatures), 1, 1))
        cells = np.tile(crystal.lattice.matrix, (len(temperatures), 1, 1))
        random = arrangements.random(counts_of(arrangements, disorder), derived_seeds(self.seed, "starts", len(starts)))
        n_sweeps = self.settings.n_production_sweeps
        recorder = FrameRecorder(range(len(temperatures)), n_sweeps, self._n_of_replica())
        watch = site_watch(arrangements, crystal, len(temperatures), self.settings)
        with resumable() as checkpoint:
            first = self._first(model, ensemble, positions, cells, temperatures, starts, random, checkpoint)
            run = run_sweeps(
                model,
                ensemble,
                (positions, cells),
                first,
                self.settings,
                seeds=seeds,
                temperatures_K=temperatures,
                ladders=np.arange(len(temperatures)).reshape(-1, self.n_replicas).T.tolist(),
                exchange_seed=derived_seeds(self.seed, "exchange", 1)[0],
                recorder=recorder,
                watch=watch,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        sites: Sequence[SitesSummary | None] = [None] * len(temperatures) if watch is None else watch.summaries()
        controlled = _conditions(arrangements, self.composition)
        known = None
        if not controlled:
            known = start_energies(model, arrangements, crystal, random, first)
            if not self.settings.moves_atoms:
                sampled = min(float(series.energy_eV.min()) for series in run.series)
                known = known.model_copy(update={"lowest_eV": min(known.lowest_eV, sampled)})
        return monte_carlo_document(
            disorder,
            [
                SampledReplica(
                    series,
                    temperature_K=float(temperatures[k]),
                    start=starts[k],
                    final_positions_A=run.positions_A[k],
                    final_cell_A=run.cells_A[k],
                    final_labels=run.labels[k],
                    seed=seeds[k],
                    frames=packed_frames(arrangements, series, recorder, k, self.settings),
                    sites=sites[k],
                    **controlled,
                )
                for k, series in enumerate(run.series)
            ],
            self.settings,
            unit_cell=disorder.unit_cell,
            wave_vectors=wave_vectors,
            exchange=run.exchange,
            starts=known,
            explosion=run.explosion,
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )

    def _first(
        self,
        model: AlchemicalPotential,
        ensemble: Ensemble,
        positions: np.ndarray,
        cells: np.ndarray,
        temperatures: np.ndarray,
        starts: Sequence[str],
        random: np.ndarray,
        checkpoint: Checkpoint,
    ) -> np.ndarray:
        """Return the first arrangements, shape (B, n), from random ones."""
        from alchemflows.sampling.starts import quenched

        labels = random.copy()
        cold = np.flatnonzero(np.array(starts) == STARTS[1])
        labels[cold] = quenched(
            model,
            ensemble,
            positions[cold],
            cells[cold],
            labels[cold],
            temperature_K=temperatures[cold],
            seeds=derived_seeds(self.seed, "quenches", len(cold)),
            checkpoint=checkpoint.stage("starts"),
        )
        return labels


def _conditions(arrangements: Arrangements, control: CompositionControl) -> dict[str, Any]:
    """Return the conditions of the composition of a :class:`~alchemflows.analysis.observables.SampledReplica`."""
    if control.mu_eV:
        return {"mu_eV": chemical_potentials(arrangements, control.mu_eV)}
    if control.targets:
        return {"targets": target_shares(arrangements, control.targets), "stiffness_eV": control.stiffness_eV}
    return {"exchange_mu_eV": control.exchange_mu_eV} if control.exchange_mu_eV else {}


def site_watch(
    arrangements: Arrangements, crystal: Structure, n_replicas: int, settings: MonteCarloSettings
) -> SiteWatch | None:
    """Return a watch over the atoms of replicas that all start from one crystal; None if no atom moves."""
    from alchemflows.sampling.sites import SiteWatch

    return SiteWatch([crystal] * n_replicas, elements=arrangements.site_names) if settings.moves_atoms else None


def packed_frames(
    arrangements: Arrangements,
    series: ArrangementSeries,
    recorder: FrameRecorder,
    replica: int,
    settings: MonteCarloSettings,
) -> PackedArrays | None:
    """Return the recorded configurations of one replica as they are stored; None if none are kept."""
    from alchemflows.analysis.frames import arranged_frames

    recorded = recorder.of_window(replica)
    return None if recorded is None else arranged_frames(arrangements, series, recorded, settings).packed()


def bytes_of_frames(disorder: Disorder, settings: MonteCarloSettings, n_frames: int) -> int:
    """Return the approximate size of the stored configurations of one replica (bytes)."""
    elements = {symbol for sublattice in disorder.sublattices for symbol in sublattice.symbols if symbol is not None}
    return packed_bytes(
        min(n_frames, settings.n_production_sweeps),
        disorder.system.n_sites,
        cells_vary=bool(settings.n_md_steps) and settings.pressure_GPa is not None,
        atoms_move=settings.moves_atoms,
        n_elements=len(elements),
    )


def check_moves(arrangements: Arrangements, control: CompositionControl, disorder: Disorder) -> None:
    """Check the control of the composition, and that an exchange is possible at the composition of a crystal.

    Raises
    ------
    InvalidInputError
        As :func:`~alchemflows.sampling.compositions.ensemble_of`; or if no exchange is possible.
    """
    ensemble_of(arrangements, control)
    counts = counts_of(arrangements, disorder).sum(axis=0)
    there = dict(zip(arrangements.species, counts.tolist(), strict=True))
    sides = [side for text in control.exchange_mu_eV for side in Reaction.parse(text).sides]
    if sides and not any(all(there[name] >= side.count(name) for name in side) for side in sides):
        raise InvalidInputError(
            f"exchange_mu_eV: neither side of {' or '.join(control.exchange_mu_eV)} is in the crystal "
            f"({', '.join(f'{count} {name}' for name, count in there.items())})"
        )


def start_energies(
    model: AlchemicalPotential, arrangements: Arrangements, crystal: Structure, random: np.ndarray, first: np.ndarray
) -> StartEnergies:
    """Return the mean energy of random arrangements and the lowest of the first ones, at the positions of a crystal.

    Parameters
    ----------
    model
        Potential of the system of the arrangements.
    arrangements
        All arrangements.
    crystal
        Positions and cell.
    random, first
        Random arrangements, and those from which replicas start, shape (B, n) each.
    """
    weights = arrangements.weights(np.concatenate([random, first]))
    energies = model.energies(crystal.cart_coords[None], crystal.lattice.matrix[None], weights[None])[0].cpu().numpy()
    of_random = energies[: len(random)]
    mean = Average(
        value=float(of_random.mean()), error=error_of_mean(of_random.tolist()), n_independent=float(len(random))
    )
    return StartEnergies(random_eV=mean, lowest_eV=float(energies.min()))


def counts_of(arrangements: Arrangements, disorder: Disorder) -> np.ndarray:
    """Return the number of sites with each species on each sublattice of a disordered crystal, shape (L, S)."""
    counts = np.zeros((arrangements.n_sublattices, len(arrangements.species)), dtype=np.int64)
    for index, sublattice in enumerate(disorder.sublattices):
        for symbol, count in zip(sublattice.symbols, sublattice.counts, strict=True):
            counts[index, arrangements.species.index(symbol or VACANCY)] = count
    return counts
