"""The job that compares corrections of one ladder to the members of a committee."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, Flow, JobConfig, JobStore, Maker, Response, job

from alchemflows.errors import AlchemflowsError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import failing_onwards, tolerant
from alchemflows.jobs.jobflow_parts import take_place_of
from alchemflows.jobs.stores import current_store, require_store, stored_output
from alchemflows.schemas.committee import CommitteeDocument, FrameForces
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.free_energy import FreeEnergyDocument

if TYPE_CHECKING:
    from alchemflows.analysis.frames import SampledFrames

logger = logging.getLogger(__name__)


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
    budget
        Maximum number of window runs with members that overlap too little.
    ladders
        Makers of the ladders of members, by name: :class:`~alchemflows.flows.rerun.RerunMaker`. Members without one are
        not run.
    """

    name: str = "committee"
    include_sampled: bool = True
    tolerance_meV_per_atom: float | None = None
    budget: int = 0
    ladders: Mapping[str, Any] = field(default_factory=dict)

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=CommitteeDocument, data=["evaluations"], config=JobConfig(expose_store=True))
    def make(
        self,
        ladder: str,
        names: Sequence[str],
        jobs: Sequence[str],
        corrections: Sequence[CorrectionDocument | dict | str | None],
        force_names: Sequence[str] = (),
        force_jobs: Sequence[str] = (),
        forces: Sequence[FrameForces | dict | str | None] = (),
        rerun_names: Sequence[str] = (),
        rerun_jobs: Sequence[str] = (),
        reruns: Sequence[FreeEnergyDocument | dict | None] = (),
    ) -> CommitteeDocument | Response:
        """Compare the members, or first run ladders with those that overlap too little.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.
        names, jobs
            Name of each member, and identifier of the job that evaluated it.
        corrections
            Correction to each member, or the identifier of its job, whose output is then read from the store; None for
            a failed job.
        force_names, force_jobs, forces
            The same for the forces of the members, if they are compared.
        rerun_names, rerun_jobs, reruns
            The same for members whose ladders were run; then no others are run.

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
        sampled = frames_of_ladder(store, document)
        ladders = {
            name: (uuid, known)
            for name, uuid, found in zip(rerun_names, rerun_jobs, reruns, strict=True)
            if (known := FreeEnergyDocument.read(found)) is not None
        }
        members = [
            Evaluated(name, uuid, CorrectionDocument.read(_stored(store, found)), ladders.get(name))
            for name, uuid, found in zip(names, jobs, corrections, strict=True)
        ]
        compared = committee_document(
            ladder,
            document,
            sampled,
            members,
            [
                MemberForces(
                    name, uuid, None if (each := FrameForces.read(_stored(store, found))) is None else each.both_ends
                )
                for name, uuid, found in zip(force_names, force_jobs, forces, strict=True)
            ],
            include_sampled=self.include_sampled,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
        )
        current = CURRENT_JOB.job
        if rerun_names or not self.budget or current is None:
            return compared
        flows = self._reruns(compared, document, sampled)
        if not flows:
            return compared
        again = self.make(
            ladder,
            names,
            jobs,
            [None if found is None else uuid for uuid, found in zip(jobs, corrections, strict=True)],
            force_names,
            force_jobs,
            [None if found is None else uuid for uuid, found in zip(force_jobs, forces, strict=True)],
            list(flows),
            [flow.output.uuid for flow in flows.values()],
            [flow.output for flow in flows.values()],
        )
        take_place_of(again, current)
        tolerant(again)
        return Response(replace=Flow([*flows.values(), again], name=f"{self.name}, ladders of members"))

    def _reruns(
        self,
        compared: CommitteeDocument,
        ladder: FreeEnergyDocument,
        sampled: tuple[SampledFrames, SampledFrames],
    ) -> dict[str, Flow]:
        """Return the flows of the ladders of members that overlap too little, by name, as far as the budget reaches."""
        cost = sum(window.n_runs for window in ladder.windows)
        flows: dict[str, Flow] = {}
        for member in compared.members:
            if member.overlaps or member.name not in self.ladders or (len(flows) + 1) * cost > self.budget:
                continue
            try:
                made = self.ladders[member.name].make(ladder, *(each.frames for each in sampled))
            except AlchemflowsError as error:
                logger.warning("the ladder of %s is not run: %s", member.name, error)
                continue
            made.name = f"ladder with {member.name}"
            flows[member.name] = failing_onwards(made)
        return flows


def _stored(store: JobStore, found: Any) -> Any:
    """Return the output of a job whose identifier is given, or what is given."""
    return stored_output(store, found) if isinstance(found, str) else found
