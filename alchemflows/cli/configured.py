"""The configuration of the environment and its database, for commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from alchemflows.errors import InvalidInputError
from alchemflows.settings import Settings

if TYPE_CHECKING:
    from alchemflows.storage.database import Database


def settings() -> Settings:
    """Return the settings of the environment.

    Raises
    ------
    InvalidInputError
        Naming the variable that is wrong.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(f"ALCHEMFLOWS_{str(first['loc'][0]).upper()}: {first['msg']}") from error


def connected() -> Database:
    """Return the configured database, or else the private one."""
    from alchemflows.storage.database import connect

    return connect(settings())
