"""Commands that export tables and combine ladders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.choices import check_choice
from alchemflows.cli.configured import connected
from alchemflows.cli.inputs import checked_temperature, grid_of
from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead, Plot
from alchemflows.cli.running import as_text, console, messages, say_where
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    import pandas as pd

    from alchemflows.storage.database import Database

app = App()

Campaign = Annotated[str | None, typer.Option(help="Name of a campaign [default: all stored results].")]


#: Tables that can be exported.
TABLES = ("results", "free-energies", "reanalysed", "windows", "samples")


def _checked_table(name: str) -> str:
    """Return the name of a table that can be exported; typer calls this before the command."""
    check_choice("the table", name, TABLES)
    return name


@app.command(example="alchemflows export free-energies salts.csv --campaign salts")
def export(
    what: Annotated[
        str,
        typer.Argument(
            help=f"Table to export: {', '.join(TABLES)}; results has one row for each result of any kind.",
            callback=_checked_table,
        ),
    ],
    file: Annotated[Path, typer.Argument(help="File to write (.parquet, .csv or .json).")],
    campaign: Campaign = None,
    as_json: JsonInstead = False,
) -> None:
    """Export a table of stored results or samples to a file."""
    from alchemflows.results.export import check_export
    from alchemflows.results.export import export as write

    check_export(file)
    n_rows = write(_frames(connected(), what, campaign), file)
    if as_json:
        print_json({"table": what, "file": file, "rows": n_rows})
        return
    console.print(f"{n_rows} rows: {file}")


@app.command(example="alchemflows combine 1a2b3c4d 5e6f7a8b -T 300:400:10 --plot curve.png")
def combine(
    ladders: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="IDs of ladders of one system, listed by `alchemflows results`."),
    ],
    temperatures: Annotated[
        list[str] | None,
        typer.Option(
            "--temperature",
            "-T",
            help="Temperature (K) of a result, or several as start:stop:step, such as 300:600:25; repeatable [default: "
            "those of the ladders and ten intervals between them].",
        ),
    ] = None,
    pressures: Annotated[
        list[str] | None,
        typer.Option(
            "--pressure",
            "-p",
            help="Pressure (GPa) of a result, or several as start:stop:step; repeatable [default: of the ladders].",
        ),
    ] = None,
    discard: Annotated[float, typer.Option(help="Fraction of samples to discard at the start of each window.")] = 0.0,
    plot: Plot = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout, and everything else on stderr.")
    ] = False,
) -> None:
    """Combine ladders of several temperatures and pressures.

    One ladder is sufficient if its replicas exchanged temperatures. The results are ΔG (ΔF at constant volume) and the
    differences of enthalpy, entropy, heat capacity and volume, also between and near the temperatures and pressures of
    the ladders. No dynamics are run.
    """
    at = checked_temperature(grid_of("--temperature", temperatures)) if temperatures else None
    under = grid_of("--pressure", pressures) if pressures else None
    if not 0 <= discard < 1:
        raise InvalidInputError(f"--discard must be at least 0 and less than 1; got {discard}")
    database = connected()
    from alchemflows.cli.shown import show
    from alchemflows.results.combination import combine_ladders

    uuid, document = combine_ladders(database, ladders, at, under, discard=discard)
    say = messages(as_json)
    if as_json:
        print(as_text(uuid, document))
    else:
        show(document, console)
    if plot is not None:
        from alchemflows.plotting import plot as draw

        draw(document, plot)
        say.print(f"figure: {plot}", highlight=False, soft_wrap=True)
    say_where(database, uuid, say)


def _frames(database: Database, what: str, campaign: str | None) -> Iterator[pd.DataFrame]:
    from alchemflows.results import readout

    if what == "windows":
        yield from readout.window_frames(database, campaign)
    elif what == "results":
        yield readout.all_results(database, campaign)
    elif what == "samples":
        yield from readout.sample_frames(database, campaign)
    else:
        yield readout.free_energies(database, campaign, reanalysed=what == "reanalysed")
