"""The job that corrects the free energy of a ladder to another potential, by evaluating frames of both ends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jobflow import JobConfig, Maker, OutputReference, job

from alchemflows.errors import PotentialError
from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.evaluation import evaluate_frames
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument, EvaluationLimits, TargetRunSettings
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance

if TYPE_CHECKING:
    from alchemflows.alchemy.targets import EnergyTarget
    from alchemflows.analysis.correction import EvaluatedEnd
    from alchemflows.sampling.checkpoint import Checkpoint
    from alchemflows.sampling.frames import FrameRecorder


@dataclass
class EvaluateFramesMaker(Maker):
    """Evaluate the frames of both ends of a ladder with a target, and correct its free energy.

    Parameters
    ----------
    name
        Name of the job.
    target
        Potential, or calculator of ASE.
    max_failed
        Maximum fraction of failed frames at each end, which are left out; with more, the job ends with an error.
    limits
        How many frames are evaluated; all by default.
    target_runs
        Lengths of runs with the target at both ends, for BAR between both potentials; None for none.
    """

    name: str = "correction"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    max_failed: float = 0.1
    limits: EvaluationLimits = field(default_factory=EvaluationLimits)
    target_runs: TargetRunSettings | None = None

    def cost(self, ladder: OutputReference | str, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; only runs with the target have dynamics."""
        frames, runs = cost_of_frames(ladder, self.limits.max_evaluations), self.target_runs
        if runs is None:
            return JobCost("sampling", frames=frames)
        n = 2 * runs.n_runs
        return JobCost("sampling", n, n * (runs.n_equilibration_steps + runs.n_production_steps), frames=frames)

    @job(
        output_schema=CorrectionDocument,
        data=["energies"],
        config=JobConfig(expose_store=True, resolve_references=False),
    )
    def make(self, ladder: OutputReference | str, earlier: OutputReference | str | None = None) -> CorrectionDocument:
        """Evaluate frames and correct the free energy.

        Parameters
        ----------
        ladder
            Free energy of the ladder, an output that is not resolved, or the identifier of its job.
        earlier
            Output of the stage before, or its identifier, if there is one.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        InvalidInputError
            If the target cannot be made or does not support an element, or the ladder has no frames or mixed ends.
        PotentialError
            If the target fails on more frames than allowed; the message names them. If it is sampled: if it fails in a
            run, or if the sampled potential is not known or cannot be loaded.
        TrajectoryError
            If a run with the target explodes.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.targets import load_target
        from alchemflows.analysis.correction import correction_document, counts_to_evaluate, ends_to_evaluate
        from alchemflows.jobs.frames import (
            frames_of_ladder,
            identifier,
            ladder_covariance,
            stored_correction,
            stored_ladder,
        )

        require_store()
        started = time.perf_counter()
        store, uuid = current_store(), identifier(ladder)
        document = stored_ladder(store, uuid)
        before = stored_correction(store, earlier)
        sampled = frames_of_ladder(store, document)
        target = load_target(self.target)
        target.check_elements(frozenset().union(*(each.frames.elements for each in sampled)))
        ends = ends_to_evaluate(document, sampled, before)
        with resumable() as checkpoint:
            evaluate_frames(
                target, ends, checkpoint, self.max_failed, lambda: counts_to_evaluate(document, ends, self.limits)
            )
            if self.target_runs is not None:
                ends = self._run_target(self.target_runs, target, document, ends, checkpoint)
        return correction_document(
            uuid,
            document,
            target.name,
            *ends,
            Provenance(potential=target.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s),
            before,
            ladder_covariance(store, document, ends),
        )

    def _run_target(
        self,
        settings: TargetRunSettings,
        target: EnergyTarget,
        ladder: FreeEnergyDocument,
        ends: tuple[EvaluatedEnd, EvaluatedEnd],
        checkpoint: Checkpoint,
    ) -> tuple[EvaluatedEnd, EvaluatedEnd]:
        """Return both ends with energies of runs with the target, which start from their frames."""
        from alchemflows.alchemy.targets import PotentialTarget
        from alchemflows.sampling.frames import FrameRecorder, evenly_spaced
        from alchemflows.sampling.target_runs import run_from

        if ladder.provenance.potential is None:
            raise PotentialError("the ladder does not name the potential that was sampled, which BAR needs")
        source = PotentialTarget(ladder.provenance.potential.spec())
        dynamics = ladder.dynamics.model_copy(
            update=settings.model_dump(include={"n_equilibration_steps", "n_production_steps"})
            | {"sample_interval_steps": settings.interval_steps, "replica_exchange": False}
        )
        found = []
        for name, end in zip(("initial", "final"), ends, strict=True):
            images, rows = end.sampled.frames.atoms(), end.evaluated
            # The target has failed on the others, or they were not needed.
            first = [images[rows[k]] for k in evenly_spaced(len(rows), settings.n_runs)]
            recorder = FrameRecorder(range(len(first)), dynamics.n_samples, settings.n_of_run)
            run_from(
                target.model(first[0]),
                np.array([atoms.positions for atoms in first]),
                np.array([atoms.cell.array for atoms in first]),
                first[0].get_masses(),
                dynamics,
                derived_seeds(ladder.provenance.seed or 0, f"{target.name} {end.lambda_value:g}", len(first)),
                recorder,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint.stage(f"target-{name}"),
            )
            found.append(replace(end, run_eV=_energies(recorder, first[0], source, target)))
        return found[0], found[1]


def _energies(recorder: FrameRecorder, atoms: Atoms, source: EnergyTarget, target: EnergyTarget) -> np.ndarray:
    """Return energies of the configurations of all runs with both potentials (eV), shape (R, 2, m)."""
    energies = []
    for run in recorder.windows:
        recorded = recorder.of_window(run)
        assert recorded is not None
        _, positions, cells = recorded
        images = [
            Atoms(numbers=atoms.numbers, positions=places, cell=cell, pbc=True)
            for places, cell in zip(positions, cells, strict=True)
        ]
        size, found = source.n_at_once, []
        for start in range(0, len(images), size):
            found += source.energies(images[start : start + size])
        if wrong := [each for each in found if isinstance(each, str)]:
            raise PotentialError(f"the sampled potential at a configuration of {target.name}: {wrong[0]}")
        energies.append([found, recorder.energies_of_window(run)])
    return np.array(energies, dtype=float)
