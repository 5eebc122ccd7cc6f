"""Bases of the documents of point defects."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class Routes(BaseModel):
    """A free energy by two routes, eV."""

    frenkel_ladd_eV: float = Field(description="from absolute free energies of cells with and without the defect")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="with vacancies computed by the alchemical removal of an atom")
    alchemical_error_eV: float


class DefectDocument(Routes, Document):
    """Free energy of a point defect by two routes, and how they compare."""

    formula: str = Field(description="reduced formula of the perfect crystal")
    counts: Counts = Field(description="counts of the perfect crystal with N atoms")
    temperature_K: float
    pressure_GPa: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="standard error, with correlations from runs that both routes share")
    agree: bool = Field(description="whether the difference is within two standard errors")
    perfect: FrenkelLaddDocument
    verdict: Verdict
    provenance: Provenance
