"""Records of structures in the metadata of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow, Job

from alchemflows.schemas.structure import StructureRecord


def structures_metadata(records: Mapping[str, StructureRecord]) -> dict[str, Any]:
    """Return job metadata that hold the records of structures by name."""
    return {"structures": {name: record.model_dump(mode="json") for name, record in records.items()}}


def record_structures(flow: Flow | Job, records: Mapping[str, StructureRecord]) -> None:
    """Store the records of structures in the metadata of all jobs of a flow, and of jobs that these add.

    The records are `metadata.structures.NAME` of each job's document in the job store.

    Examples
    --------
    >>> from alchemflows.structures.reading import read_structure
    >>> read = read_structure("NaCl.cif")  # doctest: +SKIP
    >>> flow = maker.make(read.structure, {"Na": "K"})  # doctest: +SKIP
    >>> record_structures(flow, {"NaCl": read.record})  # doctest: +SKIP
    """
    if records:
        for job in flow.jobs if isinstance(flow, Flow) else [flow]:
            if isinstance(job, Flow):
                record_structures(job, records)
            else:
                job.update_metadata(structures_metadata(records))
