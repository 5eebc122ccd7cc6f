"""Symmetry of an alchemical system, found by spglib: equivalent atoms and symmetry operations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import spglib
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from alchemflows.alchemy.path import WeightPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.structures.sublattices import SYMPREC_A


@dataclass(frozen=True)
class Symmetry:
    """Symmetry of the structure of an alchemical system.

    Attributes
    ----------
    equivalent_atoms
        A label for each atom, shape (N,); equivalent atoms have the same label.
    n_primitive_cells
        Number of primitive cells in the cell.
    space_group
        Number of the space group.
    point_group
        Integer rotations of fractional coordinates, shape (n, 3, 3).
    """

    equivalent_atoms: np.ndarray
    n_primitive_cells: int
    space_group: int
    point_group: np.ndarray


def symmetry_of(system: AlchemicalSystem) -> Symmetry:
    """Return the symmetry of a system; alchemical sites are of one kind if they have the same group and elements."""
    dataset = _dataset(system)
    if dataset is None:
        return Symmetry(np.arange(system.n_sites), 1, 1, np.eye(3, dtype=int)[None])
    translations = sum(bool((r == np.eye(3, dtype=int)).all()) for r in dataset.rotations)
    return Symmetry(
        np.asarray(dataset.equivalent_atoms),
        translations,
        int(dataset.number),
        np.unique(dataset.rotations, axis=0).astype(int),
    )


def operations_of(system: AlchemicalSystem) -> tuple[np.ndarray, np.ndarray]:
    """Return the symmetry operations x → R x + t on fractional coordinates, shapes (n, 3, 3) and (n, 3).

    Kinds of sites are those of :func:`symmetry_of`.
    """
    dataset = _dataset(system)
    if dataset is None:
        return np.eye(3, dtype=int)[None], np.zeros((1, 3))
    return np.asarray(dataset.rotations, dtype=int), np.asarray(dataset.translations, dtype=float)


def site_permutations(system: AlchemicalSystem) -> np.ndarray:
    """Return the index of the image of each atom under each symmetry operation, shape (operations, N).

    Kinds of sites are those of :func:`symmetry_of`.
    """
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


def equivalent_sites(path: WeightPath) -> np.ndarray:
    """Return a label for each site; sites that are equivalent by symmetry at either end of a path share a label.

    If a path changes only some of several equivalent sites, they are equivalent before the change. After it the
    crystal is one of several possible arrangements.

    Parameters
    ----------
    path
        Path whose system has the ideal positions in its structure.

    Returns
    -------
    labels
        Labels of the sites, shape (N,).
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    system, n = path.system, path.system.n_sites
    links = []
    for weights in (path.initial_weights, path.final_weights):
        dataset = _symmetry(system.structure, _composition_kinds(system, weights))
        links.append(np.arange(n) if dataset is None else np.asarray(dataset.equivalent_atoms))
    first, second = np.tile(np.arange(n), 2), np.concatenate(links)
    labels = connected_components(coo_array((np.ones(2 * n), (first, second)), shape=(n, n)), directed=False)[1]
    return np.asarray(labels)


def _composition_kinds(system: AlchemicalSystem, weights: ArrayLike) -> list[int]:
    """Return a number for each site; sites of the same composition have the same number."""
    keys = [
        tuple(sorted((z, round(share, 6)) for z, share in site.items())) for site in system.site_composition(weights)
    ]
    known = sorted(set(keys))
    return [known.index(key) for key in keys]


def images_of(system: AlchemicalSystem, position: ArrayLike) -> np.ndarray:
    """Return the distinct images of a position under the symmetry operations of a crystal.

    Parameters
    ----------
    system
        The crystal.
    position
        Fractional coordinates of any point of the cell, shape (3,).

    Returns
    -------
    places
        Fractional coordinates, shape (n, 3), starting with `position`; images closer than :data:`SYMPREC_A` are
        counted once.
    """
    start = np.asarray(position, dtype=float)
    places = [start]
    for rotation, translation in zip(*operations_of(system), strict=True):
        place = rotation @ start + translation
        apart = np.array(places) - place
        apart = (apart - apart.round()) @ system.structure.lattice.matrix
        if np.linalg.norm(apart, axis=1).min() > SYMPREC_A:
            places.append(place)
    return np.array(places)


def _dataset(system: AlchemicalSystem) -> spglib.SpglibDataset | None:
    kinds = np.array(system.numbers)
    for index, group in enumerate(system.groups):
        choices = sorted({tuple(channel[k] for channel in group.channels) for k in range(len(group.sites))})
        for k, site in enumerate(group.sites):
            kinds[site] = 1000 * (index + 1) + choices.index(tuple(channel[k] for channel in group.channels))
    return _symmetry(system.structure, kinds.tolist())


def _symmetry(structure: Structure, kinds: list[int]) -> spglib.SpglibDataset | None:
    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), kinds)
    return spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
