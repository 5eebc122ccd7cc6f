"""Documents of reproduced figures."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.provenance import Provenance


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
    error: float
    published: float | None = Field(
        description="in the paper, with its potential and cells; none for the small version"
    )
    unit: str


class ReproductionDocument(BaseModel):
    """A figure of the paper as a table, and cross-checks of its numbers."""

    figure: str
    small: bool = Field(description="a version of minutes, with another potential and small cells")
    rows: list[Row]
    checks: list[Check]
    problems: list[str] = Field(description="what single results warn of")
    provenance: Provenance

    @property
    def holds(self) -> bool:
        """Whether every check holds."""
        return all(check.holds for check in self.checks)
