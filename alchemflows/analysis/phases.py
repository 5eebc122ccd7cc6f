"""Compare the Gibbs free energies of phases: stable phases and transitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from monty.json import MSONable

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.phases import transition
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.phases import PhasePoint, PhaseStabilityDocument, PhaseTransition, StablePhase
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

#: Above this probability a transition counts as certain, and below 1 minus this value its absence does.
CERTAIN = 0.95
#: Largest reliable error of a transition temperature, as a fraction of the range of temperatures. Above it, error
#: propagation is not linear: with errors of 12 to 35 % only 50 to 66 % of transitions lie within one standard error.
MAX_TRANSITION_ERROR = 0.1


@dataclass(frozen=True)
class Point(MSONable):
    """Phase, composition and temperature of a Frenkel–Ladd run; −T S of ideal mixing is that of its cell, eV."""

    phase: str
    formula: str
    composition: float | None
    temperature_K: float
    counts: Counts
    ideal_mixing_eV: float


def compare(points: Sequence[Point], documents: Sequence[FrenkelLaddDocument | None]) -> PhaseStabilityDocument:
    """Return the comparison; see :meth:`PhaseComparisonMaker.make`."""
    found = [_point(point, document) for point, document in zip(points, documents, strict=True)]
    done = [document for document in documents if document is not None]
    if not done:
        raise InvalidInputError("no run of any phase succeeded")
    phases = list(dict.fromkeys(point.phase for point in points))
    temperatures = sorted({point.temperature_K for point in points})
    compositions = list(dict.fromkeys(point.composition for point in points))
    stable = [s for x in compositions for t in temperatures if (s := _stable(found, x, t)) is not None]
    transitions = [
        change
        for x in compositions
        for first, second in combinations(phases, 2)
        if (change := _transition(found, x, first, second)) is not None
    ]
    reasons = [
        f"{p.phase} {p.formula} at {p.temperature_K:g} K: {p.failure}" for p in found if p.failure is not None
    ] + [
        f"{point.phase} {point.formula} at {point.temperature_K:g} K: {reason}"
        for point, document in zip(points, documents, strict=True)
        if document is not None
        for reason in document.verdict.reasons
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
    known = [x for x in compositions if x is not None]
    return PhaseStabilityDocument(
        pressure_GPa=done[0].pressure_GPa,
        phases=phases,
        temperatures_K=temperatures,
        compositions=sorted(known) or None,
        points=found,
        stable=stable,
        transitions=transitions,
        verdict=Verdict.of(reasons),
        provenance=Provenance(potential=done[0].provenance.potential, seed=done[0].provenance.seed),
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


def _transition(
    points: Sequence[PhasePoint], composition: float | None, first: str, second: str
) -> PhaseTransition | None:
    """Return the transition between two phases; None if they share fewer than two temperatures."""
    one, other = ({p.temperature_K: p for p in _at(points, composition, phase=phase)} for phase in (first, second))
    common = sorted(one.keys() & other.keys())
    if len(common) < 2:
        return None
    differences, errors = zip(*(_difference(other[t], one[t]) for t in common), strict=True)
    found = transition(common, differences, errors)
    slope = found.slope_eV_per_K
    falling = (differences[-1] < differences[0]) if slope is None else slope < 0
    low, high = (first, second) if falling else (second, first)
    return PhaseTransition(
        composition=composition,
        low_temperature_phase=low,
        high_temperature_phase=high,
        temperature_K=found.temperature_K,
        error_K=found.error_K,
        entropy_eV_per_K_per_atom=None if slope is None else abs(slope),
        probability=found.probability,
    )
