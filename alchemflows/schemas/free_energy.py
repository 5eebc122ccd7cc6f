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
from alchemflows.schemas.windows import WindowExchange

Ensemble = Literal["NVT", "NPT"]

#: Names in tables and reports of the terms of configurational entropy, which are not part of any free energy of a cell.
MIXING = "ideal mixing k_B T Σ x ln x"
ARRANGEMENT = "random distribution over equivalent sites"


class Estimate(BaseModel):
    """A free-energy difference with its standard error: ΔF at constant volume, ΔG at constant pressure."""

    delta_f_eV: float
    error_eV: float | None = Field(description="standard error; none if the estimator gives no finite value")
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
    """Statistics of one window."""

    lambda_value: float
    mean_dudl_eV: float = Field(description="mean over the independent samples, as used in TI")
    error_dudl_eV: float = Field(
        description="standard error of the mean, corrected for correlations and for the small number of samples"
    )
    n_samples: int
    n_independent: float = Field(description="samples divided by the statistical inefficiency")
    statistical_inefficiency: float
    mean_temperature_K: float
    mean_volume_A3: float = Field(description="mean over all samples")
    n_runs: int = Field(description="production runs, each of `dynamics.n_production_steps`; more than 1 if extended")
    ti_weight: float = Field(description="quadrature weight of ⟨dU/dλ⟩ in TI")
    slope_dudl_eV: float = Field(description="d⟨∂U/∂λ⟩/dλ = ⟨∂²U/∂λ²⟩ − β var(∂U/∂λ)")
    ti_slope_weight: float = Field(description="quadrature weight of that slope in TI; 0 for gauss-legendre")
    variance_share: float | None = Field(
        description="share of the window in the variance of MBAR; none if that is not finite"
    )
    equilibration_fraction: float = Field(
        description="fraction of the production at which the means before and after differ most, of dU/dλ or the volume"
    )
    equilibration_shift_sigma: float = Field(
        description="difference of these means in standard errors; the verdict says if it is significant"
    )
    start_lambda: float | None = Field(
        None, description="λ at which the start structure was relaxed; none if all windows started from one structure"
    )
    sites: SitesSummary | None = Field(None, description="how far atoms were from their sites")
    exchange: WindowExchange | None = Field(
        None, description="exchange with replicas at other temperatures; none without it"
    )
    overlap_with_next: float | None = Field(
        description="MBAR overlap matrix element with the next window; should be at least 0.03"
    )


class ConvergenceCurve(BaseModel):
    """Configurational ΔF from MBAR as a function of the fraction of samples used from the start or end of each window.

    The last point is `mbar`. The other points use at most 300 independent samples of each window, so their errors may
    be larger than the fraction alone would imply. None if MBAR has no solution.
    """

    fractions: list[float]
    forward_eV: list[float | None] = Field(description="from the first part of each window")
    forward_error_eV: list[float | None]
    backward_eV: list[float | None] = Field(description="from the last part of each window")
    backward_error_eV: list[float | None]
    halves_sigma: float | None = Field(
        description="difference of the first and the second half in standard errors; the verdict says if it is "
        "significant"
    )


class MixedEnds(Document):
    """End compositions of a transformation, and terms of configurational entropy that are not in its `total`."""

    initial_weights: list[float]
    final_weights: list[float]
    mixing_term_eV: float = Field(
        description="k_B T Σ x ln x over sites, elements and vacancies, at λ = 1 minus at λ = 0: ideal mixing on each "
        "mixed site, NOT contained in `total`"
    )
    arrangement_term_eV: float = Field(
        description="contribution of a random distribution of the same atoms over equivalent sites, beyond the mixing "
        "term, at λ = 1 minus at λ = 0, NOT contained in `total`; not zero if only some of the equivalent sites change"
    )

    @property
    def terms_not_in_total(self) -> dict[str, float]:
        """Names and values (eV) of the terms of configurational entropy that apply to these ends."""
        terms = {}
        if any(0 < weight < 1 for weight in (*self.initial_weights, *self.final_weights)):
            terms[MIXING] = self.mixing_term_eV
        if self.arrangement_term_eV:
            terms[ARRANGEMENT] = self.arrangement_term_eV
        return terms


class FreeEnergyDocument(MixedEnds):
    """Free-energy difference between λ = 1 and λ = 0 of a path, with the statistics of its windows.

    At constant volume (`ensemble` NVT) every difference is ΔF (Helmholtz). At constant pressure (NPT) it is ΔG (Gibbs),
    also in fields named `delta_f`.
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
        description="discretisation error, estimated with every other window; part of the error of `ti`;"
        " 0 for gauss-legendre; none with two windows, for which `ti` has no error either"
    )
    bar: Estimate | None = Field(
        description="Bennett acceptance ratio between neighbours; configurational part; none if it has no solution"
    )
    mbar: Estimate = Field(description="multistate BAR over all windows; configurational part")
    mass_term_eV: float = Field(
        description="(3/2) k_B T Σ (x_initial − x_final) ln m over sites and elements, contained in `total`"
    )
    mass_term_eV_per_atom: float
    total: Estimate = Field(description="MBAR plus the mass term; no mixing term, no arrangement term")
    overlap_matrix: list[list[float]] = Field(description="MBAR overlap matrix between windows")
    convergence: ConvergenceCurve
    verdict: Verdict = Field(description="whether all checks of convergence passed, and those that failed")
    refinement: Refinement = Field(description="additions to the planned ladder, and whether the target error was met")
    warnings: list[str] = Field(
        default_factory=list, description="warnings of the estimators (overlap, samples); also in the verdict"
    )
    provenance: Provenance
