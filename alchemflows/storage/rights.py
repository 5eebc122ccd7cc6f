"""Check that the user of the configured database may submit or run jobs, before any work is done."""

from __future__ import annotations

import re
from typing import Any, Literal

from pymongo import MongoClient
from pymongo.errors import OperationFailure

from alchemflows.errors import DatabaseError
from alchemflows.storage.database import OUTPUTS, Database, hosts_of, launchpad_of, user_of
from alchemflows.storage.fireworks import RIGHTS, client_of, database_of
from alchemflows.storage.users import ROLES

#: Roles of those who submit and of those who run jobs.
Role = Literal["submitter", "worker"]

#: Actions that change nothing. They are not checked: a role made by hand may have only those that it needs.
_READING = {"find", "listIndexes"}
#: Right that a command of the server needs.
_RIGHT = {"find": "find", "aggregate": "find", "insert": "insert", "update": "update", "findAndModify": "update"}
_RIGHT |= {"delete": "remove", "listIndexes": "listIndexes"}
_REFUSED = re.compile(r'not authorized on \S+ to execute command { (?P<command>\w+): "(?P<collection>[^"]+)"')


def check_rights(database: Database, *roles: Role) -> None:
    """Raise an error if the user of a database may not write where the given roles write.

    Samples are not checked, nor is a server that does not tell the rights of a user.

    Parameters
    ----------
    database
        The database.
    roles
        Roles whose rights are needed. The user may have them by other roles, such as ``readWrite``.

    Raises
    ------
    DatabaseError
        Naming the user, its roles and the missing rights; or if FireWorks is not configured.
    """
    launchpad, outputs = launchpad_of(database), database.outputs()
    for role in roles:
        _check(client_of(launchpad), database_of(launchpad).name, RIGHTS[role], role)
        _check(outputs.database.client, outputs.database.name, {outputs.name: ROLES[role][OUTPUTS]}, role)


def refused(error: OperationFailure) -> str:
    """Return what a server did not allow and who may do it, as the end of a sentence.

    Values in the refused command are not quoted.

    Parameters
    ----------
    error
        Refusal of the server, whose code is :data:`~alchemflows.errors.UNAUTHORIZED`.
    """
    found = _REFUSED.match(str((error.details or {}).get("errmsg")))
    if found is None:
        return "do that; docs/security.md lists the rights of each role"
    command, collection = found["command"], found["collection"]
    right = _RIGHT.get(command)
    roles = [role for role, rights in ROLES.items() if right in rights.get(collection, ())]
    if right and roles:
        return f"{right} documents in {collection}, as the role {' or '.join(roles)} may; see docs/security.md"
    return f"run {command} on {collection}, as an administrator may (`alchemflows db init`); see docs/security.md"


def _check(client: MongoClient, database: str, needed: dict[str, tuple[str, ...]], role: Role) -> None:
    privileges = _privileges(client)
    if privileges is None:
        return
    for collection, actions in needed.items():
        missing = set(actions) - _READING - _allowed(privileges, database, collection)
        if missing:
            raise DatabaseError(
                f"the database at {hosts_of(client)} does not let {user_of(client)} {' or '.join(sorted(missing))} "
                f"documents in {database}.{collection}, as the role {role} may; see docs/security.md"
            )


def _privileges(client: MongoClient) -> list[dict[str, Any]] | None:
    """Return the privileges of the user of a client; None if the server has no users or does not tell them."""
    try:
        known = client.admin.command("connectionStatus", showPrivileges=True)["authInfo"]
    except OperationFailure:
        return None
    return known.get("authenticatedUserPrivileges") if known["authenticatedUsers"] else None


def _allowed(privileges: list[dict[str, Any]], database: str, collection: str) -> set[str]:
    """Return the actions that privileges allow on a collection; an empty name stands for every name."""
    found: set[str] = set()
    for privilege in privileges:
        resource = privilege["resource"]
        places = resource.get("db") in ("", database) and resource.get("collection") in ("", collection)
        if places or resource.get("anyResource"):
            found.update(privilege["actions"])
    return found
