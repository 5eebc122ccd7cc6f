"""Documents of vacancies."""

from __future__ import annotations

from pydantic import Field

from alchemflows.schemas.chemical_potentials import ChemicalPotential, SiteFraction
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.defects import DefectDocument, Routes
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.switching import WorkDocument
from alchemflows.schemas.verdict import Verdict


class RemovalDocument(Document):
    """G(N−1, vacancy) − G(N) by the alchemical removal of one atom, which a spring confines; eV."""

    element: str
    site: int = Field(description="index of the atom in the perfect crystal")
    counts: Counts = Field(description="counts of the perfect crystal with N atoms")
    temperature_K: float
    pressure_GPa: float | None
    stiffness_eV_per_A2: float = Field(description="spring constant")
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


class VacancyLimit(Routes):
    """G_f of a vacancy in one limit of the chemical potentials, by two routes, and its equilibrium concentration."""

    chemical_potential: ChemicalPotential = Field(description="chemical potential of the removed element")
    formation_volume_A3: float | None = Field(
        description="∂G_f/∂p = V(N−1) − V(N) + ∂μ/∂p; none if μ depends on a given value"
    )
    formation_volume_error_A3: float | None
    concentration: SiteFraction = Field(description="equilibrium concentration, from the removal of an atom")


class VacancyDocument(VacancyLimit, DefectDocument):
    """Formation free energy of a vacancy, G_f = G(N−1, vacancy) − G(N) + μ, by two routes.

    G_f does not contain the configurational entropy of the vacancy; the concentration does. The fields of
    :class:`VacancyLimit` are those of the first of the `limits`.
    """

    element: str
    relaxation_volume_A3: float = Field(description="V(N−1, vacancy) − V(N), mean volumes at the same pressure")
    relaxation_volume_error_A3: float
    limits: list[VacancyLimit] = Field(
        description="one limit, or two if the chemical potentials of all elements are known"
    )
    stability_eV: float | None = Field(
        description="G of a formula unit − Σ ν μ, if all chemical potentials are known; the compound decomposes if it "
        "is positive"
    )
    stability_error_eV: float | None
    defective: FrenkelLaddDocument
    removal: RemovalDocument
    references: dict[str, FrenkelLaddDocument] = Field(default_factory=dict, description="elemental crystals")


class VacancySeries(Document):
    """G_f of a vacancy in several cells or at several temperatures, and a fit to it."""

    element: str
    formula: str
    pressure_GPa: float
    limit: str = Field(description="limit of the chemical potentials")
    formation_eV: list[float] = Field(description="G_f, from the removal of an atom")
    errors_eV: list[float] = Field(description="standard errors; for several sizes without the error that they share")
    chi_squared_per_degree: float | None = Field(
        description="χ² per degree of freedom of the fit; none without degrees of freedom"
    )
    verdict: Verdict
    provenance: Provenance


class VacancySizes(VacancySeries):
    """G_f of a vacancy in cells of several sizes against 1/N, and its limit for a large crystal."""

    temperature_K: float
    n_atoms: list[float] = Field(description="number of atoms of each perfect cell")
    shared_error_eV: float = Field(description="error of μ that all sizes share")
    formation_limit_eV: float
    limit_error_eV: float
    concentration: SiteFraction = Field(description="equilibrium concentration, from the limit")
    cells: list[VacancyDocument]


class VacancyTemperatures(VacancySeries):
    """Formation entropy and enthalpy of a vacancy, from G_f at several temperatures."""

    counts: Counts = Field(description="counts of the perfect crystal")
    temperatures_K: list[float]
    degree: int = Field(description="degree of the polynomial G_f(T): 1, or 2 with at least four temperatures")
    entropy_eV_per_K: list[float] = Field(description="S_f = −dG_f/dT of the polynomial")
    entropy_error_eV_per_K: list[float]
    enthalpy_eV: list[float] = Field(description="H_f = G_f + T S_f of the polynomial")
    enthalpy_error_eV: list[float]
    concentrations: list[SiteFraction] = Field(description="equilibrium concentration at each temperature")
    points: list[VacancyDocument]
