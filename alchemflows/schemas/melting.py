"""Documents of melting points."""

from __future__ import annotations

from pydantic import Field

from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.isolines import CurveValues, TemperatureSweepDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class MeltingDocument(Document):
    """Melting point of a crystal at one pressure, where the free energies of solid and liquid cross."""

    formula: str
    counts: Counts
    pressure_GPa: float
    range_K: tuple[float, float] = Field(description="temperatures that both curves contain")
    melting_K: float | None = Field(description="melting point; none if the free energies do not cross")
    melting_error_K: float | None
    latent_heat_eV_per_atom: float | None = Field(description="H(liquid) − H(solid) at the melting point")
    latent_heat_error_eV_per_atom: float | None
    volume_change_A3_per_atom: float | None = Field(description="V(liquid) − V(solid) at the melting point")
    volume_change_error_A3_per_atom: float | None
    boundary_K_per_GPa: float | None = Field(None, description="slope dT/dp = ΔV/ΔS of the melting line")
    boundary_error_K_per_GPa: float | None = None
    quantum_shift_K: float | None = Field(
        None,
        description="shift of the melting point by quantum nuclei, from the Wigner–Kirkwood terms of both phases, not "
        "included in `melting_K`; none where the expansion does not hold",
    )
    quantum_shift_error_K: float | None = None
    coexistence_K: float | None = Field(
        None,
        description="melting point from solid and liquid in contact; none if this was not requested, or has no result",
    )
    coexistence_error_K: float | None = None
    coexistence: CoexistenceDocument | None = Field(
        None, description="growth of solid and liquid in contact; none if it was not requested, or failed"
    )
    temperatures_K: list[float] = Field(description="points of the difference, within the common range")
    difference_eV_per_atom: CurveValues = Field(
        description="G(liquid) − G(solid), with the known finite-size term ½ k_B T ln N / N added to G of the solid"
    )
    solid: TemperatureSweepDocument
    liquid: TemperatureSweepDocument
    verdict: Verdict
    provenance: Provenance
