"""The job that compares corrections of one ladder to the members of a committee."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.committee import CommitteeDocument, FrameForces
from alchemflows.schemas.correction import CorrectionDocument


@dataclass
class CompareMembersMaker(Maker):
    """Compare the members of a committee.

    Parameters
    ----------
    name
        Name of the job.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_meV_per_atom
        Largest accepted standard deviation over the members (meV/atom).
    """

    name: str = "committee"
    include_sampled: bool = True
    tolerance_meV_per_atom: float | None = None

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=CommitteeDocument, data=["evaluations"], config=JobConfig(expose_store=True))
    def make(
        self,
        ladder: str,
        names: Sequence[str],
        jobs: Sequence[str],
        corrections: Sequence[CorrectionDocument | dict | None],
        force_names: Sequence[str] = (),
        force_jobs: Sequence[str] = (),
        forces: Sequence[FrameForces | dict | None] = (),
    ) -> CommitteeDocument:
        """Compare the members.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.
        names, jobs
            Name of each member, and identifier of the job that evaluated it.
        corrections
            Correction to each member; None for a failed job.
        force_names, force_jobs, forces
            The same for the forces of the members, if they are compared.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        AlchemflowsError
            If fewer than two members are left, since jobs failed.
        """
        from alchemflows.analysis.committee import Evaluated, MemberForces, committee_document
        from alchemflows.jobs.frames import frames_of_ladder, stored_ladder

        require_store()
        store = current_store()
        document = stored_ladder(store, ladder)
        members = [
            Evaluated(name, uuid, CorrectionDocument.read(found))
            for name, uuid, found in zip(names, jobs, corrections, strict=True)
        ]
        return committee_document(
            ladder,
            document,
            frames_of_ladder(store, document),
            members,
            [
                MemberForces(name, uuid, None if (each := FrameForces.read(found)) is None else each.both_ends)
                for name, uuid, found in zip(force_names, force_jobs, forces, strict=True)
            ],
            include_sampled=self.include_sampled,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
        )
