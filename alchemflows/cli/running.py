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

from rich.console import Console

from alchemflows.cli.configured import connected, connected_with_rights, settings
from alchemflows.cli.inputs import check_plot
from alchemflows.cli.layout import counted, plain_console
from alchemflows.cli.options import RunOptions
from alchemflows.errors import AlchemflowsError, DatabaseError, InvalidInputError

if TYPE_CHECKING:
    from jobflow import Flow, Job

    from alchemflows.execution.interrupted import SubmittedFlow
    from alchemflows.schemas.document import Document
    from alchemflows.storage.database import Database
    from alchemflows.storage.rights import Role
    from alchemflows.structures.reading import ReadStructure

console = plain_console()
#: Workers on the CPU, unless a number is given: more would need much memory.
_MAX_WORKERS = 4


def n_workers(device: str, given: int | None, n_parallel_jobs: int) -> int:
    """Return the number of local workers: the given one, else 1 on a GPU or with short lengths, several on the CPU.

    On the CPU there is one for each job that can run at the same time, up to one per core and 4 in total; further
    workers would only take cores from the others.

    Parameters
    ----------
    device
        Device of the potential; it must be usable on this machine.
    given
        Number that the user gave, or None.
    n_parallel_jobs
        Maximum number of jobs that can run at the same time.
    """
    from alchemflows.execution.local import n_cores

    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.alchemy.backends import check_device
    used = check_device(device)
    if given is not None:
        return given
    return 1 if used.type != "cpu" or settings().short is not None else min(n_cores(), _MAX_WORKERS, n_parallel_jobs)


def messages(as_json: bool) -> Console:
    """Return where messages are printed: stderr if stdout is for JSON, else stdout."""
    return plain_console(stderr=True) if as_json else console


def run_and_show(
    make: Callable[[], Flow],
    run: RunOptions,
    *,
    device: str,
    figures: Mapping[str, Path | None] | None = None,
    read: Mapping[str, ReadStructure] | None = None,
) -> Any:
    """Run a flow with local workers and show its result, or only submit it.

    Parameters
    ----------
    make
        Returns the flow, which loads the potential; the document of its last job is shown. What can be checked without
        it is checked before.
    run
        Options of the run.
    device
        Device of the potential; it must be usable on this machine unless the flow is only submitted.
    figures
        Files of figures by the name of the figure (:func:`~alchemflows.plotting.figures_of`).
    read
        Structures that the flow was made of, by name; their records go into the metadata of its jobs.

    Returns
    -------
    The document; None if the flow is only submitted.

    Raises
    ------
    AlchemflowsError
        If the user of the database may not submit or run jobs (before the flow is made), if a figure cannot be written
        or the device cannot be used (before anything is submitted), if a job fails, or if the user interrupts.
    """
    from alchemflows.cli.estimate import print_estimate
    from alchemflows.execution.interrupted import SubmittedFlow, as_metadata
    from alchemflows.execution.local import n_parallel_jobs, submit
    from alchemflows.jobs.structures import record_structures

    wanted = {name: path.expanduser().absolute() for name, path in (figures or {}).items() if path is not None}
    check_figures(list(wanted.values()), run.submit_only)
    if run.estimate and run.submit_only:
        raise InvalidInputError("--estimate submits nothing; leave out --estimate or --submit")
    configured = None
    if not run.estimate:  # before the potential is loaded
        roles: tuple[Role, ...] = ("submitter",) if run.submit_only else ("submitter", "worker")
        configured = connected_with_rights(*roles)
    flow = make()
    if run.estimate:
        from alchemflows.campaign.estimate import jobs_of_flow  # imports torch

        print_estimate(flow.name, jobs_of_flow(flow), as_json=run.as_json)
        return None
    record_structures(flow, {name: found.record for name, found in (read or {}).items()})
    _interrupt_on_signals()
    width = n_parallel_jobs(flow)
    workers = 0 if run.submit_only else n_workers(device, run.workers, width)
    database = configured or connected()
    result = _last_job(flow).uuid
    fw_ids = submit(database, flow, as_metadata(result, wanted, width))
    say = messages(run.as_json)
    if run.submit_only:
        say.print(
            f"{counted(len(fw_ids), 'job')} added to the LaunchPad, {min(fw_ids)} to {max(fw_ids)} ({database.place})"
        )
        say.print(f"ID {result[:8]}: `alchemflows resume {result[:8]}` runs them here", highlight=False)
        if run.as_json:
            print(json.dumps({"uuid": result, "fw_ids": fw_ids}))
        return None
    submitted = SubmittedFlow(flow.name, fw_ids, result, wanted, width, completed=False)
    return run_submitted(database, submitted, workers, as_json=run.as_json)


def run_submitted(database: Database, flow: SubmittedFlow, workers: int, *, as_json: bool = False) -> Any:
    """Run the jobs of a submitted flow with local workers, show its result, and return the document.

    Parameters
    ----------
    database
        Where the flow is.
    flow
        The flow; it may be completed.
    workers
        Number of local workers.
    as_json
        Whether to print the result as JSON on stdout, and everything else on stderr.

    Raises
    ------
    AlchemflowsError
        If a job fails, or if the user interrupts.
    """
    from alchemflows.cli.shown import show
    from alchemflows.schemas.document import decoded

    started = time.monotonic()
    say = messages(as_json)
    if not flow.completed:
        folder = _work(database, flow, workers, say)
    document = decoded(database.job_store.get_output(flow.result, load=True))
    if as_json:
        print(as_text(flow.result, document))
    else:
        show(document, console)
    if flow.figures:
        from alchemflows.plotting import figures_of, save

        drawn = figures_of(document)
        for name, path in flow.figures.items():
            say.print(f"figure: {save(drawn[name](), path)}", highlight=False, soft_wrap=True)
    if not flow.completed:
        text = f"{time.monotonic() - started:.0f} s; launch folders and logs of the workers: {folder}"
        say.print(text, highlight=False, soft_wrap=True)
    say_where(database, flow.result, say)
    return document


def as_text(uuid: str, document: Document) -> str:
    """Return a result as JSON: its identifier and the fields of its document; numbers that are not finite are null."""
    from monty.json import jsanitize
    from pydantic_core import to_json

    fields = {"uuid": uuid} | jsanitize(document, strict=True)
    return to_json(fields, indent=1, inf_nan_mode="null").decode()


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


def say_where(database: Database, uuid: str, say: Console) -> None:
    """Print where a result is stored, and the commands that show it and how to query it."""
    place = f"ID {uuid[:8]} in the {database.place}"
    if database.is_private:
        place += ", which keeps running until `alchemflows db stop`"
    again = f"`alchemflows show {uuid[:8]}` prints it again, `alchemflows db query {uuid[:8]}` shows how to query it"
    say.print(f"{place}\n{again}", highlight=False, soft_wrap=True)


def show_database(database: Database, uuid: str | None = None) -> None:
    """Print where documents are stored and how to query them."""
    console.print(f"Documents: {database.place}\nQuery them with `alchemflows results`, or with pymongo:")
    outputs = database.outputs()
    criteria = {"uuid": uuid} if uuid else {"output.@class": "FreeEnergyDocument"}
    if database.is_private:
        uri = Path(database.environment["JOBFLOW_CONFIG_FILE"]).parent / "my_launchpad.yaml"
        opened = f"import pymongo, yaml\nclient = pymongo.MongoClient(yaml.safe_load(open({str(uri)!r}))['host'])"
        collection = f"client[{outputs.database.name!r}][{outputs.name!r}]"
    else:
        opened = "from alchemflows import connect"
        collection = "connect().outputs()"
    console.print(
        f"{opened}\n{collection}.find_one({json.dumps(criteria)})",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    if database.is_private:
        console.print("The database keeps running; stop it with `alchemflows db stop`.")
    console.print("For lpad, rlaunch and jobflow:")
    for name, value in database.environment.items():
        console.print(f"  export {name}={value}", highlight=False, soft_wrap=True)


def _work(database: Database, flow: SubmittedFlow, workers: int, say: Console) -> Path:
    """Run the jobs of a flow with local workers, and return the folder of the launches."""
    from pymongo.errors import ConnectionFailure

    from alchemflows.cli.progress import JobProgress
    from alchemflows.execution.local import LocalWorkers, wait

    _interrupt_on_signals()
    fw_ids = flow.fw_ids
    workers = min(workers, len(fw_ids))
    say.print(
        f"{flow.name}\n{counted(len(fw_ids), 'job')}, {counted(workers, 'local worker')}, {database.place}",
        highlight=False,
    )
    command = f"alchemflows resume {flow.result[:8]}"
    say.print(f"ID {flow.result[:8]}; if interrupted, `{command}` continues", highlight=False)
    folder = settings().home / "runs" / datetime.now().strftime("%Y-%m-%d-%H%M%S-%f")
    try:
        with JobProgress(say) as progress, LocalWorkers(database, fw_ids, workers, folder) as local:
            try:
                failed = wait(database, fw_ids, progress, check=local.check, command=command)
            except KeyboardInterrupt:
                print("interrupted; waiting for the workers to stop", file=sys.stderr)
                raise
    except KeyboardInterrupt:
        raise AlchemflowsError(
            f"interrupted; finished jobs are kept; `{command}` runs what is left and prints the result"
        ) from None
    except ConnectionFailure as error:
        raise DatabaseError(
            f"the database failed ({type(error).__name__}); what is in it is kept, and `{command}` continues once it "
            "answers again"
        ) from error
    for job in failed:
        say.print(f"job {job.fw_id} ({job.name}) failed; the other jobs were run: {job.error}", markup=False)
    return folder


def _last_job(flow: Flow) -> Job:
    from jobflow import Flow

    last = flow.jobs[-1]
    return _last_job(last) if isinstance(last, Flow) else last


def _interrupt_on_signals() -> None:
    """End on SIGTERM and SIGHUP as on Ctrl-C, with the workers stopped and their jobs returned to the queue."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
