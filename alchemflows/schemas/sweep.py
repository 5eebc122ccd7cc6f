"""Documents of sweeps over compositions."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class CompositionPoint(BaseModel):
    """A relaxed crystal at one composition of a sweep, without its structure, which the relaxation document has."""

    weights: list[float]
    formula: str
    counts: Counts = Field(description="counts of the cell at this composition; vacancies do not count as atoms")
    energy_eV: float | None = Field(description="potential energy of the cell; none if the relaxation failed")
    mixing_energy_eV: float | None = Field(
        description="energy of the cell minus the mean of the pure ends, weighted by their shares; an empty site has "
        "zero energy; none unless all ends are known"
    )
    volume_A3: float | None = Field(description="volume of the cell; none if the relaxation failed")
    volume_deviation: float | None = Field(
        description="relative deviation from the linear interpolation of volumes (Vegard); none if sites are vacant"
    )
    cell_parameters: list[float] | None = Field(description="a, b, c (Å), α, β, γ (degrees) of the relaxed cell")
    weight_gradients_eV: list[float] | None = Field(description="∂E/∂w of the relaxed cell")
    slope_eV_per_atom: float | None = Field(
        description="derivative of the energy per atom with respect to x along a line of compositions, x from 0 to 1; "
        "none for other grids"
    )
    converged: bool = Field(description="whether the forces of the relaxation converged")
    key: str = Field(description="key of the relaxation, see :class:`RelaxDocument`")

    @property
    def energy_eV_per_atom(self) -> float | None:
        """Energy, eV/atom; None if the relaxation failed."""
        return None if self.energy_eV is None else self.counts.per_atom(self.energy_eV)

    @property
    def mixing_energy_eV_per_atom(self) -> float | None:
        """Mixing energy, eV/atom; None if it is not known."""
        return None if self.mixing_energy_eV is None else self.counts.per_atom(self.mixing_energy_eV)

    @property
    def volume_A3_per_atom(self) -> float | None:
        """Volume, Å³/atom; None if the relaxation failed."""
        return None if self.volume_A3 is None else self.counts.per_atom(self.volume_A3)


class CompositionSweepDocument(Document):
    """Energies, volumes and lattice parameters of relaxed crystals over a grid of compositions."""

    weight_labels: list[str]
    coupling: str
    n_sites: int = Field(description="sites of the cell; how many are occupied depends on the composition")
    points: list[CompositionPoint]
    corners: list[int] | None = Field(
        description="points that are pure in every group; none unless all are in the grid"
    )
    shares_of_corners: list[list[float]] = Field(
        description="share of each pure end in each point, a product of the weights of all groups"
    )
    n_known: int = Field(description="number of points taken from earlier relaxations")
    verdict: Verdict
    provenance: Provenance
