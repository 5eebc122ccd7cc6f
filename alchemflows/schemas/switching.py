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
    """Work of switches both ways, and the estimates from it; λ = 0 → 1, configurational part."""

    forward_work_eV: list[float] = Field(description="W of each switch from λ = 0 to 1")
    backward_work_eV: list[float] = Field(description="W of each switch from λ = 1 to 0")
    mean: Estimate = Field(description="(⟨W_f⟩ − ⟨W_b⟩)/2")
    bar: Estimate | None = Field(description="BAR (Crooks); none where it has no solution")
    best: Estimate = Field(
        description="BAR where the work distributions overlap, else the mean with at least the dissipation as its error"
    )
    dissipation_eV: float = Field(description="(⟨W_f⟩ + ⟨W_b⟩)/2")
    dissipation_eV_per_atom: float
    overlap: float = Field(description="of the distributions of W_f and −W_b, between 0 and 1; below 0.1 is too little")
    switching_time_fs: float
    curves: PackedArrays = Field(
        description="`lambdas` (m), and ∂U/∂λ (eV) along each switch: `forward_dudl_eV`, `backward_dudl_eV` (n, m)"
    )


class SwitchingDocument(MixedEnds):
    """ΔF (NVT) or ΔG (NPT) of a transformation by switching: at λ = 1 less at λ = 0."""

    temperature_K: float
    pressure_GPa: float | None = Field(description="none: ΔF at constant volume; else ΔG")
    counts: Counts
    volume_A3: float = Field(description="of the cell that the dynamics began with")
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
        description="how far atoms were from their sites, in the replica in which they were away most; none where they "
        "are not expected to stay on them",
    )
    verdict: Verdict
    provenance: Provenance
