"""Jobs that compare the Gibbs free energies of phases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobflow import Maker, job

from alchemflows.analysis.phases import OtherPressures, PhaseComposition, Point, compare, compare_curves
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.isolines import PressureSweepDocument, TemperatureSweepDocument
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
        pressures_GPa: Sequence[float] = (),
        isotherms: Sequence[PressureSweepDocument | None] = (),
        others: Sequence[Sequence[TemperatureSweepDocument | None]] = (),
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
        pressures_GPa
            Further pressures of the boundaries between the phases.
        isotherms
            Sweep of the pressure of each crystal, if there are further pressures.
        others
            Sweeps of the temperature of each crystal, at each of these pressures.

        Raises
        ------
        InvalidInputError
            If no run succeeded.
        """
        sides = [
            OtherPressures(
                pressures_GPa,
                PressureSweepDocument.read(isotherm),
                [TemperatureSweepDocument.read(document) for document in at_pressures],
            )
            for isotherm, at_pressures in zip(isotherms, others, strict=True)
        ]
        return compare_curves(
            crystals, temperatures_K, [TemperatureSweepDocument.read(document) for document in documents], sides
        )
