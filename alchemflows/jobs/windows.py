"""The job that samples λ-windows of a ladder in one batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import units
from jobflow import CURRENT_JOB, Job, JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.identity import fingerprint
from alchemflows.jobs.companions import companions
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import checkpoint_of, resumable
from alchemflows.jobs.stores import require_store
from alchemflows.jobs.window_plans import (
    StartStructures,
    WindowsPlan,
    end_states,
    joined_states,
    run_in_one_batch,
    starts_of,
)
from alchemflows.schemas.base import OneString
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.frames import Frames, packed_bytes
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays, PackedSeries, WindowSeries
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.windows import PackedState, WindowDocument, WindowExchange, WindowsDocument

if TYPE_CHECKING:
    from alchemflows.sampling.checkpoint import Checkpoint
    from alchemflows.sampling.frames import FrameRecorder
    from alchemflows.sampling.langevin import State
    from alchemflows.sampling.windows import WindowsRun

logger = logging.getLogger(__name__)

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
        n = len(indices) * (1 + len(self.dynamics.exchange_temperatures_K))
        equilibration = 0 if first_runs else self.dynamics.n_equilibration_steps
        # Base64 of the energies of each replica at all λ of the grid in single precision and of five more numbers
        # (PackedSeries).
        n_bytes = n * n_runs * self.dynamics.n_samples * (4 * len(self.lambdas) + 40) * 4 // 3
        n_frames = n_runs * min(self.n_frames, self.dynamics.n_samples)
        cells_vary, n_ends = self.dynamics.pressure_GPa is not None, len(self._ends(indices))
        n_bytes += n_ends * packed_bytes(n_frames, path.system.n_sites, cells_vary=cells_vary)
        n_steps = n * (equilibration + n_runs * self.dynamics.n_production_steps)
        return JobCost("sampling", n, n_steps, n_bytes, n_frames=n_ends * n_frames)

    def _ends(self, indices: Sequence[int]) -> list[int]:
        """Return the positions of the windows at λ = 0 and 1 among some windows."""
        return [k for k, index in enumerate(indices) if self.lambdas[index] in _ENDS]

    def batch_key(self, path: AlchemicalPath, *_: object, **__: object) -> str:
        """Return the key of jobs that can be sampled in one batch, see :mod:`alchemflows.jobs.companions`."""
        return fingerprint({"potential": self.potential.model_dump(mode="json"), "n_sites": path.system.n_sites})

    def lengths(self, first_runs: Sequence[int] | None = None, n_runs: int = 1) -> DynamicsSettings:
        """Return the settings of the dynamics, with the lengths of all runs of a job; see :meth:`make`."""
        return self.dynamics.model_copy(
            update={
                "n_production_steps": n_runs * self.dynamics.n_production_steps,
                "n_equilibration_steps": 0 if any(first_runs or ()) else self.dynamics.n_equilibration_steps,
            }
        )

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
            Final state, of the same or another window, from which each window and its replicas at other temperatures
            start, in place of all these.
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
        from alchemflows.sampling.windows import WindowsStoppedError

        require_store()
        started = time.perf_counter()
        plan = self.plan(
            path,
            indices,
            structure,
            ends=ends,
            start_lambdas=start_lambdas,
            starts=starts,
            first_runs=first_runs,
            n_runs=n_runs,
        )
        path, system, n = plan.path, plan.path.system, len(indices)
        try:
            with resumable() as checkpoint:
                run = _sampled(self, plan, checkpoint)
        except WindowsStoppedError as error:
            kept = _keep(Path.cwd(), indices, error.series[:n])
            raise TrajectoryError(f"{error}; the samples so far are kept in {kept}") from error
        sites = None if plan.watch is None else plan.watch.summaries()
        return WindowsDocument(
            windows=[
                WindowDocument(
                    index=index,
                    lambda_value=self.lambdas[index],
                    weights=path.weights(self.lambdas[index]).tolist(),
                    seed=plan.seeds[k],
                    start_lambda=plan.starts.start_lambdas[k],
                    first_run=plan.first_runs[k],
                    n_runs=n_runs,
                    n_samples=len(samples),
                    mean_dudl_eV=samples.dudl_eV.mean(),
                    mean_energy_eV=samples.energy_eV.mean(),
                    mean_temperature_K=samples.temperature_K.mean(),
                    mean_volume_A3=samples.volume_A3.mean(),
                    sites=None if sites is None else sites[k],
                    exchange=_exchanged(run, k, n, plan.temperatures_K, sites),
                    series=PackedSeries.pack(
                        samples,
                        _end(plan, run, k),
                        {t: run.series[k + n * j] for j, t in enumerate(plan.temperatures_K[1:], 1)},
                    ),
                    frames=_frames(path, self.lambdas[index], plan.recorder, k, samples),
                )
                for k, (index, samples) in enumerate(zip(indices, run.series, strict=False))
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
                potential=plan.model.record,
                wall_time_s=time.perf_counter() - started + checkpoint.spent_s,
                seed=self.seed,
            ),
        )

    def plan(
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
    ) -> WindowsPlan:
        """Return what :meth:`make` samples for the same arguments.

        Raises
        ------
        InvalidInputError
            If starts are missing.
        """
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.sites import SiteWatch
        from alchemflows.sampling.windows import window_seed

        done = [0] * len(indices) if first_runs is None else list(first_runs)
        if any(done) and (starts is None or not all(done)):
            raise InvalidInputError(
                "extended windows need one entry of starts each, and cannot share a batch with new windows"
            )
        others = self.dynamics.exchange_temperatures_K
        states = None
        if starts is None:
            begun = starts_of(path.system, len(indices), structure, ends, start_lambdas)
            batch = begun.repeated(1 + len(others))
        else:
            states = end_states(starts, len(indices), len(others), continued=any(done))
            batch = StartStructures.of_states(path.system, states)
        system = path.system.with_structure(batch.structures[0])
        model = potential_of_job(self.potential, system)
        dynamics = self.lengths(done, n_runs)
        return WindowsPlan(
            model=model,
            path=AlchemicalPath(system, path.initial, path.final),
            lambdas=self.lambdas,
            dynamics=dynamics,
            windows=indices,
            first_runs=done,
            seeds=[window_seed(self.seed, index, first) for index, first in zip(indices, done, strict=True)],
            temperatures_K=(self.dynamics.temperature_K, *others),
            starts=batch,
            state=joined_states(states, model.device) if states is not None and any(done) else None,
            exchange_seed=window_seed(self.seed, -1 - min(indices), max(done)),
            watch=SiteWatch(batch.sites, model.device) if self.crystal else None,
            recorder=FrameRecorder(self._ends(indices), dynamics.n_samples, n_runs * self.n_frames),
        )


def _sampled(maker: WindowsMaker, plan: WindowsPlan, checkpoint: Checkpoint) -> WindowsRun:
    """Sample the windows of the current job, in one batch with those of its companions.

    Each companion continues from its own checkpoint, and has its last one when this job ends.
    """
    on_progress = ProgressFile(Path.cwd())
    if checkpoint.reached() >= plan.n_steps:  # only the document is missing
        return plan.run(plan.model, on_progress, checkpoint)
    with companions(_is_unfinished) as jobs:
        plans = {other.uuid: (found, checkpoint_of(other)) for other in jobs if (found := _plan_of(other, maker))}
        if not plans:
            return plan.run(plan.model, on_progress, checkpoint)
        current = CURRENT_JOB.job
        assert current is not None  # it has companions
        plans[current.uuid] = plan, checkpoint
        # In an order that does not depend on which of the jobs is the current one, so that results are the same.
        order = sorted(plans)
        batch = [plans[uuid] for uuid in order]
        results = run_in_one_batch([each for each, _ in batch], [each for _, each in batch], on_progress)
    for other in jobs:
        if other.uuid in plans and isinstance(error := results[order.index(other.uuid)], TrajectoryError):
            logger.warning("job %s has stopped, and the others continue: %s", other.name, error)
    run = results[order.index(current.uuid)]
    if isinstance(run, Exception):
        raise run
    return run


def _is_unfinished(other: Job) -> bool:
    """Tell whether windows of another job remain to be sampled."""
    if not isinstance(other.maker, WindowsMaker):
        return False
    dynamics = other.maker.lengths(other.function_kwargs.get("first_runs"), other.function_kwargs.get("n_runs", 1))
    n_steps = dynamics.n_equilibration_steps + dynamics.n_samples * dynamics.sample_interval_steps
    return checkpoint_of(other).reached() < n_steps


def _plan_of(other: Job, maker: WindowsMaker) -> WindowsPlan | None:
    """Return the plan of another job; None if it cannot be sampled, of which its own run will give the reason."""
    assert isinstance(other.maker, WindowsMaker)
    if other.maker.potential != maker.potential:
        return None
    try:
        resolved = other.resolve_args(CURRENT_JOB.store, inplace=False)
        return other.maker.plan(*resolved.function_args, **resolved.function_kwargs)
    except Exception as error:
        logger.warning("job %s is not sampled in this batch: %s: %s", other.name, type(error).__name__, error)
        return None


def _exchanged(
    run: WindowsRun, window: int, n: int, temperatures_K: Sequence[float], sites: Sequence[SitesSummary] | None
) -> WindowExchange | None:
    """Return how a window exchanged with its replicas at other temperatures; replica k + j n is at temperature j."""
    if run.exchange is None or len(temperatures_K) < 2:
        return None
    order = [window + n * j for j in np.argsort(temperatures_K)]
    shares = run.exchange.shares()
    return WindowExchange(
        temperatures_K=sorted(temperatures_K),
        acceptance=[shares[pair] for pair in pairwise(order)],
        round_trips=int(run.exchange.round_trips[order].sum()),
        sites=[] if sites is None else [sites[place] for place in order],
    )


def _end(plan: WindowsPlan, run: WindowsRun, window: int) -> dict[str, np.ndarray]:
    """Return the arrays of the final state of a window and of its replicas at other temperatures."""
    places = range(window, len(run.series), len(plan.windows))
    own, *others = [_arrays(run.end, place) | plan.starts.kept(place, run.origins[place]) for place in places]
    return PackedState.with_exchanged(own, others)


def _arrays(state: State, replica: int) -> dict[str, np.ndarray]:
    arrays = {
        "positions_A": state.positions,
        "cell_A": state.cells,
        "velocities_A_per_fs": state.velocities * units.fs,
    }
    return {name: values[replica].cpu().numpy() for name, values in arrays.items()}


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
