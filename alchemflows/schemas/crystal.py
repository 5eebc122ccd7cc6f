"""Documents of crystals in equilibrium."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict


class MeanCell(BaseModel):
    """Statistics of a mean cell at constant pressure."""

    symmetrised: bool = Field(description="whether cell and positions have the space group of the start structure")
    n_free_directions: int = Field(description="number of independent strains of the mean cell that fluctuate")
    n_independent: float = Field(description="smallest number of independent samples of these strains")
    bias_eV: float = Field(
        description="expected excess of F + pV of the cell due to the noise of the mean cell: ½ k_B T Σ 1/n over the "
        "free directions, n the independent samples of each"
    )
    bias_error_eV: float = Field(description="standard error of that excess: half the interval with 68 % of it")
    symmetry_deviation_sigma: float | None = Field(
        description="root mean square of the symmetry-breaking strains, in standard errors; none without such strains, "
        "or with too few independent samples"
    )


class EquilibriumDocument(Document):
    """A crystal in equilibrium at a temperature, and its mean cell if the pressure is constant."""

    structure: Structure = Field(
        description="mean cell and mean positions; elements on alchemical sites are placeholders"
    )
    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    volume_A3: float
    volume_error_A3: float = Field(description="standard error of the mean, with correlations; 0 at constant volume")
    cell_parameters: list[float] = Field(description="mean a, b, c (Å), α, β, γ (degrees)")
    space_group: int = Field(description="space group number of the structure that dynamics start from")
    mean_cell: MeanCell | None = Field(description="none at constant volume")
    mean_energy_eV: float
    mean_temperature_K: float
    msd_A2: list[float] = Field(description="mean squared displacement of each atom, Å²")
    dynamics: DynamicsSettings
    frames: PackedArrays | None = Field(
        None,
        description="configurations of all replicas, those of one after those of the other, see "
        "`schemas.frames.Frames` (in the additional store `data`)",
    )
    verdict: Verdict
    provenance: Provenance
