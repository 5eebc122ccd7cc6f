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

#: Packages of which another version may give another free energy from the same samples.
_ESTIMATORS = ("alchemflows", "alchemlyb", "pymbar")


class FreeEnergyBuilder(Builder):
    """Estimates the free energies of ladders from their stored windows, and keeps one document for each ladder.

    A ladder is what one finished analysis took: its document names the window jobs. A ladder is done again only if
    its jobs have ended anew since, or the estimators are others: another share of samples left out, another version.

    Parameters
    ----------
    outputs, samples
        Stores of job outputs and of samples.
    free_energies
        Store for new documents. They look like those of the jobs (`uuid`, `metadata`, `output`, `completed_at`), with
        `estimator` (what was done), `sources_completed_at` (when the newest of its jobs ended) and `last_updated`.
    campaign
        Name of a campaign; None for everything.
    discard
        Fraction of the samples at the start of each window that is omitted.
    rebuild
        Whether to do all ladders again.
    chunk_size
        Ladders that are in memory, and written, at a time.
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
            raise InvalidInputError(f"the share of samples to leave out must be at least 0 and below 1; got {discard}")
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
        """What is done with the samples."""
        versions = installed_versions()
        return {"discard": self.discard, "versions": {name: versions[name] for name in _ESTIMATORS}}

    def get_items(self) -> Iterator[dict[str, Any]]:
        """Yield each ladder that is to be done: its analysis, and its windows with all samples."""
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
        """Write documents."""
        if items:
            self.free_energies.update(items, key="uuid")

    def _stale(self) -> list[dict[str, Any]]:
        """Return identifiers of the ladders to be done, with their metadata, and when the newest job of each ended."""
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
