"""The job that equilibrates a crystal at a temperature and a pressure, and returns its mean cell."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.strains import (
    frozen_directions,
    frozen_shape,
    log_strains,
    sampled_directions,
    split_by_symmetry,
)
from alchemflows.alchemy.symmetrise import symmetric_cell, symmetrised
from alchemflows.alchemy.symmetry import Symmetry, symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.crystal import EquilibriumDocument, MeanCell
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, DynamicsSettings
from alchemflows.schemas.frames import Frames, packed_bytes
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.sampling.equilibrium import Equilibrium
    from alchemflows.sampling.frames import FrameRecorder


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
        Potential to sample with.
    dynamics
        Conditions and numbers of steps.
    n_replicas
        Number of replicas in the batch; means are over all of them.
    symmetrise
        Whether the mean cell and the mean positions keep the space group of the structure that dynamics start from.
    seed
        Seed from which the seeds of the replicas derive.
    n_frames
        Number of configurations that are stored, of all replicas together; 0 for none.
    """

    name: str = "equilibrium"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(default_factory=_default_dynamics)
    n_replicas: int = 1
    symmetrise: bool = True
    seed: int = 0
    n_frames: int = 100

    def cost(self, system: AlchemicalSystem, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        n_steps = self.dynamics.n_equilibration_steps + self.dynamics.n_production_steps
        n_frames = self.n_replicas * min(self._n_of_replica(), self.dynamics.n_samples)
        n_bytes = packed_bytes(n_frames, system.n_sites, cells_vary=self.dynamics.pressure_GPa is not None)
        return JobCost("sampling", self.n_replicas, self.n_replicas * n_steps, n_bytes, n_frames=n_frames)

    def _n_of_replica(self) -> int:
        """Return the number of configurations of each replica that are wanted."""
        return math.ceil(self.n_frames / self.n_replicas)

    @job(output_schema=EquilibriumDocument, data=["frames"], config=JobConfig(expose_store=True))
    def make(
        self, system: AlchemicalSystem, weights: Sequence[float], structure: Structure | None = None
    ) -> EquilibriumDocument:
        """Sample a crystal.

        Parameters
        ----------
        system
            The crystal.
        weights
            Composition weights, shape (C,).
        structure
            Positions and cell to start from; those of the system if not given.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        UnstableCrystalError
            If atoms leave their sites.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.free_energy.convergence import drift
        from alchemflows.sampling.equilibrium import sample_equilibrium
        from alchemflows.sampling.frames import FrameRecorder

        require_store()
        started = time.perf_counter()
        system = started_from(system, structure)
        recorder = FrameRecorder(range(self.n_replicas), self.dynamics.n_samples, self._n_of_replica())
        model = potential_of_job(self.potential, system)
        with resumable() as checkpoint:
            run = sample_equilibrium(
                model,
                system,
                system.check_weights(weights),
                self.dynamics,
                derived_seeds(self.seed, "equilibrium", self.n_replicas),
                recorder=recorder,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        mean = run.mean_structure()
        symmetry = symmetry_of(system)
        if self.symmetrise:
            mean = symmetrised(mean, system, system.masses(weights))
        reasons = drift("the volume", run.volume_A3) + drift("the energy", run.energy_eV)
        cell = None
        if self.dynamics.pressure_GPa is not None:
            cell, against = assess_mean_cell(run, symmetry, self.dynamics, self.symmetrise)
            reasons += against
        return EquilibriumDocument(
            structure=mean,
            formula=system.formula(weights),
            weights=list(weights),
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            counts=system.counts(weights),
            temperature_K=self.dynamics.temperature_K,
            pressure_GPa=self.dynamics.pressure_GPa,
            volume_A3=mean.volume,
            volume_error_A3=error_of_mean_volume(run.volume_A3),
            cell_parameters=list(mean.lattice.parameters),
            space_group=symmetry.space_group,
            mean_cell=cell,
            mean_energy_eV=run.energy_eV.mean(),
            mean_temperature_K=run.temperature_K.mean(),
            msd_A2=run.msd_A2.mean(axis=0).tolist(),
            dynamics=self.dynamics,
            frames=frames_of_replicas(system.site_composition(weights), recorder, run.energy_eV, run.time_fs),
            verdict=Verdict.of(reasons),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )


def frames_of_replicas(
    composition: Sequence[Mapping[int, float]], recorder: FrameRecorder, energy_eV: np.ndarray, time_fs: np.ndarray
) -> PackedArrays | None:
    """Return the configurations of all replicas, one replica after the other; None if none are kept.

    Parameters
    ----------
    composition
        Share of each element on each site.
    recorder
        The configurations.
    energy_eV, time_fs
        Energies of all n samples of B replicas (eV), shape (n, B), and their times (fs), shape (n,).
    """
    parts = []
    for k in recorder.windows:
        found = recorder.of_window(k)
        if found is None:
            return None
        kept, positions, cells = found
        parts.append(Frames.of(composition, positions, cells, energy_eV[kept, k], time_fs[kept]))
    return Frames.joined(parts).packed()


def assess_mean_cell(
    run: Equilibrium, symmetry: Symmetry, dynamics: DynamicsSettings, symmetrise: bool
) -> tuple[MeanCell, list[str]]:
    """Return statistics of the mean cell of a run at constant pressure, and reasons against it.

    Parameters
    ----------
    run
        The run.
    symmetry
        Symmetry of the structure that it started from.
    dynamics
        Temperature and cell degrees of freedom.
    symmetrise
        Whether the mean cell is symmetrised.
    """
    from alchemflows.free_energy.cells import cell_noise, deviation

    rotations, freedom = symmetry.point_group, dynamics.cell_freedom
    start = symmetric_cell(run.structure.lattice.matrix, rotations)
    sampled = sampled_directions(start, freedom)
    allowed, breaking = split_by_symmetry(sampled, start, rotations)
    strains = log_strains(run.cell_parameters, start)
    noise = cell_noise(strains @ (allowed if symmetrise else sampled).T, dynamics.temperature_K)
    broken = deviation(strains @ breaking.T)
    reasons = []
    if symmetrise and broken is not None and broken.is_real:
        reasons.append(Reason.BROKEN_SYMMETRY.because(group=symmetry.space_group, sigma=broken.sigma))
    if frozen := frozen_directions(start, rotations, freedom):
        reasons.append(frozen_shape(freedom, symmetry.space_group, frozen))
    return (
        MeanCell(
            symmetrised=symmetrise,
            n_free_directions=noise.n_directions,
            n_independent=noise.n_independent,
            bias_eV=noise.bias_eV,
            bias_error_eV=noise.error_eV,
            symmetry_deviation_sigma=None if broken is None else broken.sigma,
        ),
        reasons,
    )


def error_of_mean_volume(series: np.ndarray) -> float:
    """Return the standard error of the mean of n correlated samples of B independent replicas, shape (n, B)."""
    if np.ptp(series) < 1e-12 * np.abs(series).max():
        return 0.0
    n, n_replicas = series.shape
    return correlated_variance([replica / (n * n_replicas) for replica in series.T]).error
