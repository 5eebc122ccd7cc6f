"""Documents of sweeps over compositions."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class CompositionPoint(BaseModel):
    """A relaxed crystal at one composition of a sweep; its structure is in the document of its relaxation."""

    weights: list[float]
    formula: str
    energy_eV_per_atom: float | None = Field(description="of the potential; none where the relaxation failed")
    mixing_energy_eV_per_atom: float | None = Field(
        description="energy less that of the straight line (plane) between the pure ends; none unless all are there"
    )
    volume_A3_per_atom: float | None
    volume_deviation: float | None = Field(description="from Vegard's line of volumes, as a share of it")
    cell_parameters: list[float] | None = Field(description="a, b, c (Å), α, β, γ (degrees) of the relaxed cell")
    weight_gradients_eV: list[float] | None = Field(description="∂E/∂w of the relaxed cell")
    slope_eV_per_atom: float | None = Field(
        description="dE/dx along a line, x from 0 at its first to 1 at its last point; none elsewhere"
    )
    converged: bool = Field(description="whether the relaxation reached its force")
    key: str = Field(description="of the relaxation: equal keys mean the same system, composition, model and settings")


class CompositionSweepDocument(BaseModel):
    """Energies, volumes and lattice parameters over compositions, each relaxed."""

    weight_labels: list[str]
    coupling: str
    n_atoms: int
    points: list[CompositionPoint]
    corners: list[int] | None = Field(description="points that are pure in every group; none unless all are there")
    shares_of_corners: list[list[float]] = Field(
        description="how much of each pure end is in each point, the products of the groups' weights"
    )
    n_known: int = Field(description="points that were taken from earlier relaxations")
    verdict: Verdict
    provenance: Provenance
