"""Read the windows of a ladder from the stores of outputs and samples, in the form that its analysis used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maggma.core import Store

from alchemflows.errors import DatabaseError
from alchemflows.schemas.document import decoded, migrated
from alchemflows.schemas.free_energy import FreeEnergyDocument
from alchemflows.schemas.samples import PackedSeries
from alchemflows.schemas.windows import WindowsDocument


def analysis(outputs: Store, uuid: str) -> FreeEnergyDocument:
    """Return the free energy document of a ladder.

    Parameters
    ----------
    outputs
        Store of job outputs.
    uuid
        Identifier of the job.

    Raises
    ------
    DatabaseError
        If the analysis does not exist, or does not name the jobs that sampled its windows.
    """
    row = outputs.query_one({"uuid": uuid, "output.@class": "FreeEnergyDocument"}, {"output": 1})
    if row is None:
        raise DatabaseError(f"there is no analysis of a ladder with the identifier {uuid} in the database")
    document = decoded(row["output"])
    if not document.window_jobs:
        raise DatabaseError(f"the analysis {uuid} does not name the jobs that sampled its windows")
    return document


def window_documents(outputs: Store, samples: Store, jobs: Sequence[str]) -> list[WindowsDocument]:
    """Return the outputs of window jobs with their samples but without frames, in the order of the jobs.

    Parameters
    ----------
    outputs, samples
        Stores of job outputs and of samples.
    jobs
        Identifiers of the jobs.

    Raises
    ------
    DatabaseError
        If an output or its samples are missing.
    """
    wanted = {"uuid": {"$in": list(jobs)}, "output.@class": "WindowsDocument"}
    rows = outputs.query(wanted, {"uuid": 1, "output": 1})
    found = {row["uuid"]: migrated("WindowsDocument", row["output"]) for row in rows}
    missing = [job for job in jobs if job not in found]
    if missing:
        raise DatabaseError(f"the output of the window job {missing[0]} is not in the database")
    series = read_series(samples, [w["series"]["blob_uuid"] for job in jobs for w in found[job]["windows"]])
    return [_document(found[job], series) for job in jobs]


def read_series(samples: Store, blobs: Sequence[str]) -> dict[str, PackedSeries]:
    """Return the samples of windows by their identifiers in the store of samples.

    Raises
    ------
    DatabaseError
        If samples are missing.
    """
    rows = samples.query({"blob_uuid": {"$in": list(blobs)}}, properties=["blob_uuid", "data"])
    found = {row["blob_uuid"]: PackedSeries.read(row["data"]) for row in rows}
    missing = [blob for blob in blobs if blob not in found]
    if missing:
        raise DatabaseError(f"the samples {missing[0]} are not in the database")
    return found


def _document(output: Mapping[str, Any], series: Mapping[str, PackedSeries]) -> WindowsDocument:
    windows = [
        {**window, "series": series[window["series"]["blob_uuid"]], "frames": None} for window in output["windows"]
    ]
    return WindowsDocument.read({**output, "windows": windows})
