"""Commands of campaigns: check, submit, monitor, retry, report."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group

from alchemflows.cli.configured import connected, connected_with_rights, settings
from alchemflows.cli.estimate import batch_text, duration_text
from alchemflows.cli.inputs import show_record
from alchemflows.cli.layout import counted, print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead, temperature_option
from alchemflows.cli.running import console
from alchemflows.errors import InvalidInputError
from alchemflows.yaml_file import read_text

if TYPE_CHECKING:
    from alchemflows.campaign.status import Condition
    from alchemflows.schemas.campaign import CampaignSpec
    from alchemflows.storage.database import Database
    from alchemflows.structures.reading import ReadStructure

app = App()
campaign_app = App(
    no_args_is_help=True, help="Campaigns: many calculations from one YAML file. Check, submit, monitor, retry, report."
)
app.add_typer(campaign_app, name="campaign")


def _readable(path: Path) -> Path:
    """Return the path of a file that can be read; typer calls this before the command, whose imports take seconds."""
    read_text(path)
    return path


CampaignFile = Annotated[Path, typer.Argument(help="Campaign file in YAML (docs/campaigns.md).", callback=_readable)]
CampaignName = Annotated[str, typer.Argument(help="Name of a submitted campaign.")]


@campaign_app.command(example="alchemflows campaign check salts.yaml")
def check(
    file: CampaignFile,
    measure: Annotated[
        bool, typer.Option(help="Measure the time per step on this machine to estimate the hours needed.")
    ] = True,
    as_json: JsonInstead = False,
) -> None:
    """Check a campaign and estimate its cost, without submitting it."""
    from alchemflows.campaign.specification import read_campaign, tasks

    campaign = read_campaign(file)  # before torch is imported, so that a mistake is named soon
    from alchemflows.campaign.durations import largest_batch, seconds_per_atom_step
    from alchemflows.campaign.estimate import (
        check_space,
        jobs_of_flow,
        narrow_cells,
        total,
        work_of,
        writable_space,
    )

    every = list(tasks(campaign, _structures(campaign)))
    work = total(work_of(task) for task in every)
    narrow = narrow_cells(every) if work.n_steps else {}

    def tell(text: str) -> None:
        if not as_json:
            console.print(text, highlight=False)

    tell(f"{campaign.name}: {counted(work.n_tasks, 'task')}, {counted(work.n_jobs, 'job')}")
    tell(f"{counted(work.n_replicas, 'replica')}, {work.n_steps:,} steps of replicas")
    if work.n_evaluations:
        tell(f"up to {counted(work.n_evaluations, 'evaluation')} of single configurations")
    for name, (width, cutoff) in narrow.items():
        tell(f"note: the cell of {name} is {width:.2f} Å wide, the cutoff is {cutoff:g} Å: atoms see their own images")
    configured = settings()
    database = connected()
    tell(f"database: {database.place}")
    check_space(work.n_bytes, database.free_bytes(), "the database's disk")
    check_space(work.n_bytes, writable_space(configured.checkpoints), "the disk of the checkpoints")
    tell(f"{work.n_bytes / 1e6:.3g} MB of samples; there is room for them")
    first, limit, seconds, hours = every[0], campaign.budget.gpu_hours, None, 0.0
    if measure and work.n_steps and first.crystals and first.potential is not None:
        seconds = seconds_per_atom_step(first)
        hours = seconds * work.n_atom_steps / 3600
        tell(
            f"{1e6 * seconds:.1f} µs per step and atom, measured here with {next(iter(first.crystals))}: "
            f"{duration_text(hours)} on this device, without relaxations, evaluations of single configurations, and "
            "windows that a refinement adds or extends"
        )
    elif measure:
        what = "relaxations are" if not work.n_steps else "steps of a method with its own crystals are"
        unchecked = "" if limit is None else "; budget.gpu_hours is not checked"
        tell(f"the time is not estimated: {what} not measured{unchecked}")
    largest: dict[str, int] = {}
    jobs_per_batch = campaign.resources.jobs_per_batch
    if measure and jobs_per_batch > 1:
        batch = largest_batch((job for task in every for job in jobs_of_flow(task.flow())), jobs_per_batch)
        if batch is not None:
            largest = {"batch_replicas": batch.n_replicas, "batch_bytes": batch.n_bytes}
            tell(batch_text(batch.n_replicas, batch.n_bytes))
    if as_json:
        cells = {name: {"width_A": width, "cutoff_A": cutoff} for name, (width, cutoff) in narrow.items()}
        estimate = {"seconds_per_atom_step": seconds, "hours": None if seconds is None else hours}
        print_json({"campaign": campaign.name, **asdict(work), "narrow_cells": cells, **estimate, **largest})
    if limit is not None and hours > limit:
        raise InvalidInputError(f"budget.gpu_hours: {hours:.3g} hours are needed; {limit:g} are allowed")


@campaign_app.command(example="alchemflows campaign submit salts.yaml")
def submit(file: CampaignFile, as_json: JsonInstead = False) -> None:
    """Submit the tasks of a campaign that are not yet submitted.

    Submitted tasks are kept. Their windows are continued if the file asks for more runs.
    """
    from alchemflows.campaign.specification import read_campaign

    _submit(read_campaign(file), as_json)


@campaign_app.command(example="alchemflows campaign extend salts.yaml --runs 2")
def extend(
    file: CampaignFile,
    runs: Annotated[int | None, typer.Option(min=1, help="Total number of production runs of each window.")] = None,
    temperature: Annotated[list[float] | None, temperature_option("Additional temperature (K); repeatable.")] = None,
    pressure: Annotated[
        list[float] | None, typer.Option("-p", "--pressure", help="Additional pressure (GPa); repeatable.")
    ] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Total number of repeats of each task.")] = None,
    as_json: JsonInstead = False,
) -> None:
    """Extend a campaign: longer windows, more conditions or repeats.

    Submitted tasks are kept. The campaign file is not changed: to make an extension permanent, edit `repeats`,
    `temperatures_K`, `pressures_GPa`, or `n_runs` in `method.settings`.
    """
    from alchemflows.campaign.specification import extended, read_campaign

    _submit(extended(read_campaign(file), runs, temperature or [], pressure or [], repeats), as_json)


def _submit(campaign: CampaignSpec, as_json: bool) -> None:
    from alchemflows.campaign.specification import tasks
    from alchemflows.campaign.submission import submit_campaign

    configured = connected_with_rights("submitter")
    every = list(tasks(campaign, _structures(campaign)))
    database = configured or connected()
    done = submit_campaign(database, campaign, every)
    if as_json:
        print_json({"campaign": campaign.name, **asdict(done)})
        return
    longer = f", {done.n_extended} of them are continued" if done.n_extended else ""
    console.print(
        f"{campaign.name}: {counted(done.n_new, 'task')} added ({counted(done.n_jobs, 'job')}), "
        f"{done.n_known} already in the database"
        f"{longer} ({database.place})",
        highlight=False,
    )
    if done.n_unfinished:
        console.print(f"{counted(done.n_unfinished, 'unfinished ladder')} not extended: submit again after completion")
    if done.n_others:
        others = counted(done.n_others, "task")
        console.print(f"{others} of earlier versions of this campaign remain in the database")


def _database_with(name: str) -> Database:
    """Return the database, which must have a campaign of this name."""
    from alchemflows.campaign.status import check_campaign

    database = connected()
    check_campaign(database, name)
    return database


def _structures(campaign: CampaignSpec) -> dict[str, ReadStructure]:
    """Return the structures of a campaign and print a summary of each on stderr."""
    from alchemflows.campaign.specification import read_structures

    structures = read_structures(campaign)
    for name, read in structures.items():
        show_record(name, read.record)
    return structures


@campaign_app.command(example="alchemflows campaign status salts")
def status(
    name: CampaignName,
    watch: Annotated[
        bool, typer.Option("--watch", help="Update the display until no job is ready or running.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Time between updates (s).")] = 5.0,
    as_json: JsonInstead = False,
) -> None:
    """Show the progress of a campaign.

    Lists jobs by state, running jobs with their speed, and the estimated time of completion.
    """
    from rich.live import Live

    from alchemflows.campaign.status import campaign_status, can_go_on, outlook, running_jobs
    from alchemflows.cli.status import status_json, status_view

    if watch and as_json:
        raise InvalidInputError("the status is either updated (--watch) or printed as JSON (--json), not both")
    database = connected()

    def look() -> tuple[list[Condition], Group]:
        conditions, running = campaign_status(database, name), running_jobs(database, name)
        return conditions, status_view(name, conditions, running, outlook(conditions, running))

    if as_json:
        conditions, running = campaign_status(database, name), running_jobs(database, name)
        print_json(status_json(name, conditions, running, outlook(conditions, running)))
        return
    conditions, view = look()
    if not watch:
        console.print(view)
        return
    with Live(view, console=console) as live:
        # A job that has just finished makes its children ready a moment later: look twice before the end.
        n_idle = 0
        while (n_idle := 0 if can_go_on(conditions) else n_idle + 1) < 2:
            time.sleep(interval)
            conditions, view = look()
            live.update(view)


@campaign_app.command(example="alchemflows campaign report salts salts.html")
def report(
    name: CampaignName,
    file: Annotated[Path, typer.Argument(help="HTML file to write (.html).")],
    figures: Annotated[
        int,
        typer.Option(min=0, help="Maximum number of results with figures; results that are not converged come first."),
    ] = 100,
    as_json: JsonInstead = False,
) -> None:
    """Write a report of a campaign as one HTML file.

    It contains results, means over repeats, failures, figures and provenance, and can be printed.
    """
    from alchemflows.report.campaign import check_report, write_report

    check_report(file)
    n_results = write_report(connected(), name, file, figures)
    if as_json:
        print_json({"campaign": name, "file": file, "n_results": n_results})
        return
    console.print(f"{counted(n_results, 'result')}: {file}", highlight=False, soft_wrap=True)


@campaign_app.command(example="alchemflows campaign failures salts")
def failures(name: CampaignName, as_json: JsonInstead = False) -> None:
    """Show failed jobs by cause, with the commands that retry them."""
    from alchemflows.campaign.submission import failures as failures_of

    found = failures_of(_database_with(name), name)
    if as_json:
        print_json([asdict(failure) for failure in found])
        return
    if not found:
        console.print("no job has failed")
    for failure in found:
        ids = ",".join(map(str, failure.fw_ids))
        console.print(
            f"{counted(len(failure.fw_ids), 'job')}: {failure.cause}", markup=False, highlight=False, soft_wrap=True
        )
        console.print(
            f"  to retry: alchemflows campaign retry {name} --jobs {ids}",
            highlight=False,
            soft_wrap=True,
        )


@campaign_app.command(example="alchemflows campaign retry salts")
def retry(
    name: CampaignName,
    jobs: Annotated[
        str | None, typer.Option(help="FireWorks IDs of jobs, such as 3,7 [default: all failed jobs].")
    ] = None,
    as_json: JsonInstead = False,
) -> None:
    """Retry failed jobs; sampling continues from checkpoints."""
    from alchemflows.campaign.submission import retry as retry_jobs

    try:
        fw_ids = None if jobs is None else [int(text) for text in jobs.split(",")]
    except ValueError:
        raise InvalidInputError(f"jobs are written like 3,7; got {jobs!r}") from None
    _print_changed(name, retry_jobs(_database_with(name), name, fw_ids), "returned to the queue", as_json)


@campaign_app.command(example="alchemflows campaign pause salts")
def pause(name: CampaignName, as_json: JsonInstead = False) -> None:
    """Pause jobs that have not started."""
    from alchemflows.campaign.submission import pause as pause_jobs

    _print_changed(name, pause_jobs(_database_with(name), name), "paused", as_json)


@campaign_app.command(example="alchemflows campaign resume salts")
def resume(
    name: CampaignName,
    cancelled: Annotated[
        bool, typer.Option("--cancelled", help="Resume cancelled jobs instead of paused ones.")
    ] = False,
    as_json: JsonInstead = False,
) -> None:
    """Return paused jobs to the queue."""
    from alchemflows.campaign.submission import resume as resume_jobs

    n_jobs = resume_jobs(_database_with(name), name, cancelled=cancelled)
    _print_changed(name, n_jobs, "returned to the queue", as_json)


@campaign_app.command(example="alchemflows campaign cancel salts")
def cancel(name: CampaignName, as_json: JsonInstead = False) -> None:
    """Cancel unfinished jobs; completed results are kept.

    `resume --cancelled` returns cancelled jobs to the queue.
    """
    from alchemflows.campaign.submission import cancel as cancel_jobs

    _print_changed(name, cancel_jobs(_database_with(name), name), "cancelled", as_json)


def _print_changed(name: str, n_jobs: int, what: str, as_json: bool) -> None:
    """Print how many jobs of a campaign a command has changed."""
    if as_json:
        print_json({"campaign": name, "n_jobs": n_jobs})
    else:
        console.print(f"{counted(n_jobs, 'job')} {what}")


@campaign_app.command(example="alchemflows campaign schema > campaign.schema.json")
def schema() -> None:
    """Print the JSON schema of campaigns."""
    from alchemflows.campaign.specification import json_schema

    print(json.dumps(json_schema(), indent=1))
