"""Documents of vacancies."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.chemical_potentials import ChemicalPotential, SiteFraction
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.switching import WorkDocument
from alchemflows.schemas.verdict import Verdict


class RemovalDocument(Document):
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


class VacancyLimit(BaseModel):
    """G_f of a vacancy in one limit of the chemical potentials, by two routes, and its equilibrium concentration."""

    chemical_potential: ChemicalPotential = Field(description="of the element that is missing")
    frenkel_ladd_eV: float = Field(description="G_f from two absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="G_f from the removal of an atom")
    alchemical_error_eV: float
    formation_volume_A3: float | None = Field(
        description="∂G_f/∂p = V(N−1) − V(N) + ∂μ/∂p; none where μ is a given value"
    )
    formation_volume_error_A3: float | None
    concentration: SiteFraction = Field(description="in equilibrium, from the removal of an atom")


class VacancyDocument(Document):
    """Formation free energy of a vacancy, G_f = G(N−1, vacancy) − G(N) + μ, by two routes.

    Without the entropy of the vacancy's place, which the concentration has. The fields at the top are those of the
    first of the `limits`.
    """

    element: str
    formula: str = Field(description="of the perfect crystal, reduced")
    counts: Counts = Field(description="of the perfect crystal; N atoms")
    temperature_K: float
    pressure_GPa: float
    chemical_potential: ChemicalPotential = Field(description="of the element that is missing")
    frenkel_ladd_eV: float = Field(description="G_f from two absolute free energies")
    frenkel_ladd_error_eV: float
    alchemical_eV: float = Field(description="G_f from the removal of an atom")
    alchemical_error_eV: float
    difference_eV: float = Field(description="alchemical − Frenkel–Ladd")
    difference_error_eV: float = Field(description="both routes use the perfect crystal; that is accounted for")
    agree: bool = Field(description="whether the difference is within two standard errors")
    relaxation_volume_A3: float = Field(description="V(N−1, vacancy) − V(N), mean volumes at the same pressure")
    relaxation_volume_error_A3: float
    formation_volume_A3: float | None = Field(description="∂G_f/∂p; none where μ is a given value")
    formation_volume_error_A3: float | None
    concentration: SiteFraction = Field(description="in equilibrium, from the removal of an atom")
    limits: list[VacancyLimit] = Field(
        description="one, or two where the chemical potentials of all elements are known"
    )
    stability_eV: float | None = Field(
        description="G of a formula unit − Σ ν μ of the chemical potentials that are known, where all are; "
        "above 0 the compound decomposes"
    )
    stability_error_eV: float | None
    perfect: FrenkelLaddDocument
    defective: FrenkelLaddDocument
    removal: RemovalDocument
    references: dict[str, FrenkelLaddDocument] = Field(default_factory=dict, description="elemental crystals")
    verdict: Verdict
    provenance: Provenance


class VacancySizes(Document):
    """G_f of a vacancy in cells of several sizes against 1/N, and its limit for a large crystal."""

    element: str
    formula: str
    temperature_K: float
    pressure_GPa: float
    limit: str = Field(description="of the chemical potentials")
    n_atoms: list[float] = Field(description="atoms of each perfect cell")
    formation_eV: list[float] = Field(description="from the removal of an atom")
    errors_eV: list[float] = Field(description="without the part of μ's error that all sizes share")
    shared_error_eV: float = Field(description="error of μ that all sizes share")
    formation_limit_eV: float
    limit_error_eV: float
    chi_squared_per_degree: float | None = Field(description="of the line; none with two cells")
    concentration: SiteFraction = Field(description="in equilibrium, from the limit")
    cells: list[VacancyDocument]
    verdict: Verdict
    provenance: Provenance


class VacancyTemperatures(Document):
    """Formation entropy and enthalpy of a vacancy, from G_f at several temperatures."""

    element: str
    formula: str
    counts: Counts = Field(description="of the perfect crystal")
    pressure_GPa: float
    limit: str = Field(description="of the chemical potentials")
    temperatures_K: list[float]
    formation_eV: list[float] = Field(description="G_f, from the removal of an atom")
    errors_eV: list[float]
    degree: int = Field(description="of the polynomial G_f(T): 1, or 2 from four temperatures on")
    entropy_eV_per_K: list[float] = Field(description="S_f = −dG_f/dT of the polynomial")
    entropy_error_eV_per_K: list[float]
    enthalpy_eV: list[float] = Field(description="H_f = G_f + T S_f of the polynomial")
    enthalpy_error_eV: list[float]
    chi_squared_per_degree: float | None = Field(description="of the polynomial; none without a degree of freedom")
    concentrations: list[SiteFraction] = Field(description="in equilibrium at each temperature")
    points: list[VacancyDocument]
    verdict: Verdict
    provenance: Provenance
