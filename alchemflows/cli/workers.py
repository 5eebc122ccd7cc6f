"""The command that works jobs off."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alchemflows.campaign.database import connect
from alchemflows.cli.running import console, settings
from alchemflows.errors import DatabaseError, InvalidInputError

app = typer.Typer()


@app.command()
def worker(
    fworker: Annotated[Path | None, typer.Option("-w", "--fworker", help="fworker file; all jobs if not given")] = None,
    folder: Annotated[Path, typer.Option("-d", "--folder", help="folder of the launch folders")] = Path(),
    until_idle: Annotated[bool, typer.Option(help="end when no job is left for this worker")] = False,
    stop_after: Annotated[float | None, typer.Option(min=0, help="stop in good order after so many seconds")] = None,
    sleep: Annotated[float, typer.Option(min=0, help="seconds between looks for a job")] = 10.0,
) -> None:
    """Work jobs off, one after the other; SIGTERM stops it in good order, its job ready for another worker."""
    from fireworks import FWorker
    from jobflow import SETTINGS

    from alchemflows.campaign.worker import Worker

    if fworker is not None and not fworker.is_file():
        raise InvalidInputError(f"there is no fworker file {fworker}")
    database = connect(settings())
    if database.launchpad is None:
        raise DatabaseError("jobflow is configured, but FireWorks is not: set FW_CONFIG_FILE (templates in db_config/)")
    taken = FWorker.from_file(str(fworker)) if fworker is not None else FWorker("local", category="", query={})
    SETTINGS.JOB_STORE = database.job_store  # where jobs store what they return
    work = Worker(database.launchpad, taken, folder, sleep_s=sleep)
    n_jobs = work.run(until_idle=until_idle, stop_after_s=stop_after)
    console.print(f"{n_jobs} jobs were run")
