"""Documents of free energies along an isobar or an isotherm."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.liquid import LiquidSummary
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.verdict import Verdict


class CurveValues(BaseModel):
    """Values of a quantity at each temperature or pressure of a curve, and their standard errors."""

    values: list[float]
    errors: list[float]


class SweepAnchor(BaseModel):
    """The absolute free energy on which a curve rests, from a Frenkel–Ladd run or that of a liquid."""

    temperature_K: float
    pressure_GPa: float
    volume_A3: float
    gibbs: FreeEnergyValue
    helmholtz: FreeEnergyValue
    mode_energies_eV: list[float] | None = Field(
        None,
        description="ħω of each harmonic mode at this volume; none if it was not requested, for a liquid, or if a mode "
        "is unstable",
    )
    mean_cell_job: str | None = Field(
        None,
        description="identifier of the job that sampled its mean cell and has the frames; none for a given cell, or if "
        "a sweep of the pressure led to the anchor",
    )


class WignerKirkwoodCurve(BaseModel):
    """The first term of what quantum nuclei add to a classical free energy, along a curve; values are for the cell."""

    wigner_kirkwood_eV: CurveValues = Field(
        description="first term of the expansion in ħ: ħ²/(24 (k_B T)²) Σ_i ⟨|F_i|²⟩/m_i, with the forces of the "
        "switches"
    )
    next_terms: list[float] = Field(
        description="size of the next term of harmonic modes, divided by the first term; without phonons a lower "
        "limit, from the mean frequency of the atoms of each mass"
    )


class QuantumCorrections(WignerKirkwoodCurve):
    """What quantum nuclei add to a classical free energy, at each temperature of a curve; values are for the cell."""

    holds_from_K: float | None = Field(
        description="lowest temperature of the curve above which the next term is at most a tenth of the first one; "
        "none if it is larger at the highest temperature"
    )
    harmonic_eV: list[float] | None = Field(
        description="correction of the harmonic modes at the volume of the anchor, to all orders; none without phonons"
    )


class PressureQuantumCorrections(WignerKirkwoodCurve):
    """What quantum nuclei add to a classical free energy, at each pressure of a curve; values are for the cell."""

    holds_to_GPa: float | None = Field(
        description="highest pressure of the curve up to which the next term is at most a tenth of the first one; none "
        "if it is larger at the lowest pressure"
    )
    harmonic_eV: list[float] | None = Field(
        None,
        description="correction of the harmonic modes at each volume, to all orders, interpolated between volumes with "
        "phonons; none without phonons, or if a mode is unstable at one of these volumes",
    )


class SweepWork(BaseModel):
    """Work of the switches between both ends of a sweep."""

    forward_work_eV: list[float] = Field(description="work of each switch from the low to the high end")
    backward_work_eV: list[float] = Field(description="work of each switch from the high to the low end")
    dissipation_eV: float = Field(description="(⟨W_f⟩ + ⟨W_b⟩)/2")
    overlap: float = Field(
        description="overlap of the distributions of W_f and −W_b, from 0 to 1; should be at least 0.1"
    )
    switching_time_fs: float
    curves: PackedArrays = Field(
        description="`places` (K or GPa) at m points from the low to the high end, and at them the work (eV) since the "
        "start of each switch: `forward_eV` (n, m), and `backward_eV` (n, m) from the high to the low end; mean "
        "volumes (Å³) between the points from the low to the high end: `forward_volumes_A3`, `backward_volumes_A3` "
        "(n, m − 1), and means of Σ |F|²/m (eV²/Å²/amu) of the scaled forces on the atoms of each mass: "
        "`forward_force_squares`, `backward_force_squares` (n, m − 1, kinds), for `kind_counts` atoms"
    )


class Isoline(BaseModel):
    """What curves over temperatures and over pressures have in common; values are for the whole cell."""

    formula: str
    weights: list[float]
    weight_labels: list[str]
    coupling: str
    counts: Counts
    anchor: SweepAnchor
    gibbs_eV: CurveValues = Field(
        description="classical G, at constant volume F; without the entropy of mixing, and without electronic or "
        "magnetic excitations"
    )
    volumes_A3: CurveValues
    dissipation_eV: list[float] = Field(
        description="dissipation between the anchor and each point: half the difference between the results of forward "
        "and of backward switches"
    )
    degree: int = Field(description="degree of the polynomial that describes the derivative of the free energy")
    n_attempts: int = Field(description="number of sweeps; more than one if the crystal was lost on the way")
    work: SweepWork
    settings: SwitchingSettings = Field(description="conditions and lengths of the switches")
    sites: SitesSummary | None = Field(
        None,
        description="displacements of atoms in the replica in which they were away from their sites most; none for "
        "a liquid",
    )
    liquid: LiquidSummary | None = Field(
        None, description="diffusion and order of a liquid during the switches; none for a crystal"
    )
    verdict: Verdict
    provenance: Provenance


class TemperatureSweepDocument(Document, Isoline):
    """G(T) of a crystal or liquid at constant pressure, or F(T) at constant volume, from one reversible scaling."""

    pressure_GPa: float | None = Field(description="none at constant volume")
    temperatures_K: list[float]
    requested_K: tuple[float, float] = Field(description="lowest and highest temperature that were asked for")
    enthalpy_eV: CurveValues = Field(description="H, at constant volume U")
    entropy_eV_per_K: CurveValues
    heat_capacity_eV_per_K: CurveValues = Field(description="C_p, at constant volume C_V")
    expansion_per_K: CurveValues = Field(description="volumetric thermal expansion (∂V/∂T)/V")
    quantum: QuantumCorrections | None = Field(
        None, description="corrections for quantum nuclei, not included in the other values; none in older documents"
    )


class PressureSweepDocument(Document, Isoline):
    """G(p) of a crystal at one temperature, from one switching of the pressure."""

    temperature_K: float
    pressures_GPa: list[float]
    requested_GPa: tuple[float, float] = Field(description="lowest and highest pressure that were asked for")
    bulk_modulus_GPa: CurveValues = Field(description="isothermal bulk modulus −V ∂p/∂V")
    quantum: PressureQuantumCorrections | None = Field(
        None, description="corrections for quantum nuclei, not included in the other values; none in older documents"
    )
