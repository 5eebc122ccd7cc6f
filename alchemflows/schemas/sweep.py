"""Documents of sweeps over compositions."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class CompositionPoint(BaseModel):
    """A relaxed crystal at one composition of a sweep; its structure is in the document of its relaxation."""

    weights: list[float]
    formula: str
    counts: Counts = Field(description="of the cell at this composition; vacancies are no atoms")
    energy_eV: float | None = Field(description="of the cell, by the potential; none where the relaxation failed")
    mixing_energy_eV: float | None = Field(
        description="of the cell: its energy less those of the pure ends, weighted by their shares; an empty site has "
        "no energy; none unless all ends are there"
    )
    volume_A3: float | None = Field(description="of the cell; none where the relaxation failed")
    volume_deviation: float | None = Field(
        description="from Vegard's line of volumes, as a share of it; none where sites are vacant"
    )
    cell_parameters: list[float] | None = Field(description="a, b, c (Å), α, β, γ (degrees) of the relaxed cell")
    weight_gradients_eV: list[float] | None = Field(description="∂E/∂w of the relaxed cell")
    slope_eV_per_atom: float | None = Field(
        description="derivative of the energy per atom in x along a line, where x goes from 0 to 1; none elsewhere"
    )
    converged: bool = Field(description="whether the relaxation reached its force")
    key: str = Field(description="of the relaxation: equal keys mean the same system, composition, model and settings")

    @property
    def energy_eV_per_atom(self) -> float | None:
        """Energy, eV/atom; None where the relaxation failed."""
        return None if self.energy_eV is None else self.counts.per_atom(self.energy_eV)

    @property
    def mixing_energy_eV_per_atom(self) -> float | None:
        """Mixing energy, eV/atom; None where it is not known."""
        return None if self.mixing_energy_eV is None else self.counts.per_atom(self.mixing_energy_eV)

    @property
    def volume_A3_per_atom(self) -> float | None:
        """Volume, Å³/atom; None where the relaxation failed."""
        return None if self.volume_A3 is None else self.counts.per_atom(self.volume_A3)


class CompositionSweepDocument(Document):
    """Energies, volumes and lattice parameters over compositions, each relaxed."""

    weight_labels: list[str]
    coupling: str
    n_sites: int = Field(description="sites of the cell; how many are occupied depends on the composition")
    points: list[CompositionPoint]
    corners: list[int] | None = Field(description="points that are pure in every group; none unless all are there")
    shares_of_corners: list[list[float]] = Field(
        description="how much of each pure end is in each point, the products of the groups' weights"
    )
    n_known: int = Field(description="points that were taken from earlier relaxations")
    verdict: Verdict
    provenance: Provenance
