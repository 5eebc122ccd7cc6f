"""The job that evaluates the frames of Monte Carlo with one member of a committee."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.evaluation import evaluate_frames
from alchemflows.jobs.frames import states_to_evaluate
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.mixing_committee import FrameEnergies
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays

if TYPE_CHECKING:
    from alchemflows.analysis.frames import StateFrames
    from alchemflows.analysis.members import EvaluatedMember


@dataclass
class FrameEnergiesMaker(Maker):
    """Evaluate the frames of all states of a free energy of mixing, or of a transition, with one member.

    Parameters
    ----------
    name
        Name of the job.
    target
        Potential, or calculator of ASE.
    max_failed
        Maximum fraction of failed frames of each state, which are left out; with more, the job ends with an error.
    """

    name: str = "energies"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    max_failed: float = 0.1

    def cost(self, result: str, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("sampling", frames=cost_of_frames(result))

    @job(output_schema=FrameEnergies, data=["energies"], config=JobConfig(expose_store=True))
    def make(self, result: str, member: str) -> FrameEnergies:
        """Evaluate the frames.

        Parameters
        ----------
        result
            Identifier of the job whose output is the free energy of mixing, or the transition.
        member
            Name of the member.

        Raises
        ------
        DatabaseError
            If the result, or Monte Carlo of a transition, is not in the database.
        InvalidInputError
            If the target cannot be made or does not support an element, or the result is of another kind or has too
            few frames.
        PotentialError
            If the target fails on more frames than allowed; the message names them.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        """
        from alchemflows.alchemy.targets import load_target
        from alchemflows.analysis.correction import EvaluatedEnd, failure_notes
        from alchemflows.analysis.frames import SampledFrames

        require_store()
        started = time.perf_counter()
        formula, states = states_to_evaluate(current_store(), result)
        ends = [
            EvaluatedEnd(
                None,
                formula,
                SampledFrames(state.frames, None, 0.0),
                np.full(len(state.frames), np.nan),
                {},
                label=state.name,
            )
            for state in states
        ]
        target = load_target(self.target)
        target.check_elements(frozenset().union(*(state.frames.elements for state in states)))
        counts = tuple(len(end.order) for end in ends)
        with resumable() as checkpoint:
            evaluate_frames(target, ends, checkpoint, self.max_failed, lambda: counts)
        arrays = {f"state_{k}": end.target_eV for k, end in enumerate(ends)}
        return FrameEnergies(
            result=result,
            name=member,
            failed=[note for end in ends for note in failure_notes(end)],
            energies=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
            provenance=Provenance(
                potential=target.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s
            ),
        )


def evaluated_members(
    names: Sequence[str],
    jobs: Sequence[str],
    energies: Sequence[FrameEnergies | dict | None],
    states: Sequence[StateFrames],
) -> list[EvaluatedMember]:
    """Return the members of a committee with ΔU of the frames of all states.

    Parameters
    ----------
    names, jobs
        Name of each member, and identifier of the job that evaluated it.
    energies
        Energies of each member; None for a failed job.
    states
        The states.
    """
    from alchemflows.analysis.members import EvaluatedMember

    members = []
    for name, uuid, each in zip(names, jobs, energies, strict=True):
        found = FrameEnergies.read(each)
        if found is None:
            members.append(EvaluatedMember(name, uuid, None, None))
            continue
        pairs = zip(found.of_states_eV, states, strict=True)
        differences = [energies_eV - state.frames.energy_eV for energies_eV, state in pairs]
        members.append(EvaluatedMember(name, uuid, found.provenance.potential, differences, found.failed))
    return members
