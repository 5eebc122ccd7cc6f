"""Corrections, committees and reruns of the ladders of a campaign: flows that belong to it, but are no tasks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobflow import Flow, Job

from alchemflows.campaign.task import label
from alchemflows.identity import fingerprint
from alchemflows.schemas.campaign import CampaignMetadata
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.storage.database import Database

#: Metadata of a ladder's jobs that those of its correction have too.
_SHARED = ("campaign", "structures")
#: What is said of the job of a ladder alone.
_OF_ONE_JOB = {"job_kind", "is_result"}


def add_to_campaign(
    database: Database, flow: Flow, parts: Mapping[str, Flow | Job], rerun_with: PotentialSpec | None = None
) -> str | None:
    """Give jobs the metadata of the ladders that they belong to, so that the campaign's report and status have them.

    Jobs that belong to no single ladder get the name of the campaign only.

    Parameters
    ----------
    database
        Database of the ladders.
    flow
        The flow, which is changed.
    parts
        Its parts that correct one ladder each, compare potentials for it, or run it again, by the identifiers of the
        ladders.
    rerun_with
        Potential with which ladders are run again. Their jobs get another key of the task, since they are another
        calculation: the ladder of the task is neither hidden nor extended by them.

    Returns
    -------
    Name of the campaign; None if the ladders are not of one campaign. The flow is then left as it is.
    """
    ladders = {"uuid": {"$in": list(parts)}}
    found = {
        row["uuid"]: row.get("metadata", {}) for row in database.outputs().find(ladders, {"uuid": 1, "metadata": 1})
    }
    names = {found.get(uuid, {}).get("campaign", {}).get("name") for uuid in parts}
    if len(names) != 1 or (name := names.pop()) is None:
        return None
    for uuid, part in parts.items():
        shared: dict[str, Any] = {key: found[uuid][key] for key in _SHARED if key in found[uuid]}
        shared["campaign"] = {key: value for key, value in shared["campaign"].items() if key not in _OF_ONE_JOB}
        if rerun_with is not None:
            shared["campaign"]["task"] = rerun_key(uuid, rerun_with)
        label([part] if isinstance(part, Job) else part.jobs, shared)
    whole = CampaignMetadata(
        name=name, task="", structure="", temperature_K=None, pressure_GPa=None, repeat=0, n_sites=0
    ).model_dump()
    label([job for job, _ in flow.iterflow() if "campaign" not in job.metadata], {"campaign": whole})
    return str(name)


def rerun_key(ladder: str, potential: PotentialSpec) -> str:
    """Return the key of the task of a ladder that is run again, from the ladder's identifier and the potential."""
    same = potential.model_dump(include={"sha256", "head", "dtype"})
    return fingerprint({"rerun": ladder, "potential": same})
