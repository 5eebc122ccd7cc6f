"""Commands that export tables and reanalyse stored windows."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead
from alchemflows.cli.running import console
from alchemflows.errors import AlchemflowsError

if TYPE_CHECKING:
    import pandas as pd

    from alchemflows.storage.database import Database

app = App()

Campaign = Annotated[str | None, typer.Option(help="Name of a campaign [default: all stored results].")]


class What(StrEnum):
    """Tables that can be exported."""

    results = "results"
    free_energies = "free-energies"
    reanalysed = "reanalysed"
    windows = "windows"
    samples = "samples"


@app.command()
def export(
    what: Annotated[What, typer.Argument(help="Table to export; results has one row for each result of any kind.")],
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
        print_json({"table": what.value, "file": file, "rows": n_rows})
        return
    console.print(f"{n_rows} rows: {file}")


@app.command()
def reanalyse(
    campaign: Campaign = None,
    discard: Annotated[float, typer.Option(help="Fraction of samples to discard at the start of each window.")] = 0.0,
    rebuild: Annotated[
        bool, typer.Option("--all", help="Also reanalyse ladders whose analysis is up to date.")
    ] = False,
    as_json: JsonInstead = False,
) -> None:
    """Recompute free energies from stored samples."""
    from alchemflows.results.builder import FreeEnergyBuilder

    database = connected()
    builder = FreeEnergyBuilder.of(database, campaign, discard=discard, rebuild=rebuild)
    builder.run(log_level=logging.ERROR)
    n_done, n_failed = builder.n_ladders - len(builder.failures), len(builder.failures)
    if as_json:
        print_json({"analysed": n_done, "failures": builder.failures})
    else:
        console.print(
            f"ladders analysed: {n_done}; read them with `alchemflows results --reanalysed` ({database.place})"
        )
    if n_failed:
        uuid, reason = next(iter(builder.failures.items()))
        raise AlchemflowsError(f"ladders that could not be analysed: {n_failed}, such as {uuid}: {reason}")


def _frames(database: Database, what: What, campaign: str | None) -> Iterator[pd.DataFrame]:
    from alchemflows.results import readout

    if what is What.windows:
        yield from readout.window_frames(database, campaign)
    elif what is What.results:
        yield readout.all_results(database, campaign)
    elif what is What.samples:
        yield from readout.sample_frames(database, campaign)
    else:
        yield readout.free_energies(database, campaign, reanalysed=what is What.reanalysed)
