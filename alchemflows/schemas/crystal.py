"""Documents of crystals in equilibrium."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class EquilibriumDocument(BaseModel):
    """A crystal at a temperature and, with a pressure, its mean cell."""

    structure: Structure = Field(
        description="mean cell and mean positions; elements on alchemical sites are those of the host and mean nothing"
    )
    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    n_atoms: int
    temperature_K: float
    pressure_GPa: float | None = Field(description="none: the volume was constant")
    volume_A3: float
    volume_error_A3: float | None = Field(
        description="standard error of the mean, correlation accounted for; 0 at NVT; none where fewer than 10 samples "
        "are independent"
    )
    cell_parameters: list[float] = Field(description="mean a, b, c (Å), α, β, γ (degrees)")
    mean_energy_eV: float
    mean_temperature_K: float
    msd_A2: list[float] = Field(description="mean squared displacement of each atom, Å²")
    dynamics: DynamicsSettings
    verdict: Verdict
    provenance: Provenance
