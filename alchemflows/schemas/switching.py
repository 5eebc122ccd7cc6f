"""Documents of nonequilibrium switching."""

from __future__ import annotations

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.free_energy import Estimate, MixedEnds
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.verdict import Verdict


class WorkDocument(BaseModel):
    """Work of switches both ways, and estimates of the configurational free-energy difference, λ = 0 → 1."""

    forward_work_eV: list[float] = Field(description="W of each switch from λ = 0 to 1")
    backward_work_eV: list[float] = Field(description="W of each switch from λ = 1 to 0")
    mean: Estimate = Field(description="(⟨W_f⟩ − ⟨W_b⟩)/2")
    bar: Estimate | None = Field(description="BAR (Crooks); none if it has no solution")
    best: Estimate = Field(
        description="BAR if the work distributions overlap, otherwise the mean with at least the dissipation as error"
    )
    dissipation_eV: float = Field(description="(⟨W_f⟩ + ⟨W_b⟩)/2")
    dissipation_eV_per_atom: float
    overlap: float = Field(
        description="overlap of the distributions of W_f and −W_b, from 0 to 1; should be at least 0.1"
    )
    switching_time_fs: float
    curves: PackedArrays = Field(
        description="`lambdas` (m) and ∂U/∂λ (eV) along each switch: `forward_dudl_eV`, `backward_dudl_eV` (n, m)"
    )


class SwitchingDocument(MixedEnds):
    """ΔF (NVT) or ΔG (NPT) of a transformation by switching, between λ = 1 and λ = 0."""

    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume, for which the result is ΔF")
    counts: Counts
    volume_A3: float = Field(description="volume of the cell from which dynamics start")
    initial_formula: str
    final_formula: str
    coupling: str
    weight_labels: list[str]
    settings: SwitchingSettings
    work: WorkDocument
    mass_term_eV: float = Field(
        description="(3/2) k_B T Σ (x_initial − x_final) ln m over sites and elements, contained in `total`"
    )
    mass_term_eV_per_atom: float
    total: Estimate = Field(
        description="the best estimate from the work, plus the mass term; no mixing term, no arrangement term"
    )
    sites: SitesSummary | None = Field(
        None,
        description="displacements of atoms in the replica in which they were away from their sites most; none if they "
        "are not expected to stay there",
    )
    initial_frames: PackedArrays | None = Field(
        None,
        description="configurations at λ = 0 from the second half of the equilibration, those of one replica after "
        "those of the other, see `schemas.frames.Frames` (in the additional store `data`)",
    )
    final_frames: PackedArrays | None = Field(None, description="the same at λ = 1")
    verdict: Verdict
    provenance: Provenance
