"""The job that compares the members of a committee on a transition between order and disorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.frame_energies import evaluated_members
from alchemflows.jobs.frames import transition_with_samples
from alchemflows.jobs.stores import current_store
from alchemflows.schemas.mixing_committee import FrameEnergies
from alchemflows.schemas.transition_committee import TransitionCommitteeDocument


@dataclass
class CompareTransitionMaker(Maker):
    """Compare the members of a committee on a transition between order and disorder.

    Parameters
    ----------
    name
        Name of the job.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_K
        Largest accepted standard deviation of the transition temperature over the members (K).
    """

    name: str = "transition committee"
    include_sampled: bool = True
    tolerance_K: float | None = None

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=TransitionCommitteeDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        transition: str,
        names: Sequence[str],
        jobs: Sequence[str],
        energies: Sequence[FrameEnergies | dict | None],
    ) -> TransitionCommitteeDocument:
        """Compare the members.

        Parameters
        ----------
        transition
            Identifier of the job whose output is the transition.
        names, jobs
            Name of each member, and identifier of the job that evaluated it.
        energies
            Energies of each member; None for a failed job.

        Raises
        ------
        DatabaseError
            If the result, or its Monte Carlo, is not in the database.
        AlchemflowsError
            If fewer than two members are left, since jobs failed.
        InvalidInputError
            If a temperature has too few frames that a member could evaluate.
        """
        from alchemflows.analysis.transition_committee import (
            sampled_cells,
            transition_committee_document,
            transition_states,
        )

        document, sampled = transition_with_samples(current_store(), transition)
        return transition_committee_document(
            transition,
            document,
            sampled_cells(document, sampled),
            evaluated_members(names, jobs, energies, transition_states(transition, document, sampled)),
            include_sampled=self.include_sampled,
            tolerance_K=self.tolerance_K,
        )
