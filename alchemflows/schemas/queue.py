"""Overrides of queue-adapter options in a campaign: names and values for the batch script."""

from __future__ import annotations

import re
import warnings
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator

from alchemflows.errors import AlchemflowsWarning, InvalidInputError

#: Keys whose values are durations.
TIMES = ("walltime", "time", "time_min", "h_rt", "s_rt")
_TIME = re.compile(r"\d+:[0-5]\d:[0-5]\d|\d+-(?:[01]?\d|2[0-3])(?::[0-5]\d){0,2}")
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def check_queue(value: Any) -> dict[str, str | int | float | None]:
    """Check the overrides of a queue adapter and return them.

    Ambiguous durations are refused: 86400 is a day for PBS and sixty days for SLURM, and both read 24:00 as minutes.

    Raises
    ------
    InvalidInputError
        If this is not a mapping from names to strings, numbers or null; the message names the key.
    """
    if not isinstance(value, dict):
        raise InvalidInputError(
            f'queue must be a mapping of options to values, for example walltime: "24:00:00"; got {value!r}'
        )
    for key, entry in value.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise InvalidInputError(f"{key!r} is not a queue-adapter option; examples are walltime and account")
        if isinstance(entry, bool):
            raise InvalidInputError(
                f'{key} must be a string or a number; got {entry}; write "{str(entry).lower()}" in quotes'
            )
        if entry is None:
            continue
        if not isinstance(entry, str | int | float) or (isinstance(entry, float) and not isfinite(entry)):
            raise InvalidInputError(f"{key} must be a string or a number; got {entry!r}")
        _note_misspelt(key)
        if key in TIMES and not (isinstance(entry, str) and _TIME.fullmatch(entry)):
            raise InvalidInputError(
                f'{key} needs hours, minutes and seconds, for example "24:00:00" or "1-00:00:00"; got {entry!r}'
            )
    return value


def _note_misspelt(key: str) -> None:
    """Warn if an option is similar to one of FireWorks' templates; templates of the user may have any options."""
    known = _known_options()
    for similar in get_close_matches(key, () if key in (*known, *TIMES) else known, 1, 0.8):
        text = f"the queue option {key} is not in the templates of FireWorks; did you mean {similar}?"
        warnings.warn(AlchemflowsWarning(text), stacklevel=1)


@cache
def _known_options() -> frozenset[str]:
    """Return the options in FireWorks' templates of batch scripts."""
    templates = [
        each for each in files("fireworks.user_objects.queue_adapters").iterdir() if each.name.endswith(".txt")
    ]
    return frozenset(name for each in templates for name in re.findall(r"\$\$\{(\w+)\}", each.read_text()))


#: Overrides of a queue adapter.
Queue = Annotated[dict[str, str | int | float | None], BeforeValidator(check_queue)]
