"""Stores that a job needs besides that of its outputs: looked for before it does any work."""

from __future__ import annotations

from typing import Any

from jobflow import CURRENT_JOB

from alchemflows.errors import DatabaseError


def require_store(name: str = "data") -> None:
    """Refuse to go on where the store of the running job lacks an additional store.

    jobflow itself notices that when the job is done. The job must be told its store: ``JobConfig(expose_store=True)``.

    Parameters
    ----------
    name
        Of the additional store; ``data`` is that of samples and curves.

    Raises
    ------
    DatabaseError
        If the additional store is missing.
    """
    store: Any = CURRENT_JOB.store
    if CURRENT_JOB.job is None or store is None:
        return
    try:
        store.additional_stores[name]  # jobflow's default makes one when it is asked for
    except KeyError:
        raise DatabaseError(
            f"the JobStore has no additional store {name!r}, which holds the samples: "
            f"JobStore(docs_store, additional_stores={{{name!r}: another_store}})"
        ) from None
