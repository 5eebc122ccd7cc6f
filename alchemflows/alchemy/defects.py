"""Point defects of ordered crystals: the formula unit, the sites that are alike, and whether there are ions."""

from __future__ import annotations

from functools import reduce
from math import gcd

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Composition, Structure

from alchemflows.alchemy.symmetry import images_of, symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem


def formula_unit(structure: Structure) -> tuple[dict[str, int], int]:
    """Return the atoms of each element in a formula unit, and the number of formula units in the cell.

    The formula unit has the smallest whole numbers; that of an element is one atom.

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
    """Return the atoms of an ordered crystal that its symmetry makes equivalent to one, that one included."""
    system, _ = AlchemicalSystem.from_structure(structure)
    labels = symmetry_of(system).equivalent_atoms
    return [int(atom) for atom in np.flatnonzero(labels == labels[site])]


def equivalent_positions(structure: Structure, position: ArrayLike) -> int:
    """Return how many places of the cell the symmetry of an ordered crystal makes equivalent to one.

    Parameters
    ----------
    structure
        The crystal.
    position
        In units of the cell, shape (3,).
    """
    system, _ = AlchemicalSystem.from_structure(structure)
    return len(images_of(system, position))


def oxidation_states(structure: Structure) -> dict[str, float]:
    """Return the most common oxidation states that balance, by pymatgen; empty where there are none but 0.

    Elements and most alloys have none.
    """
    units, _ = formula_unit(structure)
    if len(units) < 2:
        return {}
    guesses = Composition(units).oxi_state_guesses()
    return dict(guesses[0]) if guesses and any(guesses[0].values()) else {}


def charge_caveats(structure: Structure) -> list[str]:
    """Return what a reader has to know about charge, for a crystal of ions; nothing for others."""
    states = oxidation_states(structure)
    if not states:
        return []
    ions = ", ".join(f"{symbol} {state:+g}" for symbol, state in sorted(states.items()))
    return [
        f"the elements have oxidation states ({ions}), but the potential has no charges and no electrons: this is the "
        "defect of a neutral cell as the training data imply it. Charged defects need a charge-aware model; "
        "electrostatic corrections (image charges, band alignment, Fermi level) are out of reach"
    ]
