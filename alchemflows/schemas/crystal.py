"""Documents of crystals in equilibrium."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class MeanCell(BaseModel):
    """What is known of a mean cell at constant pressure."""

    symmetrised: bool = Field(description="whether cell and positions have the space group of the start structure")
    n_free_directions: int = Field(description="strains in which the mean cell has noise")
    n_independent: float = Field(description="independent samples of the strain that has fewest")
    bias_eV: float = Field(
        description="expected excess of F + pV of the whole cell at the mean cell, which its noise makes: "
        "½ k_B T Σ 1/n over the free directions, n the independent samples of each"
    )
    bias_error_eV: float = Field(description="standard deviation of that excess")
    symmetry_deviation_sigma: float | None = Field(
        description="root mean square of the strains that break the symmetry, in standard errors; none if there are "
        "none, or too few independent samples"
    )


class EquilibriumDocument(Document):
    """A crystal at a temperature and, with a pressure, its mean cell."""

    structure: Structure = Field(
        description="mean cell and mean positions; elements on alchemical sites are those of the host and mean nothing"
    )
    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float | None = Field(description="none: the volume was constant")
    volume_A3: float
    volume_error_A3: float = Field(description="standard error of the mean, correlation accounted for; 0 at NVT")
    cell_parameters: list[float] = Field(description="mean a, b, c (Å), α, β, γ (degrees)")
    space_group: int = Field(description="of the structure that dynamics start from")
    mean_cell: MeanCell | None = Field(description="none at constant volume")
    mean_energy_eV: float
    mean_temperature_K: float
    msd_A2: list[float] = Field(description="mean squared displacement of each atom, Å²")
    dynamics: DynamicsSettings
    verdict: Verdict
    provenance: Provenance
