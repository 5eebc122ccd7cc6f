"""The mixed crystals of Fig. 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.structures.prototypes import bismuth_sulfohalide, fluorite_oxide, rocksalt_chloride

Weights = tuple[float, ...]


@dataclass(frozen=True)
class MixedCrystal:
    """A crystal with one sublattice over which several elements are distributed.

    Attributes
    ----------
    pure
        Function that returns the unit cell with one of the elements on the sublattice.
    elements
        Elements on the sublattice.
    within
        Function that returns whether a composition is shown in the figure.
    averaged
        Compositions at which random arrangements are relaxed.
    repeats
        Supercell of the random arrangements.
    points_per_cube
        Number of lattice points in the conventional cell of a cubic crystal, whose edge is the lattice parameter; 0 for
        other crystals, which have a, b and c.
    """

    pure: Callable[[str], Structure]
    elements: tuple[str, ...]
    within: Callable[[Weights], bool]
    averaged: tuple[Weights, ...]
    repeats: tuple[int, int, int]
    points_per_cube: int = 0

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the independent lattice parameters."""
        return ("a",) if self.points_per_cube else ("a", "b", "c")

    def grid(self, n_intervals: int) -> CompositionGrid:
        """Return the compositions of the figure, with `n_intervals` intervals between two pure elements."""
        first = self.elements[0]
        every = CompositionGrid.simplex(self.pure(first), {first: self.elements}, n_intervals)
        return CompositionGrid(every.system, tuple(filter(self.within, every.weights)))

    def arrangements(self, weights: Sequence[float], n: int, seed: int) -> list[Structure]:
        """Return n random arrangements of a composition in the supercell."""
        crystal = self.pure(self.elements[0])
        present = {e: w for e, w in zip(self.elements, weights, strict=True) if w > 0}
        species = [present if site.specie.symbol == self.elements[0] else site.specie for site in crystal]
        disordered = Structure(crystal.lattice, species, crystal.frac_coords)
        return Disorder(disordered, self.repeats).random(n, seed)

    def lengths_A(
        self, cell_parameters: Sequence[float], volume_A3: float, repeats: Sequence[int] = (1, 1, 1)
    ) -> list[float]:
        """Return the lattice parameters of a relaxed cell.

        Parameters
        ----------
        cell_parameters
            a, b, c (Å) and angles of the cell (degrees).
        volume_A3
            Volume of the cell (Å³).
        repeats
            Numbers of repeats of the unit cell in this cell.
        """
        if self.points_per_cube:
            return [float(np.cbrt(self.points_per_cube * volume_A3 / np.prod(repeats)))]
        return (np.array(cell_parameters[:3]) / repeats).tolist()


def _oxide(metal: str) -> MixedCrystal:
    return MixedCrystal(
        fluorite_oxide,
        ("Ce", metal),
        lambda weights: weights[1] <= 0.5 or weights[1] == 1,
        ((0.875, 0.125), (0.75, 0.25), (0.5, 0.5)),
        (2, 2, 4),
        points_per_cube=4,
    )


#: Mixed crystals of Fig. 2, by name.
MIXED_CRYSTALS: dict[str, MixedCrystal] = {
    "(Ce,Sn)O2": _oxide("Sn"),
    "(Ce,Zr)O2": _oxide("Zr"),
    "(Li,Na,K)Cl": MixedCrystal(
        rocksalt_chloride,
        ("Li", "Na", "K"),
        lambda weights: True,
        ((0.5, 0.0, 0.5), (0.0, 0.5, 0.5), (0.25, 0.5, 0.25)),
        (2, 2, 4),
        points_per_cube=4,
    ),
    "BiS(Cl,Br,I)": MixedCrystal(
        bismuth_sulfohalide,
        ("Cl", "Br", "I"),
        lambda weights: min(weights) == 0,
        ((0.5, 0.5, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5)),
        (1, 2, 1),
    ),
}
