"""Symmetry of an alchemical system: equivalent atoms and lattice translations, by spglib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.structures.sublattices import SYMPREC_A


@dataclass(frozen=True)
class Symmetry:
    """Symmetry of a system's structure.

    Attributes
    ----------
    equivalent_atoms
        A label for each atom, the same for equivalent ones, shape (N,).
    n_primitive_cells
        Lattice translations within the cell.
    space_group
        Its number.
    """

    equivalent_atoms: np.ndarray
    n_primitive_cells: int
    space_group: int


def symmetry_of(system: AlchemicalSystem) -> Symmetry:
    """Find the symmetry, alchemical sites of a group and the same elements being alike."""
    dataset = _dataset(system)
    if dataset is None:
        return Symmetry(np.arange(system.n_sites), 1, 1)
    translations = sum(bool((r == np.eye(3, dtype=int)).all()) for r in dataset.rotations)
    return Symmetry(np.asarray(dataset.equivalent_atoms), translations, int(dataset.number))


def site_permutations(system: AlchemicalSystem) -> np.ndarray:
    """Return where each symmetry operation takes each atom, shape (operations, N), alike as in :func:`symmetry_of`."""
    dataset = _dataset(system)
    if dataset is None:
        return np.arange(system.n_sites)[None]
    places = system.structure.frac_coords
    found = []
    for rotation, translation in zip(dataset.rotations, dataset.translations, strict=True):
        apart = (places @ rotation.T + translation)[:, None] - places
        apart = (apart - apart.round()) @ system.structure.lattice.matrix
        found.append(np.linalg.norm(apart, axis=-1).argmin(axis=1))
    return np.array(found)


def _dataset(system: AlchemicalSystem) -> spglib.SpglibDataset | None:
    kinds = np.array(system.numbers)
    for index, group in enumerate(system.groups):
        choices = sorted({tuple(channel[k] for channel in group.channels) for k in range(len(group.sites))})
        for k, site in enumerate(group.sites):
            kinds[site] = 1000 * (index + 1) + choices.index(tuple(channel[k] for channel in group.channels))
    structure = system.structure
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), kinds.tolist())
    return spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
