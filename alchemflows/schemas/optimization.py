"""Settings and documents of composition optimization."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.base import MakerField
from alchemflows.schemas.document import Document
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class Target(MakerField):
    """One term of an objective: ((y − value) / scale)² for a value, ± y / scale for an extremum, times a factor.

    Examples
    --------
    >>> from alchemflows import Target
    >>> Target(quantity="pressure_GPa", value=0.0, scale=0.1).value
    0.0
    """

    quantity: str = Field(description="what is aimed at; see :func:`alchemflows.optimize.quantities.quantities`")
    value: float | None = Field(None, allow_inf_nan=False, description="the wanted value, in the quantity's unit")
    extremum: Literal["least", "largest"] | None = Field(None, description="instead of a value")
    scale: float = Field(1.0, gt=0, allow_inf_nan=False, description="what counts as a deviation of one")
    factor: float = Field(1.0, gt=0, allow_inf_nan=False, description="weight of this term in the sum")


class OptimizationStep(BaseModel):
    """An accepted step."""

    weights: list[float]
    objective: float
    gradient: list[float] = Field(description="dJ/dw of the joint problem, in which the crystal stays relaxed")
    quantities: dict[str, float]


class OptimizationRun(BaseModel):
    """The descent from one start."""

    steps: list[OptimizationStep] = Field(description="the start first")
    start_formula: str
    formula: str = Field(description="at the end")
    structure: Structure = Field(description="relaxed, at the end; elements on alchemical sites mean nothing")
    n_evaluations: int = Field(description="evaluations of the potential, those of the relaxations included")
    n_second_derivatives: int
    reached: bool = Field(
        description="whether every value that is aimed at, and a known least one, is within its tolerance"
    )


class RoundedComposition(BaseModel):
    """The composition in whole atoms that is nearest to the best one, and what the crystal is there."""

    n_repeats: int = Field(description="of the cell, in the supercell that these atoms are of")
    weights: list[float]
    formula: str = Field(description="of the supercell, in whole atoms")
    objective: float
    quantities: dict[str, float] = Field(description="of the alchemical crystal, relaxed at these weights")
    structure: Structure = Field(description="one cell of it; elements on alchemical sites mean nothing")


class OptimizationDocument(Document):
    """Compositions at which a crystal has the properties wanted."""

    targets: list[Target]
    function: str | None = Field(None, description="the user's own objective, as it is imported")
    least: float | None = Field(None, description="its least value, if that was known")
    weight_labels: list[str]
    coupling: str
    n_sites: int = Field(description="sites of the cell; how many are occupied depends on the composition")
    relaxation: str = Field(description="what of the cell was free")
    runs: list[OptimizationRun]
    best: int = Field(description="index of the run with the lowest objective")
    rounded: RoundedComposition | None = Field(None, description="of the best run, if it was asked for")
    verdict: Verdict
    provenance: Provenance
