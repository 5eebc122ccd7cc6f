"""Documents of neutral defects that need no chemical potential: Schottky defects and Frenkel pairs."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.chemical_potentials import SiteFraction
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.vacancy import RemovalDocument
from alchemflows.schemas.verdict import Verdict


class SchottkyVacancy(BaseModel):
    """One vacancy of a Schottky defect: G(N−1, vacancy) − G(N), which has no meaning without the others."""

    element: str
    site: int = Field(description="index of the atom in the perfect crystal")
    stoichiometry: int = Field(description="ν, atoms of the element in a formula unit")
    frenkel_ladd_eV: float = Field(description="G(N−1, vacancy) − G(N) from two absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="the same from the removal of an atom")
    alchemical_error_eV: float
    concentration: SiteFraction = Field(description="where Schottky defects are the only ones")
    defective: FrenkelLaddDocument
    removal: RemovalDocument


class SchottkyDocument(Document):
    """Free energy of a Schottky defect of one formula unit, its vacancies far from one another, by two routes.

    G_S = Σ_i ν_i [G(N−1, V_i) − G(N)] + G(N)/n, with n formula units in the cell.
    """

    formula: str
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float
    n_vacancies: int = Field(description="Σ ν, vacancies of one defect")
    frenkel_ladd_eV: float = Field(description="G_S from absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="G_S from the removal of atoms")
    alchemical_error_eV: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="both routes use the perfect crystal; that is accounted for")
    agree: bool = Field(description="whether the difference is within two standard errors")
    formation_volume_A3: float = Field(description="∂G_S/∂p = Σ ν [V(N−1) − V(N)] + V(N)/n")
    formation_volume_error_A3: float
    ln_defects_per_formula_unit: float = Field(description="by the law of mass action, from the removal of atoms")
    ln_error: float
    vacancies: list[SchottkyVacancy]
    perfect: FrenkelLaddDocument
    verdict: Verdict
    provenance: Provenance


class FrenkelPairDocument(Document):
    """Free energy of a vacancy and an interstitial of one element far from each other, by two routes.

    G_F = [G(N−1, vacancy) − G(N)] + [G(N+1, interstitial) − G(N)].
    """

    element: str
    formula: str
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float
    interstitial: list[float] = Field(description="place asked for, in units of the cell")
    interstitial_shift_A: float = Field(description="from there to the mean place of the interstitial")
    frenkel_ladd_eV: float = Field(description="G_F from three absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="G_F with the vacancy from the removal of an atom")
    alchemical_error_eV: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="what both routes share is accounted for")
    agree: bool = Field(description="whether the difference is within two standard errors")
    formation_volume_A3: float = Field(description="∂G_F/∂p = V(N−1) + V(N+1) − 2 V(N)")
    formation_volume_error_A3: float
    vacancies: SiteFraction = Field(description="where Frenkel pairs are the only defects")
    interstitials: SiteFraction = Field(description="the same, on interstitial sites of this kind")
    perfect: FrenkelLaddDocument
    with_vacancy: FrenkelLaddDocument
    with_interstitial: FrenkelLaddDocument
    removal: RemovalDocument
    verdict: Verdict
    provenance: Provenance
