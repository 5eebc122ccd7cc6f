"""Commands for stored results: list, print, plot and resume."""

from __future__ import annotations

import csv
import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.estimate import print_estimate
from alchemflows.cli.inputs import check_plot, naming_options
from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import Device, JsonInstead, Workers, temperature_option
from alchemflows.cli.running import as_text, console, n_workers, run_submitted
from alchemflows.errors import AlchemflowsError, DocumentVersionError, InvalidInputError, NoResultError

if TYPE_CHECKING:
    from alchemflows.execution.interrupted import SubmittedFlow
    from alchemflows.schemas.document import Document
    from alchemflows.storage.database import Database

app = App()
#: Results that cannot be read and are named one by one.
_NAMED = 5

ResultID = Annotated[
    str, typer.Argument(metavar="ID", help="ID listed by `alchemflows results`; the first characters are enough.")
]
LadderID = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="ID of a ladder listed by `alchemflows results`; the first characters are enough.",
    ),
]
CorrectedID = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="ID of a ladder, an absolute free energy, phases or a melting point, listed by `alchemflows results`; the "
        "first characters are enough.",
    ),
]
ComparedID = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="ID of a ladder or a free energy of mixing listed by `alchemflows results`; the first characters are "
        "enough.",
    ),
]


@app.command(example="alchemflows results --kind ladder")
def results(
    kind: Annotated[list[str] | None, typer.Option(help="Kind of result, as in the list; repeatable.")] = None,
    formula: Annotated[
        str | None, typer.Option(help="Formula of the crystal, of an end of a path, or of a composition.")
    ] = None,
    temperature: Annotated[float | None, temperature_option("Temperature (K).")] = None,
    potential: Annotated[str | None, typer.Option(help="Name of the potential, or of its file.")] = None,
    campaign: Annotated[str | None, typer.Option(help="Name of a campaign.")] = None,
    since: Annotated[str | None, typer.Option(metavar="<date>", help="Earliest date, such as 2026-03-31.")] = None,
    until: Annotated[str | None, typer.Option(metavar="<date>", help="Latest date, such as 2026-03-31.")] = None,
    reanalysed: Annotated[
        bool,
        typer.Option("--reanalysed", help="Show the results of `alchemflows reanalyse` instead of the original ones."),
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of results; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """List stored results, newest first.

    Relaxations and removals of single atoms are parts of larger calculations; they are listed only with --kind.
    """
    from alchemflows.cli.tables import results_table
    from alchemflows.results.listing import LISTED_FIELDS, classes_of
    from alchemflows.results.listing import results as stored_results

    if as_json and as_csv:
        raise InvalidInputError("results are written as --json or as --csv, not both")
    filters = {
        "kinds": kind or (),
        "campaign": campaign,
        "formula": formula,
        "potential": potential,
        "temperature_K": temperature,
        "since": _day("--since", since),
        "until": _day("--until", until),
    }
    with naming_options({"kinds": "--kind"}):
        classes_of(kind or ())
    database = connected()
    skipped: list[DocumentVersionError] = []
    rows = stored_results(
        database,
        **filters,  # type: ignore[arg-type]
        limit=limit,
        reanalysed=reanalysed,
        skip=skipped.append,
    )
    for error in skipped[:_NAMED]:
        print(f"note: not listed: {error}", file=sys.stderr)
    if len(skipped) > _NAMED:
        print(f"note: {len(skipped) - _NAMED} further results are not listed either", file=sys.stderr)
    if as_json:
        print(json.dumps(rows, indent=1, default=str, allow_nan=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(LISTED_FIELDS), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    elif rows:
        console.print(results_table(rows))
        which = "the original result of an ID" if reanalysed else "a result"
        console.print(f"`alchemflows show ID` prints {which}, `alchemflows plot ID FILE` draws it")
    elif skipped:
        console.print(f"no other result is listed ({database.place})")
    elif any(value not in (None, ()) for value in filters.values()):
        console.print(f"no result matches these filters ({database.place})")
    else:
        console.print(f"no results yet ({database.place})")


@app.command(example="alchemflows show 1a2b3c4d")
def show(
    result: ResultID,
    as_json: Annotated[bool, typer.Option("--json", help="Print all fields of the result as JSON.")] = False,
) -> None:
    """Print a stored result.

    The output has the format of the command that computed the result.
    """
    from alchemflows.cli.shown import show as print_result

    uuid, document = _found(result)
    if as_json:
        print(as_text(uuid, document))
    else:
        print_result(document, console)


@app.command(example="alchemflows plot 1a2b3c4d overlap.png --figure overlap")
def plot(
    result: ResultID,
    file: Annotated[Path, typer.Argument(help="File to write (.png, .pdf or .svg).")],
    figure: Annotated[str | None, typer.Option(help="Name of the figure [default: the main figure].")] = None,
    as_json: JsonInstead = False,
) -> None:
    """Draw a figure of a stored result."""
    check_plot(file)
    uuid, document = _found(result)
    from alchemflows.plotting import figures_of
    from alchemflows.plotting import plot as draw

    with naming_options({"figure": "--figure"}):
        draw(document, file, figure)
    main, *others = figures_of(document)
    if as_json:
        print_json({"uuid": uuid, "figure": figure or main, "file": file, "figures": [main, *others]})
        return
    console.print(f"figure: {file}", highlight=False, soft_wrap=True)
    if others and figure is None:
        console.print(f"other figures: {', '.join(others)} (--figure)", highlight=False)


@app.command(example="alchemflows resume 1a2b3c4d")
def resume(
    result: Annotated[str, typer.Argument(metavar="ID", help="ID printed by the interrupted command.")],
    device: Device = "auto",
    workers: Workers = None,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Print the number of jobs left, their steps and expected time; run nothing."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout, and everything else on stderr.")
    ] = False,
) -> None:
    """Continue an interrupted command, and show its result.

    Jobs continue from their checkpoints, and failed jobs are retried. The figures of the command are
    written. With --estimate, steps that a job has reported before it was interrupted are not counted.
    """
    from alchemflows.execution.interrupted import return_stopped_jobs, unfinished_jobs
    from alchemflows.storage.rights import check_rights

    database = connected()
    flow = _interrupted(database, result)
    if estimate:
        left = [] if flow.completed else unfinished_jobs(database, flow)
        jobs, n_steps_done = [each.job for each in left], [each.n_steps_done for each in left]
        print_estimate(flow.name, jobs, n_steps_done=n_steps_done, as_json=as_json)
        if flow.completed and not as_json:
            console.print(f"`alchemflows show {flow.result[:8]}` prints the result", highlight=False)
        return
    for path in flow.figures.values():
        check_plot(path)
    if not flow.completed:
        check_rights(database, "worker")
        workers = n_workers(device, workers, flow.n_parallel_jobs)
        return_stopped_jobs(database, flow)
    run_submitted(database, flow, workers or 0, as_json=as_json)


def _interrupted(database: Database, beginning: str) -> SubmittedFlow:
    """Return the flow of a command; the error for a result that needs none, as of Python, says how to print it."""
    from alchemflows.execution.interrupted import find_flow
    from alchemflows.results.listing import find_result

    try:
        return find_flow(database, beginning)
    except InvalidInputError as error:
        try:
            uuid, _ = find_result(database, beginning)
        except AlchemflowsError:
            raise error from None
    short = uuid[:8]
    raise InvalidInputError(f"the result {short} is complete; `alchemflows show {short}` prints it")


def _found(beginning: str) -> tuple[str, Document]:
    """Return the identifier and the document of a result; the error for an unfinished one says how to continue it."""
    from pymongo.errors import PyMongoError

    from alchemflows.execution.interrupted import find_flow
    from alchemflows.results.listing import find_result

    database = connected()
    try:
        return find_result(database, beginning)
    except NoResultError as error:
        try:
            flow = find_flow(database, beginning)
        except (AlchemflowsError, PyMongoError):
            raise error from None
        raise NoResultError(
            f"the result {beginning} is not computed yet; if its command does not run any more, "
            f"`alchemflows resume {flow.result[:8]}` continues it"
        ) from None


def _day(option: str, text: str | None) -> date | None:
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError:
        raise InvalidInputError(f"{option} is a day such as 2026-03-31; got {text!r}") from None
