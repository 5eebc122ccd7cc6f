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

    quantity: str = Field(description="name of the quantity; see :func:`alchemflows.optimize.quantities.quantities`")
    value: float | None = Field(None, allow_inf_nan=False, description="target value in the unit of the quantity")
    extremum: Literal["least", "largest"] | None = Field(None, description="extremum to find, in place of a value")
    scale: float = Field(1.0, gt=0, allow_inf_nan=False, description="unit of deviations, in the unit of the quantity")
    factor: float = Field(1.0, gt=0, allow_inf_nan=False, description="factor of this term in the sum")


class OptimizationStep(BaseModel):
    """An accepted step of the descent."""

    weights: list[float]
    objective: float
    gradient: list[float] = Field(description="dJ/dw of the joint problem, in which the crystal stays relaxed")
    quantities: dict[str, float]


class OptimizationRun(BaseModel):
    """The descent from one start."""

    steps: list[OptimizationStep] = Field(description="accepted steps; the first is the start")
    start_formula: str
    formula: str = Field(description="formula at the end")
    structure: Structure = Field(
        description="relaxed structure at the end; elements on alchemical sites are placeholders"
    )
    n_evaluations: int = Field(description="evaluations of the potential, including those in relaxations")
    n_second_derivatives: int
    reached: bool = Field(
        description="whether every target value, and the minimum of the function if known, is within its tolerance"
    )


class RoundedComposition(BaseModel):
    """The composition in whole atoms nearest to the best one, and the crystal relaxed there."""

    n_repeats: int = Field(description="number of cells in the supercell")
    weights: list[float]
    formula: str = Field(description="formula of the supercell in whole atoms")
    objective: float
    quantities: dict[str, float] = Field(description="quantities of the alchemical crystal, relaxed at these weights")
    structure: Structure = Field(description="one relaxed cell; elements on alchemical sites are placeholders")
    verdict: Verdict | None = Field(
        None, description="whether this composition reaches the targets; none in documents that did not record it"
    )


class OptimizationDocument(Document):
    """Result of an optimization of the composition for target properties."""

    targets: list[Target]
    function: str | None = Field(None, description="import name of the user's objective function")
    least: float | None = Field(None, description="minimum value of that function, if it was given")
    weight_labels: list[str]
    coupling: str
    n_sites: int = Field(description="sites of the cell; how many are occupied depends on the composition")
    relaxation: str = Field(description="cell degrees of freedom that were relaxed")
    runs: list[OptimizationRun]
    best: int = Field(description="index of the run with the lowest objective")
    rounded: RoundedComposition | None = Field(
        None, description="rounded composition of the best run, if it was requested"
    )
    verdict: Verdict
    provenance: Provenance
