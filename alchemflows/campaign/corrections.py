"""Corrections of the ladders of a campaign: flows that belong to it, although they are no tasks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow, Job

from alchemflows.campaign.task import label, mark_result
from alchemflows.schemas.campaign import CampaignMetadata
from alchemflows.storage.database import Database

#: Metadata of a ladder's jobs that those of its correction have too.
_SHARED = ("campaign", "structures")
#: What is said of the job of a ladder alone.
_OF_ONE_JOB = {"job_kind", "is_result"}


def add_to_campaign(database: Database, flow: Flow, corrections: Mapping[str, Flow | Job]) -> str | None:
    """Give the jobs of corrections the metadata of their ladders, so that the campaign's report and status have them.

    Jobs that belong to no single correction get the name of the campaign only.

    Parameters
    ----------
    database
        Database of the ladders.
    flow
        The flow, which is changed.
    corrections
        Its parts that correct one ladder each, by the identifiers of the ladders.

    Returns
    -------
    Name of the campaign; None if the ladders are not of one campaign. The flow is then left as it is.
    """
    ladders = {"uuid": {"$in": list(corrections)}}
    found = {
        row["uuid"]: row.get("metadata", {}) for row in database.outputs().find(ladders, {"uuid": 1, "metadata": 1})
    }
    names = {found.get(uuid, {}).get("campaign", {}).get("name") for uuid in corrections}
    if len(names) != 1 or (name := names.pop()) is None:
        return None
    for uuid, part in corrections.items():
        shared: dict[str, Any] = {key: found[uuid][key] for key in _SHARED if key in found[uuid]}
        shared["campaign"] = {key: value for key, value in shared["campaign"].items() if key not in _OF_ONE_JOB}
        label([part] if isinstance(part, Job) else part.jobs, shared)
        mark_result(flow, part.output.uuid)
    whole = CampaignMetadata(
        name=name, task="", structure="", temperature_K=None, pressure_GPa=None, repeat=0, n_sites=0
    ).model_dump()
    label([job for job, _ in flow.iterflow() if "campaign" not in job.metadata], {"campaign": whole})
    mark_result(flow, flow.output.uuid)
    return str(name)
