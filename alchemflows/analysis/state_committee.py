"""The document of a committee of potentials on absolute free energies and their transitions, from its corrections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alchemflows.analysis.absolute_states import AbsoluteResult
from alchemflows.analysis.committee import N_LISTED, N_NAMED, all_overlap
from alchemflows.analysis.frame_spreads import state_spreads
from alchemflows.analysis.members import EvaluatedMember, completed_members, notes_on_members, numbers_in_K
from alchemflows.analysis.state_correction import (
    EvaluatedState,
    SampledTransition,
    nearest_state,
    reasons_of_result,
    transitions_of,
)
from alchemflows.free_energy.perturbation import StateChange
from alchemflows.free_energy.state_committees import MembersOfState, spread_of_shifts, spread_of_state
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.state_committee import (
    DisagreeingStateFrame,
    MemberOfStates,
    SpreadOfState,
    SpreadOfTransition,
    StateCommitteeDocument,
    StateOfMember,
    TransitionOfMember,
)
from alchemflows.schemas.state_correction import StateCorrectionDocument
from alchemflows.schemas.verdict import Verdict


@dataclass(frozen=True)
class _Transition:
    """A transition of the sampled potential, and the indices of the states of its phases that have frames."""

    sampled: SampledTransition
    low: int
    high: int


def corrected_member(
    name: str, job: str, correction: StateCorrectionDocument | None, n_frames: Sequence[int]
) -> EvaluatedMember:
    """Return a member with ΔU of the frames of all states, from its correction.

    Parameters
    ----------
    name, job
        Name of the member, and identifier of its job.
    correction
        Its correction; None if the job failed.
    n_frames
        Number of frames of each state, including those on which it failed.
    """
    if correction is None:
        return EvaluatedMember(name, job, None, None)
    arrays, differences = correction.energies.arrays(), []
    for k, (state, n) in enumerate(zip(correction.states, n_frames, strict=True)):
        rows = np.setdiff1d(np.arange(n), [frame.index for frame in state.reweighting.failed])
        differences.append(np.full(n, np.nan))
        differences[-1][rows] = arrays[f"target_{k}_eV"] - arrays[f"source_{k}_eV"]
    return EvaluatedMember(name, job, correction.provenance.potential, differences, correction.verdict.notes)


def state_committee_document(
    uuid: str,
    result: AbsoluteResult,
    states: Sequence[EvaluatedState],
    evaluated: Sequence[tuple[str, str, StateCorrectionDocument | None]],
    *,
    include_sampled: bool = True,
    tolerance_K: float | None = None,
    tolerance_meV_per_atom: float | None = None,
) -> StateCommitteeDocument:
    """Return the document of a committee.

    Parameters
    ----------
    uuid, result
        Identifier and document of the absolute free energy, the phases or the melting point.
    states
        Its states that have frames, without energies.
    evaluated
        The members besides the sampled potential: name, identifier of the job, and its correction, None if it failed.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_K, tolerance_meV_per_atom
        Largest accepted standard deviation over the members of the temperature of a transition (K), and of the free
        energy of a state (meV/atom).

    Raises
    ------
    AlchemflowsError
        If fewer than two members are left, since jobs failed.
    """
    n_frames = [len(each.frames.sampled.frames) for each in states]
    done, failed = completed_members(
        [corrected_member(*each, n_frames) for each in evaluated], include_sampled=include_sampled
    )
    corrections = [correction for _, _, correction in evaluated if correction is not None]
    changes = [_changes(each, states) for each in done]
    transitions = _transitions(result, states)
    members = [
        _listed(each, correction, changes[k])
        for k, (each, correction) in enumerate(zip(done, corrections, strict=True))
    ]
    if include_sampled:
        members.insert(0, _sampled(result, states, transitions))
    of_states = [_members_of_state(k, n, changes, done, include_sampled) for k, n in enumerate(n_frames)]
    first = states[0].state
    found = StateCommitteeDocument(
        result=uuid,
        formula=first.formula,
        counts=first.counts,
        temperature_K=first.temperature_K if len(states) == 1 else None,
        pressure_GPa=first.pressure_GPa,
        source=result.provenance.potential,
        members=members,
        failed=failed,
        left_out=corrections[0].left_out,
        uncorrected=corrections[0].uncorrected,
        spreads=[_spread_of_transition(each, states, of_states) for each in transitions],
        state_spreads=[_spread_of_state(each, of) for each, of in zip(states, of_states, strict=True)],
        frames=_frames(states, done, include_sampled),
        tolerance_K=tolerance_K,
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        verdict=Verdict.of([], []),
        provenance=Provenance(potential=result.provenance.potential),
    )
    reasons = reasons_of_result(result)
    for each, correction in zip(done, corrections, strict=True):
        own = correction.verdict.reasons[len(reasons_of_result(result)) :]
        reasons += [f"{each.name}: {reason}" for reason in own]
    reasons += _too_large(found)
    return found.model_copy(update={"verdict": Verdict.of(reasons, notes_on_members(done, failed))})


def _changes(member: EvaluatedMember, states: Sequence[EvaluatedState]) -> list[StateChange]:
    """Return the changes of all states by a member."""
    assert member.differences_eV is not None
    pairs = zip(states, member.differences_eV, strict=True)
    return [
        replace(
            each, frames=replace(each.frames, target_eV=each.frames.sampled.frames.energy_eV + differences_eV)
        ).change()
        for each, differences_eV in pairs
    ]


def _transitions(result: AbsoluteResult, states: Sequence[EvaluatedState]) -> list[_Transition]:
    """Return the transitions both of whose phases have frames."""
    found = []
    for each in transitions_of(result):
        low, high = (
            nearest_state(states, phase, each.composition, each.temperature_K) for phase in (each.low, each.high)
        )
        if low is not None and high is not None:
            found.append(_Transition(each, low, high))
    return found


def _members_of_state(
    k: int,
    n_frames: int,
    changes: Sequence[Sequence[StateChange]],
    done: Sequence[EvaluatedMember],
    include_sampled: bool,
) -> MembersOfState:
    """Return the changes of the k-th state by all members."""
    of_members: list[StateChange | None] = [each[k] for each in changes]
    kept = [np.flatnonzero(np.isfinite((each.differences_eV or [])[k])) for each in done]
    if include_sampled:
        of_members, kept = [None, *of_members], [np.arange(n_frames), *kept]
    return MembersOfState(n_frames, of_members, kept)


def _listed(
    member: EvaluatedMember, correction: StateCorrectionDocument, changes: Sequence[StateChange]
) -> MemberOfStates:
    return MemberOfStates(
        name=member.name,
        potential=member.potential,
        job=member.job,
        states=[
            StateOfMember(
                name=state.name,
                correction=state.reweighting.best,
                total=state.total,
                n_effective=change.reweighting.n_effective,
                n_independent=change.reweighting.n_independent,
            )
            for state, change in zip(correction.states, changes, strict=True)
        ],
        transitions=[
            TransitionOfMember(
                composition=each.composition,
                low_temperature_phase=each.low_temperature_phase,
                high_temperature_phase=each.high_temperature_phase,
                temperature_K=each.corrected_K,
                temperature_error_K=each.corrected_error_K,
                shift_K=each.shift_K,
            )
            for each in correction.transitions
        ],
        overlaps=all_overlap([change.reweighting for change in changes]),
    )


def _sampled(
    result: AbsoluteResult, states: Sequence[EvaluatedState], transitions: Sequence[_Transition]
) -> MemberOfStates:
    potential = result.provenance.potential
    return MemberOfStates(
        name="sampled" if potential is None else potential.name,
        sampled=True,
        potential=potential,
        states=[
            StateOfMember(
                name=state.name,
                correction=Estimate.of(0.0, 0.0, state.counts),
                total=FreeEnergyValue.of(state.gibbs_eV, state.error_eV, state.counts),
                n_effective=None,
                n_independent=None,
            )
            for state in (each.state for each in states)
        ],
        transitions=[
            TransitionOfMember(
                composition=each.composition,
                low_temperature_phase=each.low,
                high_temperature_phase=each.high,
                temperature_K=each.temperature_K,
                temperature_error_K=each.error_K,
                shift_K=0.0,
            )
            for each in (transition.sampled for transition in transitions)
        ],
        overlaps=True,
    )


def _spread_of_state(each: EvaluatedState, members: MembersOfState) -> SpreadOfState:
    state = each.state
    spread = spread_of_state(members, state.temperature_K)
    sigma, sigma_error = spread.spread
    mean, mean_error = spread.mean
    return SpreadOfState(
        name=state.name,
        counts=state.counts,
        mean=FreeEnergyValue.of(state.gibbs_eV + mean, float(np.hypot(state.error_eV, mean_error)), state.counts),
        sigma_model_eV=sigma,
        sigma_model_error_eV=sigma_error,
        sigma_model_eV_per_atom=state.counts.per_atom(sigma),
        sigma_noise_eV=spread.noise,
    )


def _spread_of_transition(
    transition: _Transition, states: Sequence[EvaluatedState], of_states: Sequence[MembersOfState]
) -> SpreadOfTransition:
    low, high, sampled = transition.low, transition.high, transition.sampled
    spread = spread_of_shifts(
        of_states[low],
        of_states[high],
        (states[low].state.counts.atoms, states[high].state.counts.atoms),
        sampled.temperature_K,
        sampled.entropy_eV_per_K,
    )
    error_K = np.nan if sampled.error_K is None else sampled.error_K
    return SpreadOfTransition(
        composition=sampled.composition,
        low_temperature_phase=sampled.low,
        high_temperature_phase=sampled.high,
        **numbers_in_K(len(of_states[low].changes), spread, (sampled.temperature_K, error_K)),
    )


def _frames(
    states: Sequence[EvaluatedState], done: Sequence[EvaluatedMember], include_sampled: bool
) -> list[DisagreeingStateFrame]:
    """Return the frames of all states with the largest spread of ΔU over the members."""
    spreads = state_spreads(done, include_sampled, range(len(states)))
    found = [
        DisagreeingStateFrame(
            state=each.state.name,
            temperature_K=each.state.temperature_K,
            index=k,
            time_fs=float(each.frames.sampled.frames.time_fs[k]),
            spread_eV=float(spread.spread_eV[k]),
            member=done[member].name,
            deviation_eV=float(spread.deviations_eV[member, k]),
        )
        for each, spread in zip(states, spreads, strict=True)
        for k, member in spread.worst(N_LISTED)
    ]
    return sorted(found, key=lambda each: -each.spread_eV)[:N_LISTED]


def _too_large(document: StateCommitteeDocument) -> list[str]:
    """Return the reasons against transitions and free energies whose spread is above the tolerance."""
    frames = "; ".join(
        f"{each.state}, frame {each.index} ({each.member}, {1e3 * each.deviation_eV:+.1f} meV)"
        for each in document.frames[:N_NAMED]
    )
    found, tolerance_K, tolerance_meV = [], document.tolerance_K, document.tolerance_meV_per_atom
    if tolerance_K is not None:
        for each in (each for each in document.spreads if each.sigma_model_K > tolerance_K):
            reason = Reason.TRANSITIONS_DISAGREE.because(sigma=each.sigma_model_K, tolerance=tolerance_K, frames=frames)
            found.append(f"{each.name}: {reason}")
    if tolerance_meV is not None:
        for state in document.state_spreads:
            if (sigma := 1e3 * state.sigma_model_eV_per_atom) > tolerance_meV:
                reason = Reason.MEMBERS_DISAGREE.because(sigma=sigma, tolerance=tolerance_meV, frames=frames)
                found.append(f"{state.name}: {reason}")
    return found
