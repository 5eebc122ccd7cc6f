"""The document of absolute free energies that are corrected to another potential, from the energies of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units

from alchemflows.analysis.absolute_states import AbsoluteResult, AbsoluteState
from alchemflows.analysis.correction import EvaluatedEnd, failure_notes, reasons_against, stored_end
from alchemflows.analysis.frames import SampledFrames, equilibrium_state
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.perturbation import StateChange, state_change, transition_shift
from alchemflows.free_energy.reweighting import FRACTIONS, MIN_FRAMES
from alchemflows.schemas.crystal import EquilibriumDocument
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.liquid import LiquidDocument
from alchemflows.schemas.melting import MeltingDocument
from alchemflows.schemas.phases import PhaseStabilityDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.state_correction import (
    CorrectedState,
    ShiftedTransition,
    StateCorrectionDocument,
    UncorrectedTransition,
)
from alchemflows.schemas.verdict import Verdict

#: Largest change of the entropy of a transition, relative to the entropy, with which the shift is of first order.
MAX_ENTROPY_CHANGE = 0.3
#: Largest distance of a transition from the temperature of the frames, relative to that temperature.
MAX_DISTANCE = 0.25


@dataclass(frozen=True)
class EvaluatedState:
    """A state, and its frames with their energies."""

    state: AbsoluteState
    frames: EvaluatedEnd

    def change(self) -> StateChange:
        """Return the change of the free energy and the entropy of the state.

        Raises
        ------
        InvalidInputError
            If there are too few frames.
        """
        rows, frames = self.frames.evaluated, self.frames.sampled.frames
        if len(rows) < MIN_FRAMES:
            raise InvalidInputError(
                f"{self.frames.name}: {len(rows)} frames were evaluated; at least {MIN_FRAMES} are needed"
            )
        volumes_A3 = np.abs(np.linalg.det(frames.cells_A[rows]))
        enthalpies_eV = frames.energy_eV[rows] + self.state.pressure_GPa * units.GPa * volumes_A3
        differences_eV = self.frames.target_eV[rows] - frames.energy_eV[rows]
        return state_change(differences_eV, enthalpies_eV, self.state.temperature_K)


@dataclass(frozen=True)
class SampledTransition:
    """A transition of the sampled potential between two phases, for one atom."""

    composition: float | None
    low: str
    high: str
    temperature_K: float
    error_K: float | None
    entropy_eV_per_K: tuple[float, float]


def refusal(state: AbsoluteState, *, has_frames: bool, weights: Sequence[float] = ()) -> str | None:
    """Return why a state cannot be corrected; None if it can.

    Parameters
    ----------
    state
        The state.
    has_frames
        Whether the run that sampled its mean cell has frames.
    weights
        Weights of the crystal; none for a liquid.
    """
    if not has_frames:
        return f"{state.name}: it has no frames: it is at constant volume, of an earlier release, or none were kept"
    if not set(weights) <= {0.0, 1.0}:
        return f"{state.name}: it is a mixed crystal, whose energy only an alchemical potential has"
    return None


def state_to_evaluate(state: AbsoluteState, document: EquilibriumDocument | LiquidDocument) -> EvaluatedState:
    """Return a state without energies, which are written to it as they become known."""
    found = equilibrium_state(document)
    sampled = SampledFrames(found.frames, found.spacing, found.correlation)
    unknown = np.full(len(found.frames), np.nan)
    return EvaluatedState(state, EvaluatedEnd(None, state.formula, sampled, unknown, {}, label=state.name))


def state_correction_document(
    uuid: str,
    result: AbsoluteResult,
    target: str,
    evaluated: Sequence[EvaluatedState],
    left_out: Sequence[str],
    provenance: Provenance,
) -> StateCorrectionDocument:
    """Return the document of a correction.

    Parameters
    ----------
    uuid, result
        Identifier and document of the result that is corrected.
    target
        Name of the target.
    evaluated
        Its states with evaluated frames, at least one.
    left_out
        States that are not corrected, with the reason.
    provenance
        Provenance of the evaluation.

    Raises
    ------
    InvalidInputError
        If there are too few frames.
    """
    changes = [each.change() for each in evaluated]
    states = [_state(each, change) for each, change in zip(evaluated, changes, strict=True)]
    reasons = reasons_of_result(result)
    for each, change in zip(evaluated, changes, strict=True):
        reasons += reasons_against(each.state.name, change.reweighting)
    shifted, uncorrected = [], []
    for transition in transitions_of(result):
        low, high = (
            nearest_state(evaluated, phase, transition.composition, transition.temperature_K)
            for phase in (transition.low, transition.high)
        )
        if low is None or high is None:
            uncorrected.append(
                UncorrectedTransition(
                    composition=transition.composition,
                    low_temperature_phase=transition.low,
                    high_temperature_phase=transition.high,
                    temperature_K=transition.temperature_K,
                    error_K=transition.error_K,
                    without_frames=[
                        phase for phase, known in ((transition.low, low), (transition.high, high)) if known is None
                    ],
                )
            )
            continue
        shifted.append(_shifted(transition, evaluated, changes, (low, high)))
        reasons += _against(shifted[-1], [evaluated[k].state for k in (low, high)])
    arrays = {}
    for k, each in enumerate(evaluated):
        rows = each.frames.evaluated
        arrays[f"source_{k}_eV"] = each.frames.sampled.frames.energy_eV[rows]
        arrays[f"target_{k}_eV"] = each.frames.target_eV[rows]
    first = evaluated[0].state
    return StateCorrectionDocument(
        result=uuid,
        formula=first.formula,
        temperature_K=first.temperature_K if len(evaluated) == 1 else None,
        pressure_GPa=first.pressure_GPa,
        source=result.provenance.potential,
        target=target,
        states=states,
        left_out=list(left_out),
        transitions=shifted,
        uncorrected=uncorrected,
        fractions=list(FRACTIONS),
        energies=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
        verdict=Verdict.of(reasons, [note for each in evaluated for note in failure_notes(each.frames)]),
        provenance=provenance,
    )


def transitions_of(result: AbsoluteResult) -> list[SampledTransition]:
    """Return the transitions of a result whose temperature and entropy are known."""
    if isinstance(result, MeltingDocument):
        temperature, heat = result.melting_K, result.latent_heat_eV_per_atom
        if temperature is None or heat is None:
            return []
        entropy = heat / temperature, (result.latent_heat_error_eV_per_atom or 0.0) / temperature
        return [SampledTransition(None, "solid", "liquid", temperature, result.melting_error_K, entropy)]
    if not isinstance(result, PhaseStabilityDocument):
        return []
    return [
        SampledTransition(
            each.composition,
            each.low_temperature_phase,
            each.high_temperature_phase,
            each.temperature_K,
            each.error_K,
            (each.entropy_eV_per_K_per_atom, each.entropy_error_eV_per_K_per_atom or 0.0),
        )
        for each in result.transitions
        if each.temperature_K is not None
        and each.entropy_eV_per_K_per_atom is not None
        and each.entropy_eV_per_K_per_atom > 0
    ]


def reasons_of_result(result: AbsoluteResult) -> list[str]:
    """Return the reasons against a result, which are also reasons against what is made of it."""
    kind = "phases" if isinstance(result, PhaseStabilityDocument) else "free energy"
    if isinstance(result, MeltingDocument):
        kind = "melting point"
    return [f"{kind}: {reason}" for reason in result.verdict.reasons]


def nearest_state(
    evaluated: Sequence[EvaluatedState], phase: str, composition: float | None, temperature_K: float
) -> int | None:
    """Return the index of the state of a phase that is nearest to a temperature; None if the phase has none."""
    own = [k for k, each in enumerate(evaluated) if (each.state.phase, each.state.composition) == (phase, composition)]
    return min(own, key=lambda k: abs(evaluated[k].state.temperature_K - temperature_K), default=None)


def _state(each: EvaluatedState, change: StateChange) -> CorrectedState:
    state, (value, error) = each.state, change.reweighting.best
    return CorrectedState(
        name=state.name,
        phase=state.phase,
        composition=state.composition,
        formula=state.formula,
        counts=state.counts,
        temperature_K=state.temperature_K,
        reweighting=stored_end(each.frames, change.reweighting, state.counts, state.temperature_K),
        entropy_eV_per_K=change.entropy_eV_per_K[0],
        entropy_error_eV_per_K=change.entropy_eV_per_K[1],
        uncorrected=FreeEnergyValue.of(state.gibbs_eV, state.error_eV, state.counts),
        total=FreeEnergyValue.of(state.gibbs_eV + value, float(np.hypot(state.error_eV, error)), state.counts),
    )


def _shifted(
    transition: SampledTransition,
    evaluated: Sequence[EvaluatedState],
    changes: Sequence[StateChange],
    phases: tuple[int, int],
) -> ShiftedTransition:
    low, high = phases
    found = transition_shift(
        changes[low],
        changes[high],
        (evaluated[low].state.counts.atoms, evaluated[high].state.counts.atoms),
        transition.temperature_K,
        transition.entropy_eV_per_K,
    )
    shift, error = found.shift_K
    return ShiftedTransition(
        composition=transition.composition,
        low_temperature_phase=transition.low,
        high_temperature_phase=transition.high,
        temperature_K=transition.temperature_K,
        error_K=transition.error_K,
        entropy_eV_per_K_per_atom=transition.entropy_eV_per_K[0],
        difference_eV_per_atom=found.difference_eV[0],
        difference_error_eV_per_atom=found.difference_eV[1],
        entropy_change_eV_per_K_per_atom=found.entropy_eV_per_K[0],
        entropy_change_error_eV_per_K_per_atom=found.entropy_eV_per_K[1],
        shift_K=shift,
        shift_error_K=error,
        next_shift_K=found.next_K,
        corrected_K=transition.temperature_K + shift,
        corrected_error_K=None if transition.error_K is None else float(np.hypot(transition.error_K, error)),
    )


def _against(shifted: ShiftedTransition, states: Sequence[AbsoluteState]) -> list[str]:
    """Return the reasons against the shift of a transition, from states of its two phases."""
    where = f"{shifted.low_temperature_phase} → {shifted.high_temperature_phase}"
    change, entropy = shifted.entropy_change_eV_per_K_per_atom, shifted.entropy_eV_per_K_per_atom
    reasons = []
    beyond_chance = abs(change) > 2 * shifted.entropy_change_error_eV_per_K_per_atom
    if abs(shifted.shift_K) > MAX_DISTANCE * shifted.temperature_K or (
        abs(change) > MAX_ENTROPY_CHANGE * entropy and beyond_chance
    ):
        reasons.append(
            Reason.NOT_FIRST_ORDER.because(
                where=where,
                shift=shifted.shift_K,
                temperature=shifted.temperature_K,
                change=100 * change / entropy,
            )
        )
    reasons += [
        Reason.FAR_FRAMES.because(where=where, state=state.name, temperature=shifted.temperature_K)
        for state in states
        if abs(state.temperature_K - shifted.temperature_K) > MAX_DISTANCE * state.temperature_K
    ]
    return reasons
