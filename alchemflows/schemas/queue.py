"""Overrides of a queue adapter, as a campaign has them: names and the texts that go into a batch script."""

from __future__ import annotations

import re
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator

from alchemflows.errors import InvalidInputError

#: Keys whose values are lengths of time.
TIMES = ("walltime", "time", "time_min", "h_rt", "s_rt")
_TIME = re.compile(r"\d+:[0-5]\d:[0-5]\d|\d+-(?:[01]?\d|2[0-3])(?::[0-5]\d){0,2}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def check_queue(value: Any) -> dict[str, str | int | float | None]:
    """Return the overrides of a queue adapter.

    A time without a unit is refused: 86400 is a day for PBS and sixty days for SLURM, and 24:00 is minutes for both.

    Raises
    ------
    InvalidInputError
        If it is no mapping, a key is no name, or a value is no text, number or null; the message names the key.
    """
    if not isinstance(value, dict):
        raise InvalidInputError(
            f'overrides of a queue are names and values, such as walltime: "24:00:00"; got {value!r}'
        )
    for key, entry in value.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InvalidInputError(f"{key!r} is not the name of a key of a queue adapter, such as walltime or account")
        if isinstance(entry, bool):
            raise InvalidInputError(
                f'{key}: a text or a number is needed; got {entry}; write "{str(entry).lower()}" in quotes'
            )
        if entry is None:
            continue
        if not isinstance(entry, str | int | float) or (isinstance(entry, float) and not isfinite(entry)):
            raise InvalidInputError(f"{key}: a text or a number is needed; got {entry!r}")
        if key in TIMES and not (isinstance(entry, str) and _TIME.fullmatch(entry)):
            raise InvalidInputError(
                f'{key}: a time has hours, minutes and seconds, such as "24:00:00" or "1-00:00:00"; got {entry!r}'
            )
    return value


#: Overrides of a queue adapter.
Queue = Annotated[dict[str, str | int | float | None], BeforeValidator(check_queue)]
