"""What a parser hands over: a structure, what it said, and what was lost."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast, get_args

from pymatgen.core import Structure

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.structure import Loss


@dataclass
class Parsed:
    """A structure as a parser understood it.

    Attributes
    ----------
    structure
        The structure.
    reader
        What parsed it.
    block
        Data block or image that was read; None where there is one only.
    notes
        What the parser said, and other things that a user should know.
    losses
        What was lost: the kind, and a sentence.
    """

    structure: Structure
    reader: str
    block: str | None = None
    notes: list[str] = field(default_factory=list)
    losses: list[tuple[Loss, str]] = field(default_factory=list)


def check_losses(names: object) -> tuple[Loss, ...]:
    """Return kinds of losses.

    Raises
    ------
    InvalidInputError
        If a name is unknown.
    """
    given = (names,) if isinstance(names, str) else tuple(names)  # type: ignore[arg-type]
    for name in given:
        if name not in get_args(Loss):
            raise InvalidInputError(f"{name!r} cannot be ignored; known are {', '.join(get_args(Loss))}")
    return cast("tuple[Loss, ...]", given)


@contextmanager
def heard(notes: list[str]) -> Iterator[None]:
    """Collect the warnings of a parser, each once and in one line, whatever filters there are."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        # A note on the libraries' own code is not on the file.
        if not issubclass(warning.category, (DeprecationWarning, FutureWarning, PendingDeprecationWarning)):
            said = " ".join(str(warning.message).split())
            if said not in notes:
                notes.append(said)


def chosen(names: list[str], wanted: str | int | None, what: str) -> int:
    """Return the place of the one of several blocks or images that is to be read.

    Parameters
    ----------
    names
        Their names.
    wanted
        A name, a number from 1, or ``last``; None if there is to be one only.
    what
        What they are, in the plural, for messages.

    Raises
    ------
    InvalidInputError
        If there are several and none is chosen, or the chosen one does not exist or is not unique.
    """
    listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    if wanted is None:
        if len(names) == 1:
            return 0
        raise InvalidInputError(
            f"it has {len(names)} {what} ({listed}): choose one by its name, its number, or 'last' (--block, block=)"
        )
    text = str(wanted)
    if names.count(text) == 1:
        return names.index(text)
    if names.count(text) > 1:
        raise InvalidInputError(
            f"{names.count(text)} {what} are named {text}: choose one by its number (--block, block=)"
        )
    if text == "last":
        return len(names) - 1
    if text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    raise InvalidInputError(f"there is no {text} among its {len(names)} {what} ({listed})")
