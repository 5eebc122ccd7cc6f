"""Documents of relaxed alchemical systems."""

from __future__ import annotations

from pydantic import Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance


class RelaxDocument(Document):
    """An alchemical system relaxed at fixed weights."""

    structure: Structure = Field(
        description="relaxed positions and cell; elements on alchemical sites are placeholders"
    )
    formula: str = Field(description="composition at these weights")
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    energy_eV: float
    weight_gradients_eV: list[float] = Field(
        description="∂E/∂w at the relaxed positions and cell; equal to the total derivative if both were relaxed"
    )
    volume_A3: float
    cell_parameters: list[float] = Field(description="a, b, c (Å), α, β, γ (degrees)")
    max_force_eV_per_A: float
    n_steps: int = Field(description="number of steps; with several starts, that of the relaxation that was kept")
    converged: bool
    relax_cell: bool
    key: str = Field(
        description="SHA-256 of system, weights, potential and settings; equal keys mean the same relaxation"
    )
    provenance: Provenance
