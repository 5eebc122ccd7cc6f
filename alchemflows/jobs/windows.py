"""The job that samples some λ-windows of a ladder in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import TrajectoryError
from alchemflows.sampling.windows import WindowsStoppedError, sample_windows, window_seed
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedSeries, WindowSeries
from alchemflows.schemas.windows import WindowDocument, WindowsDocument


@dataclass
class WindowsMaker(Maker):
    """Sample λ-windows at constant volume and temperature.

    Parameters
    ----------
    name
        Name of the job.
    potential
        What to sample with.
    dynamics
        Conditions and lengths.
    seed
        Seed of the ladder; each window derives its own from it.
    """

    name: str = "λ-windows"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(default_factory=lambda: DynamicsSettings(temperature_K=300.0))
    seed: int = 0

    @job(output_schema=WindowsDocument, data=["series"])
    def make(
        self,
        path: AlchemicalPath,
        lambdas: Sequence[float],
        indices: Sequence[int],
        structure: Structure | None = None,
    ) -> WindowsDocument:
        """Sample the windows ``lambdas[i] for i in indices``.

        Parameters
        ----------
        path
            Path through the weights of an alchemical system.
        lambdas
            λ of all windows of the ladder.
        indices
            Which of them this job runs, in one batch.
        structure
            Positions and cell to start from, in place of those of the path's system.

        Raises
        ------
        TrajectoryError
            If a trajectory explodes or anything else stops the sampling; the samples so far are written to
            the job's folder, which the message names.
        """
        started = time.perf_counter()
        system = path.system if structure is None else path.system.with_structure(structure)
        path = AlchemicalPath(system, path.initial, path.final)
        model = AlchemicalPotential(system, load_potential(self.potential))
        try:
            series = sample_windows(
                model,
                path,
                lambdas,
                indices,
                self.dynamics,
                seed=self.seed,
                on_progress=ProgressFile(Path.cwd()),
            )
        except WindowsStoppedError as error:
            kept = _keep(Path.cwd(), indices, error.series)
            raise TrajectoryError(f"{error}; what was sampled is kept in {kept}") from error
        return WindowsDocument(
            windows=[
                WindowDocument(
                    index=index,
                    lambda_value=lambdas[index],
                    weights=path.weights(lambdas[index]).tolist(),
                    seed=window_seed(self.seed, index),
                    n_samples=len(samples),
                    mean_dudl_eV=samples.dudl_eV.mean(),
                    mean_energy_eV=samples.energy_eV.mean(),
                    mean_temperature_K=samples.temperature_K.mean(),
                    series=PackedSeries.pack(samples),
                )
                for index, samples in zip(indices, series, strict=True)
            ],
            lambdas=list(lambdas),
            temperature_K=self.dynamics.temperature_K,
            n_atoms=system.n_atoms,
            volume_A3=system.structure.volume,
            initial_formula=system.formula(path.initial),
            final_formula=system.formula(path.final),
            coupling=system.coupling,
            weight_labels=list(system.weight_labels),
            initial_weights=list(path.initial),
            final_weights=list(path.final),
            dynamics=self.dynamics,
            provenance=Provenance(potential=model.record, wall_time_s=time.perf_counter() - started, seed=self.seed),
        )


def _keep(folder: Path, indices: Sequence[int], series: Sequence[WindowSeries]) -> Path:
    for index, samples in zip(indices, series, strict=True):
        np.savez(folder / f"stopped-window-{index}.npz", **vars(samples))
    return folder
