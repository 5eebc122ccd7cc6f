"""The configuration of the environment and its database, for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from alchemflows.errors import InvalidInputError
from alchemflows.settings import Settings, origin

if TYPE_CHECKING:
    from alchemflows.storage.database import Database
    from alchemflows.storage.rights import Role


def settings() -> Settings:
    """Return the settings of the environment and of the user's configuration file.

    Raises
    ------
    InvalidInputError
        Naming the variable, or the line of the file, that is wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(f"{origin(str(first['loc'][0]))}: {first['msg']}") from error


def connected() -> Database:
    """Return the configured database, or else the private one."""
    from alchemflows.storage.database import connect

    return connect(settings())


def connected_with_rights(*roles: Role) -> Database | None:
    """Return the configured database, after checking that its user has the rights of roles; None for the private one.

    The private database, which has no users, is not started.

    Raises
    ------
    DatabaseError
        If a right is missing, or the database cannot be used.
    """
    from alchemflows.storage.database import connect, database_file
    from alchemflows.storage.rights import check_rights

    found = settings()
    if database_file(found) is None:
        return None
    database = connect(found)
    check_rights(database, *roles)
    return database
