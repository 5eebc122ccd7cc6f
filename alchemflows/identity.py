"""Identify calculations by the SHA-256 of a canonical text of their scientific fields.

The text contains no classes, modules or versions, so that new releases of this package or its dependencies do not
change keys. The fields are listed where a key is computed (:mod:`alchemflows.campaign.keys`,
:meth:`AlchemicalRelaxMaker.key`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymatgen.core import Structure

#: Lengths (Å), angles (degrees), fractional coordinates and occupancies of structures are rounded to multiples of
#: 1/GRID (8e-6). No number with the 8 decimals of a CIF lies halfway between multiples, where rounding is ambiguous.
GRID = 2**17
#: All integers below this value are represented exactly by floats.
_MAX_EXACT = 2**53


def canonical(value: Any) -> str:
    """Return a canonical text of a value; values with the same content have the same text.

    Mappings are sorted by their keys. Numbers are written as by ``repr`` in Python, whole numbers as integers, so that
    1 and 1.0 are the same, as are 0.0 and -0.0. NumPy values are written as Python values, tuples as lists, and
    structures as their :func:`structure_fields`.

    Raises
    ------
    TypeError, ValueError
        If a value is of an unsupported class, or a number is not finite.

    Examples
    --------
    >>> canonical({"steps": 500.0, "fmax": 0.01, "pair": ("Na", None)})
    '{"fmax":0.01,"pair":["Na",null],"steps":500}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return the SHA-256 of the canonical text of a value.

    Examples
    --------
    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2.0, "a": 1.0})
    True
    """
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def not_default(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that differ from given defaults.

    Fields with their default value are omitted from keys, so that a new option with its default value does not change
    existing keys. The given defaults must be those that the fields had when they were introduced, and must never
    change: if a later release changes the default of a maker, the new value is written and changes the key.

    Parameters
    ----------
    values
        Values of the fields of a calculation.
    defaults
        Original default of each field.

    Examples
    --------
    >>> not_default({"steps": 500.0, "fmax": 0.02}, {"steps": 500, "fmax": 0.01})
    {'fmax': 0.02}
    """
    return {name: value for name, value in values.items() if canonical(value) != canonical(defaults[name])}


def structure_fields(structure: Structure) -> dict[str, Any]:
    """Return the properties of a structure that affect a calculation, as multiples of 1/:data:`GRID`.

    These are the lengths and angles of the cell and, for each site in order, the elements with their occupancies and
    the fractional coordinates within the cell. The orientation of the crystal, oxidation states, labels, charges and
    magnetic moments are not included, since no supported potential depends on them.

    Parameters
    ----------
    structure
        Ordered or disordered structure.
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
    """Return a value converted to the types of JSON."""
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
            raise TypeError(f"the key {odd[0]!r} of a mapping is not a string")
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no canonical text: list its fields")
