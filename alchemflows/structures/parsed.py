"""Result of parsing a structure file: the structure, notes and losses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from pymatgen.core import Structure

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.structure import Loss

#: Part of the warning of pymatgen when it replaces missing element symbols by arbitrary ones.
INVENTED = "cannot be determined"


@dataclass
class Parsed:
    """A structure as returned by a parser.

    Attributes
    ----------
    structure
        The structure.
    reader
        Library and format, for example ``pymatgen (CIF)``.
    block
        Data block or image that was read; None if the file has only one.
    notes
        Warnings of the parser and other notes for the user.
    losses
        Content of the file that was lost: kind of loss and a description.
    """

    structure: Structure
    reader: str
    block: str | None = None
    notes: list[str] = field(default_factory=list)
    losses: list[tuple[Loss, str]] = field(default_factory=list)


def check_exists(file: Path) -> None:
    """Raise an error if there is no such structure file.

    Raises
    ------
    InvalidInputError
        If the file does not exist, or is a folder.
    """
    if file.is_dir():
        raise InvalidInputError(f"{str(file)!r} is a folder; name a structure file in it")
    if not file.is_file():
        raise InvalidInputError(f"the structure file {str(file)!r} does not exist")


def check_losses(names: object) -> tuple[Loss, ...]:
    """Return the kinds of losses to ignore, given as one name or several.

    Raises
    ------
    InvalidInputError
        If a name is unknown.
    """
    given = (names,) if isinstance(names, str) else tuple(names)  # type: ignore[arg-type]
    for name in given:
        check_choice("ignore", name, get_args(Loss))
    return cast("tuple[Loss, ...]", given)


@contextmanager
def collect_warnings(notes: list[str]) -> Iterator[None]:
    """Append the warnings raised in this context to `notes`, one line each and without repetitions."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        # Deprecation warnings concern the code of the libraries, not the file.
        if not issubclass(warning.category, (DeprecationWarning, FutureWarning, PendingDeprecationWarning)):
            message = " ".join(str(warning.message).split())
            if message not in notes:
                notes.append(message)


def select_one(names: list[str], wanted: str | int | None, what: str) -> int:
    """Return the index of the data block or image to read.

    Parameters
    ----------
    names
        Names of the blocks or images in the file.
    wanted
        A name, a number counted from 1, or ``last``; None if the file has only one.
    what
        Plural noun for error messages, for example ``images``.

    Raises
    ------
    InvalidInputError
        If there are several names and `wanted` is None, or if `wanted` does not exist or is not unique.
    """
    listed = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    if wanted is None:
        if len(names) == 1:
            return 0
        raise InvalidInputError(
            f"the file has {len(names)} {what} ({listed}); choose one by name, number or 'last' (--block, block=)"
        )
    text = str(wanted)
    if names.count(text) == 1:
        return names.index(text)
    if names.count(text) > 1:
        raise InvalidInputError(
            f"{names.count(text)} {what} are named {text}; choose one by its number (--block, block=)"
        )
    if text == "last":
        return len(names) - 1
    if text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    raise InvalidInputError(f"{text!r} is not among the {len(names)} {what} of the file; choose from {listed}")
