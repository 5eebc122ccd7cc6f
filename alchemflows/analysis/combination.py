"""Make the document of ladders of one system at several temperatures and pressures, which are combined by MBAR."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from pymatgen.core import Lattice

from alchemflows.analysis.collect import CollectedLadder, collect
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.combination import Combination, StateSamples, ThermalState, combine, thinned
from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP
from alchemflows.free_energy.influences import standard_errors
from alchemflows.schemas.combination import CombinedLadders, CombinedPoint, LadderPart, SampledState
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict
from alchemflows.schemas.windows import WindowsDocument

#: Largest difference of the two halves of the sampling, and of a ladder from all, in standard errors.
MAX_SIGMA = 4.0
#: Coverage below which errors of ΔH, ΔS and ΔC at higher temperatures than those of all ladders can be too small.
MIN_COVERAGE_ABOVE = 0.5
#: Number of temperatures of the default grid, besides those of the ladders.
N_TEMPERATURES = 11
#: Largest distance between the same sites in two ladders of one crystal, relative to that of the nearest other site.
_MAX_SHIFT_SHARE = 0.15
#: Largest relative differences of cells at constant volume, and of shapes of cells that can or cannot change it.
_SAME_CELL, _SAME_SHAPE, _SIMILAR_SHAPE = 1e-4, 1e-3, 0.1
#: Largest relative difference of terms that are proportional to the temperature.
_SAME_TERM = 1e-6


@dataclass(frozen=True)
class StoredLadder:
    """A ladder in the database.

    Attributes
    ----------
    uuid
        Identifier of its analysis.
    document
        Document of the analysis.
    windows
        Outputs of its window jobs.
    """

    uuid: str
    document: FreeEnergyDocument
    windows: Sequence[WindowsDocument]

    @property
    def condition(self) -> ThermalState:
        """Temperature and pressure."""
        return ThermalState(self.document.temperature_K, self.document.pressure_GPa)

    def __str__(self) -> str:
        return f"ladder {self.uuid[:8]} ({self.condition})"


def check_alike(documents: Sequence[tuple[str, FreeEnergyDocument]]) -> None:
    """Check that ladders are of one system, before their samples are read.

    Parameters
    ----------
    documents
        Identifiers and documents of the analyses of ladders.

    Raises
    ------
    InvalidInputError
        If there is none, one is given twice, or two differ in transformation, number of atoms, path, coupling,
        potential, ensemble, cell degrees of freedom, or volume (at constant volume).
    """
    if not documents:
        raise InvalidInputError("no ladders: give the IDs of one or several ladders")
    first_uuid, first = documents[0]
    known = {first_uuid}
    for uuid, other in documents[1:]:
        if uuid in known:
            raise InvalidInputError(f"the ladder {uuid[:8]} is given twice; give it once")
        known.add(uuid)
        pairs = zip(_identity(first).items(), _identity(other).values(), strict=True)
        for (name, mine), theirs in pairs:
            if mine != theirs:
                raise InvalidInputError(
                    f"the ladders {first_uuid[:8]} and {uuid[:8]} cannot be combined: {name}: {mine} and {theirs}"
                )
        if first.ensemble == "NVT" and abs(other.volume_A3 / first.volume_A3 - 1) > _SAME_CELL:
            raise InvalidInputError(
                f"the ladders {first_uuid[:8]} and {uuid[:8]} cannot be combined: their constant volumes differ: "
                f"{first.volume_A3:.4f} and {other.volume_A3:.4f} Å³"
            )


def _identity(document: FreeEnergyDocument) -> dict[str, object]:
    """Return what must be equal in all ladders, by its name in messages."""
    potential = document.provenance.potential
    return {
        "transformation": f"{document.initial_formula} → {document.final_formula}",
        "number of atoms": document.counts.title,
        "ensemble": "constant volume" if document.pressure_GPa is None else "constant pressure",
        "coupling": document.coupling,
        "channels of the path (weight_labels)": document.weight_labels,
        "initial weights of the path": document.initial_weights,
        "final weights of the path": document.final_weights,
        "potential": None if potential is None else potential.name.rpartition("/")[2],
        "model file of the potential (SHA-256)": None if potential is None else potential.sha256[:12],
        "head of the potential": None if potential is None else potential.head,
        "cell_freedom": None if document.pressure_GPa is None else document.dynamics.cell_freedom,
    }


def default_temperatures(ladders: Iterable[FreeEnergyDocument]) -> list[float]:
    """Return the temperatures of the ladders, and evenly spaced ones between the lowest and the highest of them."""
    sampled = sorted({document.temperature_K for document in ladders})
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
        Ladders with their windows.
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
    conditions = _conditions([ladder.document for ladder in ladders], temperatures_K, pressures_GPa)
    terms = _terms_per_kelvin(ladders)
    collected = [collect(None, ladder.windows, ()) for ladder in ladders]
    for ladder, other in zip(ladders[1:], collected[1:], strict=True):
        _check_crystals(ladders[0], collected[0], ladder, other)
    lambdas = _common_lambdas(collected)
    states, described, notes = _states(ladders, collected, lambdas, discard)
    result = combine([state for own in states for state in own], [*conditions, *(each.condition for each in ladders)])
    n_points = len(conditions)
    sampled = result.sampled[:n_points]
    reasons = _reasons(ladders, result, n_points)
    if not sampled.any():
        raise InvalidInputError(f"nothing to compute: {reasons[0]}")
    parts, deviating = _parts(ladders, states, result, n_points, terms[0])
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
        states=[
            each.model_copy(update={"component": int(component)})
            for each, component in zip(described, result.component, strict=True)
        ],
        overlaps=result.overlaps.round(5).tolist(),
        inefficiency=result.inefficiency,
        discard=discard,
        verdict=Verdict.of(
            [*reasons, *deviating],
            [*notes, *_above(ladders, result, n_points), *_separate(ladders, described, result.component)],
        ),
        provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
    )


def _conditions(
    documents: Sequence[FreeEnergyDocument],
    temperatures_K: Sequence[float] | None,
    pressures_GPa: Sequence[float] | None,
) -> list[ThermalState]:
    temperatures = sorted(set(default_temperatures(documents) if temperatures_K is None else temperatures_K))
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


def _terms_per_kelvin(ladders: Sequence[StoredLadder]) -> tuple[float, float, float]:
    """Return mass, mixing and arrangement terms divided by the temperature, which are the same in all ladders."""
    names = ("mass_term_eV", "mixing_term_eV", "arrangement_term_eV")
    terms = np.array([[getattr(each.document, n) / each.document.temperature_K for n in names] for each in ladders])
    for name, values in zip(names, terms.T, strict=True):
        if np.ptp(values) > _SAME_TERM * np.abs(values).max():
            found = ", ".join(f"{each}: {value:.6g}" for each, value in zip(ladders, values, strict=True))
            raise InvalidInputError(f"the ladders cannot be combined: {name} per kelvin differs: {found}")
    mass, mixing, arrangement = (float(value) for value in terms[0])
    return mass, mixing, arrangement


def _check_crystals(first: StoredLadder, one: CollectedLadder, second: StoredLadder, two: CollectedLadder) -> None:
    """Compare the start structures of two ladders, if they are stored, and their cells."""
    starts = [each.windows[0].parts[0].series.end() for each in (one, two)]
    if any("sites" not in start for start in starts):
        return
    cells = [start["sites_cell_A"] for start in starts]
    refused = f"{first} and {second} cannot be combined"
    freedom = None if first.document.pressure_GPa is None else first.document.dynamics.cell_freedom
    metrics = [cell @ cell.T / abs(np.linalg.det(cell)) ** (2 / 3) for cell in cells]
    allowed = {None: _SAME_CELL, "isotropic": _SAME_SHAPE}.get(freedom, _SIMILAR_SHAPE)
    if np.abs(metrics[1] - metrics[0]).max() > allowed * np.abs(metrics[0]).max():
        lengths = [", ".join(f"{x:.4f}" for x in np.linalg.norm(cell, axis=1)) for cell in cells]
        raise InvalidInputError(f"{refused}: the shapes of their cells differ: {lengths[0]} and {lengths[1]} Å")
    sites = [start["sites"] for start in starts]
    shift = sites[1] - sites[0]
    shift -= shift[0]
    shift -= np.round(shift)
    shift -= shift.mean(axis=0)
    moved = np.linalg.norm(shift @ cells[0], axis=1)
    distances = Lattice(cells[0]).get_all_distances(sites[0], sites[0]) + np.diag(np.full(len(moved), np.inf))
    nearest = distances.min(axis=1)
    if (moved > _MAX_SHIFT_SHARE * nearest).any():
        atom = int(np.argmax(moved / nearest))
        raise InvalidInputError(
            f"{refused}: they are of different crystals; atom {atom} is at another site, {moved[atom]:.2f} Å away"
        )


def _common_lambdas(collected: Sequence[CollectedLadder]) -> list[float]:
    """Return all λ at which the samples of every ladder have energies."""
    grids = [{round(value, 9) for value in each.first.lambdas} for each in collected]
    return sorted(set.intersection(*grids))


def _states(
    ladders: Sequence[StoredLadder], collected: Sequence[CollectedLadder], lambdas: Sequence[float], discard: float
) -> tuple[list[list[StateSamples]], list[SampledState], list[str]]:
    """Return the thinned samples of each ladder, the description of each state, and notes on windows left out."""
    states, described, notes, chain = [], [], [], 0
    for number, (ladder, windows) in enumerate(zip(ladders, collected, strict=True)):
        grid = [round(value, 9) for value in windows.first.lambdas]
        columns = [grid.index(value) for value in lambdas]
        exchanged = windows.first.dynamics.replica_exchange
        kept = []
        for window in windows.windows:
            value = round(window.lambda_value, 9)
            if value not in lambdas:
                notes.append(
                    f"{ladder}: the window λ = {value:g} is not used, since other ladders have no energies at its λ"
                )
                continue
            series = window.series(columns).after(discard)
            if len(series) < 4:
                raise InvalidInputError(f"{ladder}: {len(series)} samples of λ = {value:g} are left; lower discard")
            condition = ladder.condition
            kept.append(
                StateSamples(
                    lambdas.index(value),
                    condition.temperature_K,
                    condition.pressure_GPa,
                    series.energies_eV,
                    series.volume_A3,
                    chain,
                )
            )
            described.append(
                SampledState(
                    ladder=number,
                    lambda_value=value,
                    temperature_K=condition.temperature_K,
                    pressure_GPa=condition.pressure_GPa,
                    component=0,
                )
            )
            chain += 0 if exchanged else 1
        chain += 1
        states.append(thinned(kept))
    return states, described, notes


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
    ladders: Sequence[StoredLadder],
    states: Sequence[Sequence[StateSamples]],
    result: Combination,
    n_points: int,
    mass_eV_per_K: float,
) -> tuple[list[LadderPart], list[str]]:
    """Return each ladder alone and together with the others, and reasons of those that differ."""
    parts, reasons, start = [], [], 0
    for number, (ladder, own) in enumerate(zip(ladders, states, strict=True)):
        k = n_points + number
        alone = combine(own, [ladder.condition], inefficiency=result.inefficiency)
        deviations = -result.deviations[:, k, 0]
        # Blocks are in the order of the chains, thus of the ladders.
        end = start + len(alone.deviations)
        deviations[start:end] += alone.deviations[:, 0, 0]
        start = end
        difference, error = alone.values[0, 0] - result.values[k, 0], float(standard_errors(deviations[:, None])[0])
        # Without overlap with other ladders both are equal up to rounding.
        differs = len(ladders) > 1 and error > 1e-3 * float(alone.errors[0, 0])
        sigma = float(abs(difference) / error) if differs else None
        if sigma is not None and sigma > MAX_SIGMA:
            reasons.append(Reason.LADDER_DEVIATES.because(ladder=ladder, sigma=sigma))
        mass, counts = mass_eV_per_K * ladder.condition.temperature_K, ladder.document.counts
        parts.append(
            LadderPart(
                uuid=ladder.uuid,
                temperature_K=ladder.condition.temperature_K,
                pressure_GPa=ladder.condition.pressure_GPa,
                n_windows=len(own),
                n_samples=sum(map(len, own)),
                alone=Estimate.of(float(alone.values[0, 0]) + mass, float(alone.errors[0, 0]), counts),
                together=Estimate.of(float(result.values[k, 0]) + mass, float(result.errors[k, 0]), counts),
                deviation_sigma=sigma,
            )
        )
    return parts, reasons


def _reasons(ladders: Sequence[StoredLadder], result: Combination, n_points: int) -> list[str]:
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
    return reasons + [f"{ladder}: {reason}" for ladder in ladders for reason in ladder.document.verdict.reasons]


def _above(ladders: Sequence[StoredLadder], result: Combination, n_points: int) -> list[str]:
    """Return notes on results at higher temperatures than those of all ladders.

    They depend on samples of high energy, which are rare. If some are missing, fluctuations of the energy and their
    errors are too small.
    """
    highest = max(ladder.condition.temperature_K for ladder in ladders)
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


def _separate(ladders: Sequence[StoredLadder], described: Sequence[SampledState], component: np.ndarray) -> list[str]:
    """Return a note if some ladders do not overlap with others."""
    sets: dict[int, list[str]] = {}
    for number, ladder in enumerate(ladders):
        own = [int(c) for c, state in zip(component, described, strict=True) if state.ladder == number]
        sets.setdefault(min(own), []).append(str(ladder.condition))
    if len(sets) < 2:
        return []
    groups = "; ".join(", ".join(dict.fromkeys(names)) for names in sets.values())
    return [f"these sets of ladders do not overlap with one another, so each has its own range of results: {groups}"]
