"""The job that compares the members of a committee on a free energy of mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.frame_energies import evaluated_members
from alchemflows.jobs.frames import mixing_with_states
from alchemflows.jobs.stores import current_store
from alchemflows.schemas.mixing_committee import FrameEnergies, MixingCommitteeDocument


@dataclass
class CompareMixingMaker(Maker):
    """Compare the members of a committee on a free energy of mixing.

    Parameters
    ----------
    name
        Name of the job.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_meV_per_atom
        Largest accepted standard deviation of the free energy of mixing over the members (meV/atom).
    """

    name: str = "mixing committee"
    include_sampled: bool = True
    tolerance_meV_per_atom: float | None = None

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=MixingCommitteeDocument, config=JobConfig(expose_store=True))
    def make(
        self, mixing: str, names: Sequence[str], jobs: Sequence[str], energies: Sequence[FrameEnergies | dict | None]
    ) -> MixingCommitteeDocument:
        """Compare the members.

        Parameters
        ----------
        mixing
            Identifier of the job whose output is the free energy of mixing.
        names, jobs
            Name of each member, and identifier of the job that evaluated it.
        energies
            Energies of each member; None for a failed job.

        Raises
        ------
        DatabaseError
            If the result is not in the database.
        AlchemflowsError
            If fewer than two members are left, since jobs failed.
        InvalidInputError
            If no temperature has enough frames of both pure compositions.
        """
        from alchemflows.analysis.mixing_committee import mixing_committee_document, second_counts

        document, states = mixing_with_states(current_store(), mixing)
        members = evaluated_members(names, jobs, energies, states)
        return mixing_committee_document(
            mixing,
            document,
            [second_counts(state, document.species[1]) for state in states],
            members,
            include_sampled=self.include_sampled,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
        )
