"""The job that finds the melting point from G(T) of a solid and of its liquid."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.errors import AlchemflowsError
from alchemflows.jobs.inputs import Judged, check_same, reasons_of
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.isolines import TemperatureSweepDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.reasons import Reason


@dataclass
class MeltingPointAnalysisMaker(Maker):
    """Find the melting point from G(T) of a solid and of its liquid.

    Parameters
    ----------
    name
        Name of the job.
    checks_coexistence
        Whether a run with both phases in contact was requested; if it failed, the verdict says so.
    """

    name: str = "melting point"
    checks_coexistence: bool = False

    @job(output_schema=MeltingDocument, data=["curves"])
    def make(
        self,
        solid: TemperatureSweepDocument,
        liquid: TemperatureSweepDocument,
        coexistence: CoexistenceDocument | None = None,
    ) -> MeltingDocument:
        """Find the melting point.

        Parameters
        ----------
        solid, liquid
            G(T) of both phases, of the same composition at the same pressure.
        coexistence
            Growth of both phases in contact; None if it was not requested, or failed.

        Raises
        ------
        AlchemflowsError
            If a curve is missing, because an earlier job failed.
        InvalidInputError
            If compositions or pressures differ, the volume is constant, or the curves have no temperature in common.
        """
        from alchemflows.analysis.melting import melting_document

        if solid is None or liquid is None:
            raise AlchemflowsError("a curve is missing, because an earlier job failed; see the error of that job")
        check_same("phases", (solid, liquid), "formula", "pressure_GPa")
        parts: list[tuple[str, Judged]] = [("solid", solid), ("liquid", liquid)]
        reasons = reasons_of(parts if coexistence is None else [*parts, ("coexistence", coexistence)])
        if self.checks_coexistence and coexistence is None:
            reasons.append(Reason.COEXISTENCE_FAILED.because())
        return melting_document(solid, liquid, reasons, coexistence)
