"""States of results with absolute free energies: which states they have, and which jobs store their frames."""

from __future__ import annotations

from dataclasses import dataclass

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.isolines import SweepAnchor, TemperatureSweepDocument
from alchemflows.schemas.liquid import LiquidFreeEnergyDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.phases import PhaseCurve, PhaseStabilityDocument

#: Results whose states have absolute free energies.
AbsoluteResult = FrenkelLaddDocument | LiquidFreeEnergyDocument | PhaseStabilityDocument | MeltingDocument


@dataclass(frozen=True)
class AbsoluteState:
    """A state with an absolute free energy at constant pressure; energies are for the cell.

    Attributes
    ----------
    phase, composition
        Name of the phase, and fraction of the substitution; empty and None for a single crystal or liquid.
    formula, counts, temperature_K, pressure_GPa
        Of the cell.
    gibbs_eV, error_eV
        G and its standard error, without ideal mixing.
    job
        Identifier of the job that sampled the mean cell and has the frames; None if there is none.
    """

    phase: str
    composition: float | None
    formula: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float
    gibbs_eV: float
    error_eV: float
    job: str | None

    @property
    def name(self) -> str:
        """Name of the state in messages and tables."""
        crystal = self.formula if not self.phase else f"{self.phase} {self.formula}"
        return f"{crystal}, {self.temperature_K:g} K"


def absolute_states(document: AbsoluteResult) -> list[AbsoluteState]:
    """Return the states of a result, those of curves at their anchors; runs that failed have none."""
    if isinstance(document, MeltingDocument):
        curves = (("solid", document.solid), ("liquid", document.liquid))
        return [_anchor(name, curve, curve.anchor) for name, curve in curves]
    if isinstance(document, PhaseStabilityDocument):
        return _phases(document)
    return [
        AbsoluteState(
            "",
            None,
            document.formula,
            document.counts,
            document.temperature_K,
            document.pressure_GPa,
            document.gibbs.value_eV,
            document.gibbs.error_eV,
            document.mean_cell_job,
        )
    ]


def is_absolute(document: Document) -> bool:
    """Return whether a result has states with absolute free energies."""
    return isinstance(document, AbsoluteResult)


def _anchor(
    phase: str,
    curve: TemperatureSweepDocument | PhaseCurve,
    anchor: SweepAnchor,
    composition: float | None = None,
) -> AbsoluteState:
    return AbsoluteState(
        phase,
        composition,
        curve.formula,
        curve.counts,
        anchor.temperature_K,
        anchor.pressure_GPa,
        anchor.gibbs.value_eV,
        anchor.gibbs.error_eV,
        anchor.mean_cell_job,
    )


def _phases(document: PhaseStabilityDocument) -> list[AbsoluteState]:
    pressure_GPa = 0.0 if document.pressure_GPa is None else document.pressure_GPa
    if document.curves:
        return [
            _anchor(curve.phase, curve, curve.anchor, curve.composition)
            for curve in document.curves
            if curve.anchor is not None
        ]
    return [
        AbsoluteState(
            point.phase,
            point.composition,
            point.formula,
            point.counts,
            point.temperature_K,
            pressure_GPa,
            point.gibbs_eV - point.ideal_mixing_eV,
            point.error_eV,
            point.mean_cell_job,
        )
        for point in document.points
        if point.gibbs_eV is not None and point.error_eV is not None
    ]
