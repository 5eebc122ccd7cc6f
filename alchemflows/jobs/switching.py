"""The job that switches an alchemical transformation in both directions."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.analysis.terms import TransformationTerms, shape_notes
from alchemflows.jobs.cost import JobCost, cost_of_switches
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frames import Frames, packed_bytes
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import worst
from alchemflows.schemas.switching import SwitchingDocument
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.sampling.frames import FrameRecorder


@dataclass
class SwitchesMaker(Maker):
    """Equilibrate both ends of a path, then switch forward and backward, all replicas in one batch.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Conditions, numbers of steps, number of switches, and schedule.
    seed
        Seed from which all others derive.
    crystal
        Whether atoms are expected to stay on their sites; False for systems in which they diffuse.
    n_frames
        Number of configurations of each end that are stored, from the second half of the equilibration; 0 for none.
    """

    name: str = "switches"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    seed: int = 0
    crystal: bool = True
    n_frames: int = 100

    def cost(self, path: AlchemicalPath, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        from alchemflows.sampling.switching import n_samples_of_ends

        n_frames = self.settings.n_repeats * min(n_samples_of_ends(self.settings), self._n_of_replica())
        cells_vary = self.settings.pressure_GPa is not None
        n_bytes = 2 * packed_bytes(n_frames, path.system.n_sites, cells_vary=cells_vary)
        return replace(cost_of_switches(self.settings), n_bytes=n_bytes)

    def _n_of_replica(self) -> int:
        """Return the number of configurations of each replica that are wanted."""
        return math.ceil(self.n_frames / self.settings.n_repeats)

    @job(
        output_schema=SwitchingDocument,
        data=["curves", "initial_frames", "final_frames"],
        config=JobConfig(expose_store=True),
    )
    def make(self, path: AlchemicalPath, structure: Structure | None = None) -> SwitchingDocument:
        """Switch in both directions and estimate the free-energy difference.

        Parameters
        ----------
        path
            The path; any number of site groups may change along it.
        structure
            Positions and cell to start from; those of the path's system if not given.

        Raises
        ------
        InvalidInputError
            If atoms appear or vanish along the path.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.analysis.work import work_document
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.sites import SiteWatch
        from alchemflows.sampling.switching import equilibrate_and_switch, n_samples_of_ends, times_of_ends_fs

        require_store()
        started = time.perf_counter()
        terms = TransformationTerms.of(path, self.settings.temperature_K)  # symmetry of the ideal positions
        notes = shape_notes(path.system, self.settings.pressure_GPa, self.settings.cell_freedom)
        system = started_from(path.system, structure)
        path = AlchemicalPath(system, path.initial, path.final)
        model = potential_of_job(self.potential, system)
        n = 2 * self.settings.n_repeats
        watch = SiteWatch([system.structure] * n, model.device) if self.crystal else None
        recorder = FrameRecorder(range(n), n_samples_of_ends(self.settings), self._n_of_replica())
        with resumable() as checkpoint:
            switches = equilibrate_and_switch(
                model,
                path,
                self.settings,
                self.seed,
                watch=watch,
                recorder=recorder,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        counts = system.counts(path.initial)
        result, work = work_document(switches, self.settings, counts)
        sites = None if watch is None else worst(watch.summaries())
        reasons = [*result.warnings, *([] if sites is None else sites.reasons("switches"))]
        return SwitchingDocument(
            temperature_K=self.settings.temperature_K,
            pressure_GPa=self.settings.pressure_GPa,
            counts=counts,
            volume_A3=system.structure.volume,
            initial_formula=system.formula(path.initial),
            final_formula=system.formula(path.final),
            coupling=system.coupling,
            weight_labels=list(system.weight_labels),
            initial_weights=list(path.initial),
            final_weights=list(path.final),
            settings=self.settings,
            work=work,
            mass_term_eV=terms.mass_eV,
            mass_term_eV_per_atom=counts.per_atom(terms.mass_eV),
            total=Estimate.of(result.best[0] + terms.mass_eV, result.best[1], counts),
            mixing_term_eV=terms.mixing_eV,
            arrangement_term_eV=terms.arrangement_eV,
            sites=sites,
            initial_frames=_frames(path, 0.0, recorder, times_of_ends_fs(self.settings)),
            final_frames=_frames(path, 1.0, recorder, times_of_ends_fs(self.settings)),
            verdict=Verdict.of(reasons, notes),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )


def _frames(path: AlchemicalPath, value: float, recorder: FrameRecorder, times_fs: np.ndarray) -> PackedArrays | None:
    """Return the configurations of all replicas at one end, one replica after the other; None if none are kept."""
    half = len(recorder.windows) // 2
    composition = path.system.site_composition(path.weights(value))
    parts = []
    for replica in range(half) if value == 0 else range(half, 2 * half):
        found = recorder.of_window(replica)
        if found is None:
            return None
        kept, positions, cells = found
        parts.append(Frames.of(composition, positions, cells, recorder.energies_of_window(replica), times_fs[kept]))
    return Frames.joined(parts).packed()
