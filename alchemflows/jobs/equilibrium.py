"""The job that brings a crystal to a temperature and a pressure, and gives its mean cell."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.convergence import drift
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.free_energy.estimators import MIN_INDEPENDENT
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.resuming import resumable
from alchemflows.sampling.equilibrium import sample_equilibrium
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.crystal import EquilibriumDocument
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


def _default_dynamics() -> DynamicsSettings:
    return DynamicsSettings(temperature_K=300.0, pressure_GPa=ATMOSPHERE_GPA)


@dataclass
class EquilibriumMaker(Maker):
    """Sample a crystal at fixed composition, at constant pressure by default.

    Parameters
    ----------
    name
        Name of the job.
    potential
        What to sample with.
    dynamics
        Conditions and lengths.
    n_replicas
        Replicas in the batch; all count.
    seed
        Seed that those of the replicas derive from.
    """

    name: str = "equilibrium"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(default_factory=_default_dynamics)
    n_replicas: int = 1
    seed: int = 0

    @job(output_schema=EquilibriumDocument)
    def make(
        self, system: AlchemicalSystem, weights: Sequence[float], structure: Structure | None = None
    ) -> EquilibriumDocument:
        """Sample a crystal.

        Parameters
        ----------
        system
            The crystal.
        weights
            Its composition, shape (C,).
        structure
            Positions and cell to start from, in place of the system's.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop: run again, it goes on from its last checkpoint.
        UnstableCrystalError
            If atoms leave their sites.
        TrajectoryError
            If a trajectory explodes.
        """
        started = time.perf_counter()
        system = started_from(system, structure)
        model = AlchemicalPotential(system, load_potential(self.potential))
        with resumable() as checkpoint:
            run = sample_equilibrium(
                model,
                system,
                system.check_weights(weights),
                self.dynamics,
                derived_seeds(self.seed, "equilibrium", self.n_replicas),
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        mean = run.mean_structure()
        reasons = drift("the volume", run.volume_A3) + drift("the energy", run.energy_eV)
        return EquilibriumDocument(
            structure=mean,
            formula=system.formula(weights),
            weights=list(weights),
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            n_atoms=system.n_sites,
            temperature_K=self.dynamics.temperature_K,
            pressure_GPa=self.dynamics.pressure_GPa,
            volume_A3=mean.volume,
            volume_error_A3=error_of_mean_volume(run.volume_A3),
            cell_parameters=list(mean.lattice.parameters),
            mean_energy_eV=run.energy_eV.mean(),
            mean_temperature_K=run.temperature_K.mean(),
            msd_A2=run.msd_A2.mean(axis=0).tolist(),
            dynamics=self.dynamics,
            verdict=Verdict.of(reasons),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )


def error_of_mean_volume(series: np.ndarray) -> float | None:
    """Return the standard error of the mean of n correlated samples of B independent replicas, shape (n, B).

    None where all of them together have fewer than 10 independent samples: nothing can be said of their error then.
    """
    if np.ptp(series) < 1e-12 * np.abs(series).max():
        return 0.0
    n, n_replicas = series.shape
    variance = correlated_variance([replica / (n * n_replicas) for replica in series.T])
    independent = series.var() / variance.value if variance.value > 0 else 0.0
    return variance.error if independent >= MIN_INDEPENDENT else None
