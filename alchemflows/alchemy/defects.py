"""Point defects of ordered crystals: formula units, equivalent sites and oxidation states."""

from __future__ import annotations

from functools import reduce
from math import gcd

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Composition, Structure

from alchemflows.alchemy.symmetry import images_of, symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem


def formula_unit(structure: Structure) -> tuple[dict[str, int], int]:
    """Return the number of atoms of each element in a formula unit, and the number of formula units in the cell.

    The formula unit has the smallest whole numbers; for a pure element it is one atom.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.3), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> formula_unit(salt)
    ({'Cl': 1, 'K': 1}, 4)
    """
    symbols = [site.specie.symbol for site in structure]
    counts = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    units = reduce(gcd, counts.values())
    return {symbol: count // units for symbol, count in counts.items()}, units


def equivalent_sites(structure: Structure, site: int) -> list[int]:
    """Return the indices of all atoms of an ordered crystal equivalent by symmetry to `site`, including `site`."""
    system, _ = AlchemicalSystem.from_structure(structure)
    labels = symmetry_of(system).equivalent_atoms
    return [int(atom) for atom in np.flatnonzero(labels == labels[site])]


def equivalent_positions(structure: Structure, position: ArrayLike) -> int:
    """Return the number of positions in the cell that are equivalent by symmetry to `position`, including itself.

    Parameters
    ----------
    structure
        The ordered crystal.
    position
        Fractional coordinates, shape (3,).
    """
    system, _ = AlchemicalSystem.from_structure(structure)
    return len(images_of(system, position))


def oxidation_states(structure: Structure) -> dict[str, float]:
    """Return the most common charge-balanced oxidation states, guessed by pymatgen.

    The result is empty if there are none, as for pure elements and most alloys.
    """
    units, _ = formula_unit(structure)
    if len(units) < 2:
        return {}
    guesses = Composition(units).oxi_state_guesses()
    return dict(guesses[0]) if guesses and any(guesses[0].values()) else {}


def charge_caveats(structure: Structure) -> list[str]:
    """Return a note on charged defects if the crystal is ionic; otherwise an empty list."""
    states = oxidation_states(structure)
    if not states:
        return []
    ions = ", ".join(f"{symbol} {state:+g}" for symbol, state in sorted(states.items()))
    return [
        f"the elements have oxidation states ({ions}), but the potential has neither charges nor electrons: the result "
        "is for the neutral defect that the training data describe. Charged defects require a potential with charges; "
        "electrostatic corrections (image charges, band alignment, Fermi level) are not available"
    ]
