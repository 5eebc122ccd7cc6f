"""The job that compares the members of a committee on absolute free energies and their transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.frames import states_of_result, stored_absolute
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.state_committee import StateCommitteeDocument
from alchemflows.schemas.state_correction import StateCorrectionDocument


@dataclass
class CompareStatesMaker(Maker):
    """Compare the members of a committee on absolute free energies and their transitions.

    Parameters
    ----------
    name
        Name of the job.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_K
        Largest accepted standard deviation of the temperature of a transition over the members (K).
    tolerance_meV_per_atom
        Largest accepted standard deviation of the free energy of a state over the members (meV/atom).
    """

    name: str = "state committee"
    include_sampled: bool = True
    tolerance_K: float | None = None
    tolerance_meV_per_atom: float | None = None

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=StateCommitteeDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        result: str,
        names: Sequence[str],
        jobs: Sequence[str],
        corrections: Sequence[StateCorrectionDocument | dict | None],
    ) -> StateCommitteeDocument:
        """Compare the members.

        Parameters
        ----------
        result
            Identifier of the job whose output is the absolute free energy, the phases or the melting point.
        names, jobs
            Name of each member, and identifier of the job that evaluated it.
        corrections
            Correction to each member; None for a failed job.

        Raises
        ------
        DatabaseError
            If the result or its frames are not in the database.
        AlchemflowsError
            If fewer than two members are left, since jobs failed.
        """
        from alchemflows.analysis.state_committee import state_committee_document

        require_store()
        store = current_store()
        document = stored_absolute(store, result)
        states, _ = states_of_result(store, document)
        found = [StateCorrectionDocument.read(each) for each in corrections]
        return state_committee_document(
            result,
            document,
            states,
            list(zip(names, jobs, found, strict=True)),
            include_sampled=self.include_sampled,
            tolerance_K=self.tolerance_K,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
        )
