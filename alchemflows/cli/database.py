"""Commands for the database: results in it, and the private one."""

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
private_app = App(no_args_is_help=True, help="The private MongoDB; users and indexes of one of your own.")
app.add_typer(private_app, name="db")


@app.command()
def results(
    formula: Annotated[str | None, typer.Option(help="reduced formula at either end")] = None,
    temperature: Annotated[float | None, typer.Option(help="K")] = None,
    campaign: Annotated[str | None, typer.Option(help="name of a campaign")] = None,
    reanalysed: Annotated[bool, typer.Option(help="those that `alchemflows reanalyse` made")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Maximum number of results; 0 for all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table")] = False,
) -> None:
    """Finished free-energy differences in the database, the newest first."""
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


@private_app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="where a folder of configuration for each user is written")],
    admin_uri_file: Annotated[
        Path | None, typer.Option(help="file of mode 0600 with an administrator's URI; else ALCHEMFLOWS_ADMIN_URI")
    ] = None,
    database: Annotated[str, typer.Option(help="name of the database")] = DATABASE,
    user: Annotated[
        list[str] | None, typer.Option(help="such as ada=submitter,worker; default: one submitter, worker and reader")
    ] = None,
    renew: Annotated[bool, typer.Option("--renew", help="give these users new passwords")] = False,
) -> None:
    """Create users, roles and indexes in a MongoDB with authentication, and the files with which each connects."""
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
    console.print("Each user sets, to files in the own folder:")
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
        raise InvalidInputError(f"{text!r} is no user with roles, such as ada=submitter,worker")
    return name, roles.split(",")
