"""The configuration of the environment, for commands."""

from __future__ import annotations

from pydantic import ValidationError

from alchemflows.errors import InvalidInputError
from alchemflows.settings import Settings


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
