"""Documents of vacancies."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.switching import WorkDocument
from alchemflows.schemas.verdict import Verdict


class RemovalDocument(BaseModel):
    """G(N−1 atoms, vacancy) − G(N atoms), by letting one atom vanish while a spring takes hold of it; eV."""

    element: str
    site: int = Field(description="index of the atom in the perfect crystal")
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float | None
    stiffness_eV_per_A2: float = Field(description="of the spring")
    switching_eV: float = Field(description="G(vacancy, atom on its spring) − G(perfect), centre of mass fixed")
    switching_error_eV: float
    spring_eV: float = Field(description="free energy of the atom on its spring, 3 k_B T ln(ħω / k_B T)")
    centre_of_mass_eV: float = Field(description="3 k_B T ln(M / M'), M the total mass with the atom, M' without")
    removal_eV: float = Field(description="switching − spring + centre of mass")
    removal_error_eV: float
    work: WorkDocument
    settings: SwitchingSettings
    verdict: Verdict
    provenance: Provenance


class VacancyDocument(BaseModel):
    """G_v = G(N−1, vacancy) − (N−1)/N G(N), by two routes; without the entropy of the vacancy's place."""

    element: str
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float
    frenkel_ladd_eV: float = Field(description="G_v from two absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="G_v from the removal of an atom and G(N)/N of the perfect crystal")
    alchemical_error_eV: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="both routes use the perfect crystal; that is accounted for")
    agree: bool = Field(description="whether the difference is within two standard errors")
    perfect: FrenkelLaddDocument
    defective: FrenkelLaddDocument
    removal: RemovalDocument
    verdict: Verdict
    provenance: Provenance
