"""Elements and occupancies of the sites of a pymatgen Structure; checks for isotopes, rounding and fixed atoms."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from pymatgen.core import DummySpecies, Element, Species, Structure

from alchemflows.errors import AlchemflowsWarning, InvalidInputError

#: Tolerance of occupancies. They are assumed to be rounded to three decimals: each may be wrong by this much, and a sum
#: of n occupancies by n times this much.
OCCUPANCY_ROUNDING = 5e-4
#: Occupancies that differ by less than this are equal up to floating-point error.
FLOATING_POINT = 1e-9
#: Isotopes that pymatgen treats as elements of atomic number 1.
ISOTOPES = ("D", "T")
#: A vacancy fraction below this, but larger than rounding, may be a mistake and causes a warning.
DOUBTFUL_VACANCY = 0.01


def sum_tolerance(n_species: int) -> float:
    """Return the largest deviation from 1 that rounding can cause in a sum of n occupancies."""
    return n_species * OCCUPANCY_ROUNDING + FLOATING_POINT


def element_of(species: Any, where: str) -> str:
    """Return the element symbol of a pymatgen species without its oxidation state.

    Raises
    ------
    InvalidInputError
        If the species is an isotope or not an element; the message begins with `where`.
    """
    element = species.element if isinstance(species, Species) and not isinstance(species, DummySpecies) else species
    if not isinstance(element, Element):
        raise InvalidInputError(f"{where} contains {species}, which is not an element")
    if element.name in ISOTOPES:
        raise InvalidInputError(isotope_message(element.name, where))
    return element.symbol


def check_symbol(name: str) -> str:
    """Return `name` if it is an element symbol.

    Raises
    ------
    InvalidInputError
        If `name` is not an element symbol, or is that of an isotope.
    """
    if name in ISOTOPES:
        raise InvalidInputError(isotope_message(name, "the input"))
    if not isinstance(name, str) or not Element.is_valid_symbol(name):
        raise InvalidInputError(f"{name!r} is not an element symbol")
    return name


def isotope_message(name: str, where: str) -> str:
    """Return the error message for an isotope."""
    element = "H" if name in ISOTOPES else name.strip("^0123456789")
    return (
        f"{where} contains the isotope {name}; isotope masses are not supported, so the free energy would be that of "
        f"the natural element. Write {element} instead, and add the classical mass term "
        f"(3/2) k_B T ln(m_{element} / m) per atom to the result"
    )


def occupancy_sum_message(where: str, occupancy: Mapping[str, float]) -> str:
    """Return the error message for occupancies that sum to more than 1."""
    listed = " + ".join(f"{symbol} {fraction:g}" for symbol, fraction in occupancy.items())
    return (
        f"the occupancies of {where} sum to {sum(occupancy.values()):.6g} ({listed}), which exceeds 1. Correct the "
        "occupancies, or read the file with a larger occupancy tolerance to rescale them to 1"
    )


def site_occupancy(structure: Structure, index: int) -> dict[str, float]:
    """Return element symbols and occupancies of one site of a pymatgen Structure, without oxidation states.

    Occupancies whose sum is 1 within their rounding are rescaled to a sum of 1: 0.333, 0.333 and 0.333 become thirds.

    Raises
    ------
    InvalidInputError
        If the site contains an isotope or a species that is not an element, if an occupancy is not a positive number,
        or if the sum exceeds 1.
    """
    where = f"site {index}"
    occupancy: dict[str, float] = {}
    for species, fraction in structure[index].species.items():
        symbol = element_of(species, where)
        occupancy[symbol] = occupancy.get(symbol, 0.0) + float(fraction)
    return with_rounding_removed(occupancy, where)


def with_rounding_removed(occupancy: Mapping[str, float], where: str) -> dict[str, float]:
    """Return the occupancies of a site, rescaled to a sum of 1 if the sum differs from 1 only by rounding.

    Raises
    ------
    InvalidInputError
        If an occupancy is not a positive number, or if the sum exceeds 1 by more than rounding.
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
            f"{where} has occupancy {total:.4f}, which is read as a vacancy fraction of {1 - total:.4f}; if this is "
            "a rounding error, correct the structure",
            AlchemflowsWarning,
            stacklevel=3,
        )
    return dict(occupancy)


def is_full(occupancy: Mapping[str, float]) -> bool:
    """Return whether a site is fully occupied by one element."""
    return len(occupancy) == 1 and abs(next(iter(occupancy.values())) - 1) <= FLOATING_POINT


def fixed_atoms(structure: Structure) -> list[int]:
    """Return the indices of sites that selective dynamics fixes along at least one direction."""
    return [
        index
        for index, flags in enumerate(structure.site_properties.get("selective_dynamics") or [])
        if flags is not None and not np.all(flags)
    ]


def check_fixed_atoms(structure: Structure) -> None:
    """Check that a structure has no fixed atoms, which are not supported in the dynamics.

    Raises
    ------
    InvalidInputError
        If atoms are fixed; the message gives their number and the first one.
    """
    fixed = fixed_atoms(structure)
    if fixed:
        raise InvalidInputError(
            f"selective dynamics fixes {len(fixed)} of {len(structure)} atoms (the first is site {fixed[0]}), but "
            "fixed atoms are not supported in the dynamics. To let all atoms move, ignore 'fixed-atoms' when reading "
            "the file, or call structure.remove_site_property('selective_dynamics')"
        )
