"""Crystals of the figures."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure


def alpha_perovskite(element: str = "Pb", a_A: float = 6.33) -> Structure:
    """Return one cell of cubic α-CsPbI3, or with another element for Pb."""
    sites = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a_A), ["Cs", element, "I", "I", "I"], sites)


def delta_perovskite(element: str = "Pb") -> Structure:
    """Return one cell (Pnma, NH4CdCl3 type, 20 atoms) of δ-CsPbI3, or with another element for Pb."""
    return Structure.from_spacegroup(
        62,
        Lattice.orthorhombic(11.1, 4.8, 18.2),
        ["Cs", element, "I", "I", "I"],
        [
            [0.4290, 0.25, 0.8270],
            [0.1610, 0.25, 0.0590],
            [0.2870, 0.25, 0.2110],
            [0.1690, 0.25, 0.4980],
            [0.0230, 0.25, 0.8910],
        ],
    )


def bcc_iron(a_A: float = 2.84) -> Structure:
    """Return the cubic cell of bcc Fe, 2 atoms."""
    return Structure(Lattice.cubic(a_A), ["Fe", "Fe"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
