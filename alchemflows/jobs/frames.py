"""Read the frames of a ladder, or of other states, from a job store, for jobs and for readers of results."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jobflow import JobStore, OutputReference

from alchemflows.analysis.absolute_states import AbsoluteResult, AbsoluteState, absolute_states
from alchemflows.analysis.frames import SampledFrames, StateFrames, end_frames, mixing_states
from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError
from alchemflows.jobs.stores import stored_output
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.mixing import MixingDocument
from alchemflows.schemas.monte_carlo_result import MonteCarloDocument
from alchemflows.schemas.transition import TransitionDocument

if TYPE_CHECKING:
    from alchemflows.analysis.correction import EvaluatedEnd
    from alchemflows.analysis.state_correction import EvaluatedState

logger = logging.getLogger(__name__)


def stored_ladder(store: JobStore, uuid: str) -> FreeEnergyDocument:
    """Return the free energy of a ladder.

    Raises
    ------
    DatabaseError
        If it is not in the store.
    InvalidInputError
        If the result is not a ladder.
    AlchemflowsError
        If it does not name the jobs that sampled its windows.
    """
    document = stored_output(store, uuid, "free energy")
    if not isinstance(document, FreeEnergyDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, so it has no frames")
    if not document.window_jobs:
        raise AlchemflowsError(f"the free energy {uuid[:8]} does not name the jobs that sampled its windows")
    return document


def identifier(source: OutputReference | str) -> str:
    """Return the identifier of the job that a reference to its output, or an identifier, stands for."""
    return source if isinstance(source, str) else source.uuid


def stored_correction(store: JobStore, source: OutputReference | str | None) -> CorrectionDocument | None:
    """Return the correction that a reference or an identifier stands for; None for None.

    Raises
    ------
    DatabaseError
        If it is not in the store.
    """
    if source is None:
        return None
    document: CorrectionDocument = stored_output(store, identifier(source), "correction")
    return document


def ladder_covariance(store: JobStore, ladder: FreeEnergyDocument, ends: Sequence[EvaluatedEnd]) -> float | None:
    """Return the covariance of the errors of a ladder and of its correction (eV²); None if windows are not stored."""
    from alchemflows.analysis.correction import covariance_with_ladder

    try:
        documents = [decoded(store.get_output(job, load=True)) for job in ladder.window_jobs]
        covariance_eV2 = covariance_with_ladder(documents, ladder, ends)
        return covariance_eV2 if math.isfinite(covariance_eV2) else None
    except (ValueError, InvalidInputError) as error:
        logger.warning("errors of the ladder and of its correction are added in quadrature: %s", error)
        return None


def frames_of_ladder(store: JobStore, ladder: FreeEnergyDocument) -> tuple[SampledFrames, SampledFrames]:
    """Return the frames at λ = 0 and at λ = 1 of a ladder.

    Only the outputs of jobs that sampled these two windows are read.

    Parameters
    ----------
    store
        Job store that has the outputs of the window jobs.
    ladder
        Free energy of the ladder, which names these jobs.

    Raises
    ------
    DatabaseError
        If the outputs are not in the store.
    InvalidInputError
        If the windows have no frames.
    """
    ends = {"uuid": {"$in": list(ladder.window_jobs)}, "output.windows.lambda_value": {"$in": [0.0, 1.0]}}
    jobs = sorted({row["uuid"] for row in store.docs_store.query(ends, ["uuid"])})
    if not jobs:
        raise DatabaseError("the outputs of the jobs that sampled the windows at λ = 0 and 1 are not in the database")
    return end_frames(decoded(store.get_output(job, load=True)) for job in jobs)


def stored_absolute(store: JobStore, uuid: str) -> AbsoluteResult:
    """Return a result with absolute free energies.

    Raises
    ------
    DatabaseError
        If it is not in the store.
    InvalidInputError
        If the result is of another kind.
    """
    document = stored_output(store, uuid, "free energy")
    if not isinstance(document, AbsoluteResult):
        raise InvalidInputError(f"the result {uuid[:8]} has no absolute free energies that can be corrected")
    return document


def states_of_result(store: JobStore, document: AbsoluteResult) -> tuple[list[EvaluatedState], list[str]]:
    """Return the states of a result that can be corrected, without energies, and why others cannot.

    Parameters
    ----------
    store
        Job store that has the outputs of the jobs that sampled mean cells.
    document
        Result with absolute free energies.

    Raises
    ------
    DatabaseError
        If an output is not in the store.
    """
    from alchemflows.analysis.state_correction import state_to_evaluate

    states, refused = states_with_frames(store, document)
    return [state_to_evaluate(state, stored_output(store, str(state.job))) for state in states], refused


def states_with_frames(store: JobStore, document: AbsoluteResult) -> tuple[list[AbsoluteState], list[str]]:
    """Return the states of a result that can be corrected, and why others cannot, without reading any frame.

    The parameters and errors are those of :func:`states_of_result`.
    """
    from alchemflows.analysis.state_correction import refusal

    states, refused = [], []
    for state in absolute_states(document):
        output: dict[str, Any] = {}
        if state.job is not None:
            row = store.docs_store.query_one({"uuid": state.job}, ["output.frames", "output.weights"], {"index": -1})
            if row is None:
                raise DatabaseError(f"the output of the job {state.job} is not in the database")
            output = row["output"]
        # Frames themselves are in the additional store; here is their place there.
        reason = refusal(state, has_frames=output.get("frames") is not None, weights=output.get("weights", ()))
        if reason is None:
            states.append(state)
        else:
            refused.append(reason)
    return states, refused


def mixing_with_states(store: JobStore, uuid: str) -> tuple[MixingDocument, list[StateFrames]]:
    """Return a free energy of mixing and the frames of its states.

    Raises
    ------
    DatabaseError
        If it is not in the store.
    InvalidInputError
        If the result is of another kind, or has no frames.
    """
    document = stored_output(store, uuid, "free energy of mixing")
    if not isinstance(document, MixingDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is no free energy of mixing")
    return document, mixing_states(document)


def transition_with_samples(store: JobStore, uuid: str) -> tuple[TransitionDocument, list[MonteCarloDocument]]:
    """Return a transition and the results of Monte Carlo in its supercells, the smallest first.

    Raises
    ------
    DatabaseError
        If one of them is not in the store.
    InvalidInputError
        If the result is of another kind, or does not name its results of Monte Carlo.
    """
    from alchemflows.analysis.transition_committee import monte_carlo_jobs

    document = stored_output(store, uuid, "transition")
    if not isinstance(document, TransitionDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is no transition between order and disorder")
    return document, [stored_output(store, job, "Monte Carlo") for job in monte_carlo_jobs(uuid, document)]


def states_to_evaluate(store: JobStore, uuid: str) -> tuple[str, list[StateFrames]]:
    """Return the formula of a free energy of mixing or of a transition, and the frames of all its states.

    Raises
    ------
    DatabaseError
        If an output is not in the store.
    InvalidInputError
        If the result is of another kind, or has too few frames for a committee.
    """
    from alchemflows.analysis.mixing_committee import check_pure
    from alchemflows.analysis.transition_committee import transition_states

    if isinstance(stored_output(store, uuid), TransitionDocument):
        transition, sampled = transition_with_samples(store, uuid)
        return transition.formula, transition_states(uuid, transition, sampled)
    mixing, states = mixing_with_states(store, uuid)
    check_pure(uuid, mixing, states)
    return mixing.formula, states
