"""Words of which one must be chosen, and the known word that a misspelt one is most similar to."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from alchemflows.errors import InvalidInputError


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return the end of an error message that suggests the known word most similar to a misspelt one; may be empty."""
    return "".join(f"; did you mean {similar}?" for similar in get_close_matches(given, list(known), 1))


def check_choice(name: str, given: object, known: Iterable[str]) -> None:
    """Raise an error that lists the known words, and suggests a similar one, unless a value is one of them.

    Parameters
    ----------
    name
        Name of the argument, field or option.
    given
        Its value.
    known
        Known words.

    Raises
    ------
    InvalidInputError
        If the value is another one.
    """
    words = list(known)
    if given not in words:
        similar = suggestion(given, words) if isinstance(given, str) else ""
        raise InvalidInputError(f"{name} must be one of {', '.join(words)}; got {given!r}{similar}")
