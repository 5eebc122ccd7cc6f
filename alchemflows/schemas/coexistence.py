"""Documents of solid and liquid in contact."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.liquid import LiquidSummary
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class CoexistenceGrowth(BaseModel):
    """Solid and liquid in contact at one temperature; the share of the solid is measured by the enthalpy."""

    temperature_K: float
    solid_eV_per_atom: float = Field(description="⟨U⟩ + pV of the solid, from its curve")
    liquid_eV_per_atom: float = Field(description="⟨U⟩ + pV of the liquid, from its curve")
    solid_fractions: list[list[float]] = Field(
        description="share of the solid in each section of the production, for each replica"
    )
    n_measured: list[int] = Field(
        description="number of sections of each replica until one phase fills the cell; later ones are not used"
    )
    rate_per_ps: float | None = Field(
        description="mean change of the share of the solid with time; none if one phase filled the cell at once"
    )
    rate_error_per_ps: float | None
    grows: Literal["solid", "liquid", "undecided"] = Field(
        description="phase that fills all cells, or whose growth is more than two errors from zero"
    )


class CoexistenceDocument(Document):
    """Which phase grows at several temperatures in cells that contain a solid and its liquid."""

    formula: str
    counts: Counts
    pressure_GPa: float
    length_A: float = Field(description="length of the cell across the interfaces at the start")
    n_layers: float = Field(description="this length in units of the distance of neighbours in a close packing")
    crossing_K: float | None = Field(description="crossing of the free energies; none if they do not cross")
    crossing_error_K: float | None
    times_ps: list[float] = Field(description="middle of each section, since production began")
    points: list[CoexistenceGrowth] = Field(description="temperatures, ascending")
    solid_grows_to_K: float | None = Field(description="highest temperature at which the solid grows")
    liquid_grows_from_K: float | None = Field(description="lowest temperature at which the liquid grows")
    melting_K: float | None = Field(
        description="temperature at which the rate is zero, by a weighted linear fit; none if it is not zero between "
        "the temperatures"
    )
    melting_error_K: float | None
    chi_squared_per_degree: float | None = Field(
        description="χ² per degree of freedom of this fit; above 1 it increases the error. None with two temperatures"
    )
    deviation_sigma: float | None = Field(
        description="(`melting_K` − `crossing_K`) in units of their combined standard error"
    )
    heating_temperature_K: float = Field(description="temperature at which half of the crystal was melted")
    n_heating_steps: int
    heated: LiquidSummary = Field(
        description="diffusion and order of the heated half, in the second half of the heating"
    )
    dynamics: DynamicsSettings = Field(
        description="conditions and numbers of steps; its temperature is the lowest one of the points"
    )
    verdict: Verdict
    provenance: Provenance
