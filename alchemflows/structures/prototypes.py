"""Prototype crystals with approximate cells, used by commands and figures; some elements can be chosen."""

from __future__ import annotations

from pymatgen.core import Lattice, Structure


def alpha_perovskite(element: str = "Pb", a_A: float = 6.33) -> Structure:
    """Return the unit cell of cubic α-CsPbI3, optionally with another element instead of Pb (5 atoms)."""
    sites = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]
    return Structure(Lattice.cubic(a_A), ["Cs", element, "I", "I", "I"], sites)


def delta_perovskite(element: str = "Pb") -> Structure:
    """Return the cell of δ-CsPbI3 (Pnma, NH4CdCl3 type, 20 atoms), optionally with another element instead of Pb."""
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
    """Return the cubic cell of bcc Fe (2 atoms)."""
    return Structure(Lattice.cubic(a_A), ["Fe", "Fe"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])


def wurtzite_nitride(element: str = "Ga", a_A: float = 3.2, c_A: float = 5.2) -> Structure:
    """Return the hexagonal cell of wurtzite GaN (4 atoms), optionally with another element instead of Ga."""
    return Structure.from_spacegroup(
        186, Lattice.hexagonal(a_A, c_A), [element, "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.38]]
    )


def fluorite_oxide(element: str = "Ce", a_A: float = 5.3) -> Structure:
    """Return the primitive cell of fluorite CeO2 (3 atoms), optionally with another element instead of Ce."""
    sites = [[0.0, 0.0, 0.0], [0.25, 0.25, 0.25]]
    return Structure.from_spacegroup(225, Lattice.cubic(a_A), [element, "O"], sites).get_primitive_structure()


def rocksalt_chloride(element: str = "Na", a_A: float = 5.6) -> Structure:
    """Return the primitive cell of rocksalt NaCl (2 atoms), optionally with another element instead of Na."""
    sites = [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup(225, Lattice.cubic(a_A), [element, "Cl"], sites).get_primitive_structure()


def bismuth_sulfohalide(element: str = "I") -> Structure:
    """Return the unit cell of BiSI (Pnma, SbSI type, 12 atoms), optionally with another element instead of I."""
    return Structure.from_spacegroup(
        62,
        Lattice.orthorhombic(8.5, 4.15, 10.2),
        ["Bi", "S", element],
        [[0.119, 0.25, 0.876], [0.840, 0.25, 0.950], [0.508, 0.25, 0.172]],
    )
