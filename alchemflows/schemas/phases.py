"""Documents of phase stability."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class PhasePoint(BaseModel):
    """G of one phase at one composition and temperature."""

    phase: str
    formula: str
    composition: float | None = Field(description="x, the share of the substitution; none without one")
    temperature_K: float
    counts: Counts = Field(description="of the cell")
    gibbs_eV: float | None = Field(description="of the cell, with ideal mixing; none where the run failed")
    error_eV: float | None
    ideal_mixing_eV: float = Field(description="k_B T Σ x ln x of the cell, contained in G")
    volume_A3: float | None
    failure: str | None = Field(description="why there is no number: the phase is not mechanically stable, say")

    @property
    def gibbs_eV_per_atom(self) -> float | None:
        """G with ideal mixing, eV/atom; None where the run failed."""
        return None if self.gibbs_eV is None else self.counts.per_atom(self.gibbs_eV)

    @property
    def error_eV_per_atom(self) -> float | None:
        """Standard error of G, eV/atom; None where the run failed."""
        return None if self.error_eV is None else self.counts.per_atom(self.error_eV)

    @property
    def ideal_mixing_eV_per_atom(self) -> float:
        """−T S of ideal mixing, eV/atom."""
        return self.counts.per_atom(self.ideal_mixing_eV)

    @property
    def volume_A3_per_atom(self) -> float | None:
        """Volume, Å³/atom; None where the run failed."""
        return None if self.volume_A3 is None else self.counts.per_atom(self.volume_A3)


class PhaseTransition(BaseModel):
    """Where two phases have the same G."""

    composition: float | None
    low_temperature_phase: str
    high_temperature_phase: str
    temperature_K: float | None = Field(description="none: no transition between the temperatures given")
    error_K: float | None
    entropy_eV_per_K_per_atom: float | None = Field(
        description="S of the high-temperature phase less that of the other"
    )
    probability: float = Field(description="that there is one between the temperatures, from the errors of G")


class StablePhase(BaseModel):
    """The phase of lowest G at one composition and temperature."""

    composition: float | None
    temperature_K: float
    phase: str
    margin_eV_per_atom: float | None = Field(description="G of the next less that of this one; none if it is alone")
    margin_error_eV_per_atom: float | None


class PhaseStabilityDocument(Document):
    """G(x, T) of several phases, which is stable where, and the transitions between them."""

    pressure_GPa: float | None
    phases: list[str]
    temperatures_K: list[float]
    compositions: list[float] | None
    points: list[PhasePoint]
    stable: list[StablePhase]
    transitions: list[PhaseTransition]
    verdict: Verdict
    provenance: Provenance
