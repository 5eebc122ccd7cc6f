"""Commands for the database: results in it, and the private one."""

from __future__ import annotations

import csv
import json
import sys
from typing import Annotated

import typer

from alchemflows.campaign.database import connect, start_private
from alchemflows.campaign.mongod import PrivateMongod
from alchemflows.campaign.query import RESULT_FIELDS, free_energies
from alchemflows.cli.running import console, settings, show_database
from alchemflows.cli.tables import results_table

app = typer.Typer()
private_app = typer.Typer(no_args_is_help=True, help="The private MongoDB, and indexes.")
app.add_typer(private_app, name="db")


@app.command()
def results(
    formula: Annotated[str | None, typer.Option(help="reduced formula at either end")] = None,
    temperature: Annotated[float | None, typer.Option(help="K")] = None,
    campaign: Annotated[str | None, typer.Option(help="name of a campaign")] = None,
    reanalysed: Annotated[bool, typer.Option(help="those that `alchemflows reanalyse` made")] = False,
    limit: Annotated[int, typer.Option(help="at most so many; 0 for all")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table")] = False,
) -> None:
    """Finished free-energy differences in the database, the newest first."""
    database = connect(settings())
    rows = free_energies(
        database,
        campaign=campaign,
        formula=formula,
        temperature_K=temperature,
        limit=limit,
        reanalysed=reanalysed,
    )
    if as_json:
        print(json.dumps(rows, indent=1, default=str, allow_nan=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(RESULT_FIELDS))
        writer.writeheader()
        writer.writerows(rows)
    elif rows:
        console.print(results_table(rows))
    else:
        console.print(f"no free energies yet ({database.place})")


@private_app.command()
def start() -> None:
    """Start the private MongoDB and say how to use it."""
    show_database(start_private(settings()))


@private_app.command()
def stop() -> None:
    """Shut the private MongoDB down; its data stay."""
    configured = settings()
    PrivateMongod(configured.home, configured.mongod).stop()
    console.print("the private MongoDB is stopped")


@private_app.command()
def status() -> None:
    """Say whether the private MongoDB runs."""
    configured = settings()
    server = PrivateMongod(configured.home, configured.mongod)
    console.print(f"the private MongoDB in {server.folder} {'runs' if server.is_running() else 'does not run'}")


@private_app.command()
def index() -> None:
    """Create the documented indexes in the configured database."""
    database = connect(settings())
    database.ensure_indexes()
    console.print(f"indexes are in place ({database.place})")
