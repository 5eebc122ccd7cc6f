"""A campaign of flows that run in this process, their outputs in a database."""

from __future__ import annotations

from pathlib import Path

from jobflow import Flow, run_locally

from alchemflows.storage.database import Database

CAMPAIGN = "halides"


def campaign_metadata(repeat: int, **others: object) -> dict:
    """Return what every job of a campaign carries."""
    plain = {"structure": "CsPbI3", "transformation": "Pb:Sn", "temperature_K": 200.0, "pressure_GPa": None}
    return {"campaign": {"name": CAMPAIGN, "task": f"task-{repeat}", "repeat": repeat} | plain | others}


def run_into(database: Database, flow: Flow, folder: Path) -> str:
    """Run a flow in this process, its outputs in the database; return the identifier of its last job."""
    run_locally(flow, store=database.job_store, create_folders=True, root_dir=folder, ensure_success=True, log=False)
    return flow.jobs[-1].uuid
