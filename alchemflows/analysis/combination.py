"""Make the document of ladders of one system at several temperatures and pressures, which are combined by MBAR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from alchemflows.analysis.collect import CollectedLadder, CollectedWindow, collect
from alchemflows.analysis.stored_ladders import (
    StoredLadder,
    check_alike,
    check_crystals,
    common_lambdas,
    terms_per_kelvin,
)
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.combination import Combination, StateSamples, ThermalState, combine, thinned
from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP
from alchemflows.free_energy.influences import standard_errors
from alchemflows.schemas.combination import CombinedLadders, CombinedPoint, LadderPart, SampledState
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Largest difference of the two halves of the sampling, and of a ladder from all, in standard errors.
MAX_SIGMA = 4.0
#: Coverage below which errors of ΔH, ΔS and ΔC at higher temperatures than those of all ladders can be too small.
MIN_COVERAGE_ABOVE = 0.5
#: Number of temperatures of the default grid, besides those of the ladders.
N_TEMPERATURES = 11


@dataclass(frozen=True)
class _Part:
    """A ladder at one of its temperatures.

    Attributes
    ----------
    ladder
        The stored ladder.
    condition
        Temperature and pressure.
    samples
        Thinned samples of its windows.
    lambdas
        λ of these windows.
    """

    ladder: StoredLadder
    condition: ThermalState
    samples: list[StateSamples]
    lambdas: list[float]

    def __str__(self) -> str:
        return f"ladder {self.ladder.uuid[:8]} ({self.condition})"


def default_temperatures(ladders: Iterable[StoredLadder]) -> list[float]:
    """Return the temperatures of the ladders, and evenly spaced ones between the lowest and the highest of them."""
    sampled = sorted({condition.temperature_K for ladder in ladders for condition in ladder.conditions})
    if len(sampled) == 1:
        return sampled
    even = np.linspace(sampled[0], sampled[-1], N_TEMPERATURES).round(6).tolist()
    return sorted({*sampled, *even})


def combined(
    ladders: Sequence[StoredLadder],
    temperatures_K: Sequence[float] | None = None,
    pressures_GPa: Sequence[float] | None = None,
    *,
    discard: float = 0.0,
) -> CombinedLadders:
    """Return ΔG(T, p) and its derivatives from the samples of one or several ladders of one system.

    Parameters
    ----------
    ladders
        Ladders with their windows. A ladder with replicas at other temperatures counts as one at each of these.
    temperatures_K
        Temperatures (K) of the results, by default :func:`default_temperatures`.
    pressures_GPa
        Pressures (GPa) of the results at constant pressure, by default those of the ladders.
    discard
        Fraction of the samples at the start of each window that is omitted.

    Raises
    ------
    InvalidInputError
        As :func:`check_alike`; if the crystals or the shapes of the cells differ, pressures are given at constant
        volume, an argument is out of its range, or all temperatures and pressures are outside of what was sampled.
    """
    check_alike([(ladder.uuid, ladder.document) for ladder in ladders])
    if not 0 <= discard < 1:
        raise InvalidInputError(f"discard must be at least 0 and less than 1; got {discard}")
    first = ladders[0].document
    conditions = _conditions(ladders, temperatures_K, pressures_GPa)
    terms = terms_per_kelvin(ladders)
    collected = [collect(None, ladder.windows, ()) for ladder in ladders]
    for ladder, other in zip(ladders[1:], collected[1:], strict=True):
        check_crystals(ladders[0], collected[0], ladder, other)
    lambdas = common_lambdas(collected)
    sampled_parts, notes = _sampled_parts(ladders, collected, lambdas, discard)
    result = combine(
        [state for part in sampled_parts for state in part.samples],
        [*conditions, *(part.condition for part in sampled_parts)],
    )
    n_points = len(conditions)
    sampled = result.sampled[:n_points]
    reasons = _reasons(result, n_points)
    if not sampled.any():
        raise InvalidInputError(f"nothing to compute: {reasons[0]}")
    parts, deviating = _parts(sampled_parts, result, n_points, terms[0])
    named = [each for ladder in ladders for each in _reasons_of(ladder)]
    covariance = result.covariance_eV2[:n_points, :n_points]
    both = np.outer(sampled, sampled)
    return CombinedLadders(
        initial_formula=first.initial_formula,
        final_formula=first.final_formula,
        ensemble=first.ensemble,
        counts=first.counts,
        volume_A3=first.volume_A3 if first.ensemble == "NVT" else None,
        coupling=first.coupling,
        weight_labels=first.weight_labels,
        initial_weights=first.initial_weights,
        final_weights=first.final_weights,
        temperatures_K=sorted({each.temperature_K for each in conditions}),
        pressures_GPa=sorted({each.pressure_GPa for each in conditions if each.pressure_GPa is not None}),
        points=[_point(result, k, first.counts, terms[0]) for k in range(n_points)],
        covariance_eV2=[
            [float(value) if known else None for value, known in zip(*row, strict=True)]
            for row in zip(covariance, both, strict=True)
        ],
        mass_term_eV_per_K=terms[0],
        mixing_term_eV_per_K=terms[1],
        arrangement_term_eV_per_K=terms[2],
        ladders=parts,
        states=_described(sampled_parts, result.component),
        overlaps=result.overlaps.round(5).tolist(),
        inefficiency=result.inefficiency,
        discard=discard,
        verdict=Verdict.of(
            [*reasons, *named, *deviating],
            [*notes, *_above(sampled_parts, result, n_points), *_separate(sampled_parts, result.component)],
        ),
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )


def _conditions(
    ladders: Sequence[StoredLadder],
    temperatures_K: Sequence[float] | None,
    pressures_GPa: Sequence[float] | None,
) -> list[ThermalState]:
    documents = [ladder.document for ladder in ladders]
    temperatures = sorted(set(default_temperatures(ladders) if temperatures_K is None else temperatures_K))
    if not temperatures or not all(0 < each < np.inf for each in temperatures):
        raise InvalidInputError(f"temperatures_K must be positive numbers; got {temperatures}")
    if documents[0].pressure_GPa is None:
        if pressures_GPa:
            raise InvalidInputError("pressures_GPa: these ladders are at constant volume; omit the pressures")
        return [ThermalState(temperature) for temperature in temperatures]
    own = {document.pressure_GPa for document in documents if document.pressure_GPa is not None}
    pressures = sorted(own if pressures_GPa is None else set(pressures_GPa))
    if not pressures or not all(np.isfinite(pressures)):
        raise InvalidInputError(f"pressures_GPa must be numbers; got {pressures}")
    return [ThermalState(temperature, pressure) for pressure in pressures for temperature in temperatures]


def _sampled_parts(
    ladders: Sequence[StoredLadder], collected: Sequence[CollectedLadder], lambdas: Sequence[float], discard: float
) -> tuple[list[_Part], list[str]]:
    """Return the thinned samples of each ladder at each of its temperatures, and notes on what is left out."""
    parts: list[_Part] = []
    notes, chain = [], 0
    for ladder, windows in zip(ladders, collected, strict=True):
        grid = [round(value, 9) for value in windows.first.lambdas]
        columns = [grid.index(value) for value in lambdas]
        used = [window for window in windows.windows if round(window.lambda_value, 9) in lambdas]
        notes += [
            f"{ladder}: the window λ = {window.lambda_value:g} is not used, since other ladders have no energies at "
            "its λ"
            for window in windows.windows
            if round(window.lambda_value, 9) not in lambdas
        ]
        conditions = ladder.conditions
        if len(conditions) < 1 + len(windows.first.dynamics.exchange_temperatures_K):
            notes.append(
                f"{ladder}: an earlier release ran it, which did not store the samples at the temperatures of exchange"
            )
        # Windows of one λ at all temperatures are one chain, and all windows if λ was exchanged too.
        step = 0 if windows.first.dynamics.replica_exchange else 1
        samples = thinned(
            [
                _samples(ladder, window, condition, columns, lambdas, discard, chain + step * k)
                for condition in conditions
                for k, window in enumerate(used)
            ]
        )
        chain += 1 + len(used)
        parts += [
            _Part(ladder, condition, samples[len(used) * j :][: len(used)], [w.lambda_value for w in used])
            for j, condition in enumerate(conditions)
        ]
    return parts, notes


def _samples(
    ladder: StoredLadder,
    window: CollectedWindow,
    condition: ThermalState,
    columns: Sequence[int],
    lambdas: Sequence[float],
    discard: float,
    chain: int,
) -> StateSamples:
    own = condition.temperature_K == ladder.document.temperature_K
    series = window.series(columns, None if own else condition.temperature_K).after(discard)
    if len(series) < 4:
        raise InvalidInputError(
            f"{ladder}: {len(series)} samples of λ = {window.lambda_value:g} are left; lower discard"
        )
    column = lambdas.index(round(window.lambda_value, 9))
    return StateSamples(
        column, condition.temperature_K, condition.pressure_GPa, series.energies_eV, series.volume_A3, chain
    )


def _described(parts: Sequence[_Part], component: np.ndarray) -> list[SampledState]:
    """Return the sampled states, in the order of the parts."""
    components = iter(component)
    return [
        SampledState(
            ladder=number,
            lambda_value=value,
            temperature_K=part.condition.temperature_K,
            pressure_GPa=part.condition.pressure_GPa,
            component=int(next(components)),
        )
        for number, part in enumerate(parts)
        for value in part.lambdas
    ]


def _point(result: Combination, k: int, counts: Counts, mass_eV_per_K: float) -> CombinedPoint:
    condition, sampled = result.conditions[k], bool(result.sampled[k])
    values, errors = result.values[k].copy(), result.errors[k]
    mass = mass_eV_per_K * condition.temperature_K
    values[0] += mass
    values[2] -= mass_eV_per_K

    def known(quantity: int) -> tuple[float | None, float | None]:
        return (float(values[quantity]), float(errors[quantity])) if sampled else (None, None)

    (h, dh), (s, ds), (c, dc) = known(1), known(2), known(3)
    v, dv = (None, None) if condition.pressure_GPa is None else known(4)
    return CombinedPoint(
        temperature_K=condition.temperature_K,
        pressure_GPa=condition.pressure_GPa,
        total=Estimate.of(float(values[0]), float(errors[0]), counts) if sampled else None,
        mass_term_eV=mass,
        delta_h_eV=h,
        delta_h_error_eV=dh,
        delta_s_eV_per_K=s,
        delta_s_error_eV_per_K=ds,
        delta_c_eV_per_K=c,
        delta_c_error_eV_per_K=dc,
        delta_v_A3=v,
        delta_v_error_A3=dv,
        end_overlaps=(float(result.end_overlaps[k, 0]), float(result.end_overlaps[k, 1])),
        coverage=(float(result.coverage[k, 0]), float(result.coverage[k, 1])),
        n_effective=float(result.n_effective[k]),
    )


def _parts(
    sampled: Sequence[_Part], result: Combination, n_points: int, mass_eV_per_K: float
) -> tuple[list[LadderPart], list[str]]:
    """Return each ladder alone and together with the others, and reasons of those that differ."""
    parts, reasons, start = [], [], 0
    for number, part in enumerate(sampled):
        k = n_points + number
        alone = combine(part.samples, [part.condition], inefficiency=result.inefficiency)
        deviations = -result.deviations[:, k, 0]
        # Blocks are in the order of the chains, thus of the ladders; a ladder has the same ones at all temperatures.
        end = start + len(alone.deviations)
        deviations[start:end] += alone.deviations[:, 0, 0]
        start = start if sampled[number + 1 :] and sampled[number + 1].ladder is part.ladder else end
        difference, error = alone.values[0, 0] - result.values[k, 0], float(standard_errors(deviations[:, None])[0])
        # Without overlap with other ladders both are equal up to rounding.
        differs = len(sampled) > 1 and error > 1e-3 * float(alone.errors[0, 0])
        sigma = float(abs(difference) / error) if differs else None
        if sigma is not None and sigma > MAX_SIGMA:
            reasons.append(Reason.LADDER_DEVIATES.because(ladder=part, sigma=sigma))
        mass, counts = mass_eV_per_K * part.condition.temperature_K, part.ladder.document.counts
        parts.append(
            LadderPart(
                uuid=part.ladder.uuid,
                temperature_K=part.condition.temperature_K,
                pressure_GPa=part.condition.pressure_GPa,
                n_windows=len(part.samples),
                n_samples=sum(map(len, part.samples)),
                alone=Estimate.of(float(alone.values[0, 0]) + mass, float(alone.errors[0, 0]), counts),
                together=Estimate.of(float(result.values[k, 0]) + mass, float(result.errors[k, 0]), counts),
                deviation_sigma=sigma,
            )
        )
    return parts, reasons


def _reasons(result: Combination, n_points: int) -> list[str]:
    reasons = []
    sampled = result.sampled[:n_points]
    for among in _runs(result.conditions[:n_points], ~sampled):
        coverage, needed = result.coverage[among], result.needed_coverage[among]
        if (coverage < needed[:, None]).any():
            worst, end = np.unravel_index(int(np.argmin(coverage)), coverage.shape)
            reasons.append(
                Reason.NOT_SAMPLED.because(
                    points=_named(result.conditions, among),
                    end=end,
                    percent=100 * coverage.min(),
                    least=100 * needed[worst],
                )
            )
        else:
            reasons.append(Reason.NOT_CONNECTED.because(points=_named(result.conditions, among), least=MIN_OVERLAP))
    few = sampled & (result.n_effective[:n_points] < MIN_INDEPENDENT)
    reasons += [
        Reason.FEW_EFFECTIVE.because(
            points=_named(result.conditions, among), n=result.n_effective[among].min(), least=MIN_INDEPENDENT
        )
        for among in _runs(result.conditions[:n_points], few)
    ]
    drift = np.abs(result.drift[:n_points][sampled])
    if len(drift) and drift.max() > MAX_SIGMA:
        reasons.append(Reason.HALVES.because(sigma=drift.max()))
    return reasons


def _reasons_of(ladder: StoredLadder) -> list[str]:
    """Return the reasons of a ladder, and those of its replicas at other temperatures that left their sites."""
    reasons = list(ladder.document.verdict.reasons)
    for window in (window for output in ladder.windows for window in output.windows):
        if window.exchange is not None:
            for temperature_K, sites in zip(window.exchange.temperatures_K, window.exchange.sites, strict=False):
                if temperature_K != ladder.document.temperature_K:
                    reasons += sites.reasons(f"window λ = {window.lambda_value:g} at {temperature_K:g} K")
    return [f"{ladder}: {reason}" for reason in reasons]


def _above(parts: Sequence[_Part], result: Combination, n_points: int) -> list[str]:
    """Return notes on results at higher temperatures than those of all ladders.

    They depend on samples of high energy, which are rare. If some are missing, fluctuations of the energy and their
    errors are too small.
    """
    highest = max(part.condition.temperature_K for part in parts)
    conditions, coverage = result.conditions[:n_points], result.coverage[:n_points].min(axis=1)
    hotter = np.array([each.temperature_K > highest for each in conditions])
    rough = result.sampled[:n_points] & hotter & (coverage < MIN_COVERAGE_ABOVE)
    return [
        f"{_named(conditions, among)}: above the temperatures of all ladders, with a coverage of "
        f"{coverage[among].min():.0%}; errors of ΔH, ΔS and above all ΔC can be too small"
        for among in _runs(conditions, rough)
    ]


def _runs(conditions: Sequence[ThermalState], chosen: np.ndarray) -> list[list[int]]:
    """Return sets of chosen conditions that follow one another at one pressure."""
    runs = []
    for (_, wanted), group in groupby(
        range(len(conditions)), key=lambda k: (conditions[k].pressure_GPa, bool(chosen[k]))
    ):
        if wanted:
            runs.append(list(group))
    return runs


def _named(conditions: Sequence[ThermalState], among: Sequence[int]) -> str:
    first, last = conditions[among[0]], conditions[among[-1]]
    return str(first) if first == last else f"{first.temperature_K:g} to {last}"


def _separate(parts: Sequence[_Part], component: np.ndarray) -> list[str]:
    """Return a note if some ladders do not overlap with others."""
    sets: dict[int, list[str]] = {}
    components = iter(component)
    for part in parts:
        sets.setdefault(min(int(next(components)) for _ in part.samples), []).append(str(part.condition))
    if len(sets) < 2:
        return []
    groups = "; ".join(", ".join(dict.fromkeys(names)) for names in sets.values())
    return [f"these sets of ladders do not overlap with one another, so each has its own range of results: {groups}"]
