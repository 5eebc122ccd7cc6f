"""The job store of the running job, a check of its additional stores before any work, and outputs of other jobs."""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB, JobStore

from alchemflows.errors import DatabaseError
from alchemflows.schemas.document import decoded

#: Name of the additional store of samples and curves.
SAMPLES = "data"


def require_store(name: str = SAMPLES) -> None:
    """Check that the job store of the running job has an additional store.

    jobflow itself checks this only when the job is done. The job needs ``JobConfig(expose_store=True)``.

    Parameters
    ----------
    name
        Name of the additional store.

    Raises
    ------
    DatabaseError
        If the additional store is missing.
    """
    store: Any = CURRENT_JOB.store
    if CURRENT_JOB.job is None or store is None:
        return
    try:
        store.additional_stores[name]  # jobflow's default job store creates it on access
    except KeyError:
        raise DatabaseError(
            f"the JobStore has no additional store {name!r} for samples; add one: "
            f"JobStore(docs_store, additional_stores={{{name!r}: another_store}})"
        ) from None


def current_store() -> JobStore:
    """Return the job store of the running job, which needs ``JobConfig(expose_store=True)``.

    Raises
    ------
    DatabaseError
        If the job has none.
    """
    store: JobStore | None = CURRENT_JOB.store
    if store is None:
        raise DatabaseError("the job has no store from which it could read results of other jobs")
    return store


def stored_output(store: JobStore, uuid: str, what: str = "output of the job") -> Any:
    """Return the last output of a job, decoded, with its arrays.

    Parameters
    ----------
    store
        Where it is.
    uuid
        Identifier of the job.
    what
        What the output is, for the error.

    Raises
    ------
    DatabaseError
        If it, or its samples, are not in the store.
    """
    try:
        return decoded(store.get_output(uuid, load=True))
    except ValueError as error:
        raise DatabaseError(f"the {what} {uuid} is not in the database") from error
    except KeyError as error:  # of jobflow
        raise DatabaseError(f"the {what} {uuid}: its samples are not in the database") from error
