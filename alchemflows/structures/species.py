"""What a site of a pymatgen structure holds: elements and occupancies, isotopes, rounding, fixed atoms."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymatgen.core import DummySpecies, Element, Species, Structure

from alchemflows.errors import AlchemflowsWarning, InvalidInputError

#: The tolerance of occupancies. They are read as rounded to three decimals, so that each may be off by this much and
#: the sum of n of them by n times as much.
OCCUPANCY_ROUNDING = 5e-4
#: Occupancies differ by less than this in floating-point arithmetic only.
FLOATING_POINT = 1e-9
#: Names that pymatgen knows as elements of atomic number 1.
ISOTOPES = ("D", "T")
#: A site that misses full occupancy by less than this, and by more than rounding, may be a mistake.
DOUBTFUL_VACANCY = 0.01


def sum_tolerance(n_species: int) -> float:
    """Return how far the sum of n rounded occupancies may be from 1 because of their rounding."""
    return n_species * OCCUPANCY_ROUNDING + FLOATING_POINT


def element_of(species: Any, where: str) -> str:
    """Return the symbol of the element of a pymatgen species, its oxidation state ignored.

    Raises
    ------
    InvalidInputError
        If it is an isotope or no element; the message begins with `where`.
    """
    element = species.element if isinstance(species, Species) and not isinstance(species, DummySpecies) else species
    if not isinstance(element, Element):
        raise InvalidInputError(f"{where} holds {species}, which is not an element")
    if element.name in ISOTOPES:
        raise InvalidInputError(isotope_message(element.name, where))
    return element.symbol


def check_symbol(name: str) -> str:
    """Return the symbol of an element.

    Raises
    ------
    InvalidInputError
        If it is not one, or an isotope.
    """
    if name in ISOTOPES:
        raise InvalidInputError(isotope_message(name, "the input"))
    if not isinstance(name, str) or not Element.is_valid_symbol(name):
        raise InvalidInputError(f"{name!r} is not the symbol of an element")
    return name


def isotope_message(name: str, where: str) -> str:
    """Return why an isotope is refused, and what to do."""
    return (
        f"{where} holds the isotope {name}: masses of isotopes are not supported, and its free energy would be that of "
        "the natural element. Write H, and add the classical mass term (3/2) k_B T ln(m_H / m) for each atom yourself"
    )


def occupancy_sum_message(where: str, occupancy: Mapping[str, float]) -> str:
    """Return what is wrong with occupancies that sum to more than 1."""
    listed = " + ".join(f"{symbol} {fraction:g}" for symbol, fraction in occupancy.items())
    return (
        f"the occupancies of {where} sum to {sum(occupancy.values()):.6g} ({listed}); at most 1 is possible. Correct "
        "the occupancies, or rescale them to 1 by reading the file with an occupancy tolerance that admits the sum"
    )


def site_occupancy(structure: Structure, index: int) -> dict[str, float]:
    """Return element symbols and occupancies of one site of a pymatgen structure, oxidation states ignored.

    A sum that is 1 within the rounding of the occupancies is made 1: 0.333 + 0.333 + 0.333 are three thirds.

    Raises
    ------
    InvalidInputError
        If the site holds an isotope or no element, an occupancy is no positive number, or the sum exceeds 1.
    """
    where = f"site {index}"
    occupancy: dict[str, float] = {}
    for species, fraction in structure[index].species.items():
        symbol = element_of(species, where)
        occupancy[symbol] = occupancy.get(symbol, 0.0) + float(fraction)
    return understood(occupancy, where)


def understood(occupancy: Mapping[str, float], where: str) -> dict[str, float]:
    """Return occupancies of a site whose sum is exactly 1 where it misses 1 by rounding only.

    Raises
    ------
    InvalidInputError
        If one is no positive number, or the sum exceeds 1 by more than rounding.
    """
    if not occupancy or not all(np.isfinite(x) and x > 0 for x in occupancy.values()):
        raise InvalidInputError(f"the occupancies of {where} must be positive numbers; got {dict(occupancy)}")
    total = sum(occupancy.values())
    tolerance = sum_tolerance(len(occupancy))
    if total > 1 + tolerance:
        raise InvalidInputError(occupancy_sum_message(where, occupancy))
    if abs(total - 1) <= tolerance:
        return {symbol: fraction / total for symbol, fraction in occupancy.items()}
    if 1 - total < DOUBTFUL_VACANCY:
        warnings.warn(
            f"{where} is occupied to {total:.4f}, which is taken as a vacancy of {1 - total:.4f}; if it is rounding, "
            "correct the structure",
            AlchemflowsWarning,
            stacklevel=3,
        )
    return dict(occupancy)


def is_full(occupancy: Mapping[str, float]) -> bool:
    """Tell whether a site holds one element and no vacancy."""
    return len(occupancy) == 1 and abs(next(iter(occupancy.values())) - 1) <= FLOATING_POINT


def fixed_atoms(structure: Structure) -> list[int]:
    """Return the sites that selective dynamics keeps from moving along at least one direction."""
    return [
        index
        for index, flags in enumerate(structure.site_properties.get("selective_dynamics") or [])
        if flags is not None and not np.all(flags)
    ]


def check_fixed_atoms(structure: Structure) -> None:
    """Refuse a structure with fixed atoms, which the dynamics would move.

    Raises
    ------
    InvalidInputError
        Naming how many there are and the first one.
    """
    fixed = fixed_atoms(structure)
    if fixed:
        raise InvalidInputError(
            f"selective dynamics fixes {len(fixed)} of {len(structure)} atoms (the first is site {fixed[0]}), which "
            "the dynamics cannot do. Accept that all atoms move: ignore 'fixed-atoms' when the file is read, or "
            "structure.remove_site_property('selective_dynamics')"
        )
