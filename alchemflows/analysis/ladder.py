"""Make the free-energy document of a ladder from its windows, after sampling or in a later reanalysis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from alchemflows.analysis.collect import CollectedLadder, collect
from alchemflows.analysis.terms import TransformationTerms
from alchemflows.free_energy.consistency import Agreement
from alchemflows.free_energy.convergence import (
    Convergence,
    Equilibration,
    convergence,
    equilibration,
    least_inefficiency,
    reasons_against,
    steady,
)
from alchemflows.free_energy.decorrelation import Decorrelated, decorrelate
from alchemflows.free_energy.estimators import MIN_OVERLAP, LadderResult, estimate
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import ConvergenceCurve, Estimate, FreeEnergyDocument, WindowStatistics
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.refinement import Refinement, RefinementRound, RefinementSettings
from alchemflows.schemas.verdict import Verdict
from alchemflows.schemas.windows import WindowExchange, WindowsDocument

#: Smallest share of accepted exchanges between neighbouring temperatures.
MIN_EXCHANGE = 0.05
#: Note for ladders whose windows did not start from both ends.
ONE_START = (
    "all windows started from one structure instead of both ends, so no check shows whether the result depends on it "
    "or whether another state exists"
)


@dataclass(frozen=True)
class Numbers:
    """Numerical results of a ladder.

    Attributes
    ----------
    windows
        Independent samples of each window.
    steady
        Samples of each window for the comparison of its first and second half.
    equilibrations
        Test of each window for an initial shift of its means.
    agreement
        Agreement between windows, and between the two start structures.
    result
        Free energies by all estimators.
    ti_rule
        Quadrature rule of TI.
    """

    windows: list[Decorrelated]
    steady: list[Decorrelated]
    equilibrations: list[Equilibration]
    agreement: Agreement
    result: LadderResult
    ti_rule: Literal["corrected-trapezoid", "gauss-legendre"]

    @classmethod
    def of(
        cls,
        ladder: CollectedLadder,
        planned: Sequence[int] | None = None,
        quadrature: Sequence[float] | None = None,
        discard: float = 0.0,
    ) -> Numbers:
        """Return the results of a ladder; a fraction `discard` at the start of each window is omitted.

        See :class:`~alchemflows.jobs.analyse.AnalyseMaker` for the planned windows and the quadrature.
        """
        first, lambdas = ladder.first, ladder.lambdas
        pressure = first.dynamics.pressure_GPa
        windows, compared, observables = [], [], []
        for k, whole in enumerate(ladder.series()):
            series = whole.after(discard)
            windows.append(decorrelate(lambdas, k, series))
            compared.append(steady(lambdas, k, series))
            observables.append([series.dudl_eV] + ([] if pressure is None else [series.volume_A3]))
        weights = None
        if quadrature is not None:
            # Windows that were inserted later are not nodes of the quadrature rule.
            nodes = range(len(first.lambdas)) if planned is None else planned
            of = dict(zip(nodes, quadrature, strict=True))
            weights = [of.get(index, 0.0) for index in ladder.indices]
        result = estimate(lambdas, windows, first.temperature_K, pressure_GPa=pressure, quadrature=weights)
        least = least_inefficiency(result)
        equilibrations = [equilibration(each, least) for each in observables]
        ends = [window.start_lambda for window in ladder.windows]
        agreement = Agreement.of(windows, result, first.temperature_K, ends)
        rule: Literal["corrected-trapezoid", "gauss-legendre"] = (
            "corrected-trapezoid" if quadrature is None else "gauss-legendre"
        )
        return cls(windows, compared, equilibrations, agreement, result, rule)


def reanalysed(
    stored: FreeEnergyDocument, documents: Sequence[WindowsDocument], *, discard: float = 0.0
) -> FreeEnergyDocument:
    """Analyse the samples of a ladder again with the current estimators, and return the new document.

    Parameters
    ----------
    stored
        Document of the earlier analysis, from which the quadrature rule of TI, the analytic terms and the record of
        the refinement are taken.
    documents
        Outputs of the window jobs of the ladder.
    discard
        Fraction of samples to discard at the start of each window.

    Raises
    ------
    InvalidInputError
        If the documents do not belong to the ladder, or too few samples remain.
    """
    at = {value: index for index, value in enumerate(documents[0].lambdas)}
    planned = [at.get(window.lambda_value, -1) for window in stored.windows]  # collect raises for -1
    weights = [window.ti_weight for window in stored.windows] if stored.ti_rule == "gauss-legendre" else None
    ladder = collect(None, documents, planned)
    numbers = Numbers.of(ladder, planned, weights, discard)
    settings = RefinementSettings(
        target_error_eV_per_atom=stored.refinement.target_error_eV_per_atom, budget=stored.refinement.budget
    )
    refinement = refined(settings, stored.refinement.rounds, numbers.result, ladder.first.counts)
    terms = TransformationTerms(stored.mass_term_eV, stored.mixing_term_eV, stored.arrangement_term_eV)
    return document(ladder, numbers, refinement, terms, [note for note in stored.verdict.notes if note != ONE_START])


def document(
    ladder: CollectedLadder,
    numbers: Numbers,
    refinement: Refinement,
    terms: TransformationTerms,
    notes: Sequence[str] = (),
) -> FreeEnergyDocument:
    """Return the free-energy document of a ladder, with the notes added to its verdict."""
    first, result, counts = ladder.first, numbers.result, ladder.first.counts
    pressure, target = first.dynamics.pressure_GPa, refinement.target_error_eV_per_atom
    shares, temperature = result.variances_eV2, first.temperature_K
    known = result.mbar if np.isfinite(result.mbar).all() else None
    curve = convergence(numbers.windows, result.free_energies_eV, temperature, shares, whole=known)
    halves = convergence(numbers.steady, result.free_energies_eV, temperature, shares, fractions=(0.5,))
    reasons = reasons_against(
        ladder.lambdas,
        result,
        halves,
        numbers.equilibrations,
        numbers.agreement,
        target_eV=None if target is None else target * counts.atoms,
    )
    for window in ladder.windows:
        reasons += [] if window.sites is None else window.sites.reasons(f"window λ = {window.lambda_value:g}")
        reasons += [] if window.exchange is None else _rare_exchanges(window.lambda_value, window.exchange)
    if all(window.start_lambda is None for window in ladder.windows):
        notes = [*notes, ONE_START]
    n_failed = refinement.rounds[-1].n_failed_jobs
    if n_failed:
        reasons.append(Reason.FAILED_JOBS.because(n=n_failed))
    volumes = [window.mean("mean_volume_A3") for window in ladder.windows]
    return FreeEnergyDocument(
        ensemble="NVT" if pressure is None else "NPT",
        temperature_K=first.temperature_K,
        pressure_GPa=pressure,
        counts=counts,
        volume_A3=first.volume_A3 if pressure is None else float(np.mean(volumes)),
        initial_formula=first.initial_formula,
        final_formula=first.final_formula,
        coupling=first.coupling,
        weight_labels=first.weight_labels,
        initial_weights=first.initial_weights,
        final_weights=first.final_weights,
        dynamics=first.dynamics,
        window_jobs=list(ladder.jobs),
        windows=_statistics(ladder, numbers, volumes),
        ti=Estimate.of(*result.ti, counts),
        ti_rule=numbers.ti_rule,
        ti_discretisation_eV=result.ti_discretisation_eV if math.isfinite(result.ti_discretisation_eV) else None,
        bar=None if result.bar is None else Estimate.of(*result.bar, counts),
        mbar=Estimate.of(*result.mbar, counts),
        mass_term_eV=terms.mass_eV,
        mass_term_eV_per_atom=counts.per_atom(terms.mass_eV),
        total=Estimate.of(result.mbar[0] + terms.mass_eV, result.mbar[1], counts),
        mixing_term_eV=terms.mixing_eV,
        arrangement_term_eV=terms.arrangement_eV,
        overlap_matrix=result.overlap.tolist(),
        convergence=_curve(curve, halves),
        verdict=Verdict.of(reasons, notes),
        refinement=refinement,
        warnings=result.warnings,
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )


def _rare_exchanges(value: float, exchange: WindowExchange) -> list[str]:
    """Return the reasons why replicas of a window at other temperatures do not help."""
    temperatures = exchange.temperatures_K
    reasons = [
        Reason.RARE_EXCHANGE.because(window=value, low=low, high=high, percent=100 * share, least=100 * MIN_EXCHANGE)
        for (low, high), share in zip(pairwise(temperatures), exchange.acceptance, strict=True)
        if share < MIN_EXCHANGE
    ]
    if not exchange.round_trips:
        reasons.append(Reason.NO_TRIPS.because(window=value, low=temperatures[0], high=temperatures[-1]))
    return reasons


def _statistics(ladder: CollectedLadder, numbers: Numbers, volumes: Sequence[float]) -> list[WindowStatistics]:
    result = numbers.result
    overlaps: list[float | None] = [float(value) for value in np.diagonal(result.overlap, offset=1)]
    variance = float(result.variances_eV2.sum())
    shares = result.variances_eV2 / variance if math.isfinite(variance) and variance > 0 else [None] * len(volumes)
    return [
        WindowStatistics(
            lambda_value=window.lambda_value,
            mean_dudl_eV=result.mean_dudl_eV[k],
            error_dudl_eV=result.error_dudl_eV[k],
            n_samples=result.n_samples[k],
            n_independent=result.n_independent[k],
            statistical_inefficiency=result.inefficiency[k],
            mean_temperature_K=window.mean("mean_temperature_K"),
            mean_volume_A3=volumes[k],
            start_lambda=window.start_lambda,
            sites=window.sites,
            exchange=window.exchange,
            n_runs=window.n_runs,
            ti_weight=result.ti_weights[k],
            slope_dudl_eV=result.slope_dudl_eV[k],
            ti_slope_weight=result.ti_slope_weights[k],
            variance_share=shares[k],
            equilibration_fraction=found.fraction,
            equilibration_shift_sigma=found.shift_sigma,
            overlap_with_next=overlap,
        )
        for k, (window, found, overlap) in enumerate(
            zip(ladder.windows, numbers.equilibrations, [*overlaps, None], strict=True)
        )
    ]


def refined(
    settings: RefinementSettings, history: Sequence[RefinementRound], result: LadderResult, counts: Counts
) -> Refinement:
    """Return the record of the refinement, with the error and the overlap after its last round."""
    *before, last = history or [RefinementRound()]
    target = settings.target_error_eV_per_atom
    error, overlap = counts.per_atom(result.mbar[1]), float(np.diagonal(result.overlap, offset=1).min())
    done = last.model_copy(
        update={
            "error_eV_per_atom": error if math.isfinite(error) else None,
            "smallest_overlap": overlap if math.isfinite(overlap) else None,
        }
    )
    return Refinement(
        target_error_eV_per_atom=target,
        target_met=None if target is None else error <= target and overlap >= MIN_OVERLAP,
        budget=settings.budget,
        n_runs_added=sum(each.n_runs for each in history),
        rounds=[*before, done],
    )


def _curve(curve: Convergence, halves: Convergence) -> ConvergenceCurve:
    columns = {
        f"{name}{suffix}_eV": [None if value is None else value[k] for value in values]
        for name, values in (("forward", curve.forward), ("backward", curve.backward))
        for k, suffix in enumerate(("", "_error"))
    }
    return ConvergenceCurve(fractions=list(curve.fractions), halves_sigma=halves.halves_sigma, **columns)
