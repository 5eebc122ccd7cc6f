"""Chemical formulas of compositions and sites."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from math import gcd

from pymatgen.core import Composition

from alchemflows.schemas.structure import Vacancies
from alchemflows.structures.species import sum_tolerance


def reduced_formula(amounts: Mapping[str, float]) -> str:
    """Return a reduced formula, for example ``CsSn0.5Pb0.5I3``."""
    # If there are fractions, pymatgen also writes the ones: Cs1Sn0.5Pb0.5I3
    return re.sub(r"(?<=[a-zA-Z])1(?=[A-Z]|$)", "", Composition(amounts).reduced_formula)


def amounts_of(sites: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the number of atoms of each element on sites with these occupancies."""
    amounts: dict[str, float] = {}
    for occupancy in sites:
        for symbol, fraction in occupancy.items():
            amounts[symbol] = amounts.get(symbol, 0.0) + fraction
    return {symbol: round(amount, 6) for symbol, amount in amounts.items()}


def formula_of(sites: Sequence[Mapping[str, float]]) -> str:
    """Return the formula of one formula unit of a cell: ``K0.6Na0.4Cl``, not ``K2.4Na1.6Cl4``."""
    kinds = Counter(frozenset((symbol, round(x, 6)) for symbol, x in occupancy.items()) for occupancy in sites)
    units = gcd(*kinds.values())
    return reduced_formula({symbol: round(amount / units, 4) for symbol, amount in amounts_of(sites).items()})


def vacancies_of(sites: Sequence[Mapping[str, float]]) -> list[Vacancies]:
    """Return the partly vacant sites, grouped by equal occupancies."""
    found: dict[tuple, int] = {}
    for occupancy in sites:
        if sum(occupancy.values()) < 1 - sum_tolerance(len(occupancy)):
            key = tuple((symbol, round(fraction, 6)) for symbol, fraction in occupancy.items())
            found[key] = found.get(key, 0) + 1
    return [
        Vacancies(occupancy=dict(key), n_sites=count, fraction=round(1 - sum(x for _, x in key), 6))
        for key, count in found.items()
    ]
