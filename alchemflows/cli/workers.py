"""Commands that run jobs (worker) and retry lost or failed ones (supervise)."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.configured import connected, connected_with_rights, settings
from alchemflows.cli.layout import counted
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.running import console
from alchemflows.errors import DatabaseUnreachableError, InvalidInputError
from alchemflows.output_file import make_folder

if TYPE_CHECKING:
    from fireworks import LaunchPad

app = App()


@app.command(example="alchemflows worker --until-idle")
def worker(
    fworker: Annotated[
        Path | None,
        typer.Option("-w", "--fworker", help="FireWorks worker file that selects jobs [default: all jobs]."),
    ] = None,
    folder: Annotated[
        Path, typer.Option("-d", "--folder", help="Folder in which FireWorks creates its launch folders.")
    ] = Path(),
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when no job is ready and none waits for a running job.")
    ] = False,
    idle_for: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after this time (s) without a ready job, even if jobs are waiting."),
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after this time (s); the current job is checkpointed."),
    ] = None,
    sleep: Annotated[float, typer.Option(min=0, help="Time between checks for a ready job (s).")] = 10.0,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also print what FireWorks logs about each job.")] = False,
) -> None:
    """Run queued jobs one after another.

    On SIGTERM the current job is checkpointed and returned to the queue.
    """
    from fireworks import FWorker
    from jobflow import SETTINGS

    from alchemflows.execution.worker import Worker
    from alchemflows.storage.configuration import load_file
    from alchemflows.storage.database import launchpad_of
    from alchemflows.storage.fireworks import print_only_warnings

    taken = FWorker("local", category="", query={}) if fworker is None else load_file(fworker, FWorker.from_file)
    make_folder(folder)
    database = connected_with_rights("worker") or connected()
    launchpad = launchpad_of(database)
    if not verbose:
        print_only_warnings()
    SETTINGS.JOB_STORE = database.job_store  # where jobs store what they return
    work = Worker(launchpad, taken, folder, sleep_s=sleep, report=_report)
    n_jobs = work.run(until_idle=until_idle, idle_for_s=idle_for, stop_after_s=stop_after)
    console.print(f"{counted(n_jobs, 'job')} {'was' if n_jobs == 1 else 'were'} run")


@app.command(example="alchemflows supervise --interval 300")
def supervise(
    interval: Annotated[float, typer.Option(min=1, help="Time between checks (s).")] = 300.0,
    once: Annotated[bool, typer.Option("--once", help="Check once and exit, for use with cron.")] = False,
    retries: Annotated[
        int | None, typer.Option(min=0, help="Maximum number of retries of a failed job [default: 3].")
    ] = None,
    lost_retries: Annotated[
        int | None, typer.Option(min=0, help="Maximum number of retries of a lost job [default: 20].")
    ] = None,
    lost_after: Annotated[
        float | None,
        typer.Option(
            min=1,
            help="Time without a heartbeat after which a running job counts as lost (s) [default: that of FireWorks].",
        ),
    ] = None,
    qadapter: Annotated[
        Path | None, typer.Option("--qadapter", "-q", help="FireWorks queue adapter file for submitting batch jobs.")
    ] = None,
    fworker: Annotated[
        Path | None,
        typer.Option(
            "--fworker",
            "-w",
            help="FireWorks worker file of the batch jobs [default: my_fworker_gpu.yaml beside FW_CONFIG_FILE].",
        ),
    ] = None,
    max_jobs: Annotated[
        int, typer.Option("--max-jobs", "-m", min=1, help="Maximum number of your batch jobs in the queue.")
    ] = 4,
    folder: Annotated[
        Path, typer.Option("--folder", "-d", help="Folder in which the launch folders of batch jobs are created.")
    ] = Path(),
) -> None:
    """Retry lost or failed jobs, and submit batch jobs.

    With --qadapter, batch jobs are submitted as long as jobs are ready to run.
    """
    from alchemflows.execution.reruns import RerunPolicy
    from alchemflows.execution.supervisor import Queue, Supervisor
    from alchemflows.storage.fireworks import log_only_errors

    if qadapter is None:
        names = {"fworker": "--fworker", "max_jobs": "--max-jobs", "folder": "--folder"}
        refuse_given(names, "without --qadapter, which submits batch jobs")
    else:
        make_folder(folder)
    if once:
        refuse_given({"interval": "--interval"}, "with --once")
    queue = Queue(qadapter, _fworker(fworker), max_jobs, folder) if qadapter else None
    launchpad = _launchpad(None if once else interval)
    log_only_errors()  # the supervisor reports in a line what it does
    given = {"retries": retries, "lost_retries": lost_retries, "lost_after_s": lost_after}
    policy = RerunPolicy(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    supervisor = Supervisor(launchpad, _report, policy, queue, settings().checkpoints)
    if not once:
        supervisor.run(interval)
    elif not supervisor.look():
        raise typer.Exit(1)


def _launchpad(wait_s: float | None) -> LaunchPad:
    """Return the LaunchPad; retry an unreachable database at this interval (s), or raise an error if it is None."""
    from alchemflows.storage.database import launchpad_of

    unreachable = False
    while True:
        try:
            launchpad = launchpad_of(connected())
        except DatabaseUnreachableError as error:
            if wait_s is None:
                raise
            if not unreachable:
                _report(f"{error}; waiting for it")
            unreachable = True
            time.sleep(wait_s)
        else:
            if unreachable:
                _report("the database answers again")
            return launchpad


def _fworker(path: Path | None) -> Path:
    if path is not None:
        return path
    if "FW_CONFIG_FILE" not in os.environ:
        raise InvalidInputError("FW_CONFIG_FILE is not set, and no --fworker is given")
    return Path(os.environ["FW_CONFIG_FILE"]).parent / "my_fworker_gpu.yaml"


def _report(line: str) -> None:
    print(f"{datetime.now():%Y-%m-%d %H:%M:%S}", line, flush=True)
