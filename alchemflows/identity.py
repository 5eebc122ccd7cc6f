"""What makes two calculations the same: values written in one way only, and the SHA-256 of that text.

Classes, modules and versions are not written, so that a release of this package or of another one changes no key. Who
computes a key lists its fields (:mod:`alchemflows.campaign.keys`, :meth:`AlchemicalRelaxMaker.key`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymatgen.core import Structure

#: Lengths (Å), angles (degrees), fractional coordinates and occupancies of structures are written in steps of 1/GRID,
#: 8e-6. A CIF has 8 decimals, and no number of that many lies between two steps, where rounding would be undecided.
GRID = 2**17
#: Below this all integers are floats, too.
_MAX_EXACT = 2**53


def canonical(value: Any) -> str:
    """Return a value as text, the same for the same content.

    Mappings are sorted by their keys. Numbers are written as Python's ``repr`` does, whole ones as integers: 1 and 1.0
    are the same, and so are 0.0 and -0.0. Values of NumPy are written as those of Python, tuples as lists, and a
    structure as :func:`structure_fields`.

    Raises
    ------
    TypeError, ValueError
        If there is no such text for a value: an object of another class, or a number that is not finite.

    Examples
    --------
    >>> canonical({"steps": 500.0, "fmax": 0.01, "pair": ("Na", None)})
    '{"fmax":0.01,"pair":["Na",null],"steps":500}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of a value's canonical text.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2.0, "a": 1.0})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def not_default(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from given defaults.

    A key leaves out what has its default, so that a new option, at its default, changes no key. The defaults must be
    those that the fields had when they were introduced, and never be changed: where a release changes the default of a
    maker, the new value then differs from the one in the table, is written, and changes the key.

    Parameters
    ----------
    values
        Fields of a calculation.
    defaults
        Default of each of these fields.

    Examples
    --------
    >>> not_default({"steps": 500.0, "fmax": 0.02}, {"steps": 500, "fmax": 0.01})
    {'fmax': 0.02}
    """
    return {name: value for name, value in values.items() if canonical(value) != canonical(defaults[name])}


def structure_fields(structure: Structure) -> dict[str, Any]:
    """Return what of a structure a calculation depends on, in steps of 1/:data:`GRID`.

    Written are the lengths and angles of the cell and, for each site in its order, the elements with their occupancies
    and the fractional coordinates within the cell. How the crystal is turned in space is not, nor are oxidation states,
    labels, charges and magnetic moments, on which no potential here depends.

    Parameters
    ----------
    structure
        Ordered or disordered.
    """
    sites = []
    for site in structure:
        occupancy: dict[str, float] = {}
        for species, amount in site.species.items():
            symbol = getattr(species, "symbol", str(species))
            occupancy[symbol] = occupancy.get(symbol, 0.0) + float(amount)
        elements = {symbol: round(amount * GRID) for symbol, amount in occupancy.items()}
        sites.append([elements, *(round(float(x) * GRID) % GRID for x in site.frac_coords)])
    return {"cell": [round(float(length) * GRID) for length in structure.lattice.parameters], "sites": sites}


def _plain(value: Any) -> Any:
    """Return a value made of what JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return int(value) if math.isfinite(value) and value == int(value) and abs(value) < _MAX_EXACT else value
    if isinstance(value, Structure):
        return _plain(structure_fields(value))
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"the key {odd[0]!r} of a mapping is not a text")
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no canonical text: list its fields")
