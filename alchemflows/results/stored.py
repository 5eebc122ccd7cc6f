"""Convert stored documents to table rows in MongoDB; documents of older versions are migrated first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from pymongo.collection import Collection

from alchemflows.errors import DocumentVersionError
from alchemflows.schemas.document import current_version, migrated

#: Older documents that are migrated at a time; a command to MongoDB has at most 48 MB.
_AT_ONCE = 20
_CAMPAIGN = "CampaignMetadata"
#: Fields of a row that are needed to check its versions; a missing version counts as the current one.
_VERSIONS = {
    "_uuid": "$uuid",
    "_output": {"@class": "$output.@class", "schema_version": "$output.schema_version"},
    "_campaign": {"schema_version": "$metadata.campaign.schema_version"},
}


class Column(NamedTuple):
    """A column of a table: the MongoDB expression that gives it, and its pandas dtype."""

    expression: Any
    dtype: str = "float64"


def of_campaign(campaign: str | None, *classes: str) -> dict[str, Any]:
    """Return criteria for documents of the given classes, in one campaign or in the whole database."""
    criteria: dict[str, Any] = {} if campaign is None else {"metadata.campaign.name": campaign}
    return criteria | {"output.@class": {"$in": list(classes)} if len(classes) > 1 else classes[0]}


def rows_of(
    collection: Collection,
    criteria: Mapping[str, Any],
    columns: Mapping[str, Column],
    *,
    classes: Sequence[str],
    order: tuple[str, int],
    where: Mapping[str, Any] | None = None,
    stages: Sequence[Mapping[str, Any]] = (),
    skip: Callable[[DocumentVersionError], None] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield stored documents as table rows in the given order; missing values are None.

    Parameters
    ----------
    collection
        Collection of job outputs.
    criteria
        Criteria for the documents, on fields that are the same in every version (:func:`of_campaign`, `uuid`).
    columns
        Columns of the rows.
    classes
        The classes of documents that the criteria admit.
    order
        Field of the documents, and 1 (ascending) or -1 (descending).
    where
        Further criteria, on fields of the current version.
    stages
        Stages of the aggregation pipeline before the projection to columns.
    skip
        Function that gets the error of each document that cannot be read; the others are yielded. Without it, the error
        is raised.

    Raises
    ------
    DocumentVersionError
        Without `skip`, if a document is of a newer version, or its version is not a whole number; the message names
        its result.
    """
    by, direction = order
    chosen = dict(where or {})
    to_rows = [*stages, {"$project": {**projection(columns), **_VERSIONS, "_order": f"${by}"}}]
    others = [found["_id"] for found in collection.find({"$and": [criteria, another_version(classes)]}, {"_id": 1})]
    if others:
        chosen["_id"] = {"$nin": others}
    # Criteria on windows are also applied to the whole job first, so that indexes can be used.
    current = [{"$match": {**criteria, **chosen}}, {"$sort": {by: direction}}, *to_rows]
    rows: Iterator[dict[str, Any]] = collection.aggregate(current)
    if others:
        select = [{"$match": dict(where or {})}, *to_rows]
        older = _older(collection, {"_id": {"$in": others}}, [(by, direction)], select, skip or _raise)
        rows = heapq.merge(rows, older, key=lambda row: row["_order"], reverse=direction < 0)
    for row in rows:
        del row["_order"]
        # The search above finds numbers only, so that it stays in the indexes; this check refuses other values.
        uuid, output = row.pop("_uuid"), row.pop("_output")
        try:
            _migrated(uuid, output["@class"], output)
            _migrated(uuid, _CAMPAIGN, row.pop("_campaign"))
        except DocumentVersionError as error:
            (skip or _raise)(error)
        else:
            yield row


def projection(columns: Mapping[str, Column]) -> dict[str, Any]:
    """Return the ``$project`` stage of a table; missing values become null."""
    return {"_id": 0} | {name: {"$ifNull": [column.expression, None]} for name, column in columns.items()}


def another_version(classes: Sequence[str]) -> dict[str, Any]:
    """Return criteria for documents with another version than the current one.

    Only versions that are numbers are found. With `$ne`, or with one flat `$or`, MongoDB would read every document of a
    campaign; with these criteria it reads indexes only.
    """
    outputs = ({"output.@class": kind, **_other_number("output", kind)} for kind in classes)
    return {"$or": [_other_number("metadata.campaign", _CAMPAIGN), *outputs]}


def _other_number(place: str, kind: str) -> dict[str, Any]:
    current = current_version(kind)
    return {"$or": [{f"{place}.schema_version": {comparison: current}} for comparison in ("$lt", "$gt")]}


def _older(
    collection: Collection,
    criteria: dict[str, Any],
    order: list[tuple[str, int]],
    stages: Sequence[Mapping[str, Any]],
    skip: Callable[[DocumentVersionError], None],
) -> Iterator[dict[str, Any]]:
    """Yield the rows of documents that are not of the current version."""
    found = collection.find(criteria).sort(order)
    while documents := list(islice(found, _AT_ONCE)):
        readable = []
        for document in documents:
            try:
                readable.append({"$literal": _current(document)})
            except DocumentVersionError as error:
                skip(error)
        if readable:
            yield from collection.database.aggregate([{"$documents": readable}, *stages])


def _raise(error: DocumentVersionError) -> NoReturn:
    raise error


def _current(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of the collection of outputs, its output and metadata in the current version."""
    output, metadata = document["output"], document.get("metadata") or {}
    document["output"] = _migrated(document["uuid"], output["@class"], output)
    if "campaign" in metadata:
        metadata["campaign"] = _migrated(document["uuid"], _CAMPAIGN, metadata["campaign"])
    return document


def _migrated(uuid: str, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return content in the current version; the error names the result that it is from."""
    try:
        return migrated(kind, content)
    except DocumentVersionError as error:
        raise DocumentVersionError(f"result {uuid[:8]}: {error}") from None
