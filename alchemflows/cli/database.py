"""Commands for results in the database, and for the private MongoDB."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.once import App
from alchemflows.cli.running import console, settings, show_database
from alchemflows.cli.tables import results_table
from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.output_file import check_folder
from alchemflows.results.query import RESULT_FIELDS, free_energies
from alchemflows.storage.database import DATABASE, connect, start_private
from alchemflows.storage.mongod import PrivateMongod
from alchemflows.storage.users import DEFAULT_USERS, create_users, read_admin_uri

app = App()
private_app = App(no_args_is_help=True, help="Manage the private MongoDB, or users of your own MongoDB.")
app.add_typer(private_app, name="db")


@app.command()
def results(
    formula: Annotated[str | None, typer.Option(help="Reduced formula of the initial or final crystal.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Temperature (K).")] = None,
    campaign: Annotated[str | None, typer.Option(help="Name of a campaign.")] = None,
    reanalysed: Annotated[
        bool, typer.Option(help="Show the results of `alchemflows reanalyse` in place of those of the jobs.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of results; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
) -> None:
    """List stored results of thermodynamic integration, newest first."""
    if as_json and as_csv:
        raise InvalidInputError("results are written as --json or as --csv, not both")
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
    """Start the private MongoDB and show how to connect to it."""
    show_database(start_private(settings()))


@private_app.command()
def stop() -> None:
    """Stop the private MongoDB; its data are kept."""
    configured = settings()
    PrivateMongod(configured.home, configured.mongod).stop()
    console.print("the private MongoDB is stopped")


@private_app.command()
def status() -> None:
    """Show whether the private MongoDB is running."""
    configured = settings()
    server = PrivateMongod(configured.home, configured.mongod)
    console.print(f"the private MongoDB in {server.folder} {'runs' if server.is_running() else 'does not run'}")


@private_app.command()
def index() -> None:
    """Create the documented indexes in the configured database."""
    database = connect(settings())
    database.ensure_indexes()
    console.print(f"indexes are in place ({database.place})")


@private_app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder in which a configuration folder is written for each user.")],
    admin_uri_file: Annotated[
        Path | None,
        typer.Option(
            help="File (mode 0600) with the URI of an administrator [default: the variable ALCHEMFLOWS_ADMIN_URI]."
        ),
    ] = None,
    database: Annotated[str, typer.Option(help="Name of the database.")] = DATABASE,
    user: Annotated[
        list[str] | None,
        typer.Option(
            help="User and roles, such as ada=submitter,worker; repeatable [default: a submitter, a worker, a reader]."
        ),
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Give these users new passwords.")] = False,
) -> None:
    """Create users, roles and indexes in your own MongoDB.

    The MongoDB must use authentication. Configuration files for each user are written to the folder.
    """
    configured = settings()
    if admin_uri_file is not None:
        uri = read_admin_uri(admin_uri_file)
    elif configured.admin_uri is not None:
        uri = configured.admin_uri.get_secret_value()
    else:
        raise DatabaseError("an administrator's URI is needed: --admin-uri-file, or ALCHEMFLOWS_ADMIN_URI")
    check_folder(folder)
    users = _users(user) if user else DEFAULT_USERS
    folders = create_users(uri, database, folder, users, renew=renew, timeout_s=configured.database_timeout_s)
    for name, roles in users.items():
        console.print(f"{name} ({', '.join(roles)}): {folders[name]}", highlight=False, soft_wrap=True, markup=False)
    console.print("Each user sets these variables to the files in the user's folder:")
    console.print("  export JOBFLOW_CONFIG_FILE=.../jobflow.yaml FW_CONFIG_FILE=.../FW_config.yaml", highlight=False)


def _users(texts: list[str]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    for name, roles in map(_user, texts):
        if name in users:
            raise InvalidInputError(f"the user {name} is given twice; give all roles at once: {name}=submitter,worker")
        users[name] = roles
    return users


def _user(text: str) -> tuple[str, list[str]]:
    name, separator, roles = text.partition("=")
    if not separator:
        raise InvalidInputError(f"{text!r} must be a user with roles, such as ada=submitter,worker")
    return name, roles.split(",")
