"""The job that samples λ-windows of a ladder in one batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from jobflow import CURRENT_JOB, JobConfig, Maker, job
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.base import OneString
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames, packed_bytes
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays, PackedSeries, WindowSeries
from alchemflows.schemas.windows import PackedState, WindowDocument, WindowsDocument

if TYPE_CHECKING:
    import torch

    from alchemflows.sampling.frames import FrameRecorder
    from alchemflows.sampling.langevin import State

#: λ of the windows whose configurations are stored.
_ENDS = (0.0, 1.0)


@dataclass
class WindowsMaker(OneString, Maker):
    """Sample λ-windows at constant temperature, and constant volume or pressure.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    dynamics
        Conditions and numbers of steps.
    lambdas
        Grid of λ at which the energies of samples are evaluated; windows are at points of this grid.
    seed
        Seed of the ladder, from which the seeds of its windows derive.
    crystal
        Whether atoms are expected to stay on their sites. For systems in which atoms diffuse use False; their windows
        have no summary of sites.
    n_frames
        Number of configurations of the windows at λ = 0 and 1 that are stored per production run, evenly spaced; 0 for
        none.
    """

    name: str = "λ-windows"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(default_factory=lambda: DynamicsSettings(temperature_K=300.0))
    lambdas: Sequence[float] = tuple(k / 10 for k in range(11))
    seed: int = 0
    crystal: bool = True
    n_frames: int = 100

    def __post_init__(self) -> None:
        self.lambdas = tuple(self.lambdas)  # JSON turns tuples into lists

    def cost(
        self,
        path: AlchemicalPath,
        indices: Sequence[int],
        *_: object,
        first_runs: Sequence[int] | None = None,
        n_runs: int = 1,
        **__: object,
    ) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        n = len(indices)
        equilibration = 0 if first_runs else self.dynamics.n_equilibration_steps
        # Base64 of the energies at all λ of the grid in single precision and of five more numbers (PackedSeries).
        n_bytes = n * n_runs * self.dynamics.n_samples * (4 * len(self.lambdas) + 40) * 4 // 3
        n_frames = n_runs * min(self.n_frames, self.dynamics.n_samples)
        cells_vary = self.dynamics.pressure_GPa is not None
        n_bytes += len(self._ends(indices)) * packed_bytes(n_frames, path.system.n_sites, cells_vary=cells_vary)
        return JobCost("sampling", n, n * (equilibration + n_runs * self.dynamics.n_production_steps), n_bytes)

    def _ends(self, indices: Sequence[int]) -> list[int]:
        """Return the positions of the windows at λ = 0 and 1 among some windows."""
        return [k for k, index in enumerate(indices) if self.lambdas[index] in _ENDS]

    @job(output_schema=WindowsDocument, data=["series", "frames"], config=JobConfig(expose_store=True))
    def make(
        self,
        path: AlchemicalPath,
        indices: Sequence[int],
        structure: Structure | None = None,
        *,
        ends: Sequence[Structure] | None = None,
        start_lambdas: Sequence[float] | None = None,
        starts: Sequence[PackedState | PackedSeries] | None = None,
        first_runs: Sequence[int] | None = None,
        n_runs: int = 1,
    ) -> WindowsDocument:
        """Sample the windows ``lambdas[i] for i in indices``.

        Parameters
        ----------
        path
            Path through the weights of an alchemical system.
        indices
            Indices of the grid points that this job samples in one batch.
        structure
            Positions and cell to start from; those of the path's system if not given.
        ends
            Structures relaxed at λ = 0 and at λ = 1 to start from, in place of `structure`.
        start_lambdas
            For each window the λ, 0 or 1, of the structure in `ends` from which it starts.
        starts
            Final state, of the same or another window, from which each window starts, in place of all these.
        first_runs
            Number of completed production runs of each window. If it is not zero, the window is extended from `starts`
            with the velocities there and without equilibration. Either all or none of the windows are extended.
        n_runs
            Number of production runs to sample, one after the other.

        Raises
        ------
        InvalidInputError
            If starts are missing.
        TrajectoryError
            If a trajectory explodes or another error stops the sampling. The samples so far are written to the folder
            of the job, which the message names.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.backends import load_potential
        from alchemflows.alchemy.potential import AlchemicalPotential
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.sites import SiteWatch
        from alchemflows.sampling.windows import WindowsStoppedError, run_windows, window_seed

        require_store()
        started = time.perf_counter()
        done = [0] * len(indices) if first_runs is None else list(first_runs)
        if any(done) and (starts is None or not all(done)):
            raise InvalidInputError(
                "extended windows need one entry of starts each, and cannot share a batch with new windows"
            )
        begun = _begun(path.system, len(indices), structure, ends, start_lambdas, starts)
        system = path.system.with_structure(begun.structures[0])
        path = AlchemicalPath(system, path.initial, path.final)
        model = AlchemicalPotential(system, load_potential(self.potential))
        dynamics = self.dynamics.model_copy(
            update={
                "n_production_steps": n_runs * self.dynamics.n_production_steps,
                "n_equilibration_steps": 0 if any(done) else self.dynamics.n_equilibration_steps,
            }
        )
        seeds = [window_seed(self.seed, index, first) for index, first in zip(indices, done, strict=True)]
        state = None if starts is None else _joined(starts, model.device)
        watch = SiteWatch(begun.sites, model.device) if self.crystal else None
        recorder = FrameRecorder(self._ends(indices), dynamics.n_samples, n_runs * self.n_frames)
        try:
            with resumable() as checkpoint:
                run = run_windows(
                    model,
                    path,
                    self.lambdas,
                    indices,
                    dynamics,
                    seeds,
                    start=state if state is not None and any(done) else begun.positions_and_cells(),
                    exchange_seed=window_seed(self.seed, -1 - min(indices), max(done)),
                    watch=watch,
                    recorder=recorder,
                    on_progress=ProgressFile(Path.cwd()),
                    checkpoint=checkpoint,
                )
        except WindowsStoppedError as error:
            kept = _keep(Path.cwd(), indices, error.series)
            raise TrajectoryError(f"{error}; the samples so far are kept in {kept}") from error
        sites = [None] * len(indices) if watch is None else watch.summaries()
        return WindowsDocument(
            windows=[
                WindowDocument(
                    index=index,
                    lambda_value=self.lambdas[index],
                    weights=path.weights(self.lambdas[index]).tolist(),
                    seed=seeds[k],
                    start_lambda=begun.start_lambdas[k],
                    first_run=done[k],
                    n_runs=n_runs,
                    n_samples=len(samples),
                    mean_dudl_eV=samples.dudl_eV.mean(),
                    mean_energy_eV=samples.energy_eV.mean(),
                    mean_temperature_K=samples.temperature_K.mean(),
                    mean_volume_A3=samples.volume_A3.mean(),
                    sites=sites[k],
                    series=PackedSeries.pack(samples, _arrays(run.end, k) | begun.kept(k, run.origins[k])),
                    frames=_frames(path, self.lambdas[index], recorder, k, samples),
                )
                for k, (index, samples) in enumerate(zip(indices, run.series, strict=True))
            ],
            lambdas=list(self.lambdas),
            temperature_K=self.dynamics.temperature_K,
            counts=system.counts(path.initial),
            volume_A3=system.structure.volume,
            initial_formula=system.formula(path.initial),
            final_formula=system.formula(path.final),
            coupling=system.coupling,
            weight_labels=list(system.weight_labels),
            initial_weights=list(path.initial),
            final_weights=list(path.final),
            dynamics=self.dynamics,
            job_uuid=None if CURRENT_JOB.job is None else CURRENT_JOB.job.uuid,
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )


@dataclass(frozen=True)
class _Begun:
    """Start structures of the windows of a batch.

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


def _begun(
    system: AlchemicalSystem,
    n: int,
    structure: Structure | None,
    ends: Sequence[Structure] | None,
    start_lambdas: Sequence[float] | None,
    starts: Sequence[PackedState | PackedSeries] | None,
) -> _Begun:
    species = system.structure.species
    if starts is not None:
        states = [start.end() for start in starts]
        if len(states) != n:
            raise InvalidInputError(f"{n} windows need one entry of starts each; got {len(states)}")
        return _Begun(
            [Structure(Lattice(s["cell_A"]), species, s["positions_A"], coords_are_cartesian=True) for s in states],
            [Structure(Lattice(s["sites_cell_A"]), species, s["sites"]) for s in states],
            [None if np.isnan(s["start_lambda"]) else float(s["start_lambda"]) for s in states],
        )
    if ends is not None:
        if start_lambdas is None or len(start_lambdas) != n or not set(start_lambdas) <= {0, 1}:
            raise InvalidInputError(f"start_lambdas must be λ = 0 or 1 for each of {n} windows; got {start_lambdas}")
        relaxed = [started_from(system, end).structure for end in ends]
        chosen = [relaxed[int(value)] for value in start_lambdas]
        return _Begun(chosen, chosen, [float(value) for value in start_lambdas])
    common = [started_from(system, structure).structure] * n
    return _Begun(common, common, [None] * n)


def _arrays(state: State, replica: int) -> dict[str, np.ndarray]:
    arrays = {
        "positions_A": state.positions,
        "cell_A": state.cells,
        "velocities_A_per_fs": state.velocities * units.fs,
    }
    return {name: values[replica].cpu().numpy() for name, values in arrays.items()}


def _joined(states: Sequence[PackedState | PackedSeries], device: torch.device) -> State:
    import torch

    from alchemflows.sampling.langevin import State

    unpacked = [state.end() for state in states]
    positions, cells, velocities = (
        torch.as_tensor(np.stack([arrays[name] for arrays in unpacked]), device=device)
        for name in ("positions_A", "cell_A", "velocities_A_per_fs")
    )
    return State(positions, cells, velocities / units.fs)


def _frames(
    path: AlchemicalPath, value: float, recorder: FrameRecorder, window: int, samples: WindowSeries
) -> PackedArrays | None:
    """Return the recorded configurations of a window with their energies; None if none are kept."""
    found = recorder.of_window(window)
    if found is None:
        return None
    kept, positions, cells = found
    composition = path.system.site_composition(path.weights(value))
    return Frames.of(composition, positions, cells, samples.energy_eV[kept], samples.time_fs[kept]).packed()


def _keep(folder: Path, indices: Sequence[int], series: Sequence[WindowSeries]) -> Path:
    for index, samples in zip(indices, series, strict=True):
        np.savez(folder / f"stopped-window-{index}.npz", **vars(samples))
    return folder
