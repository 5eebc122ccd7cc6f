"""Check of the additional stores that a job needs, before it does any work."""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB

from alchemflows.errors import DatabaseError


def require_store(name: str = "data") -> None:
    """Check that the job store of the running job has an additional store.

    jobflow itself checks this only when the job is done. The job needs ``JobConfig(expose_store=True)``.

    Parameters
    ----------
    name
        Name of the additional store; ``data`` holds samples and curves.

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
