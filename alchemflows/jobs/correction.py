"""The job that corrects the free energy of a ladder to another potential, by evaluating frames of both ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jobflow import CURRENT_JOB, JobConfig, JobStore, Maker, job

from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError, PotentialError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import Progress, ProgressFile
from alchemflows.schemas.provenance import Provenance

if TYPE_CHECKING:
    from alchemflows.alchemy.targets import EnergyTarget
    from alchemflows.analysis.correction import EvaluatedEnd
    from alchemflows.sampling.checkpoint import Checkpoint

#: Failed frames that an error message names.
_NAMED = 3


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
        Largest share of the frames of an end that may fail; they are left out.
    """

    name: str = "correction"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    max_failed: float = 0.1

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=CorrectionDocument, data=["energies"], config=JobConfig(expose_store=True))
    def make(self, ladder: str) -> CorrectionDocument:
        """Evaluate frames and correct the free energy.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        InvalidInputError
            If the target cannot be made or does not support an element, or the ladder has no frames or mixed ends.
        PotentialError
            If the target fails on more frames than allowed; the message names them.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.targets import load_target
        from alchemflows.analysis.correction import EvaluatedEnd, correction_document
        from alchemflows.jobs.frames import frames_of_ladder

        require_store()
        started = time.perf_counter()
        store: JobStore | None = CURRENT_JOB.store
        if store is None:
            raise DatabaseError("the job has no store from which it could read the ladder")
        document = read_ladder(store, ladder)
        sampled = frames_of_ladder(store, document)
        target = load_target(self.target)
        target.check_elements(frozenset().union(*(each.frames.elements for each in sampled)))
        ends = [
            EvaluatedEnd(value, formula, each, np.full(len(each.frames), np.nan), {})
            for value, formula, each in zip(
                (0.0, 1.0), (document.initial_formula, document.final_formula), sampled, strict=True
            )
        ]
        with resumable() as checkpoint:
            self._evaluate(target, ends, checkpoint)
        return correction_document(
            ladder,
            document,
            target.name,
            ends[0],
            ends[1],
            Provenance(potential=target.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s),
        )

    def _evaluate(self, target: EnergyTarget, ends: list[EvaluatedEnd], checkpoint: Checkpoint) -> None:
        """Evaluate all frames; energies and errors are written to the ends."""
        batches = []
        for end in ends:
            images, size = end.sampled.frames.atoms(), target.n_at_once
            batches += [(end, start, images[start : start + size]) for start in range(0, len(images), size)]
        first = 0
        if (saved := checkpoint.load()) is not None:
            first = _restored(saved.state, ends)
        report, begun = ProgressFile(Path.cwd()), time.monotonic()
        for done, (end, start, images) in enumerate(batches[first:], first + 1):
            for row, energy in enumerate(target.energies(images), start):
                if isinstance(energy, str):
                    end.errors[row] = energy
                else:
                    end.target_eV[row] = energy
            self._check_failures(target, end)
            speed = (done - first) / max(time.monotonic() - begun, 1e-9)
            report(Progress("evaluation", done, len(batches), (), 0.0, steps_per_s=speed))
            checkpoint.offer(done, partial(_state, done, ends), last=done == len(batches))

    def _check_failures(self, target: EnergyTarget, end: EvaluatedEnd) -> None:
        n = len(end.target_eV)
        if len(end.errors) > self.max_failed * n:
            failed = sorted(end.errors.items())
            times = end.sampled.frames.time_fs
            named = "; ".join(f"frame {k} ({times[k]:g} fs): {text}" for k, text in failed[:_NAMED])
            raise PotentialError(
                f"the target {target.name} failed on {len(failed)} of {n} frames of {end.name}, more than the share "
                f"{self.max_failed:g} that may be left out: {named}"
            )


def read_ladder(store: JobStore, uuid: str) -> FreeEnergyDocument:
    """Return the free energy of a ladder, without the samples of its windows.

    Raises
    ------
    DatabaseError, InvalidInputError
        If it is not in the store, or is not a ladder.
    AlchemflowsError
        If it does not name the jobs that sampled its windows.
    """
    try:
        document = decoded(store.get_output(uuid, load=True))
    except ValueError as error:
        raise DatabaseError(f"the free energy {uuid} is not in the database") from error
    if not isinstance(document, FreeEnergyDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, so it has no frames")
    if not document.window_jobs:
        raise AlchemflowsError(f"the free energy {uuid[:8]} does not name the jobs that sampled its windows")
    return document


def _state(done: int, ends: list[EvaluatedEnd]) -> dict[str, np.ndarray]:
    """Return the arrays from which the evaluation can continue after a number of batches."""
    state = {"done": np.array(done)}
    for k, end in enumerate(ends):
        failed = sorted(end.errors)
        state[f"energies_{k}"] = end.target_eV
        state[f"failed_{k}"] = np.array(failed, dtype=int)
        state[f"errors_{k}"] = np.array([end.errors[row] for row in failed], dtype=str)
    return state


def _restored(state: Mapping[str, np.ndarray], ends: list[EvaluatedEnd]) -> int:
    """Write energies and errors of a checkpoint to the ends, and return the number of completed batches."""
    for k, end in enumerate(ends):
        end.target_eV[:] = state[f"energies_{k}"]
        end.errors.update(zip(state[f"failed_{k}"].tolist(), state[f"errors_{k}"].tolist(), strict=True))
    return int(state["done"])
