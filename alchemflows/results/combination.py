"""Combine stored ladders of one system over temperature and pressure, and store the result like that of a job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from alchemflows.analysis.combination import combined
from alchemflows.analysis.stored_ladders import StoredLadder, check_alike
from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.results.kinds import KINDS
from alchemflows.results.ladders import window_documents
from alchemflows.results.listing import find_result
from alchemflows.schemas.combination import CombinedLadders
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.storage.database import Database


def combine_ladders(
    database: Database,
    ids: Sequence[str],
    temperatures_K: Sequence[float] | None = None,
    pressures_GPa: Sequence[float] | None = None,
    *,
    discard: float = 0.0,
) -> tuple[str, CombinedLadders]:
    """Combine ladders at one or several temperatures and pressures, and store the result.

    Parameters
    ----------
    database
        Database with the ladders, to which the result is written.
    ids
        IDs of the ladders (``alchemflows results --kind ladder``); their first characters suffice.
    temperatures_K
        Temperatures (K) of the results; by default those of the ladders and ten intervals between them.
    pressures_GPa
        Pressures (GPa) of the results at constant pressure; by default those of the ladders.
    discard
        Fraction of the samples at the start of each window that is omitted.

    Returns
    -------
    The identifier of the result and its document.

    Raises
    ------
    InvalidInputError
        If an ID is no ladder, or ladders cannot be combined, see :func:`alchemflows.analysis.combination.combined`.
    NoResultError, DatabaseError
        If a result, or the samples of a ladder, are not in the database.

    Examples
    --------
    >>> from alchemflows import connect
    >>> from alchemflows.errors import NoResultError
    >>> from alchemflows.results.combination import combine_ladders
    >>> try:
    ...     uuid, document = combine_ladders(connect(), ["1a2b3c4d", "5e6f7a8b"], [300.0, 350.0, 400.0])
    ... except NoResultError:
    ...     print("compute the ladders first")
    compute the ladders first
    """
    found = [find_result(database, each) for each in ids]
    documents: list[tuple[str, FreeEnergyDocument]] = []
    for uuid, document in found:
        if not isinstance(document, FreeEnergyDocument):
            kind = KINDS[type(document).__name__].name
            raise InvalidInputError(f"the result {uuid[:8]} is no ladder (kind {kind}); only ladders can be combined")
        if not document.window_jobs:
            raise DatabaseError(f"the ladder {uuid[:8]} does not name the jobs that sampled its windows")
        documents.append((uuid, document))
    check_alike(documents)
    outputs, samples = database.job_store.docs_store, database.samples()
    ladders = [
        StoredLadder(uuid, document, window_documents(outputs, samples, document.window_jobs))
        for uuid, document in documents
    ]
    result = combined(ladders, temperatures_K, pressures_GPa, discard=discard)
    row = as_output(result)
    database.job_store.update(row)
    return row["uuid"], result


def as_output(document: CombinedLadders) -> dict[str, Any]:
    """Return a result as a document of the collection of outputs, with the fields that jobflow gives those of jobs."""
    return {
        "uuid": str(uuid4()),
        "index": 1,
        "name": "combine ladders",
        "output": document,
        "completed_at": datetime.now().isoformat(),
        "metadata": {},
        "hosts": [],
    }
