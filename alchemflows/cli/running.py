"""Submit a flow, work it off with local workers, and hand back what it gives."""

from __future__ import annotations

import json
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

from jobflow import Flow, Job
from monty.json import MontyDecoder
from pydantic import ValidationError
from rich.console import Console

from alchemflows.campaign.database import Database, connect
from alchemflows.campaign.local import LocalWorkers, submit, wait
from alchemflows.campaign.settings import Settings
from alchemflows.cli.display import JobProgress
from alchemflows.errors import AlchemflowsError, InvalidInputError


def settings() -> Settings:
    """Return the settings of the environment.

    Raises
    ------
    InvalidInputError
        Naming the variable that is wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(f"ALCHEMFLOWS_{str(first['loc'][0]).upper()}: {first['msg']}") from error


def run_flow(console: Console, flow: Flow, workers: int) -> tuple[Any, Database, str, Path]:
    """Run a flow here, and return its last job's document, the database, that job's UUID and the launch folder.

    Raises
    ------
    AlchemflowsError
        If a job fails or the user interrupts.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    configured = settings()
    database = connect(configured)
    n_jobs = len(list(flow.iterflow()))
    console.print(f"{flow.name}\n{n_jobs} jobs, {workers} local workers, {database.place}", highlight=False)
    fw_ids = submit(database, flow)
    folder = configured.home / "runs" / datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
    try:
        with JobProgress(console) as progress, LocalWorkers(database, fw_ids, workers, folder) as local:
            wait(database, fw_ids, progress, check=local.check)
    except KeyboardInterrupt:
        exports = " ".join(f"{name}={value}" for name, value in database.environment.items())
        raise AlchemflowsError(
            f"interrupted; finished jobs are kept, and `{exports} rlaunch rapidfire` does the rest"
        ) from None
    uuid = _last_job(flow).uuid
    return MontyDecoder().process_decoded(database.job_store.get_output(uuid, load=True)), database, uuid, folder


def submit_flow(console: Console, flow: Flow) -> None:
    """Add a flow to the LaunchPad; workers elsewhere run it."""
    database = connect(settings())
    fw_ids = submit(database, flow)
    console.print(f"{len(fw_ids)} jobs added to the LaunchPad, {min(fw_ids)} to {max(fw_ids)} ({database.place})")


def show_database(console: Console, database: Database, uuid: str | None = None) -> None:
    """Say where documents are and how to reach them."""
    console.print(f"\nDocuments: {database.place}\nQuery them with `alchemflows results`, or with pymongo:")
    outputs = database.outputs()
    criteria = {"uuid": uuid} if uuid else {"output.@class": "FreeEnergyDocument"}
    if database.is_private:
        uri = Path(database.environment["JOBFLOW_CONFIG_FILE"]).parent / "my_launchpad.yaml"
        console.print(f"  client = pymongo.MongoClient(uri)  # the `host` in {uri}", highlight=False, soft_wrap=True)
    else:
        console.print("  client = pymongo.MongoClient(...)  # your database", highlight=False)
    console.print(
        f"  client[{outputs.database.name!r}][{outputs.name!r}].find_one({json.dumps(criteria)})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if database.is_private:
        console.print("The database keeps running; `alchemflows db stop` ends it.")
    console.print("For lpad, rlaunch and jobflow:")
    for name, value in database.environment.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)


def _last_job(flow: Flow) -> Job:
    last = flow.jobs[-1]
    return _last_job(last) if isinstance(last, Flow) else last


def _interrupt(number: int, frame: object) -> None:
    """End as Ctrl-C does, with the workers stopped and their jobs given back."""
    raise KeyboardInterrupt
