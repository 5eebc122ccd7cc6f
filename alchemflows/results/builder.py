"""Reanalyse stored windows, for example after a change of estimator, without new dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from maggma.core import Builder, Store
from maggma.stores import MongoStore
from monty.json import jsanitize

from alchemflows.analysis.ladder import reanalysed
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.results.ladders import analysis, window_documents
from alchemflows.results.stored import of_campaign
from alchemflows.schemas.provenance import installed_versions
from alchemflows.storage.database import Database, collection_of, copy_store

#: Packages whose version may affect the free energy estimated from given samples.
_ESTIMATORS = ("alchemflows", "alchemlyb", "pymbar")


class FreeEnergyBuilder(Builder):
    """Reanalyse ladders from their stored windows, and store one document for each ladder.

    A ladder is identified by a finished analysis, whose document names the window jobs. It is reanalysed only if one of
    its jobs has ended since the last time, or if `discard` or the version of an estimator package has changed.

    Parameters
    ----------
    outputs, samples
        Stores of job outputs and of samples.
    free_energies
        Store for new documents. They have the fields of job outputs (`uuid`, `metadata`, `output`, `completed_at`) and
        `estimator` (settings and versions), `sources_completed_at` (end of the latest job) and `last_updated`.
    campaign
        Name of a campaign; None for the whole database.
    discard
        Fraction of the samples at the start of each window that is omitted.
    rebuild
        Whether to reanalyse all ladders.
    chunk_size
        Number of ladders that are read and written at a time.
    """

    def __init__(
        self,
        outputs: MongoStore,
        samples: Store,
        free_energies: MongoStore,
        campaign: str | None = None,
        discard: float = 0.0,
        rebuild: bool = False,
        chunk_size: int = 1,
    ):
        if not 0 <= discard < 1:
            raise InvalidInputError(f"discard must be at least 0 and less than 1; got {discard}")
        self.outputs = outputs
        self.samples = samples
        self.free_energies = free_energies
        self.campaign = campaign
        self.discard = discard
        self.rebuild = rebuild
        self.n_ladders = 0
        self.failures: dict[str, str] = {}
        super().__init__([outputs, samples], [free_energies], chunk_size=chunk_size)

    @classmethod
    def of(cls, database: Database, campaign: str | None = None, **settings: Any) -> FreeEnergyBuilder:
        """Return the builder of a database, with connections of its own, which it closes when it is done."""
        stores = copy_store(database.job_store.docs_store), copy_store(database.samples())
        return cls(*stores, database.reanalysed_store(), campaign, **settings)

    @property
    def estimator(self) -> dict[str, Any]:
        """Settings and package versions that affect the estimate."""
        versions = installed_versions()
        return {"discard": self.discard, "versions": {name: versions[name] for name in _ESTIMATORS}}

    def get_items(self) -> Iterator[dict[str, Any]]:
        """Yield the analysis, and the windows with their samples, of each ladder to reanalyse."""
        self.free_energies.ensure_index(self.free_energies.key)
        stale = self._stale()
        self.n_ladders = self.total = len(stale)
        for row in stale:
            try:
                stored = analysis(self.outputs, row["uuid"])
                documents = window_documents(self.outputs, self.samples, stored.window_jobs)
            except AlchemflowsError as error:
                self._failed(row["uuid"], error)
                continue
            yield row | {"stored": stored, "documents": documents}

    def process_item(self, item: dict[str, Any]) -> dict[str, Any] | None:
        """Return the new document of a ladder, or None if it cannot be analysed; other ladders are unaffected."""
        try:
            document = reanalysed(item["stored"], item["documents"], discard=self.discard)
        except AlchemflowsError as error:
            self._failed(item["uuid"], error)
            return None
        now = datetime.now(UTC)
        return {
            "uuid": item["uuid"],
            "metadata": item["metadata"],
            "completed_at": now.isoformat(),
            "sources_completed_at": item["sources_completed_at"],
            "estimator": self.estimator,
            "output": jsanitize(document, strict=True, allow_bson=True),
            self.free_energies.last_updated_field: now,
        }

    def update_targets(self, items: list[dict[str, Any]]) -> None:
        """Write new documents to the store."""
        if items:
            self.free_energies.update(items, key="uuid")

    def _stale(self) -> list[dict[str, Any]]:
        """Return identifier, metadata and end of the latest job for each ladder to reanalyse."""
        windows = {
            "from": self.outputs.collection_name,
            "localField": "output.window_jobs",
            "foreignField": "uuid",
            "as": "windows",
        }
        newest = {"$max": [{"$max": "$windows.completed_at"}, "$completed_at"]}
        fields = {"_id": 0, "uuid": 1, "metadata": 1, "sources_completed_at": newest}
        ladders = [
            {"$match": of_campaign(self.campaign, "FreeEnergyDocument")},
            {"$project": {"uuid": 1, "metadata": 1, "completed_at": 1, "output.window_jobs": 1}},
            {"$lookup": windows},
            {"$project": fields},
        ]
        known = {} if self.rebuild else self._known()
        estimator = self.estimator
        return [
            row
            for row in collection_of(self.outputs).aggregate(ladders)
            if known.get(row["uuid"]) != (row["sources_completed_at"], estimator)
        ]

    def _known(self) -> dict[str, tuple[str, dict[str, Any]]]:
        fields = ["uuid", "sources_completed_at", "estimator"]
        rows = self.free_energies.query(properties=fields)
        return {row["uuid"]: (row["sources_completed_at"], row["estimator"]) for row in rows}

    def _failed(self, uuid: str, error: AlchemflowsError) -> None:
        self.failures[uuid] = str(error)
        self.logger.warning("the ladder %s cannot be analysed: %s", uuid, error)
