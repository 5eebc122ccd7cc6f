"""Documents of neutral defects that need no chemical potential: Schottky defects and Frenkel pairs."""

from __future__ import annotations

from pydantic import Field

from alchemflows.schemas.chemical_potentials import SiteFraction
from alchemflows.schemas.defects import DefectDocument, Routes
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.vacancy import RemovalDocument


class SchottkyVacancy(Routes):
    """One vacancy of a Schottky defect: G(N−1, vacancy) − G(N), meaningful only in the sum over all vacancies."""

    element: str
    site: int = Field(description="index of the atom in the perfect crystal")
    stoichiometry: int = Field(description="ν, atoms of the element in a formula unit")
    concentration: SiteFraction = Field(description="equilibrium concentration if there are only Schottky defects")
    defective: FrenkelLaddDocument
    removal: RemovalDocument


class SchottkyDocument(DefectDocument):
    """Free energy of a Schottky defect, isolated vacancies of one formula unit, by two routes.

    G_S = Σ_i ν_i [G(N−1, V_i) − G(N)] + G(N)/n, with n formula units in the cell.
    """

    n_vacancies: int = Field(description="Σ ν, vacancies of one defect")
    formation_volume_A3: float = Field(description="∂G_S/∂p = Σ ν [V(N−1) − V(N)] + V(N)/n")
    formation_volume_error_A3: float
    ln_defects_per_formula_unit: float = Field(description="by the law of mass action, from the removal of atoms")
    ln_error: float
    vacancies: list[SchottkyVacancy]


class FrenkelPairDocument(DefectDocument):
    """Free energy of a Frenkel pair, an isolated vacancy and interstitial of one element, by two routes.

    G_F = [G(N−1, vacancy) − G(N)] + [G(N+1, interstitial) − G(N)].
    """

    element: str
    interstitial: list[float] = Field(description="requested position, fractional coordinates")
    interstitial_shift_A: float = Field(description="distance from there to the mean position of the interstitial")
    formation_volume_A3: float = Field(description="∂G_F/∂p = V(N−1) + V(N+1) − 2 V(N)")
    formation_volume_error_A3: float
    vacancies: SiteFraction = Field(description="equilibrium concentration if there are only Frenkel pairs")
    interstitials: SiteFraction = Field(description="the same for interstitial sites of this kind")
    with_vacancy: FrenkelLaddDocument
    with_interstitial: FrenkelLaddDocument
    removal: RemovalDocument
