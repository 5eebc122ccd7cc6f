"""What earlier releases have stored, in `tests/data`: documents of every kind and version, and a queued workflow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bson import json_util
from fireworks import Workflow

from alchemflows.storage.database import Database

DATA = Path(__file__).parent / "data"
#: Files of the name of a kind and its version; further examples of a kind have a word after it.
DOCUMENTS = DATA / "documents"
EXAMPLES = sorted(path for path in DOCUMENTS.glob("*.json") if path.stem.count("-") == 1)
FURTHER = sorted(path for path in DOCUMENTS.glob("*.json") if path.stem.count("-") == 2)
MODEL = DATA / "gentle.safetensors"
WORKFLOW = DATA / "workflow.json"
#: Stands in the workflow for the path of its model.
PLACEHOLDER = "/path/of/the/model"


def kind_of(path: Path) -> str:
    """Return the kind of the documents in a file."""
    return path.stem.partition("-")[0]


def read_example(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return rows of the collection of outputs, and the samples that they refer to."""
    return json_util.loads(path.read_text())


def store_examples(database: Database, paths: Iterable[Path]) -> None:
    """Put examples into a database, as the jobs did that gave them."""
    for path in paths:
        example = read_example(path)
        database.job_store.docs_store.update(example["outputs"], key=["uuid", "index"])
        if example["samples"]:
            database.samples().update(example["samples"], key="blob_uuid")


def read_workflow(model: Path = MODEL) -> Workflow:
    """Return the queued workflow, its model at a path on this machine."""
    return Workflow.from_dict(json_util.loads(WORKFLOW.read_text().replace(PLACEHOLDER, str(model.resolve()))))


def kinds_within(content: Any) -> set[str]:
    """Return the names of the classes of all documents within stored content; metadata and samples have no mark."""
    if isinstance(content, Mapping):
        found = {content["@class"]} if "@class" in content and "schema_version" in content else set()
        if "campaign" in content:
            found.add("CampaignMetadata")
        if "structures" in content:
            found.add("StructureRecord")
        if "npz_base64" in content:
            # Both kinds of series have the same keys.
            found |= {"PackedSeries", "PackedArrangements"} if "n_samples" in content else {"PackedArrays"}
        return found.union(*map(kinds_within, content.values()))
    return set().union(*map(kinds_within, content)) if isinstance(content, list) else set()
