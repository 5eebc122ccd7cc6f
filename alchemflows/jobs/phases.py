"""Jobs that compare the Gibbs free energies of phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.analysis.phases import PhaseComposition, Point, compare, compare_curves
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.isolines import TemperatureSweepDocument
from alchemflows.schemas.phases import PhaseStabilityDocument


@dataclass
class PhaseComparisonMaker(Maker):
    """Compare the Gibbs free energies of phases; points whose runs failed are reported and left out.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "phase stability"

    @job(output_schema=PhaseStabilityDocument)
    def make(self, points: Sequence[Point], documents: Sequence[FrenkelLaddDocument | None]) -> PhaseStabilityDocument:
        """Compare the phases.

        Parameters
        ----------
        points
            Phase, composition and temperature of each document.
        documents
            Results; None for a failed run.

        Raises
        ------
        InvalidInputError
            If no run succeeded.
        """
        return compare(points, [FrenkelLaddDocument.read(document) for document in documents])


@dataclass
class PhaseCurveComparisonMaker(Maker):
    """Compare the curves G(T) of phases; phases whose runs failed are reported and left out.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "phase stability"

    @job(output_schema=PhaseStabilityDocument)
    def make(
        self,
        crystals: Sequence[PhaseComposition],
        temperatures_K: Sequence[float],
        documents: Sequence[TemperatureSweepDocument | None],
    ) -> PhaseStabilityDocument:
        """Compare the phases.

        Parameters
        ----------
        crystals
            Phase and composition of each document.
        temperatures_K
            Temperatures at which the phases are compared; transitions are found between them.
        documents
            Sweeps of the temperature; None for a failed run.

        Raises
        ------
        InvalidInputError
            If no run succeeded.
        """
        return compare_curves(
            crystals, temperatures_K, [TemperatureSweepDocument.read(document) for document in documents]
        )
