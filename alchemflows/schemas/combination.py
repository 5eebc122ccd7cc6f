"""Documents of ladders at several temperatures and pressures that are combined."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import Ensemble, Estimate
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class LadderPart(BaseModel):
    """A ladder that is part of a combination, and its own condition."""

    uuid: str = Field(description="identifier of its analysis")
    temperature_K: float
    pressure_GPa: float | None
    n_windows: int
    n_samples: int = Field(description="samples of all windows that are used, after thinning")
    alone: Estimate = Field(description="difference at its condition from its samples alone, with the mass term")
    together: Estimate = Field(description="the same from the samples of all ladders")
    deviation_sigma: float | None = Field(
        description="difference of both in standard errors of this difference; none with one ladder"
    )


class SampledState(BaseModel):
    """A window of a ladder."""

    ladder: int = Field(description="index in `ladders`")
    lambda_value: float
    temperature_K: float
    pressure_GPa: float | None
    component: int = Field(description="index of the set of overlapping states to which it belongs")


class CombinedPoint(BaseModel):
    """Differences between λ = 1 and λ = 0 at one temperature and pressure, and their derivatives.

    At constant volume G is the Helmholtz energy F, H the internal energy U, and C_p is C_V. Numbers are none at a point
    that is outside of what was sampled.
    """

    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    total: Estimate | None = Field(description="ΔG with the mass term; no mixing term, no arrangement term")
    mass_term_eV: float = Field(description="contribution of the momenta to ΔG, contained in `total`")
    delta_h_eV: float | None = Field(description="ΔH; the kinetic energies of both ends are equal")
    delta_h_error_eV: float | None
    delta_s_eV_per_K: float | None = Field(description="ΔS = −∂ΔG/∂T, with the mass term")
    delta_s_error_eV_per_K: float | None
    delta_c_eV_per_K: float | None = Field(description="ΔC_p = ∂ΔH/∂T, difference of the heat capacities")
    delta_c_error_eV_per_K: float | None
    delta_v_A3: float | None = Field(description="ΔV = ∂ΔG/∂p; none at constant volume")
    delta_v_error_A3: float | None
    end_overlaps: tuple[float, float] = Field(
        description="overlap of λ = 0 and of λ = 1 at this point with the nearest sampled state; 0.5 if it was sampled"
    )
    coverage: tuple[float, float] = Field(
        description="effective number of samples of λ = 0 and of λ = 1 at this point, relative to the number of "
        "samples of the nearest window; at least 0.1 within what was sampled, 0.5 if `n_effective` is below 10"
    )
    n_effective: float = Field(description="effective number of independent samples, the smaller of both ends")


class CombinedLadders(Document):
    """ΔG(T, p) of a transformation and its derivatives, from ladders at one or several temperatures and pressures.

    The samples of all ladders are combined by MBAR. `mixing_term_eV` and `arrangement_term_eV` of the ladders are
    proportional to T; they are stored per kelvin, and are not contained in any total.
    """

    initial_formula: str
    final_formula: str
    ensemble: Ensemble = Field(description="NVT: ΔF at constant volume; NPT: ΔG at constant pressure")
    counts: Counts
    volume_A3: float | None = Field(description="of the cell at constant volume; none at constant pressure")
    coupling: str
    weight_labels: list[str]
    initial_weights: list[float]
    final_weights: list[float]
    temperatures_K: list[float] = Field(description="temperatures of the points, increasing")
    pressures_GPa: list[float] = Field(description="pressures of the points, increasing; empty at constant volume")
    points: list[CombinedPoint] = Field(description="all temperatures at the first pressure, then at the next")
    covariance_eV2: list[list[float | None]] = Field(
        description="covariance of `total` at all points; none for points outside of what was sampled"
    )
    mass_term_eV_per_K: float
    mixing_term_eV_per_K: float = Field(description="ideal mixing term of a ladder per kelvin, NOT contained in totals")
    arrangement_term_eV_per_K: float = Field(
        description="arrangement term of a ladder per kelvin, NOT contained in totals"
    )
    ladders: list[LadderPart]
    states: list[SampledState]
    overlaps: list[list[float]] = Field(
        description="overlap of each two states: 0.5 if they are equal, 0 if they have nothing in common"
    )
    inefficiency: float = Field(description="statistical inefficiency of the thinned samples")
    discard: float = Field(0.0, description="fraction of the samples at the start of each window that is omitted")
    verdict: Verdict
    provenance: Provenance

    @property
    def title(self) -> str:
        """Symbol of the free energy, ΔF or ΔG."""
        return "ΔF" if self.ensemble == "NVT" else "ΔG"

    def at_pressure(self, pressure_GPa: float | None) -> list[CombinedPoint]:
        """Return the points at a pressure, in the order of temperature."""
        return [point for point in self.points if point.pressure_GPa == pressure_GPa]
