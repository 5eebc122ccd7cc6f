"""Find results of every kind: a list with their main numbers, and single results by the beginning of their ID."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import islice
from math import inf
from typing import Any

from alchemflows.arguments import checked_id
from alchemflows.choices import check_choice
from alchemflows.errors import DatabaseError, DocumentVersionError, InvalidInputError, NoResultError
from alchemflows.results.kinds import COLUMNS, KINDS, Summary
from alchemflows.results.query import CAMPAIGN_FIELDS, RESULT_FIELDS, newest_ladders
from alchemflows.results.stored import Column, of_campaign, projection, rows_of
from alchemflows.schemas.document import Document, decoded
from alchemflows.storage.database import REANALYSED, Database

#: Mark of the job whose output is that of its task.
_IS_RESULT = "metadata.campaign.is_result"
#: Documents that are parts of results.
PARTS = (
    *("WindowsDocument", "EquilibriumDocument", "FrameEnergies", "FrameForces", "LiquidDocument"),
    "CoexistenceDocument",
)
#: Candidates that an error message names.
_SHOWN = 5
#: Places of formulas in documents.
_FORMULAS = ("initial_formula", "final_formula", "formula", "points.formula", "runs.formula")
#: Columns of the summary (:class:`~alchemflows.results.kinds.Summary`).
SUMMARY_FIELDS: dict[str, str] = {
    "system": "string",
    "quantity": "string",
    "value": "float64",
    "error": "float64",
    "unit": "string",
}
#: Columns of a row of :func:`results`, with their pandas dtypes.
LISTED_FIELDS: dict[str, Column] = RESULT_FIELDS | {name: Column(None, dtype) for name, dtype in SUMMARY_FIELDS.items()}


def results(
    database: Database,
    *,
    kinds: Sequence[str] = (),
    campaign: str | None = None,
    formula: str | None = None,
    potential: str | None = None,
    temperature_K: float | None = None,
    since: date | None = None,
    until: date | None = None,
    limit: int = 0,
    reanalysed: bool = False,
    skip: Callable[[DocumentVersionError], None] | None = None,
) -> list[dict[str, Any]]:
    """Return results of every kind as flat rows, newest first.

    For an extended ladder of a campaign, only the latest analysis is returned.

    Parameters
    ----------
    database
        Database to read.
    kinds
        Names of kinds (:data:`~alchemflows.results.kinds.KINDS`); none for all that are not steps of larger
        calculations. Outputs of the tasks of a campaign are listed whatever their kind, also those of a user's maker.
    campaign
        Name of a campaign; None for the whole database.
    formula
        Formula as documents contain it: of the crystal, of either end of a path, or of a composition.
    potential
        Name of the potential; for a file, its path or its file name.
    temperature_K
        Temperature (K).
    since, until
        First and last day on which results were completed, in UTC.
    limit
        Maximum number of rows; 0 for all.
    reanalysed
        Whether to return results of :class:`~alchemflows.results.builder.FreeEnergyBuilder` instead of those of jobs.
    skip
        Function that gets the error of each result of a newer version, whatever the other filters are, since it cannot
        be read; the other results are listed. Without it, the error is raised.

    Returns
    -------
    rows
        Rows with the keys :data:`LISTED_FIELDS`; values that a kind does not have are None.

    Raises
    ------
    InvalidInputError
        If a kind is unknown, the temperature is not positive, or the first day is after the last.
    DocumentVersionError
        Without `skip`, if a result has a newer version; the message names it and says what to install.
    """
    if temperature_K is not None and not 0 < temperature_K < inf:
        raise InvalidInputError(f"the temperature must be positive; got {temperature_K:g}")
    if since is not None and until is not None and since > until:
        raise InvalidInputError(f"the first day, {since}, is after the last day, {until}")
    classes = classes_of(kinds)
    where = _criteria(formula, potential, temperature_K, since, until)
    if campaign is not None and not kinds:
        # A step of a larger calculation is a result if it is all that a task computes.
        steps = [document for document, kind in KINDS.items() if kind.is_step]
        where = {"$and": [where, {"$or": [{"output.@class": {"$nin": steps}}, {_IS_RESULT: True}]}]}
        classes = list(KINDS)
    outputs = database.outputs()
    stored = rows_of(
        outputs.database[f"{outputs.name}{REANALYSED}"] if reanalysed else outputs,
        of_campaign(campaign, *classes),
        RESULT_FIELDS | COLUMNS,
        classes=classes,
        order=("sources_completed_at" if reanalysed else "completed_at", -1),
        where=where,
        skip=skip,
    )
    rows: Iterator[dict[str, Any]] = newest_ladders(map(_listed, stored))
    unfiltered = not kinds and formula is potential is temperature_K is None and not reanalysed
    if campaign is not None and unfiltered:
        others = _of_other_makers(database, campaign, _criteria(None, None, None, since, until))
        rows = heapq.merge(rows, others, key=lambda row: row["completed_at"], reverse=True)
    return list(islice(rows, limit or None))


def _of_other_makers(database: Database, campaign: str, where: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield outputs of the tasks of a campaign that are no documents of this package, newest first."""
    criteria = {"metadata.campaign.name": campaign, "output.@class": {"$nin": [*KINDS, *PARTS]}, _IS_RESULT: True}
    columns = {name: LISTED_FIELDS[name] for name in ("uuid", *CAMPAIGN_FIELDS, "completed_at")}
    columns |= {"kind": Column("$metadata.campaign.method"), "output": Column("$output")}
    columns |= {name: Column(f"$metadata.campaign.{name}") for name in ("temperature_K", "pressure_GPa")}
    stages = [{"$match": {**criteria, **where}}, {"$sort": {"completed_at": -1}}, {"$project": projection(columns)}]
    for row in database.outputs().aggregate(stages):
        output, kind = row.pop("output"), row["kind"].rpartition(".")[2]
        is_number = isinstance(output, int | float) and not isinstance(output, bool)
        system = ", ".join(name for name in (row["structure"], row["transformation"]) if name)
        summary = (
            Summary(system, "output", float(output), None, "") if is_number else Summary(system, "", None, None, "")
        )
        yield dict.fromkeys(LISTED_FIELDS) | row | {"kind": kind} | _numbers(summary)


def find_result(database: Database, beginning: str) -> tuple[str, Document]:
    """Return the identifier and the document of a result.

    Parameters
    ----------
    database
        Database to read.
    beginning
        The identifier (UUID) of the result's job, or its first characters.

    Raises
    ------
    InvalidInputError
        If the text is no beginning of an identifier, or if it fits several results.
    NoResultError
        If it fits none.
    DatabaseError
        If the document is incomplete.
    """
    beginning = checked_id(beginning)
    outputs = database.outputs()
    fields = {"_id": 0, "uuid": 1, "class": "$output.@class", "completed_at": 1}
    found = {row["uuid"]: row for row in outputs.find({"uuid": {"$regex": f"^{beginning}"}}, fields)}
    fitting = [row for row in found.values() if row.get("class") in KINDS]
    if len(fitting) > 1:
        several = "; ".join(f"{row['uuid'][:13]} ({_described(row)})" for row in fitting[:_SHOWN])
        raise InvalidInputError(f"the ID {beginning} fits {len(fitting)} results; give more characters: {several}")
    if not fitting:
        (*_, other) = [None, *found.values()]
        kind = "" if other is None else other.get("class") or "not a document of alchemflows"
        reason = "no result" if other is None else f"no result but the output of a job ({kind})"
        raise NoResultError(f"the ID {beginning} fits {reason}; `alchemflows results` lists IDs")
    (row,) = fitting
    try:
        document = decoded(database.job_store.get_output(row["uuid"], load=True))
    except (KeyError, ValueError) as error:  # jobflow raises KeyError for missing samples, pydantic ValueError
        raise DatabaseError(
            f"the result {row['uuid']} cannot be read ({type(error).__name__}): its document or samples are incomplete"
        ) from error
    return row["uuid"], document


def classes_of(names: Sequence[str]) -> list[str]:
    """Return the classes of documents of some kinds; without names, of all kinds that are not steps.

    Raises
    ------
    InvalidInputError
        If a kind is unknown.
    """
    if not names:
        return [document for document, kind in KINDS.items() if not kind.is_step]
    known = {kind.name: document for document, kind in KINDS.items()}
    for name in names:
        check_choice("kinds", name, known)
    return [known[name] for name in names]


def _criteria(
    formula: str | None, potential: str | None, temperature_K: float | None, since: date | None, until: date | None
) -> dict[str, Any]:
    """Return MongoDB criteria on documents of the current version."""
    wanted: list[dict[str, Any]] = []
    if formula is not None:
        wanted.append({"$or": [{f"output.{place}": formula} for place in _FORMULAS]})
    if potential is not None:
        wanted.append({"output.provenance.potential.name": {"$regex": f"(^|/){re.escape(potential)}$"}})
    if temperature_K is not None:
        places = ("temperature_K", "temperatures_K")
        wanted.append({"$or": [{f"output.{place}": temperature_K} for place in places]})
    if since is not None:
        wanted.append({"completed_at": {"$gte": since.isoformat()}})
    if until is not None:
        wanted.append({"completed_at": {"$lt": (until + timedelta(days=1)).isoformat()}})
    return {"$and": wanted} if wanted else {}


def _listed(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its summary instead of the parts that this is made of."""
    kind = KINDS[row["class"]]
    summary = kind.summary(row)
    for name in COLUMNS:
        del row[name]
    return row | {"kind": kind.name} | _numbers(summary)


def _numbers(summary: Summary) -> dict[str, Any]:
    """Return the columns of a summary; its temperature only if the result has several."""
    columns = summary._asdict()
    return columns if summary.temperature_K is not None else {name: columns[name] for name in SUMMARY_FIELDS}


def _described(row: dict[str, Any]) -> str:
    return f"{KINDS[row['class']].name}, {str(row['completed_at'])[:16]}"
