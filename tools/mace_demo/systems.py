"""The chemistry of `mace-demo`: prototypes, elements and conditions of each system."""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal

#: The common seed; the seed of each piece of work is derived from it and the name of the work.
SEED = 2025


def rng_of(*names: object) -> np.random.Generator:
    """Return the random generator of a named piece of work, which is the same in every process."""
    return np.random.default_rng([SEED, *(crc32(str(name).encode()) for name in names)])


@dataclass(frozen=True)
class Chemistry:
    """A structure type, the elements that share one of its sites, and the settings of its data.

    Attributes
    ----------
    elements
        Elements that share one sublattice.
    supercells
        Supercells of mixed and hot structures; drawn at random.
    temperatures_K, timestep_fs
        Range of the dynamics.
    rattle_A
        Standard deviation of the strongest random displacements, larger than thermal displacements.
    n_trajectories, n_rattled, n_relaxed
        Numbers of pieces of data; see `structures.py`.
    vacancy
        Whether half of the structures lack an atom.
    """

    elements: tuple[str, ...]
    supercells: tuple[tuple[int, int, int], ...]
    temperatures_K: tuple[float, float]
    timestep_fs: float
    rattle_A: float
    n_trajectories: int
    n_rattled: int
    n_relaxed: int
    vacancy: bool = False


SYSTEMS = {
    "alpha": Chemistry(("Pb", "Sn"), ((2, 2, 1), (2, 2, 1), (2, 2, 2)), (250, 700), 5.0, 0.18, 14, 36, 5),
    "delta": Chemistry(("Pb", "Sn"), ((1, 1, 1), (1, 1, 1), (1, 2, 1)), (250, 800), 5.0, 0.18, 15, 36, 5),
    "chloride": Chemistry(("Li", "Na", "K"), ((2, 2, 2), (2, 2, 2), (1, 1, 2)), (250, 800), 4.0, 0.15, 15, 40, 7),
    "iron": Chemistry(("Fe",), ((2, 2, 2), (2, 2, 2), (3, 2, 2)), (200, 800), 3.0, 0.14, 15, 30, 4, vacancy=True),
    "oxide": Chemistry(("Ce", "Zr", "Sn"), ((2, 2, 2), (1, 2, 2), (1, 2, 2)), (200, 600), 2.5, 0.1, 18, 48, 8),
    "nitride": Chemistry(("Al", "Ga", "Sc"), ((2, 2, 1), (2, 2, 1), (2, 2, 2)), (200, 600), 2.0, 0.09, 17, 48, 8),
}


def prototype(system: str, element: str) -> Atoms:
    """Return the cell of a pure compound with its usual symmetry, to be relaxed."""
    if system == "alpha":
        sites = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
        return Atoms(["Cs", element, "I", "I", "I"], scaled_positions=sites, cell=[6.35] * 3, pbc=True)
    if system == "delta":  # NH4CdCl3 type
        sites = [
            (0.4290, 0.25, 0.8270),
            (0.1610, 0.25, 0.0590),
            (0.2870, 0.25, 0.2110),
            (0.1690, 0.25, 0.4980),
            (0.0230, 0.25, 0.8910),
        ]
        cell = [11.1, 4.8, 18.2, 90, 90, 90]
        return _plain(crystal(["Cs", element, "I", "I", "I"], sites, spacegroup=62, cellpar=cell))
    if system == "chloride":
        return bulk(element + "Cl", "rocksalt", a={"Li": 5.1, "Na": 5.7, "K": 6.4}[element])
    if system == "iron":
        return bulk(element, "bcc", a=2.85, cubic=True)
    if system == "oxide":
        return bulk(element + "O2", "fluorite", a={"Ce": 5.45, "Zr": 5.15, "Sn": 5.1}[element])
    a = {"Al": 3.13, "Ga": 3.22, "Sc": 3.5}[element]
    return bulk(element + "N", "wurtzite", a=a, c=1.6 * a)


def lattice_parameters(system: str, atoms: Atoms) -> list[float]:
    """Return the lattice parameters of a pure cell along its conventional axes, Å, without duplicates."""
    a, b, c = (float(v) for v in atoms.cell.lengths())
    if system in ("chloride", "oxide"):  # primitive cells of face-centred lattices
        return [a * np.sqrt(2)]
    return {"delta": [a, b, c], "nitride": [a, c]}.get(system, [a])


def sublattice(system: str, atoms: Atoms) -> np.ndarray:
    """Return the indices of the atoms on the site that the elements share."""
    return np.flatnonzero(np.isin(atoms.get_chemical_symbols(), SYSTEMS[system].elements))


def mixed(system: str, relaxed: dict[str, Atoms], fractions: np.ndarray) -> Atoms:
    """Return the cell between the relaxed pure cells (Vegard), with the first element on the mixed sites."""
    pure = [relaxed[f"{system}-{element}"] for element in SYSTEMS[system].elements]
    cell = np.tensordot(fractions, [p.cell.array for p in pure], 1)
    reference = pure[0].get_scaled_positions(wrap=False)
    apart = [p.get_scaled_positions(wrap=False) - reference for p in pure]
    scaled = reference + np.tensordot(fractions, [d - np.round(d) for d in apart], 1)
    return Atoms(pure[0].symbols, scaled_positions=scaled, cell=cell, pbc=True)


def _plain(atoms: Atoms) -> Atoms:
    return Atoms(atoms.symbols, scaled_positions=atoms.get_scaled_positions(), cell=atoms.cell, pbc=True)
