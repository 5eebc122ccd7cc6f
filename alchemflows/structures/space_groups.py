"""Space groups by Hermann–Mauguin symbol: their settings and symmetry operations, from the database of spglib."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import numpy as np
import spglib

#: Number of settings in the database, which are counted from 1.
N_SETTINGS = 530
#: Translations of operations are multiples of this fraction of a lattice vector.
_STEP = Fraction(1, 24)
#: Endings of symbols that name the origin or the axes, with their names in the database.
_CHOICES = {"S": "1", "Z": "2"}
#: Current symbols of groups whose symbols changed in 1992.
_RENAMED = {"Abm2": "Aem2", "Aba2": "Aea2", "Cmca": "Cmce", "Cmma": "Cmme", "Ccca": "Ccce"}
#: A full monoclinic symbol with unique axis b, such as P121/c1.
_UNIQUE_B = re.compile(r"([A-Z])1(.+)1")


def settings_of(symbol: str) -> tuple[int, ...]:
    """Return the settings that a Hermann–Mauguin symbol may mean, as numbers of the database; none if it is unknown.

    Short and full symbols are known, with or without spaces, old symbols such as ``F m 3 m`` and ``C m c a``, and the
    endings ``:1``, ``:2``, ``S``, ``Z``, ``:H``, ``H``, ``:R`` and ``R``, which name the origin or the axes.

    Examples
    --------
    >>> settings_of("F m -3 m") == settings_of("Fm3m") == settings_of("F 4/m -3 2/m")
    True
    >>> len(settings_of("F d -3 m")), len(settings_of("F d -3 m :2"))
    (2, 1)
    """
    plain = re.sub(r"[\s_]", "", symbol)
    if found := _by_symbol().get(_current(plain), ()):
        return found
    stem, ending = plain[:-1].rstrip(":"), plain[-1:]
    choice = _CHOICES.get(ending, ending)
    return tuple(k for k in _by_symbol().get(_current(stem), ()) if _group(k).choice == choice)


def settings_of_number(number: int) -> tuple[int, ...]:
    """Return the standard setting of a space group by its number; two for groups with two origins or kinds of axes."""
    first = next((k for k in range(1, N_SETTINGS + 1) if number_of(k) == number), None)
    return () if first is None else settings_of(_group(first).international.partition("=")[0])


def number_of(setting: int) -> int:
    """Return the number of the space group in the International Tables."""
    return int(_group(setting).number)


def operations_of(setting: int) -> list[str]:
    """Return the operations of a setting, such as ``-x,y+1/2,z``."""
    found = _operations(setting)
    return [
        ",".join(_component(row, float(shift)) for row, shift in zip(rotation, translation, strict=True))
        for rotation, translation in zip(found["rotations"], found["translations"], strict=True)
    ]


def fits(setting: int, cell: Sequence[Sequence[float]], tolerance: float) -> bool:
    """Return whether the rotations of a setting leave the lengths and angles of a cell unchanged.

    Parameters
    ----------
    setting
        Number of the setting.
    cell
        Cell vectors in rows (Å).
    tolerance
        Largest allowed change, relative to the largest squared length.
    """
    metric = np.asarray(cell) @ np.asarray(cell).T
    rotations = _operations(setting)["rotations"].astype(float)
    changed = np.einsum("nki,kl,nlj->nij", rotations, metric, rotations)
    return bool(np.abs(changed - metric).max() <= tolerance * np.abs(metric).max())


@cache
def _group(setting: int) -> spglib.SpaceGroupType:
    found = spglib.get_spacegroup_type(setting)
    assert found is not None, setting
    return found


@cache
def _operations(setting: int) -> dict[str, np.ndarray]:
    found = spglib.get_symmetry_from_database(setting)
    assert found is not None, setting
    return found


def _component(row: np.ndarray, shift: float) -> str:
    """Return one coordinate of an operation as text."""
    terms = "".join(f"{'+' if factor > 0 else '-'}{axis}" for factor, axis in zip(row, "xyz", strict=True) if factor)
    exact = round(shift / _STEP) * _STEP % 1
    return terms.removeprefix("+") + (f"+{exact}" if exact else "")


def _current(symbol: str) -> str:
    """Return the current symbol for an old one: Fm-3m for Fm3m, Cmce for Cmca."""
    return _RENAMED.get(symbol, re.sub(r"^([A-Z][abcdmn])3", r"\1-3", symbol))


@cache
def _by_symbol() -> dict[str, tuple[int, ...]]:
    """Return the settings of each symbol, without spaces."""
    known: dict[str, dict[int, None]] = {}
    for setting in range(1, N_SETTINGS + 1):
        group = _group(setting)
        full, *others = (
            re.sub(r"[\s_]", "", each) for each in (group.international_full, *group.international.split("="))
        )
        if 3 <= group.number <= 15:
            # The first of the others is the same for all axes and cells; such a symbol means the unique axis b.
            symbols = [full, *others[1:], *(match.expand(r"\1\2") for match in [_UNIQUE_B.fullmatch(full)] if match)]
        else:
            symbols = [full, *others, re.sub(r"[\s_]", "", group.international_short)]
        for symbol in symbols:
            known.setdefault(symbol, {})[setting] = None
    return {symbol: tuple(settings) for symbol, settings in known.items()}
