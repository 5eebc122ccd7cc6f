"""Sublattices of a disordered crystal, by symmetry, and sites that exclude one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import spglib
from ase.data import atomic_numbers, covalent_radii
from matscipy.neighbours import neighbour_list
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.structures.species import FLOATING_POINT, OCCUPANCY_ROUNDING, is_full, site_occupancy, sum_tolerance

#: How far (Å) atoms may be from ideal places.
SYMPREC_A = 0.05
#: Atoms are never nearer than this fraction of the sum of their covalent radii (Cordero et al., Dalton Trans. 2008,
#: 2832): 0.75 for the shortest bonds of crystals (N≡N 0.77, V=O 0.73, C≡C 0.79).
EXCLUSION_FRACTION = 0.7
#: Atoms of the same element are never nearer than this (Å): O–O in O2 1.21, H–H in ices and hydrides 1.5.
EXCLUSION_SAME_ELEMENT_A = 1.2


@dataclass(frozen=True)
class Occupancies:
    """What the sites of a crystal hold, and which of them are alike.

    Attributes
    ----------
    sites
        Element symbols and occupancies of each site; the same on all disordered sites of a sublattice.
    sublattices
        A label for each site: disordered sites with the same label are equivalent by symmetry and have the same
        occupancies.
    """

    sites: tuple[dict[str, float], ...]
    sublattices: tuple[int, ...]


def occupancies_of(structure: Structure) -> Occupancies:
    """Return the occupancies of a structure and its sublattices.

    Occupancies that differ by at most twice :data:`~alchemflows.structures.species.OCCUPANCY_ROUNDING` count as the
    same number, rounded in two ways; sites that are equivalent (spglib) if they do so get their mean.

    Raises
    ------
    InvalidInputError
        If an occupancy makes no sense, see :func:`~alchemflows.structures.species.site_occupancy`.
    """
    sites = [site_occupancy(structure, index) for index in range(len(structure))]
    disordered = [index for index, occupancy in enumerate(sites) if not is_full(occupancy)]
    if not disordered:
        return Occupancies(tuple(sites), tuple(range(len(sites))))
    labels = _orbits(structure.lattice, structure.frac_coords, _kinds(sites))
    for label in {labels[index] for index in disordered}:
        members = [index for index in disordered if labels[index] == label]
        first = sites[members[0]]
        mean = {symbol: float(np.mean([sites[index][symbol] for index in members])) for symbol in first}
        for index in members:
            sites[index] = dict(mean)
    return Occupancies(tuple(sites), tuple(int(label) for label in labels))


def check_exclusions(structure: Structure, sites: Sequence[Mapping[str, float]]) -> None:
    """Refuse a crystal in which sites exclude one another.

    Two sites exclude one another if their occupancies sum to at most 1 and their distance is less than that of any two
    atoms in a crystal: :data:`EXCLUSION_FRACTION` times the sum of the covalent radii of what they hold, and for an
    element that both hold at least :data:`EXCLUSION_SAME_ELEMENT_A`.

    Parameters
    ----------
    structure
        The crystal.
    sites
        Occupancies of each site.

    Raises
    ------
    InvalidInputError
        Naming the closest pair.
    """
    partial = [k for k, occupancy in enumerate(sites) if sum(occupancy.values()) < 1 - FLOATING_POINT]
    if len(partial) < 1:
        return
    pairs = exclusions(structure, sites, partial)
    if pairs:
        distance, i, j = min(pairs)
        raise InvalidInputError(
            f"sites {i} ({_text(sites[i])}) and {j} ({_text(sites[j])}) are {distance:.2f} Å apart and exclude one "
            f"another ({len(pairs)} such pairs): atoms are never on both, but an alchemical cell or an arrangement of "
            "independent sites would have both at once. Merge each split position into one site at its centre, or "
            "give an ordered structure"
        )


def exclusions(
    structure: Structure, sites: Sequence[Mapping[str, float]], partial: Sequence[int]
) -> list[tuple[float, int, int]]:
    """Return the pairs of partly occupied sites that exclude one another: distance (Å) and the two sites."""
    radii = {symbol: covalent_radii[atomic_numbers[symbol]] for k in partial for symbol in sites[k]}
    cutoff = max(EXCLUSION_SAME_ELEMENT_A, 2 * EXCLUSION_FRACTION * max(radii.values()))
    first, second, distances = neighbour_list(
        "ijd",
        cell=structure.lattice.matrix,
        pbc=[True] * 3,
        positions=structure.cart_coords[list(partial)],
        numbers=np.ones(len(partial), dtype=np.int32),
        cutoff=float(cutoff),
    )
    found = []
    for a, b, distance in zip(first, second, distances, strict=True):
        i, j = partial[int(a)], partial[int(b)]
        total = sum(sites[i].values()) + sum(sites[j].values())
        if (
            i < j
            and total <= 1 + sum_tolerance(len(sites[i]) + len(sites[j]))
            and distance < _limit(sites[i], sites[j])
        ):
            found.append((float(distance), i, j))
    return found


def _limit(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the distance (Å) below which some atom of one site excludes some atom of the other."""
    limits = [EXCLUSION_SAME_ELEMENT_A] if one.keys() & other.keys() else []
    limits += [
        EXCLUSION_FRACTION * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
        for a in one
        for b in other
    ]
    return float(max(limits))


def _kinds(sites: Sequence[Mapping[str, float]]) -> list[int]:
    """Return a label for each site, the same for occupancies that are equal within rounding."""
    known: list[Mapping[str, float]] = []
    kinds = []
    for occupancy in sites:
        for kind, other in enumerate(known):
            if occupancy.keys() == other.keys() and all(
                abs(occupancy[symbol] - other[symbol]) <= 2 * OCCUPANCY_ROUNDING + FLOATING_POINT for symbol in other
            ):
                kinds.append(kind)
                break
        else:
            kinds.append(len(known))
            known.append(occupancy)
    return kinds


def _orbits(lattice: Lattice, places: np.ndarray, kinds: Sequence[int]) -> np.ndarray:
    """Return a label for each site, the same for sites of one crystallographic orbit, shape (N,)."""
    cell = (lattice.matrix.tolist(), places.tolist(), [kind + 1 for kind in kinds])
    dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
    # Orbits of the crystal, not of the supercell, whose shape may break its symmetry.
    return np.arange(len(places)) if dataset is None else np.asarray(dataset.crystallographic_orbits)


def _text(occupancy: Mapping[str, float]) -> str:
    return " ".join(f"{symbol}{fraction:.4g}" for symbol, fraction in occupancy.items())
