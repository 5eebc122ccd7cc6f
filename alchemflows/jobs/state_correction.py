"""The job that corrects absolute free energies, and the transitions between them, to another potential."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from jobflow import JobConfig, Maker, OutputReference, job

from alchemflows.errors import InvalidInputError
from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.evaluation import evaluate_frames
from alchemflows.jobs.frames import identifier, states_of_result, stored_absolute
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.state_correction import StateCorrectionDocument


@dataclass
class CorrectStatesMaker(Maker):
    """Evaluate the frames of the states of a result with a target, and correct their free energies and transitions.

    Parameters
    ----------
    name
        Name of the job.
    target
        Potential, or calculator of ASE.
    max_failed
        Maximum fraction of failed frames of each state, which are left out; with more, the job ends with an error.
    """

    name: str = "correction"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    max_failed: float = 0.1

    def cost(self, result: OutputReference | str, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("sampling", frames=cost_of_frames(result))

    @job(
        output_schema=StateCorrectionDocument,
        data=["energies"],
        config=JobConfig(expose_store=True, resolve_references=False),
    )
    def make(self, result: OutputReference | str) -> StateCorrectionDocument:
        """Evaluate frames and correct the states.

        Parameters
        ----------
        result
            What has the states: an absolute free energy of a crystal or a liquid, phases, or a melting point. It is an
            output that is not resolved, or the identifier of its job.

        Raises
        ------
        DatabaseError
            If the result or its frames are not in the database.
        InvalidInputError
            If the target cannot be made or does not support an element, the result is of another kind, or none of its
            states can be corrected.
        PotentialError
            If the target fails on more frames than allowed; the message names them.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.targets import load_target
        from alchemflows.analysis.state_correction import state_correction_document

        require_store()
        started = time.perf_counter()
        store, uuid = current_store(), identifier(result)
        document = stored_absolute(store, uuid)
        states, left_out = states_of_result(store, document)
        if not states:
            raise InvalidInputError(f"no state of the result {uuid[:8]} can be corrected: {'; '.join(left_out)}")
        target = load_target(self.target)
        frames = [each.frames for each in states]
        target.check_elements(frozenset().union(*(each.sampled.frames.elements for each in frames)))
        counts = tuple(len(each.order) for each in frames)
        with resumable() as checkpoint:
            evaluate_frames(target, frames, checkpoint, self.max_failed, lambda: counts)
        provenance = Provenance(potential=target.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s)
        return state_correction_document(uuid, document, target.name, states, left_out, provenance)
