"""Read the frames of a ladder from a job store, for jobs and for readers of results."""

from __future__ import annotations

from jobflow import JobStore

from alchemflows.analysis.frames import SampledFrames, end_frames
from alchemflows.errors import DatabaseError
from alchemflows.schemas.document import decoded
from alchemflows.schemas.free_energy import FreeEnergyDocument


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
