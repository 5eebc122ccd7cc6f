"""The document of a committee of potentials on a transition between order and disorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.committee import N_LISTED, N_NAMED
from alchemflows.analysis.correction import MIN_EFFECTIVE, MIN_INDEPENDENT
from alchemflows.analysis.frame_spreads import state_spreads, sweeps_of
from alchemflows.analysis.frames import StateFrames, monte_carlo_states
from alchemflows.analysis.members import EvaluatedMember, completed_members, finite, notes_on_members, numbers_in_K
from alchemflows.analysis.transition import SampledCell, order_observable, thermal_samples
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.committees import MIN_MEMBERS, spread_of_draws
from alchemflows.free_energy.thermal import ThermalCurves
from alchemflows.free_energy.thermal_changes import (
    MIN_FRAMES,
    ThermalChange,
    ThermalChanges,
    changed_transition,
    overlapping_range,
    thermal_changes,
)
from alchemflows.free_energy.transition import TransitionEstimate, cumulant_crossing, heat_capacity_peak
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.transition import TransitionDocument
from alchemflows.schemas.transition_committee import (
    DisagreeingArrangement,
    MemberCurves,
    MemberTransition,
    TemperatureSpread,
    TransitionCommitteeDocument,
    TransitionMember,
    TransitionQuantity,
)
from alchemflows.schemas.verdict import Verdict


@dataclass(frozen=True)
class _Quantity:
    """A transition temperature of one cell, or of two."""

    name: TransitionQuantity
    cells: tuple[int, ...]
    find: Callable[..., TransitionEstimate]


def sampled_cells(document: TransitionDocument, sampled: Sequence[MonteCarloDocument]) -> list[SampledCell]:
    """Return the supercells of a transition with their samples.

    Parameters
    ----------
    document
        The transition.
    sampled
        Monte Carlo in each of its supercells.
    """
    assert document.unit_cell is not None
    return [
        SampledCell(Disorder(document.unit_cell, cell.supercell, rounded=True), each, cell.job)
        for cell, each in zip(document.cells, sampled, strict=True)
    ]


def monte_carlo_jobs(uuid: str, document: TransitionDocument) -> list[str]:
    """Return the identifiers of the jobs of Monte Carlo of a transition.

    Raises
    ------
    InvalidInputError
        If it does not name them.
    """
    jobs = [cell.job for cell in document.cells if cell.job is not None]
    if document.unit_cell is None or len(jobs) < len(document.cells):
        raise InvalidInputError(
            f"the transition {uuid[:8]} does not name its results of Monte Carlo, since it is of an earlier release; "
            "`alchemflows results --kind monte-carlo` lists those with its frames, and a new run names them"
        )
    return jobs


def transition_states(
    uuid: str, document: TransitionDocument, sampled: Sequence[MonteCarloDocument]
) -> list[StateFrames]:
    """Return the frames of all supercells and temperatures.

    Parameters
    ----------
    uuid, document
        Identifier and document of the transition.
    sampled
        Monte Carlo in each of its supercells.

    Raises
    ------
    InvalidInputError
        If a temperature has fewer than four frames.
    """
    states = [
        replace(state, name=f"{cell.name}, {state.name}", conditions={"supercell": cell.name, **state.conditions})
        for cell, each in zip(document.cells, sampled, strict=True)
        for state in monte_carlo_states(each)
    ]
    for state in states:
        if len(state.frames) < MIN_FRAMES:
            raise InvalidInputError(
                f"the transition {uuid[:8]} has {len(state.frames)} stored configurations at {state.name}; a committee "
                f"needs at least {MIN_FRAMES}; run it again with more (--frames, n_frames)"
            )
    return states


def transition_committee_document(
    uuid: str,
    document: TransitionDocument,
    cells: Sequence[SampledCell],
    evaluated: Sequence[EvaluatedMember],
    *,
    include_sampled: bool = True,
    tolerance_K: float | None = None,
) -> TransitionCommitteeDocument:
    """Return the document of a committee.

    Parameters
    ----------
    uuid, document
        Identifier and document of the transition.
    cells
        Its supercells with their samples and frames.
    evaluated
        The members besides the sampled potential, with ΔU of the states in the order of :func:`transition_states`.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_K
        Largest accepted standard deviation of the transition temperature over the members (K).

    Raises
    ------
    AlchemflowsError
        If fewer than two members are left, since jobs failed.
    InvalidInputError
        If a temperature has fewer than four frames that a member could evaluate.
    """
    done, failed = completed_members(evaluated, include_sampled)
    changes = _changes(document, cells, done)
    quantities = _quantities(len(cells))
    whole = [each.find(*(changes[c].whole for c in each.cells)) for each in quantities]
    estimates = [
        [
            changed_transition(each.find, [changes[c] for c in each.cells], known, k, MIN_EFFECTIVE)
            for each, known in zip(quantities, whole, strict=True)
        ]
        for k in range(len(done))
    ]
    members = [_listed(each, cells, changes, quantities, estimates[k], k) for k, each in enumerate(done)]
    if include_sampled:
        members.insert(0, _sampled(document, cells, changes, quantities, whole))
        estimates.insert(0, whole)
    spreads = [_spread(cells, each, [of[k] for of in estimates]) for k, each in enumerate(quantities)]
    found = TransitionCommitteeDocument(
        result=uuid,
        formula=document.formula,
        counts=document.counts,
        pressure_GPa=document.pressure_GPa,
        sampled_temperatures_K=document.sampled_temperatures_K,
        quantity="crossing" if len(cells) > 1 else "heat capacity",
        source=document.provenance.potential,
        members=members,
        failed=failed,
        spreads=[each for each in spreads if each is not None],
        frames=_frames(cells, done, include_sampled),
        tolerance_K=tolerance_K,
        verdict=Verdict.of([], []),
        provenance=Provenance(potential=document.provenance.potential),
    )
    reasons = [f"transition: {reason}" for reason in document.verdict.reasons]
    main = max(k for k, each in enumerate(quantities) if each.name == found.quantity)
    if whole[main].temperature_K is not None:
        for k, each in enumerate(done):
            of_cells = [changes[c].changes[k] for c in quantities[main].cells]
            reasons += _against(each.name, of_cells, estimates[k + include_sampled][main])
    reasons += _too_large(found)
    return found.model_copy(update={"verdict": Verdict.of(reasons, notes_on_members(done, failed))})


def _quantities(n_cells: int) -> list[_Quantity]:
    crossings = [_Quantity("crossing", (k, k + 1), cumulant_crossing) for k in range(n_cells - 1)]
    return [*crossings, *(_Quantity("heat capacity", (k,), heat_capacity_peak) for k in range(n_cells))]


def _changes(
    document: TransitionDocument, cells: Sequence[SampledCell], done: Sequence[EvaluatedMember]
) -> list[ThermalChanges]:
    """Return averages in each cell, and their changes by the members."""
    changes, first = [], 0
    for cell in cells:
        observable = order_observable(cell.disorder, document.order_parameter)
        exchanged = cell.document.exchange is not None
        samples = [thermal_samples(each, observable, document.pressure_GPa, exchanged) for each in cell.replicas()]
        kept = [_kept(cell.document, k) for k in range(len(samples))]
        differences: list[list[np.ndarray]] = [[np.zeros(0)] * len(samples) for _ in done]
        for point in range(len(cell.document.points)):
            here = [k for k, replica in enumerate(cell.document.replicas) if replica.point == point]
            ends = np.cumsum([len(kept[k]) for k in here])[:-1]
            for of_member, each in zip(differences, done, strict=True):
                assert each.differences_eV is not None
                for k, values in zip(here, np.split(each.differences_eV[first + point], ends), strict=True):
                    of_member[k] = values
        first += len(cell.document.points)
        changes.append(thermal_changes(samples, kept, differences))
    return changes


def _kept(document: MonteCarloDocument, replica: int) -> np.ndarray:
    """Return the indices of the samples of a replica that are frames."""
    packed = document.replicas[replica].frames
    if packed is None:
        return np.zeros(0, dtype=int)
    sweeps = Frames.unpacked(packed).sweeps
    assert sweeps is not None
    return np.asarray(sweeps, dtype=int) - 1


def _supercells(cells: Sequence[SampledCell], quantity: _Quantity) -> list[tuple[int, int, int]]:
    return [cells[c].supercell for c in quantity.cells]


def _spread(
    cells: Sequence[SampledCell], quantity: _Quantity, estimates: Sequence[TransitionEstimate]
) -> TemperatureSpread | None:
    having = [each for each in estimates if each.temperature_K is not None]
    if len(having) < MIN_MEMBERS:
        return None
    values = np.array([each.temperature_K for each in having], dtype=float)
    draws = np.stack([each.draws_K for each in having], axis=1)
    spread = spread_of_draws(values, draws, max(each.factor for each in having))
    return TemperatureSpread(
        quantity=quantity.name,
        supercells=_supercells(cells, quantity),
        **numbers_in_K(len(having), spread),
    )


def _listed(
    evaluated: EvaluatedMember,
    cells: Sequence[SampledCell],
    changes: Sequence[ThermalChanges],
    quantities: Sequence[_Quantity],
    estimates: Sequence[TransitionEstimate],
    k: int,
) -> TransitionMember:
    own = [each.changes[k] for each in changes]
    return TransitionMember(
        name=evaluated.name,
        potential=evaluated.potential,
        job=evaluated.job,
        curves=[_curves(cell, each.changed, each) for cell, each in zip(cells, own, strict=True)],
        transitions=_transitions(cells, quantities, estimates),
        overlaps=overlapping_range(own[-2:], MIN_EFFECTIVE) != (0, 0),
    )


def _sampled(
    document: TransitionDocument,
    cells: Sequence[SampledCell],
    changes: Sequence[ThermalChanges],
    quantities: Sequence[_Quantity],
    whole: Sequence[TransitionEstimate],
) -> TransitionMember:
    potential = document.provenance.potential
    return TransitionMember(
        name="sampled" if potential is None else potential.name,
        sampled=True,
        potential=potential,
        curves=[_curves(cell, each.whole, None) for cell, each in zip(cells, changes, strict=True)],
        transitions=_transitions(cells, quantities, whole),
        overlaps=True,
    )


def _curves(cell: SampledCell, curves: ThermalCurves, change: ThermalChange | None) -> MemberCurves:
    values, grid = curves.quantities, curves.temperatures_K
    first, last = (0, len(grid)) if change is None else overlapping_range([change], MIN_EFFECTIVE)
    return MemberCurves(
        supercell=cell.supercell,
        counts=cell.disorder.counts,
        temperatures_K=grid.tolist(),
        order=[finite(value) for value in values.order],
        order_cumulant=[finite(value) for value in values.order_cumulant],
        heat_capacity_eV_per_K=values.heat_capacity_eV_per_K.tolist(),
        n_effective=None if change is None else change.n_effective.tolist(),
        n_independent=None if change is None else change.n_independent,
        reliable_K=(float(grid[first]), float(grid[last - 1])) if last > first else None,
    )


def _transitions(
    cells: Sequence[SampledCell], quantities: Sequence[_Quantity], estimates: Sequence[TransitionEstimate]
) -> list[MemberTransition]:
    return [
        MemberTransition(
            quantity=each.name,
            supercells=_supercells(cells, each),
            temperature_K=found.temperature_K,
            temperature_error_K=found.error_K,
        )
        for each, found in zip(quantities, estimates, strict=True)
    ]


def _against(name: str, changes: Sequence[ThermalChange], found: TransitionEstimate) -> list[str]:
    """Return the reasons against the transition of a member in the cells from which it is found."""
    grid = changes[0].changed.temperatures_K
    worst = min(changes, key=lambda each: float(each.n_effective.max()))
    n_temperatures = len(worst.sampled.sampled_K)
    fewest = min(each.n_independent for each in changes) / n_temperatures
    reasons = []
    if fewest < MIN_INDEPENDENT:
        reasons.append(Reason.FEW_FRAMES.because(where=f"{name}: each temperature", n=fewest, least=MIN_INDEPENDENT))
    first, last = overlapping_range(changes, MIN_EFFECTIVE)
    if last == first:
        reasons.append(
            Reason.TRANSITION_FRAMES.because(
                where=name,
                n=float(worst.n_effective.max()),
                of=worst.n_independent,
                least=MIN_EFFECTIVE,
                spread=max(each.spread_kT for each in changes),
            )
        )
        return reasons
    between = {"where": name, "low": float(grid[first]), "high": float(grid[last - 1])}
    if found.temperature_K is None:
        reasons.append(Reason.NO_MEMBER_TRANSITION.because(**between, least=MIN_EFFECTIVE))
    elif found.error_K is None:
        reasons.append(Reason.UNCERTAIN_CROSSING.because(**between))
    return reasons


def _frames(
    cells: Sequence[SampledCell], done: Sequence[EvaluatedMember], include_sampled: bool
) -> list[DisagreeingArrangement]:
    """Return the frames of all states with the largest spread of ΔU over the members."""
    states = [
        (cell, point.temperature_K, sweeps_of(state))
        for cell in cells
        for point, state in zip(cell.document.points, monte_carlo_states(cell.document), strict=True)
    ]
    spreads = state_spreads(done, include_sampled, range(len(states)))
    found = [
        DisagreeingArrangement(
            supercell=cell.supercell,
            temperature_K=temperature_K,
            index=k,
            sweep=int(sweeps[k]),
            spread_eV=float(each.spread_eV[k]),
            member=done[member].name,
            deviation_eV=float(each.deviations_eV[member, k]),
        )
        for (cell, temperature_K, sweeps), each in zip(states, spreads, strict=True)
        for k, member in each.worst(N_LISTED)
    ]
    return sorted(found, key=lambda each: -each.spread_eV)[:N_LISTED]


def _too_large(document: TransitionCommitteeDocument) -> list[str]:
    spread, tolerance = document.spread, document.tolerance_K
    if spread is None or tolerance is None or spread.sigma_model_K <= tolerance:
        return []
    frames = "; ".join(
        f"{'×'.join(map(str, each.supercell))} at {each.temperature_K:g} K, frame {each.index} ({each.member}, "
        f"{1e3 * each.deviation_eV:+.1f} meV)"
        for each in document.frames[:N_NAMED]
    )
    return [Reason.TRANSITIONS_DISAGREE.because(sigma=spread.sigma_model_K, tolerance=tolerance, frames=frames)]
