"""Commands for the private MongoDB, and for users of one's own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.configured import connected, settings
from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead
from alchemflows.cli.running import console, show_database
from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.output_file import check_folder
from alchemflows.storage.configuration import DATABASE

app = App()
private_app = App(no_args_is_help=True, help="Manage the private MongoDB, or users of your own.")
app.add_typer(private_app, name="db")


@private_app.command(example="alchemflows db start")
def start(as_json: JsonInstead = False) -> None:
    """Start the private MongoDB and show how to connect to it."""
    from alchemflows.storage.database import start_private

    database = start_private(settings())
    if as_json:
        print_json({"place": database.place, "environment": database.environment})
    else:
        show_database(database)


@private_app.command(example="alchemflows db query 1a2b3c4d")
def query(
    result: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="ID listed by `alchemflows results`; the first characters are enough."),
    ] = None,
    as_json: JsonInstead = False,
) -> None:
    """Show how to query the database in use with pymongo.

    Also prints the settings with which lpad, rlaunch and jobflow use it.
    """
    from alchemflows.results.listing import find_result

    database = connected()
    uuid = None if result is None else find_result(database, result)[0]
    if as_json:
        outputs = database.outputs()
        names = {"database": outputs.database.name, "collection": outputs.name}
        print_json({"place": database.place, **names, "uuid": uuid, "environment": database.environment})
    else:
        show_database(database, uuid)


@private_app.command(example="alchemflows db stop")
def stop(as_json: JsonInstead = False) -> None:
    """Stop the private MongoDB; its data are kept."""
    from alchemflows.storage.mongod import PrivateMongod

    configured = settings()
    server = PrivateMongod(configured.home, configured.mongod)
    server.stop()
    if as_json:
        print_json({"folder": server.folder, "running": server.is_running()})
    else:
        console.print("the private MongoDB is stopped")


@private_app.command(example="alchemflows db status")
def status(as_json: JsonInstead = False) -> None:
    """Show whether the private MongoDB is running."""
    from alchemflows.storage.mongod import PrivateMongod

    configured = settings()
    server = PrivateMongod(configured.home, configured.mongod)
    running = server.is_running()
    if as_json:
        print_json({"folder": server.folder, "running": running})
    else:
        console.print(f"the private MongoDB in {server.folder} {'runs' if running else 'does not run'}")
        from alchemflows.storage.database import database_file

        if (file := database_file(configured)) is not None:
            console.print(f"commands use the database configured in {file}; `alchemflows doctor` checks it")


@private_app.command(example="alchemflows db index")
def index(as_json: JsonInstead = False) -> None:
    """Create the indexes for fast queries in the configured database."""
    database = connected()
    database.ensure_indexes()
    if as_json:
        print_json({"place": database.place, "indexed": True})
    else:
        console.print(f"indexes are in place ({database.place})")


@private_app.command(example="alchemflows db init ~/alchemflows-config --admin-uri-file admin-uri")
def init(
    folder: Annotated[
        Path, typer.Argument(help="Folder to which a folder of configuration files is written for each user.")
    ],
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
    as_json: JsonInstead = False,
) -> None:
    """Create users, roles and indexes in your own MongoDB.

    The MongoDB must use authentication. Configuration files for each user are written to the folder.
    """
    from alchemflows.storage.users import DEFAULT_USERS, create_users, read_admin_uri

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
    if as_json:
        print_json({name: {"roles": roles, "folder": folders[name]} for name, roles in users.items()})
        return
    for name, roles in users.items():
        variables = {"JOBFLOW_CONFIG_FILE": "jobflow.yaml", "FW_CONFIG_FILE": "FW_config.yaml"}
        values = (f"{variable}={shlex.quote(str(folders[name] / file))}" for variable, file in variables.items())
        console.print(f"{name} ({', '.join(roles)}):", highlight=False, soft_wrap=True, markup=False)
        console.print(f"  export {' '.join(values)}", highlight=False, soft_wrap=True, markup=False)
    console.print("Before other commands, each user runs the line below the user's name.")


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
