"""Read the frames of a ladder from a job store, for jobs and for readers of results."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobflow import JobStore, OutputReference

from alchemflows.analysis.frames import SampledFrames, end_frames
from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument

if TYPE_CHECKING:
    from alchemflows.analysis.correction import EvaluatedEnd

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
    try:
        document = decoded(store.get_output(uuid, load=True))
    except ValueError as error:
        raise DatabaseError(f"the free energy {uuid} is not in the database") from error
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
    uuid = identifier(source)
    try:
        document: CorrectionDocument = decoded(store.get_output(uuid, load=True))
    except ValueError as error:
        raise DatabaseError(f"the correction {uuid} is not in the database") from error
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
