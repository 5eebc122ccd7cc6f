"""Documents of liquids: mean volume, diffusion and order, and absolute free energy."""

from __future__ import annotations

from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.switching import WorkDocument
from alchemflows.schemas.verdict import Verdict

#: Shortest time (ps) in which diffusion and order can show that a liquid is a liquid.
MIN_TIME_PS = 1.0
#: Largest order of a liquid, see :class:`LiquidSummary`.
MAX_ORDER = 0.25
#: Smallest displacement of the atoms of a liquid in a run, in units of their spacing.
MIN_DISPLACEMENT_SHARE = 0.5


class LiquidSummary(BaseModel):
    """Diffusion and order of a liquid in a run, the mean over its replicas."""

    time_ps: float = Field(description="length of the run")
    spacing_A: float = Field(description="distance of neighbours in a close packing of the same density")
    element: str = Field(description="element with the smallest displacement")
    displacement_A: float = Field(description="root mean square displacement of its atoms during the run")
    diffusion_A2_per_ps: float = Field(description="its diffusion coefficient, ⟨|Δr|²⟩ / (6 t)")
    order: float = Field(
        description="largest time average of |Σ_j exp(i k·r_j)|² / N² over wave vectors k: near 1 in a crystal, about "
        "3/N in a liquid"
    )

    @property
    def problem(self) -> str | None:
        """What shows that this is no liquid; None if it is one, or if the run is too short to tell."""
        least = MIN_DISPLACEMENT_SHARE * self.spacing_A
        if self.time_ps < MIN_TIME_PS:
            return None
        if self.order > MAX_ORDER:
            return f"it is crystalline (order {self.order:.2f}, in a liquid at most {MAX_ORDER:g})"
        if self.displacement_A < least:
            return (
                f"its atoms do not diffuse: the root mean square displacement of {self.element} is "
                f"{self.displacement_A:.2f} Å in {self.time_ps:.3g} ps, in a liquid at least {least:.2f} Å"
            )
        return None

    def reasons(self, where: str) -> list[str]:
        """Return a reason against a result if this is no liquid, or the run was too short to tell; else no reason."""
        if self.time_ps >= MIN_TIME_PS:
            return [] if self.problem is None else [Reason.NOT_LIQUID.because(where=where, problem=self.problem)]
        return [Reason.SHORT_LIQUID.because(where=where, time=self.time_ps, least=MIN_TIME_PS)]


class LiquidDocument(Document):
    """A liquid in equilibrium at a temperature, and its mean volume if the pressure is constant."""

    structure: Structure = Field(description="a configuration of the liquid, scaled to the mean volume")
    formula: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    heating_temperature_K: float = Field(description="temperature at which the crystal was melted")
    volume_A3: float
    volume_error_A3: float = Field(description="standard error of the mean, with correlations; 0 at constant volume")
    cell_bias_eV: float = Field(
        description="expected excess of F + pV at the mean volume over its minimum, due to noise: ½ k_B T / n for n "
        "independent samples; 0 at constant volume"
    )
    cell_bias_error_eV: float = Field(description="standard error of the bias: half the interval with 68 % of it")
    mean_energy_eV: float
    liquid: LiquidSummary
    dynamics: DynamicsSettings
    frames: PackedArrays | None = Field(
        None,
        description="configurations of all replicas, those of one after those of the other, see "
        "`schemas.frames.Frames` (in the additional store `data`)",
    )
    verdict: Verdict
    provenance: Provenance


class LiquidFreeEnergyDocument(Document):
    """Absolute free energy of a liquid; values are for the whole cell.

    F = ideal gas + excess of the reference liquid + switching, G = F + pV − bias of the mean volume.
    """

    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    temperature_K: float
    pressure_GPa: float
    volume_A3: float
    structure: Structure = Field(description="a configuration of the liquid at this volume")
    reference_sigma_A: float = Field(description="length σ of the Uhlenbeck–Ford liquid")
    reference_p: float = Field(description="factor p of its pair energy")
    reference_density: float = Field(description="its reduced density x = ρ (πσ²)^{3/2} / 2")
    ideal_gas_eV: float = Field(
        description="k_B T Σ_a N_a [ln(N_a Λ_a³ / V) − 1] over the elements, the limit of many atoms"
    )
    excess_eV: float = Field(description="excess free energy of the reference liquid, from the published table")
    switching_eV: float = Field(description="F(liquid) − F(reference liquid)")
    switching_error_eV: float
    helmholtz: FreeEnergyValue = Field(
        description="classical F at this volume, without electronic or magnetic excitations"
    )
    pv_eV: float
    cell_bias_eV: float = Field(description="expected bias of F + pV due to the noise of the mean volume")
    cell_bias_error_eV: float
    gibbs: FreeEnergyValue = Field(
        description="classical G = F + pV − bias; its error combines those of the switching and of the bias in "
        "quadrature"
    )
    liquid: LiquidSummary = Field(description="diffusion and order before the switches, at this volume")
    mean_cell_job: str | None = Field(
        None,
        description="identifier of the job that sampled the mean volume and has its frames; none for a given volume",
    )
    work: WorkDocument = Field(description="work of switches from the liquid (λ = 0) to the reference (λ = 1)")
    settings: SwitchingSettings
    verdict: Verdict
    provenance: Provenance
