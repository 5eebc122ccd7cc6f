"""The job that evaluates forces at the frames of both ends of a ladder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jobflow import JobConfig, Maker, OutputReference, job

from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.committee import FrameForces
from alchemflows.schemas.correction import CalculatorSpec, FailedFrame
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import Progress, ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays

if TYPE_CHECKING:
    from alchemflows.analysis.frame_forces import EndForces


@dataclass
class FrameForcesMaker(Maker):
    """Evaluate the forces at the frames of both ends of a ladder with one potential.

    Frames on which it fails are left out; if it fails on all of them, so does the job.

    Parameters
    ----------
    name
        Name of the job.
    target
        Potential, or calculator of ASE.
    """

    name: str = "forces"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))

    def cost(self, ladder: OutputReference | str, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("sampling", frames=cost_of_frames(ladder, forces=True))

    @job(output_schema=FrameForces, data=["forces"], config=JobConfig(expose_store=True, resolve_references=False))
    def make(self, ladder: OutputReference | str, member: str) -> FrameForces:
        """Evaluate the forces.

        Parameters
        ----------
        ladder
            Free energy of the ladder, an output that is not resolved, or the identifier of its job.
        member
            Name of the member of the committee.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        InvalidInputError
            If the target cannot be made or does not support an element, or the ladder has no frames or mixed ends.
        PotentialError
            If the target fails on all frames of an end.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.targets import load_target
        from alchemflows.analysis.frame_forces import EndForces
        from alchemflows.jobs.frames import frames_of_ladder, identifier, stored_ladder

        require_store()
        started, store, uuid = time.perf_counter(), current_store(), identifier(ladder)
        ends = [EndForces.of(each.frames) for each in frames_of_ladder(store, stored_ladder(store, uuid))]
        target = load_target(self.target)
        target.check_elements(frozenset().union(*(end.frames.elements for end in ends)))
        batches = [(k, rows) for k, end in enumerate(ends) for rows in end.batches(target.n_at_once)]
        report, begun = ProgressFile(Path.cwd()), time.monotonic()
        with resumable() as checkpoint:
            first = 0
            if (saved := checkpoint.load()) is not None:
                first = int(saved.state["done"])
                for k, end in enumerate(ends):
                    end.restore(saved.state[f"forces_{k}"], saved.state[f"errors_{k}"])
            for done, (k, rows) in enumerate(batches[first:], first + 1):
                ends[k].record(rows, target.forces([ends[k].images[row] for row in rows]))
                speed = (done - first) / max(time.monotonic() - begun, 1e-9)
                report(Progress("forces", done, len(batches), (), 0.0, steps_per_s=speed))
                checkpoint.offer(done, partial(_state, done, ends), last=done == len(batches))
        for end in ends:
            end.check(target.name)
        failed = [
            [FailedFrame(index=k, time_fs=end.frames.time_fs[k], error=text) for k, text in end.failed] for end in ends
        ]
        arrays = {name: end.forces for name, end in zip(("initial", "final"), ends, strict=True)}
        spent = time.perf_counter() - started + checkpoint.spent_s
        return FrameForces(
            ladder=uuid,
            name=member,
            failed=(failed[0], failed[1]),
            forces=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
            provenance=Provenance(potential=target.record, wall_time_s=spent),
        )


def _state(done: int, ends: Sequence[EndForces]) -> Mapping[str, np.ndarray]:
    """Return the arrays from which the evaluation can continue after a number of batches."""
    state = {"done": np.array(done)}
    for k, end in enumerate(ends):
        state[f"forces_{k}"], state[f"errors_{k}"] = end.forces, np.array(end.errors, dtype=str)
    return state
