"""The job that corrects the free energy of a ladder to another potential, by evaluating frames of both ends."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jobflow import JobConfig, Maker, OutputReference, job

from alchemflows.errors import PotentialError
from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument, EvaluationLimits, TargetRunSettings
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import Progress, ProgressFile
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
            return JobCost("analysis", frames=frames)
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
        from alchemflows.analysis.correction import correction_document, ends_to_evaluate
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
            self._evaluate(target, document, ends, checkpoint)
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
            images = end.sampled.frames.atoms()
            first = [images[row] for row in evenly_spaced(len(images), settings.n_runs)]
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

    def _evaluate(
        self,
        target: EnergyTarget,
        ladder: FreeEnergyDocument,
        ends: Sequence[EvaluatedEnd],
        checkpoint: Checkpoint,
    ) -> None:
        """Evaluate frames in rounds; energies and errors are written to the ends."""
        from alchemflows.analysis.correction import counts_to_evaluate

        images = [end.sampled.frames.atoms() for end in ends]
        counts: tuple[int, ...] = (0, 0)
        if (saved := checkpoint.load()) is not None:
            counts = _restored(saved.state, ends)
        report, begun, size, done = ProgressFile(Path.cwd()), time.monotonic(), target.n_at_once, 0
        while True:
            batches = []
            for k, end in enumerate(ends):
                tried = set(end.tried)
                rows = sorted(row for row in end.order[: counts[k]] if row not in tried)
                batches += [(k, rows[start : start + size]) for start in range(0, len(rows), size)]
            of_round = done + len(batches)
            for k, rows in batches:
                done += 1
                for row, energy in zip(rows, target.energies([images[k][row] for row in rows]), strict=True):
                    ends[k].record(row, energy)
                ends[k].check_failures(target.name, self.max_failed, counts[k])
                speed = done / max(time.monotonic() - begun, 1e-9)
                report(Progress("evaluation", done, of_round, (), 0.0, steps_per_s=speed))
                checkpoint.offer(done, partial(_state, counts, ends), last=done == of_round)
            following = counts_to_evaluate(ladder, ends, self.limits)
            if following == counts:
                return
            counts = following


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


def _state(counts: Sequence[int], ends: Sequence[EvaluatedEnd]) -> dict[str, np.ndarray]:
    """Return the arrays from which the evaluation can continue.

    Parameters
    ----------
    counts
        Number of frames of each end that are evaluated in this round and in those before.
    ends
        Both ends.
    """
    state = {"counts": np.array(counts)}
    for k, end in enumerate(ends):
        failed = sorted(end.errors)
        state[f"energies_{k}"] = end.target_eV
        state[f"failed_{k}"] = np.array(failed, dtype=int)
        state[f"errors_{k}"] = np.array([end.errors[row] for row in failed], dtype=str)
    return state


def _restored(state: Mapping[str, np.ndarray], ends: Sequence[EvaluatedEnd]) -> tuple[int, ...]:
    """Write energies and errors of a checkpoint to the ends, and return the numbers of frames of its round."""
    for k, end in enumerate(ends):
        end.target_eV[:] = state[f"energies_{k}"]
        end.errors.update(zip(state[f"failed_{k}"].tolist(), state[f"errors_{k}"].tolist(), strict=True))
    # Checkpoints of earlier releases have no counts; they evaluated all frames.
    return tuple(int(n) for n in state.get("counts", [len(end.order) for end in ends]))
