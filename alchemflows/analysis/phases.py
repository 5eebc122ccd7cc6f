"""Compare the Gibbs free energies of phases: stable phases and transitions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from monty.json import MSONable
from numpy.typing import ArrayLike

from alchemflows.analysis.isolines import isotherm_of, phase_isobar, quantum_corrections, quantum_shift_K
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.phases import (
    N_TEMPERATURES,
    PhaseIsobar,
    Transition,
    boundary,
    transition,
    transition_of_curves,
)
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.isolines import CurveValues, PressureSweepDocument, TemperatureSweepDocument
from alchemflows.schemas.phases import (
    PhaseBoundary,
    PhaseCurve,
    PhasePoint,
    PhaseStabilityDocument,
    PhaseTransition,
    StablePhase,
)
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Above this probability a transition counts as certain, and below 1 minus this value its absence does.
CERTAIN = 0.95
#: Largest reliable error of a transition temperature, as a fraction of the range of temperatures. Above it, error
#: propagation is not linear: with errors of 12 to 35 % only 50 to 66 % of transitions lie within one standard error.
MAX_TRANSITION_ERROR = 0.1
#: Largest deviation of a boundary from the integral of its slope, in its errors.
MAX_DEVIATION = 3.0
#: Difference up to which temperatures count as equal (K).
SAME_K = 1e-6


@dataclass(frozen=True)
class Point(MSONable):
    """Phase, composition and temperature of a Frenkel–Ladd run; −T S of ideal mixing is that of its cell, eV."""

    phase: str
    formula: str
    composition: float | None
    temperature_K: float
    counts: Counts
    ideal_mixing_eV: float


@dataclass(frozen=True)
class PhaseComposition(MSONable):
    """Phase and composition of a curve G(T); −S of ideal mixing is that of its cell, eV/K."""

    phase: str
    formula: str
    composition: float | None
    counts: Counts
    ideal_mixing_eV_per_K: float


@dataclass(frozen=True)
class OtherPressures:
    """Sweeps of one phase and composition for other pressures; None for a failed run.

    Attributes
    ----------
    pressures_GPa
        The pressures.
    isotherm
        Sweep of the pressure at the temperature of the anchor.
    documents
        Sweep of the temperature at each pressure.
    """

    pressures_GPa: Sequence[float]
    isotherm: PressureSweepDocument | None
    documents: Sequence[TemperatureSweepDocument | None]

    def reasons(self, name: str) -> list[str]:
        """Return the reasons against the sweeps, without those against their anchor, and which of them failed."""
        parts: list[tuple[str, PressureSweepDocument | TemperatureSweepDocument]] = []
        found = []
        if self.isotherm is not None:
            parts.append((f"{name}, sweep of the pressure", self.isotherm))
        for pressure, document in zip(self.pressures_GPa, self.documents, strict=True):
            if document is None:
                failure = Reason.SWEEP_FAILED.because()
                found.append(f"{name} at {pressure:g} GPa: {failure}")
            else:
                parts.append((f"{name} at {pressure:g} GPa", document))
        return found + [
            f"{part}: {reason}"
            for part, document in parts
            for reason in document.verdict.reasons
            if not reason.startswith(("anchor: ", "pressure sweep: "))
        ]


def compare(points: Sequence[Point], documents: Sequence[FrenkelLaddDocument | None]) -> PhaseStabilityDocument:
    """Return the comparison of single runs; see :class:`~alchemflows.jobs.phases.PhaseComparisonMaker`."""
    found = [_point(point, document) for point, document in zip(points, documents, strict=True)]
    changes = [
        change
        for x, first, second in _pairs(found)
        if (change := _transition_of_points(found, x, first, second)) is not None
    ]
    named = [
        (f"{point.phase} {point.formula} at {point.temperature_K:g} K", document)
        for point, document in zip(points, documents, strict=True)
    ]
    return _document(found, changes, [], named)


def compare_curves(
    crystals: Sequence[PhaseComposition],
    temperatures_K: Sequence[float],
    documents: Sequence[TemperatureSweepDocument | None],
    others: Sequence[OtherPressures] = (),
) -> PhaseStabilityDocument:
    """Return the comparison of curves; see :class:`~alchemflows.jobs.phases.PhaseCurveComparisonMaker`."""
    points, curves, known = [], [], dict[tuple[str, float | None], _Curve]()
    isotherms = [each.isotherm for each in others] or [None] * len(crystals)
    for crystal, document, isotherm in zip(crystals, documents, isotherms, strict=True):
        curve = None if document is None else _Curve(crystal, document, isotherm)
        points += [_point_of(crystal, curve, temperature) for temperature in temperatures_K]
        if curve is not None:
            known[crystal.phase, crystal.composition] = curve
            curves.append(curve.stored(temperatures_K))
    changes = [
        change
        for x, first, second in _pairs(points)
        if (first, x) in known
        and (second, x) in known
        and (change := _transition_of_curves(known[first, x], known[second, x])) is not None
    ]
    named = [(f"{crystal.phase} {crystal.formula}", each) for crystal, each in zip(crystals, documents, strict=True)]
    if not others:
        return _document(points, changes, curves, named)
    at_pressures = dict[tuple[str, float | None], dict[float, _Curve]]()
    reasons = []
    for crystal, document, side in zip(crystals, documents, others, strict=True):
        here = at_pressures.setdefault((crystal.phase, crystal.composition), {})
        if document is not None and document.pressure_GPa is not None:
            here[document.pressure_GPa] = _Curve(crystal, document, side.isotherm)
        for pressure, each in zip(side.pressures_GPa, side.documents, strict=True):
            if each is not None:
                here[pressure] = _Curve(crystal, each, side.isotherm)
        reasons += side.reasons(f"{crystal.phase} {crystal.formula}")
    boundaries = [
        found
        for x, first, second in _pairs(points)
        if (found := _boundary(at_pressures[first, x], at_pressures[second, x])) is not None
    ]
    reasons += [reason for found in boundaries for reason in _reasons_of_boundary(found)]
    return _document(points, changes, curves, named, boundaries, reasons)


def _pairs(points: Sequence[PhasePoint]) -> Iterator[tuple[float | None, str, str]]:
    """Yield each composition with each pair of phases."""
    phases = dict.fromkeys(point.phase for point in points)
    for x in dict.fromkeys(point.composition for point in points):
        for first, second in combinations(phases, 2):
            yield x, first, second


def _document(
    points: list[PhasePoint],
    transitions: list[PhaseTransition],
    curves: list[PhaseCurve],
    named: Sequence[tuple[str, FrenkelLaddDocument | TemperatureSweepDocument | None]],
    boundaries: list[PhaseBoundary] | None = None,
    more_reasons: Sequence[str] = (),
) -> PhaseStabilityDocument:
    """Return the document of points and transitions, from results with the names of their phases.

    Raises
    ------
    InvalidInputError
        If there is no result.
    """
    done = [document for _, document in named if document is not None]
    if not done:
        raise InvalidInputError("no run of any phase succeeded")
    temperatures = sorted({point.temperature_K for point in points})
    compositions = list(dict.fromkeys(point.composition for point in points))
    reasons = [f"{p.phase} {p.formula} at {p.temperature_K:g} K: {p.failure}" for p in points if p.failure is not None]
    reasons += [
        f"{name}: {reason}" for name, document in named if document is not None for reason in document.verdict.reasons
    ]
    reasons += [
        Reason.UNCERTAIN_TRANSITION.because(
            low=t.low_temperature_phase, high=t.high_temperature_phase, probability=t.probability
        )
        for t in transitions
        if 1 - CERTAIN < t.probability < CERTAIN
    ]
    span = MAX_TRANSITION_ERROR * (max(temperatures) - min(temperatures))
    reasons += [
        Reason.TRANSITION_ERROR.because(
            low=t.low_temperature_phase, high=t.high_temperature_phase, error=t.error_K, most=span
        )
        for t in transitions
        if t.error_K is not None and t.error_K > span
    ]
    return PhaseStabilityDocument(
        pressure_GPa=done[0].pressure_GPa,
        phases=list(dict.fromkeys(point.phase for point in points)),
        temperatures_K=temperatures,
        compositions=sorted(x for x in compositions if x is not None) or None,
        points=points,
        stable=[s for x in compositions for t in temperatures if (s := _stable(points, x, t)) is not None],
        transitions=transitions,
        curves=curves,
        boundaries=boundaries,
        verdict=Verdict.of([*reasons, *more_reasons]),
        provenance=Provenance(potential=done[0].provenance.potential, seed=done[0].provenance.seed),
    )


class _Curve:
    """G(T) of a phase at one composition, with ideal mixing, from a sweep."""

    def __init__(
        self,
        crystal: PhaseComposition,
        document: TemperatureSweepDocument,
        isotherm: PressureSweepDocument | None = None,
    ) -> None:
        self.crystal = crystal
        self.document = document
        # Curves at other pressures share the anchor and the switches of the sweep of the pressure.
        self.anchor_shares_eV = (
            None if isotherm is None else isotherm_of(isotherm, [document.anchor.pressure_GPa]).shares[:, 0]
        )
        self.low_K, self.high_K = document.temperatures_K[0], document.temperatures_K[-1]

    def contains(self, temperature_K: float) -> bool:
        """Return whether a temperature lies on the curve."""
        return self.low_K - SAME_K <= temperature_K <= self.high_K + SAME_K

    def at(self, temperatures_K: ArrayLike) -> PhaseIsobar:
        """Return G, S and V of the cell at temperatures on the curve."""
        return phase_isobar(
            self.document,
            temperatures_K,
            mixing_eV_per_K=self.crystal.ideal_mixing_eV_per_K,
            anchor_shares_eV=self.anchor_shares_eV,
        )

    def stored(self, temperatures_K: Sequence[float]) -> PhaseCurve:
        """Return the curve at its own temperatures and at others of the comparison."""
        inside = [temperature for temperature in temperatures_K if self.contains(temperature)]
        curve = self.at(sorted({*self.document.temperatures_K, *inside}))
        gibbs, entropy, volumes = (
            CurveValues(values=values.tolist(), errors=errors.tolist())
            for values, errors in zip(curve.values, curve.errors, strict=True)
        )
        return PhaseCurve(
            phase=self.crystal.phase,
            formula=self.crystal.formula,
            composition=self.crystal.composition,
            counts=self.crystal.counts,
            anchor_K=self.document.anchor.temperature_K,
            anchor=self.document.anchor,
            temperatures_K=curve.temperatures_K.tolist(),
            gibbs_eV=gibbs,
            entropy_eV_per_K=entropy,
            volumes_A3=volumes,
            quantum=quantum_corrections(
                self.document.work.curves.arrays(), self.document.anchor.mode_energies_eV, curve.temperatures_K
            ),
        )


def _point(point: Point, document: FrenkelLaddDocument | None) -> PhasePoint:
    return PhasePoint(
        phase=point.phase,
        formula=point.formula,
        composition=point.composition,
        temperature_K=point.temperature_K,
        counts=point.counts,
        gibbs_eV=document and document.gibbs.value_eV + point.ideal_mixing_eV,
        error_eV=document and document.gibbs.error_eV,
        ideal_mixing_eV=point.ideal_mixing_eV,
        volume_A3=document and document.volume_A3,
        failure=None if document is not None else Reason.POINT_FAILED.because(),
        mean_cell_job=document and document.mean_cell_job,
    )


def _point_of(crystal: PhaseComposition, curve: _Curve | None, temperature_K: float) -> PhasePoint:
    """Return the point of a curve at a temperature, or the reason why there is none."""
    known = None
    if curve is None:
        failure = Reason.POINT_FAILED.because()
    elif curve.contains(temperature_K):
        failure, known = None, curve.at([temperature_K])
    else:
        end = curve.low_K if temperature_K < curve.low_K else curve.high_K
        failure = Reason.POINT_LOST.because(end=end)
    return PhasePoint(
        phase=crystal.phase,
        formula=crystal.formula,
        composition=crystal.composition,
        temperature_K=temperature_K,
        counts=crystal.counts,
        gibbs_eV=None if known is None else float(known.values[0, 0]),
        error_eV=None if known is None else float(known.errors[0, 0]),
        ideal_mixing_eV=crystal.ideal_mixing_eV_per_K * temperature_K,
        volume_A3=None if known is None else float(known.values[2, 0]),
        failure=failure,
    )


def _at(points: Sequence[PhasePoint], composition: float | None, **values: Any) -> list[PhasePoint]:
    return [
        p
        for p in points
        if p.composition == composition
        and p.gibbs_eV is not None
        and all(getattr(p, name) == value for name, value in values.items())
    ]


def _gibbs(point: PhasePoint) -> tuple[float, float]:
    assert point.gibbs_eV_per_atom is not None and point.error_eV_per_atom is not None
    return point.gibbs_eV_per_atom, point.error_eV_per_atom


def _difference(point: PhasePoint, other: PhasePoint) -> tuple[float, float]:
    """Return G of a point minus that of another, and its standard error, eV/atom."""
    (g, error), (g_other, error_other) = _gibbs(point), _gibbs(other)
    return g - g_other, float(np.hypot(error, error_other))


def _stable(points: Sequence[PhasePoint], composition: float | None, temperature_K: float) -> StablePhase | None:
    here = sorted(_at(points, composition, temperature_K=temperature_K), key=lambda p: _gibbs(p)[0])
    if not here:
        return None
    margin = error = None
    if len(here) > 1:
        margin, error = _difference(here[1], here[0])
    return StablePhase(
        composition=composition,
        temperature_K=temperature_K,
        phase=here[0].phase,
        margin_eV_per_atom=margin,
        margin_error_eV_per_atom=error,
    )


def _transition_of_points(
    points: Sequence[PhasePoint], composition: float | None, first: str, second: str
) -> PhaseTransition | None:
    """Return the transition between two phases; None if they share fewer than two temperatures."""
    one, other = ({p.temperature_K: p for p in _at(points, composition, phase=phase)} for phase in (first, second))
    common = sorted(one.keys() & other.keys())
    if len(common) < 2:
        return None
    differences, errors = zip(*(_difference(other[t], one[t]) for t in common), strict=True)
    return _stored(transition(common, differences, errors), composition, first, second)


def _transition_of_curves(first: _Curve, second: _Curve) -> PhaseTransition | None:
    """Return the transition between two phases; None if their curves have no temperatures in common."""
    common = _common(first, second)
    if common is None:
        return None
    found = transition_of_curves(*common)
    shift = _quantum_shift_K(first, second, found.temperature_K)
    return _stored(found, first.crystal.composition, first.crystal.phase, second.crystal.phase, shift)


def _quantum_shift_K(first: _Curve, second: _Curve, temperature_K: float | None) -> tuple[float | None, float | None]:
    mixing = (-each.crystal.ideal_mixing_eV_per_K / each.crystal.counts.atoms for each in (first, second))
    return quantum_shift_K(first.document, second.document, temperature_K, (next(mixing), next(mixing)))


def _common(first: _Curve, second: _Curve) -> tuple[PhaseIsobar, PhaseIsobar] | None:
    """Return two curves at common temperatures, for one atom; None if they have none."""
    low, high = max(first.low_K, second.low_K), min(first.high_K, second.high_K)
    if low >= high:
        return None
    temperatures = np.linspace(low, high, N_TEMPERATURES)
    one, other = (curve.at(temperatures).per(curve.crystal.counts.atoms) for curve in (first, second))
    return one, other


def _boundary(first: Mapping[float, _Curve], second: Mapping[float, _Curve]) -> PhaseBoundary | None:
    """Return the boundary between two phases, whose curves are given by their pressures; None at fewer than two."""
    pairs = {
        pressure: pair
        for pressure in sorted(first.keys() & second.keys())
        if (pair := _common(first[pressure], second[pressure])) is not None
    }
    if len(pairs) < 2:
        return None
    found = boundary(list(pairs), list(pairs.values()))
    one, other = (next(iter(curves.values())).crystal for curves in (first, second))
    return PhaseBoundary(
        composition=one.composition,
        phases=(one.phase, other.phase),
        pressures_GPa=list(pairs),
        transitions=[
            _stored(
                each,
                one.composition,
                one.phase,
                other.phase,
                _quantum_shift_K(first[pressure], second[pressure], each.temperature_K),
            )
            for pressure, each in zip(pairs, found.transitions, strict=True)
        ],
        deviations_K=[None if each is None else each[0] for each in found.deviations_K],
        deviation_errors_K=[None if each is None else each[1] for each in found.deviations_K],
    )


def _reasons_of_boundary(found: PhaseBoundary) -> list[str]:
    """Return the reasons against a boundary whose slopes do not agree with its transition temperatures."""
    return [
        Reason.BOUNDARY_DEVIATES.because(
            first=found.phases[0],
            second=found.phases[1],
            low=low,
            high=high,
            deviation=deviation,
            sigma=abs(deviation) / error,
        )
        for (low, high), deviation, error in zip(
            pairwise(found.pressures_GPa), found.deviations_K, found.deviation_errors_K, strict=True
        )
        if deviation is not None and error is not None and abs(deviation) > MAX_DEVIATION * error
    ]


def _stored(
    found: Transition,
    composition: float | None,
    first: str,
    second: str,
    quantum_shift: tuple[float | None, float | None] = (None, None),
) -> PhaseTransition:
    """Return a transition with the phases in the order of their stability; differences are those on heating."""
    low, high = (first, second) if found.second_above else (second, first)
    sign = 1 if found.second_above else -1
    entropy, heat, volume = (
        (None, None) if pair is None else (sign * pair[0], pair[1])
        for pair in (found.entropy_eV_per_K, found.latent_heat_eV, found.volume_A3)
    )
    boundary = found.boundary_K_per_GPa or (None, None)
    return PhaseTransition(
        composition=composition,
        low_temperature_phase=low,
        high_temperature_phase=high,
        temperature_K=found.temperature_K,
        error_K=found.error_K,
        entropy_eV_per_K_per_atom=entropy[0],
        entropy_error_eV_per_K_per_atom=entropy[1],
        latent_heat_eV_per_atom=heat[0],
        latent_heat_error_eV_per_atom=heat[1],
        volume_change_A3_per_atom=volume[0],
        volume_change_error_A3_per_atom=volume[1],
        boundary_K_per_GPa=boundary[0],
        boundary_error_K_per_GPa=boundary[1],
        quantum_shift_K=quantum_shift[0],
        quantum_shift_error_K=quantum_shift[1],
        probability=found.probability,
    )
