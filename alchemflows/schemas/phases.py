"""Documents of phase stability."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.isolines import CurveValues, QuantumCorrections, SweepAnchor
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class PhasePoint(BaseModel):
    """G of one phase at one composition and temperature."""

    phase: str
    formula: str
    composition: float | None = Field(description="fraction x of the substitution; none without a substitution")
    temperature_K: float
    counts: Counts = Field(description="counts of the cell")
    gibbs_eV: float | None = Field(description="G of the cell, with ideal mixing; none if the run failed")
    error_eV: float | None
    ideal_mixing_eV: float = Field(description="k_B T Σ x ln x of the cell, contained in G")
    volume_A3: float | None
    failure: str | None = Field(description="reason for a missing result, for example a mechanically unstable phase")
    mean_cell_job: str | None = Field(
        None, description="identifier of the job that has frames of this state; none on a curve, or for a given cell"
    )

    @property
    def gibbs_eV_per_atom(self) -> float | None:
        """G with ideal mixing, eV/atom; None if the run failed."""
        return None if self.gibbs_eV is None else self.counts.per_atom(self.gibbs_eV)

    @property
    def error_eV_per_atom(self) -> float | None:
        """Standard error of G, eV/atom; None if the run failed."""
        return None if self.error_eV is None else self.counts.per_atom(self.error_eV)

    @property
    def ideal_mixing_eV_per_atom(self) -> float:
        """−T S of ideal mixing, eV/atom."""
        return self.counts.per_atom(self.ideal_mixing_eV)

    @property
    def volume_A3_per_atom(self) -> float | None:
        """Volume, Å³/atom; None if the run failed."""
        return None if self.volume_A3 is None else self.counts.per_atom(self.volume_A3)


class PhaseTransition(BaseModel):
    """Transition between two phases, at the temperature at which their G are equal."""

    composition: float | None
    low_temperature_phase: str
    high_temperature_phase: str
    temperature_K: float | None = Field(description="none if there is no transition within the given temperatures")
    error_K: float | None
    entropy_eV_per_K_per_atom: float | None = Field(
        description="S of the high-temperature phase minus S of the low-temperature phase"
    )
    entropy_error_eV_per_K_per_atom: float | None = None
    latent_heat_eV_per_atom: float | None = Field(None, description="T ΔS = ΔH at the transition")
    latent_heat_error_eV_per_atom: float | None = None
    volume_change_A3_per_atom: float | None = Field(
        None, description="V of the high-temperature phase minus V of the low-temperature phase; only from curves"
    )
    volume_change_error_A3_per_atom: float | None = None
    boundary_K_per_GPa: float | None = Field(
        None, description="slope dT/dp = ΔV/ΔS of the boundary between the phases; only from curves"
    )
    boundary_error_K_per_GPa: float | None = None
    quantum_shift_K: float | None = Field(
        None,
        description="shift of the temperature by quantum nuclei, from the Wigner–Kirkwood terms of both phases, not "
        "included in it; only from curves, and where the expansion holds",
    )
    quantum_shift_error_K: float | None = None
    probability: float = Field(
        description="probability of a transition within the given temperatures, from the errors of G"
    )


class PhaseBoundary(BaseModel):
    """Boundary between two phases: their transition at several pressures."""

    composition: float | None
    phases: tuple[str, str]
    pressures_GPa: list[float]
    transitions: list[PhaseTransition] = Field(description="the transition at each pressure")
    deviations_K: list[float | None] = Field(
        description="differences between successive transition temperatures, minus the integral of dT/dp between them; "
        "none without both transitions"
    )
    deviation_errors_K: list[float | None]


class StablePhase(BaseModel):
    """The phase of lowest G at one composition and temperature."""

    composition: float | None
    temperature_K: float
    phase: str
    margin_eV_per_atom: float | None = Field(
        description="G of the second most stable phase minus G of this one; none without a second phase"
    )
    margin_error_eV_per_atom: float | None


class PhaseCurve(BaseModel):
    """G(T) of one phase at one composition, from one absolute free energy and one sweep; values are for the cell."""

    phase: str
    formula: str
    composition: float | None
    counts: Counts
    anchor_K: float = Field(description="temperature of the absolute free energy")
    anchor: SweepAnchor | None = Field(
        None, description="the absolute free energy, without ideal mixing; none in older documents"
    )
    temperatures_K: list[float]
    gibbs_eV: CurveValues = Field(description="G with ideal mixing")
    entropy_eV_per_K: CurveValues = Field(description="S with ideal mixing")
    volumes_A3: CurveValues
    quantum: QuantumCorrections | None = Field(None, description="corrections for quantum nuclei, not included in G")


class PhaseStabilityDocument(Document):
    """G(x, T) of several phases, the stable phase at each point, and the transitions between phases."""

    pressure_GPa: float | None
    phases: list[str]
    temperatures_K: list[float]
    compositions: list[float] | None
    points: list[PhasePoint]
    stable: list[StablePhase]
    transitions: list[PhaseTransition]
    curves: list[PhaseCurve] = Field([], description="curves of the points; none if each point is a run of its own")
    boundaries: list[PhaseBoundary] | None = Field(
        None, description="boundaries between the phases; none unless further pressures were asked for"
    )
    verdict: Verdict
    provenance: Provenance
