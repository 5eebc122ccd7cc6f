"""The type of substitutions, and its check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Annotated, Any

from pydantic import BeforeValidator
from pymatgen.core import Element

from alchemflows.errors import InvalidInputError

_GOALS = 'an element such as "K", a mixture with fractions such as {"K": 0.5, "Li": 0.5}, or null for a vacancy'


def check_substitution(value: Any) -> dict[str, str | dict[str, float] | None]:
    """Check the form of a substitution and return it; unknown element symbols are found elsewhere.

    Raises
    ------
    InvalidInputError
        If it is not a mapping, an element is given twice, or a replacement is neither a symbol, a mixture nor None; the
        message names the element.
    """
    if not isinstance(value, Mapping):
        raise InvalidInputError(
            f'a substitution maps elements to their replacements, for example {{"Pb": "Sn"}}; got {value!r}'
        )
    checked: dict[str, str | dict[str, float] | None] = {}
    for source, goal in value.items():
        symbol = _symbol(source, "an element that is replaced")
        if symbol in checked:
            raise InvalidInputError(f"{symbol} is replaced twice; give each element once")
        checked[symbol] = _goal(symbol, goal)
    return checked


def mixtures(substitution: Mapping[str, str | Mapping[str, float] | None]) -> dict[str, dict[str, float]]:
    """Return a substitution with every replacement as a mixture: {"K": 1.0} for "K", {} for a vacancy.

    Examples
    --------
    >>> mixtures({"Na": "K", "Cl": None})
    {'Na': {'K': 1.0}, 'Cl': {}}
    """
    return {
        source: {} if goal is None else {goal: 1.0} if isinstance(goal, str) else dict(goal)
        for source, goal in substitution.items()
    }


def _goal(source: str, goal: Any) -> str | dict[str, float] | None:
    if goal is None or isinstance(goal, str | Element):
        return None if goal is None else _symbol(goal, source)
    if not isinstance(goal, Mapping):
        advice = ""
        if isinstance(goal, bool):
            advice = '; in YAML 1.1 an unquoted No is false: write "No" for nobelium'
        elif isinstance(goal, Sequence | set):
            advice = "; a mixture needs the fraction of each element"
        raise InvalidInputError(f"{source}: the replacement must be {_GOALS}; got {goal!r}{advice}")
    mixture: dict[str, float] = {}
    for element, fraction in goal.items():
        symbol = _symbol(element, source)
        if symbol in mixture:
            raise InvalidInputError(f"{source}: {symbol} is in the mixture twice; give each element once")
        mixture[symbol] = _fraction(source, symbol, fraction)
    return mixture


def _fraction(source: str, symbol: str, fraction: Any) -> float:
    try:
        number = float(fraction) if not isinstance(fraction, bool) else float("nan")
    except (TypeError, ValueError):
        number = float("nan")
    if not isfinite(number) or not 0 <= number <= 1:
        raise InvalidInputError(f"{source}: the fraction of {symbol} must be a number from 0 to 1; got {fraction!r}")
    return number


def _symbol(name: Any, what: str) -> str:
    if isinstance(name, Element):
        return name.symbol
    if isinstance(name, str) and name:
        return name
    advice = '; in YAML 1.1 an unquoted No is false: write "No" for nobelium' if isinstance(name, bool) else ""
    raise InvalidInputError(f"{what}: {name!r} is not the symbol of an element{advice}")


#: Replacements by element: another element, a mixture with fractions, or None for a vacancy.
Substitution = Annotated[Mapping[str, str | Mapping[str, float] | None], BeforeValidator(check_substitution)]
