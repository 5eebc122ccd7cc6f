"""The job that finds the melting point from G(T) of a solid and of its liquid."""

from __future__ import annotations

from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.jobs.inputs import check_same, reasons_of
from alchemflows.schemas.isolines import TemperatureSweepDocument
from alchemflows.schemas.melting import MeltingDocument


@dataclass
class MeltingPointAnalysisMaker(Maker):
    """Find the melting point from G(T) of a solid and of its liquid.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "melting point"

    @job(output_schema=MeltingDocument, data=["curves"])
    def make(self, solid: TemperatureSweepDocument, liquid: TemperatureSweepDocument) -> MeltingDocument:
        """Find the melting point.

        Parameters
        ----------
        solid, liquid
            G(T) of both phases, of the same composition at the same pressure.

        Raises
        ------
        InvalidInputError
            If compositions or pressures differ, the volume is constant, or the curves have no temperature in common.
        """
        from alchemflows.analysis.melting import melting_document

        check_same("phases", (solid, liquid), "formula", "pressure_GPa")
        return melting_document(solid, liquid, reasons_of((("solid", solid), ("liquid", liquid))))
