"""The job that lists corrections of several ladders to a new potential."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import JobConfig, Maker, job

from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.frames import stored_ladder
from alchemflows.jobs.stores import current_store
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.reanalysis import ReanalysisDocument


@dataclass
class ListCorrectionsMaker(Maker):
    """List corrections of several ladders to a new potential.

    Parameters
    ----------
    name
        Name of the job.
    target
        Potential, or calculator of ASE.
    """

    name: str = "reanalysis"
    target: PotentialSpec | CalculatorSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`; it has no dynamics."""
        return JobCost("analysis")

    @job(output_schema=ReanalysisDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        ladders: Sequence[str],
        jobs: Sequence[str],
        corrections: Sequence[CorrectionDocument | dict | None],
        refused: Mapping[str, str],
    ) -> ReanalysisDocument:
        """List the corrections.

        Parameters
        ----------
        ladders
            Identifiers of the free energies of the ladders that were evaluated.
        jobs, corrections
            Identifier and result of the job that evaluated each of them; None for a failed job.
        refused
            Why other ladders were not evaluated, by their identifiers.

        Raises
        ------
        DatabaseError
            If a ladder is not in the database.
        """
        from alchemflows.analysis.reanalysis import reanalysis_document

        store = current_store()
        documents = {uuid: stored_ladder(store, uuid) for uuid in (*ladders, *refused)}
        found = {
            uuid: (each, CorrectionDocument.read(correction))
            for uuid, each, correction in zip(ladders, jobs, corrections, strict=True)
        }
        potential = self.target if isinstance(self.target, PotentialSpec) else None
        return reanalysis_document(self.target.name, potential, documents, found, refused)
