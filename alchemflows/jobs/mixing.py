"""The job that samples a ladder of chemical potentials and temperatures for a free energy of mixing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.errors import ExplosionError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.monte_carlo import bytes_of_frames, packed_frames, site_watch
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.ensembles import SemiGrand
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.monte_carlo import MonteCarloSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential

#: Random sequences of substitutions from which the range of chemical potentials is found.
N_SEQUENCES = 2


@dataclass
class MixingSamplesMaker(Maker):
    """Sample arrangements at all temperatures and chemical potentials in one batch, and analyse them.

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
    n_potentials
        Number of chemical potentials at each temperature.
    delta_mu_eV
        Chemical potential of the second species minus that of the first (eV); without values `n_potentials` of them
        are found with :func:`spanning_potentials`.
    n_terms
        Number of Redlich–Kister terms; none for the smallest that describes the result.
    seed
        Seed from which all others derive.
    n_frames
        Number of configurations that are stored at each temperature and chemical potential; 0 for none.
    """

    name: str = "mixing"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: MonteCarloSettings = field(default_factory=lambda: MonteCarloSettings(temperature_K=300.0))
    temperatures_K: Sequence[float] = (300.0,)
    n_potentials: int = 16
    delta_mu_eV: Sequence[float] = ()
    n_terms: int | None = None
    seed: int = 0
    n_frames: int = 100

    def cost(self, disorder: Disorder, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; each evaluation of a replica is a step."""
        settings = self.settings
        n_sites = sum(len(sublattice.sites) for sublattice in disorder.sublattices)
        n_sweeps = settings.n_equilibration_sweeps + settings.n_production_sweeps
        n = len(self.temperatures_K) * (len(self.delta_mu_eV) or self.n_potentials)
        n_steps = settings.n_attempts(n_sites) * settings.evaluations_per_attempt + settings.n_md_steps
        return JobCost("sampling", n, n * n_sweeps * n_steps, n * bytes_of_frames(disorder, settings, self.n_frames))

    @job(output_schema=MixingDocument, data=["frames"], config=JobConfig(expose_store=True))
    def make(self, disorder: Disorder, second: str, structure: Structure | None = None) -> MixingDocument:
        """Sample and analyse.

        Parameters
        ----------
        disorder
            The crystal in its supercell, with two elements on its mixing sites.
        second
            Symbol of the second species, whose fraction is x.
        structure
            Positions and cell to start from; those of the supercell if not given.

        Raises
        ------
        InvalidInputError
            If there are not two species.
        TrajectoryError
            If an energy is not finite, or a trajectory explodes before there are enough samples.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.analysis.mixing import analyse_mixing, mixing_samples
        from alchemflows.free_energy.mixing import semi_grand_bias_eV
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.sweeps import run_sweeps

        require_store()
        started = time.perf_counter()
        arrangements = Arrangements.of(disorder)
        crystal = started_from(disorder.system, structure).structure
        model = potential_of_job(self.potential, arrangements.system)
        potentials = np.array(self.delta_mu_eV or self._spanning(model, arrangements, crystal, second))
        states = ladder(self.temperatures_K, potentials)
        temperatures, delta_mu = np.array(states).T
        mu = np.zeros((len(states), arrangements.n_sublattices, 2))
        mu[:, :, arrangements.species.index(second)] = delta_mu[:, None]
        labels = self._first(
            arrangements, second, np.searchsorted(np.sort(potentials), delta_mu) / (len(potentials) - 1)
        )
        places = crystal.cart_coords, crystal.lattice.matrix
        recorder = FrameRecorder(range(len(states)), self.settings.n_production_sweeps, self.n_frames)
        watch = site_watch(arrangements, crystal, len(states), self.settings)
        with resumable() as checkpoint, _named(states):
            run = run_sweeps(
                model,
                SemiGrand(arrangements, mu),
                (np.tile(places[0], (len(states), 1, 1)), np.tile(places[1], (len(states), 1, 1))),
                labels,
                self.settings,
                seeds=derived_seeds(self.seed, "chains", len(states)),
                temperatures_K=temperatures,
                exchange_seed=derived_seeds(self.seed, "exchange", 1)[0],
                recorder=recorder,
                watch=watch,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        samples = [
            mixing_samples(
                arrangements,
                series,
                second,
                temperature_K=temperature_K,
                bias_eV=semi_grand_bias_eV(value, arrangements.n_sites),
                pressure_GPa=self.settings.pressure_GPa,
                exchanged=self.settings.replica_exchange,
            )
            for series, (temperature_K, value) in zip(run.series, states, strict=True)
        ]
        document = analyse_mixing(
            samples,
            formula=disorder.system.formula(disorder.weights),
            species=(next(each for each in arrangements.species if each != second), second),
            counts=disorder.counts,
            pressure_GPa=self.settings.pressure_GPa,
            n_terms=self.n_terms,
            sites=None if watch is None else watch.summaries(),
            exploded=None if (end := run.explosion) is None else end.reason(name_of(*states[end.replica])),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )
        for k, (state, series) in enumerate(zip(document.states, run.series, strict=True)):
            state.frames = packed_frames(arrangements, series, recorder, k, self.settings)
        return document

    def _spanning(
        self, model: AlchemicalPotential, arrangements: Arrangements, crystal: Structure, second: str
    ) -> list[float]:
        low, high = spanning_potentials(
            model,
            arrangements,
            crystal,
            second,
            max(self.temperatures_K),
            derived_seeds(self.seed, "range", N_SEQUENCES),
        )
        return np.linspace(low, high, self.n_potentials).tolist()

    def _first(self, arrangements: Arrangements, second: str, fractions: np.ndarray) -> np.ndarray:
        """Return random arrangements whose composition increases with Δμ, shape (B, n)."""
        labels = []
        for fraction, seed in zip(fractions, derived_seeds(self.seed, "starts", len(fractions)), strict=True):
            labels.append(_substitutions(arrangements, second, seed)[round(fraction * arrangements.n_sites)])
        return np.array(labels)


def ladder(temperatures_K: Sequence[float], delta_mu_eV: Sequence[float] | np.ndarray) -> list[tuple[float, float]]:
    """Return temperature and Δμ of all states, so that successive states are neighbours.

    Δμ ascends at the first temperature, descends at the second, and so on, since neighbours exchange their replicas.
    """
    ascending = sorted(map(float, delta_mu_eV))
    return [
        (float(temperature_K), value)
        for t, temperature_K in enumerate(temperatures_K)
        for value in (ascending[::-1] if t % 2 else ascending)
    ]


def name_of(temperature_K: float, delta_mu_eV: float) -> str:
    """Return the conditions of a state as a text."""
    return f"{temperature_K:g} K, Δμ = {delta_mu_eV:.4g} eV"


@contextmanager
def _named(states: Sequence[tuple[float, float]]) -> Iterator[None]:
    """Name the state of a replica whose trajectory explodes."""
    try:
        yield
    except ExplosionError as error:
        raise ExplosionError(
            f"{name_of(*states[error.replica])}: {error}", replica=error.replica, quantities=error.quantities
        ) from error


def spanning_potentials(
    model: AlchemicalPotential,
    arrangements: Arrangements,
    crystal: Structure,
    second: str,
    temperature_K: float,
    seeds: Sequence[int],
) -> tuple[float, float]:
    """Return Δμ (eV) at which the crystal is nearly pure in the first and in the second species.

    The energies of the crystal are computed while all sites get the second species one after the other, in a random
    sequence for each seed. The range is that of the steps of the energy, and k_B T (ln M + 2) beyond it for M sites:
    this is the entropy of the first substitution, and some more.
    """
    steps = []
    for seed in seeds:
        weights = arrangements.weights(_substitutions(arrangements, second, seed))
        energies = model.energies(crystal.cart_coords[None], crystal.lattice.matrix[None], weights[None])[0]
        steps.append(np.diff(energies.cpu().numpy()))
    margin = units.kB * temperature_K * (np.log(arrangements.n_sites) + 2)
    # Means over the sequences, since single steps scatter with the neighbours of the site.
    mean = np.mean(steps, axis=0)
    return float(mean.min() - margin), float(mean.max() + margin)


def _substitutions(arrangements: Arrangements, second: str, seed: int) -> np.ndarray:
    """Return the labels of a crystal whose sites get the second species one after the other, shape (M + 1, M)."""
    label = arrangements.species.index(second)
    labels = np.full((arrangements.n_sites + 1, arrangements.n_sites), 1 - label)
    for k, site in enumerate(np.random.default_rng(seed).permutation(arrangements.n_sites)):
        labels[k + 1 :, site] = label
    return labels
