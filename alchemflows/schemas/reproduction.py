"""Documents of reproduced figures."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict

#: Level of computational effort; see :mod:`alchemflows.reproduce.settings`.
Version = Literal["paper", "medium", "small"]


class Check(BaseModel):
    """A number that must not be larger than its bound."""

    name: str
    value: float
    bound: float
    unit: str

    @property
    def holds(self) -> bool:
        """Whether the value is within its bound."""
        return abs(self.value) <= self.bound


class Row(BaseModel):
    """One line of a figure's table."""

    quantity: str
    temperature_K: float
    value: float
    error: float | None = Field(description="standard error; none if not known")
    published: float | None = Field(
        description="value in the paper, with its potential and cells; none for the other versions"
    )
    unit: str


class RandomAverage(BaseModel):
    """Mean lattice parameters of random arrangements of one composition."""

    weights: list[float]
    formula: str
    lengths_A: list[float]
    errors_A: list[float | None] = Field(description="standard errors; none for a single arrangement")
    n_arrangements: int


class LatticeCurve(BaseModel):
    """Lattice parameters of alchemical cells over compositions, and those of random arrangements."""

    name: str
    elements: list[str] = Field(description="elements that mix; the weights are their shares")
    parameters: list[str] = Field(description="names of the lattice parameters")
    weights: list[list[float]]
    lengths_A: list[list[float]] = Field(description="lattice parameters of the alchemical cell at each composition")
    random: list[RandomAverage]


class ReproductionDocument(Document):
    """A figure of the paper as a table, and cross-checks of its numbers."""

    figure: str
    version: Version = Field(description="the paper's settings, or another potential, smaller cells and shorter runs")
    rows: list[Row]
    checks: list[Check]
    curves: list[LatticeCurve] = Field(default=[], description="Fig. 2 only")
    verdict: Verdict = Field(description="failed checks, and reasons against individual results")
    provenance: Provenance

    @property
    def holds(self) -> bool:
        """Whether all checks hold."""
        return all(check.holds for check in self.checks)
