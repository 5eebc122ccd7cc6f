"""Crystals of several space groups, and noise on them."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Lattice, Structure

CUBIC = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
HEXAGONAL = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.11, 4.98), ["Al", "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.382]]
)
TETRAGONAL = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.74, 3.19), ["Sn", "O"], [[0, 0, 0], [0.306, 0.306, 0.0]]
)
MONOCLINIC = Structure.from_spacegroup(
    "P2_1/c",
    Lattice.monoclinic(5.15, 5.21, 5.32, 99.2),
    ["Zr", "O", "O"],
    [[0.275, 0.040, 0.209], [0.070, 0.332, 0.345], [0.450, 0.757, 0.479]],
)
#: One atom in a primitive rhombohedral cell of the face-centred cubic lattice.
PRIMITIVE = Structure(Lattice([[0, 2, 2], [2, 0, 2], [2, 2, 0]]), ["Al"], [[0, 0, 0]])
TRICLINIC = Structure(
    Lattice.from_parameters(5.0, 6.0, 7.0, 85.0, 95.0, 100.0),
    ["Na", "Cl", "I"],
    [[0.1, 0.2, 0.3], [0.5, 0.6, 0.5], [0.9, 0.8, 0.7]],
)


def shaken(structure: Structure, seed: int, strain: float = 0.01, displacement_A: float = 0.05) -> Structure:
    """Return a structure with a random strain and random displacements."""
    rng = np.random.default_rng(seed)
    cell = structure.lattice.matrix @ (np.eye(3) + strain * rng.normal(size=(3, 3)))
    shift = displacement_A * rng.normal(size=(len(structure), 3)) @ np.linalg.inv(cell)
    return Structure(cell, structure.species, structure.frac_coords + shift)
