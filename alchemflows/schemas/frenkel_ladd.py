"""Documents of absolute free energies."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.switching import WorkDocument
from alchemflows.schemas.verdict import Verdict


class FreeEnergyValue(BaseModel):
    """An absolute free energy with its standard error."""

    value_eV: float
    error_eV: float
    value_eV_per_atom: float
    error_eV_per_atom: float

    @classmethod
    def of(cls, value_eV: float, error_eV: float, counts: Counts) -> FreeEnergyValue:
        """Return the value of a cell with these counts."""
        return cls(
            value_eV=value_eV,
            error_eV=error_eV,
            value_eV_per_atom=counts.per_atom(value_eV),
            error_eV_per_atom=counts.per_atom(error_eV),
        )


class SpringKind(BaseModel):
    """Spring constant of a set of equivalent atoms."""

    element: str = Field(description="element of the atoms; elements of alchemical sites are joined by /")
    n_atoms: int
    stiffness_eV_per_A2: float


class FrenkelLaddDocument(Document):
    """Absolute free energy of a crystal; values are for the whole cell.

    F = Einstein + switching + centre of mass, G = F + pV − bias of the mean cell.
    """

    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float
    volume_A3: float
    structure: Structure = Field(description="cell and mean positions, to which the springs are tied")
    space_group: int = Field(description="space group number that defines equivalent atoms")
    springs: list[SpringKind]
    stiffness_eV_per_A2: list[float] = Field(description="spring constant of each atom")
    einstein_eV: float = Field(
        description="3 k_B T Σ_i s_i ln(ħω_i / k_B T), ω_i = √(k_i/m_i), with the geometric mean m_i of the masses of "
        "the site's elements, and the total occupancy s_i of the site"
    )
    switching_eV: float = Field(description="F(crystal) − F(Einstein crystal), centre of mass fixed in both")
    switching_error_eV: float
    centre_of_mass_eV: float = Field(
        description="free energy of releasing the centre of mass, see `free_energy.einstein`"
    )
    free_volume_A3: float = Field(description="volume of a primitive cell, used in that term")
    helmholtz: FreeEnergyValue = Field(
        description="classical F at this cell, without `mixing_term_eV` and without electronic or magnetic excitations"
    )
    pv_eV: float
    cell_bias_eV: float = Field(
        description="expected bias of F + pV due to the noise of the mean cell, see `MeanCell`; 0 for a given cell"
    )
    cell_bias_error_eV: float = Field(description="standard error of the bias: half the interval with 68 % of it")
    gibbs: FreeEnergyValue = Field(
        description="classical G = F + pV − bias, without `mixing_term_eV`; its error combines those of the switching "
        "and of the bias in quadrature"
    )
    mixing_term_eV: float = Field(
        description="k_B T Σ x ln x over sites, elements and vacancies: ideal mixing on each mixed site, NOT contained "
        "in F and G"
    )
    quantum_correction_eV: float | None = Field(
        description="F_quantum − F_classical of the harmonic Γ modes of this cell, not included in F and G; none if it "
        "was not requested"
    )
    mode_energies_eV: list[float] | None = Field(
        None, description="ħω of each of these 3N − 3 modes; none without the quantum correction"
    )
    work: WorkDocument = Field(description="work of switches from the crystal (λ = 0) to the Einstein crystal (λ = 1)")
    mean_cell_job: str | None = Field(
        None,
        description="identifier of the job that sampled the mean cell and has its frames; none for a given cell",
    )
    dynamics: DynamicsSettings = Field(description="dynamics at constant volume that measured the displacements")
    settings: SwitchingSettings
    verdict: Verdict
    provenance: Provenance

    @property
    def is_mixed(self) -> bool:
        """Whether a site is mixed or partly vacant, so that the crystal has an entropy of mixing."""
        return any(0 < weight < 1 for weight in self.weights)


class SizeExtrapolation(Document):
    """F and G per atom of cells of several sizes, and their limits for a large crystal."""

    formula: str
    temperature_K: float
    pressure_GPa: float
    n_atoms: list[float] = Field(description="number of atoms of each cell")
    helmholtz_eV_per_atom: list[float]
    gibbs_eV_per_atom: list[float]
    errors_eV_per_atom: list[float]
    logarithmic_terms_eV_per_atom: list[float] = Field(
        description="−½ k_B T ln N / N, subtracted before the straight line in 1/N"
    )
    helmholtz_limit_eV_per_atom: float
    gibbs_limit_eV_per_atom: float
    limit_error_eV_per_atom: float = Field(description="standard error of the limit from the weighted linear fit")
    chi_squared_per_degree: float | None = Field(description="χ² per degree of freedom of the fit; none with two cells")
    quantum_correction_limit_eV_per_atom: float | None = Field(
        description="quantum correction of the largest cell, whose Γ modes sample the q-points of its primitive cell; "
        "not in G; none if it was not requested"
    )
    quantum_correction_change_eV_per_atom: float | None = Field(
        description="change between the two largest cells, an upper bound of the distance from the limit; none with "
        "one cell"
    )
    cells: list[FrenkelLaddDocument]
    verdict: Verdict
    provenance: Provenance
