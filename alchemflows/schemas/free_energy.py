"""Documents of free-energy differences."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, Field

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.refinement import Refinement
from alchemflows.schemas.sites import SitesSummary
from alchemflows.schemas.verdict import Verdict

Ensemble = Literal["NVT", "NPT"]

#: What tables and reports call the terms of configurational entropy, which no free energy of a cell contains.
MIXING = "ideal mixing k_B T Σ x ln x"
ARRANGEMENT = "random distribution over equivalent sites"


class Estimate(BaseModel):
    """A free-energy difference with its standard error: ΔF at constant volume, ΔG at constant pressure."""

    delta_f_eV: float
    error_eV: float | None = Field(description="one standard error; none where the estimator gives no finite one")
    delta_f_eV_per_atom: float
    error_eV_per_atom: float | None

    @classmethod
    def of(cls, delta_f_eV: float, error_eV: float, counts: Counts) -> Estimate:
        """Return the estimate for a cell with these counts."""
        return cls(
            delta_f_eV=delta_f_eV,
            error_eV=error_eV if math.isfinite(error_eV) else None,
            delta_f_eV_per_atom=counts.per_atom(delta_f_eV),
            error_eV_per_atom=counts.per_atom(error_eV) if math.isfinite(error_eV) else None,
        )


class WindowStatistics(BaseModel):
    """What the analysis says of one window."""

    lambda_value: float
    mean_dudl_eV: float = Field(description="over the independent samples, as TI takes it")
    error_dudl_eV: float = Field(
        description="standard error of the mean, with correlations and the small number of samples accounted for"
    )
    n_samples: int
    n_independent: float = Field(description="samples divided by the statistical inefficiency")
    statistical_inefficiency: float
    mean_temperature_K: float
    mean_volume_A3: float = Field(description="over all samples")
    n_runs: int = Field(description="production runs, each of `dynamics.n_production_steps`; more than 1 if extended")
    ti_weight: float = Field(description="weight of its ⟨dU/dλ⟩ in TI")
    slope_dudl_eV: float = Field(description="d⟨∂U/∂λ⟩/dλ = ⟨∂²U/∂λ²⟩ − β var(∂U/∂λ)")
    ti_slope_weight: float = Field(description="weight of that slope in TI; 0 for gauss-legendre")
    variance_share: float | None = Field(description="its share in the variance of MBAR; none where that is not finite")
    equilibration_fraction: float = Field(
        description="where in its production the means before and after differ most, of dU/dλ or the volume"
    )
    equilibration_shift_sigma: float = Field(
        description="by how many standard errors they differ; the verdict says whether chance explains it"
    )
    start_lambda: float | None = Field(
        None, description="λ at which the structure was relaxed that it started from; none if all windows started alike"
    )
    sites: SitesSummary | None = Field(None, description="how far atoms were from their sites")
    overlap_with_next: float | None = Field(
        description="MBAR overlap matrix element with the next window; below 0.03 is too little"
    )


class ConvergenceCurve(BaseModel):
    """MBAR's ΔF (configurational) from the first and the last part of each window, against the size of that part.

    The last point is `mbar`. The others are from at most 300 independent samples of each window, so that their errors
    may be larger than the shares explain. None where MBAR has no solution.
    """

    fractions: list[float]
    forward_eV: list[float | None] = Field(description="from the first part of each window")
    forward_error_eV: list[float | None]
    backward_eV: list[float | None] = Field(description="from the last part of each window")
    backward_error_eV: list[float | None]
    halves_sigma: float | None = Field(
        description="difference of the first and the second half in standard errors; the verdict says whether that is "
        "chance"
    )


class MixedEnds(Document):
    """Ends of a transformation, and the terms of their configurational entropy, which its `total` does not contain."""

    initial_weights: list[float]
    final_weights: list[float]
    mixing_term_eV: float = Field(
        description="k_B T Σ x ln x over sites, elements and vacancies, at λ = 1 less at λ = 0: ideal mixing on each "
        "mixed site, NOT contained in `total`"
    )
    arrangement_term_eV: float = Field(
        description="what a random distribution of the same atoms over equivalent sites would add to the mixing term, "
        "at λ = 1 less at λ = 0, NOT contained in `total`; not zero where only some of the equivalent sites change"
    )

    @property
    def terms_not_in_total(self) -> dict[str, float]:
        """Names and values (eV) of the terms of configurational entropy that concern these ends."""
        terms = {}
        if any(0 < weight < 1 for weight in (*self.initial_weights, *self.final_weights)):
            terms[MIXING] = self.mixing_term_eV
        if self.arrangement_term_eV:
            terms[ARRANGEMENT] = self.arrangement_term_eV
        return terms


class FreeEnergyDocument(MixedEnds):
    """Free-energy difference along a path, that at λ = 1 less that at λ = 0, and what it rests on.

    At constant volume (`ensemble` NVT) every difference here is ΔF, Helmholtz; at constant pressure (NPT) it is ΔG,
    Gibbs, whatever the `delta_f` in the names of the fields.
    """

    ensemble: Ensemble = Field(description="NVT: ΔF at constant volume; NPT: ΔG at constant pressure")
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    counts: Counts
    volume_A3: float = Field(description="NVT: of the cell; NPT: mean of the windows' mean volumes")
    initial_formula: str
    final_formula: str
    coupling: str
    weight_labels: list[str]
    dynamics: DynamicsSettings
    window_jobs: list[str] = Field(
        default_factory=list, description="jobflow's identifiers of the jobs that sampled the windows"
    )
    windows: list[WindowStatistics]
    ti: Estimate = Field(description="thermodynamic integration by `ti_rule`; configurational part")
    ti_rule: Literal["corrected-trapezoid", "gauss-legendre"]
    ti_discretisation_eV: float | None = Field(
        description="error of the rule itself, from its difference with every other window; part of the error of `ti`; "
        "0 for gauss-legendre, none with two windows, where `ti` has no error either"
    )
    bar: Estimate | None = Field(
        description="Bennett acceptance ratio between neighbours; configurational part; none where it has no solution"
    )
    mbar: Estimate = Field(description="multistate BAR over all windows; configurational part")
    mass_term_eV: float = Field(
        description="(3/2) k_B T Σ (x_initial − x_final) ln m over sites and elements, contained in `total`"
    )
    mass_term_eV_per_atom: float
    total: Estimate = Field(description="MBAR plus the mass term; no mixing term, no arrangement term")
    overlap_matrix: list[list[float]] = Field(description="MBAR overlap matrix between windows")
    convergence: ConvergenceCurve
    verdict: Verdict = Field(description="whether the checks of convergence have passed, and those that have not")
    refinement: Refinement = Field(description="what was added to the planned ladder, and whether its target was met")
    warnings: list[str] = Field(
        default_factory=list, description="of the estimators (overlap, samples); the verdict has them too"
    )
    provenance: Provenance
