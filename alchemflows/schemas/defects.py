"""What documents of point defects have in common."""

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
    alchemical_eV: float = Field(description="with each vacancy from the removal of an atom")
    alchemical_error_eV: float


class DefectDocument(Routes, Document):
    """Free energy of a point defect by two routes, and how they compare."""

    formula: str = Field(description="of the perfect crystal, reduced")
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="what both routes share, as the perfect crystal, is accounted for")
    agree: bool = Field(description="whether the difference is within two standard errors")
    perfect: FrenkelLaddDocument
    verdict: Verdict
    provenance: Provenance
