"""Run a flow with local workers and show its result, or only submit it."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Job
from pydantic import ValidationError
from rich.console import Console, RenderableType

from alchemflows.cli.inputs import check_plot
from alchemflows.cli.progress import JobProgress
from alchemflows.cli.tables import verdict_lines
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.execution.local import LocalWorkers, submit, wait
from alchemflows.jobs.structures import record_structures
from alchemflows.schemas.document import decoded
from alchemflows.settings import Settings
from alchemflows.storage.database import Database, connect

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from alchemflows.structures.reading import ReadStructure

console = Console()


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


def run_and_show(
    flow: Flow,
    table: Callable[[Any], RenderableType],
    *,
    device: str,
    workers: int,
    submit_only: bool = False,
    figures: Sequence[tuple[Path | None, Callable[[Any], Figure]]] = (),
    read: Mapping[str, ReadStructure] | None = None,
) -> Any:
    """Run a flow with local workers and show its result, or only submit it.

    Parameters
    ----------
    flow
        The flow; the document of its last job, which has a verdict, is shown.
    table
        Makes the table of the document.
    device
        Device of the potential; it must be usable on this machine unless the flow is only submitted.
    workers
        Number of local workers.
    submit_only
        Whether to only add the flow to the LaunchPad.
    figures
        Files of figures, each with the function that draws it from the document.
    read
        Structures that the flow was made of, by name; their records go into the metadata of its jobs.

    Returns
    -------
    The document; None if the flow is only submitted.

    Raises
    ------
    AlchemflowsError
        If a figure cannot be written or the device cannot be used (before anything is submitted), if a job fails, or
        if the user interrupts.
    """
    started = time.monotonic()
    check_figures([path for path, _ in figures], submit_only)
    record_structures(flow, {name: found.record for name, found in (read or {}).items()})
    if submit_only:
        _submit(flow)
        return None
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.alchemy.backends import check_device
    check_device(device)
    document, database, uuid, folder = _run(flow, workers)
    console.print(table(document))
    for line in verdict_lines(document.verdict):
        console.print(line, highlight=False)
    for path, draw in figures:
        if path is not None:
            from alchemflows.plotting import save

            console.print(f"figure: {save(draw(document), path)}")
    console.print(f"{time.monotonic() - started:.0f} s; launch folders and logs of the workers: {folder}")
    show_database(database, uuid)
    return document


def check_figures(paths: Sequence[Path | None], submit_only: bool) -> None:
    """Raise an error if a figure cannot be drawn or written.

    Raises
    ------
    InvalidInputError
        If a figure has another ending or a place where it cannot be written, two have the same name, or there will be
        no result to draw.
    """
    wanted = [path.expanduser().absolute() for path in paths if path is not None]
    if wanted and submit_only:
        raise InvalidInputError(
            f"{wanted[0].name}: with --submit there is no result to draw a figure of; leave out --plot or --submit"
        )
    if len(set(wanted)) < len(wanted):
        raise InvalidInputError(f"{wanted[0].name}: two figures would be written to the same file")
    for path in wanted:
        check_plot(path)


def show_database(database: Database, uuid: str | None = None) -> None:
    """Print where documents are stored and how to query them."""
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
        console.print("The database keeps running; stop it with `alchemflows db stop`.")
    console.print("For lpad, rlaunch and jobflow:")
    for name, value in database.environment.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)


def _submit(flow: Flow) -> None:
    database = connect(settings())
    fw_ids = submit(database, flow)
    console.print(f"{len(fw_ids)} jobs added to the LaunchPad, {min(fw_ids)} to {max(fw_ids)} ({database.place})")


def _run(flow: Flow, workers: int) -> tuple[Any, Database, str, Path]:
    """Run a flow here, and return its last job's document, the database, that job's UUID and the launch folder."""
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
            failed = wait(database, fw_ids, progress, check=local.check)
    except KeyboardInterrupt:
        exports = " ".join(f"{name}={value}" for name, value in database.environment.items())
        raise AlchemflowsError(
            f"interrupted; finished jobs are kept, and `{exports} alchemflows worker --until-idle` runs the others"
        ) from None
    for job in failed:
        console.print(f"job {job.fw_id} ({job.name}) failed; the other jobs were run: {job.error}", markup=False)
    uuid = _last_job(flow).uuid
    return decoded(database.job_store.get_output(uuid, load=True)), database, uuid, folder


def _last_job(flow: Flow) -> Job:
    last = flow.jobs[-1]
    return _last_job(last) if isinstance(last, Flow) else last


def _interrupt(number: int, frame: object) -> None:
    """End as Ctrl-C does, with the workers stopped and their jobs returned to the queue."""
    raise KeyboardInterrupt
