"""Find symmetry-equivalent sublattices of a disordered crystal, and sites too close to be occupied together."""

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

#: Tolerance (Å) of atomic positions in the search for symmetry.
SYMPREC_A = 0.05
#: Two atoms are never closer than this fraction of the sum of their covalent radii (Cordero et al., Dalton Trans. 2008,
#: 2832). The shortest bonds in crystals have about 0.75 (N≡N 0.77, V=O 0.73, C≡C 0.79).
EXCLUSION_FRACTION = 0.7
#: Two atoms of the same element are never closer than this (Å): O–O in O2 is 1.21, H–H in ices and hydrides 1.5.
EXCLUSION_SAME_ELEMENT_A = 1.2


@dataclass(frozen=True)
class Occupancies:
    """Occupancies of the sites of a crystal, and the sublattices of equivalent sites.

    Attributes
    ----------
    sites
        Element symbols and occupancies of each site, equal on all disordered sites of a sublattice.
    sublattices
        A label for each site. Disordered sites with the same label are equivalent by symmetry and have the same
        occupancies.
    """

    sites: tuple[dict[str, float], ...]
    sublattices: tuple[int, ...]


def occupancies_of(structure: Structure) -> Occupancies:
    """Return the occupancies of a structure and its sublattices.

    Occupancies that differ by at most twice :data:`~alchemflows.structures.species.OCCUPANCY_ROUNDING` are treated as
    equal up to rounding. Sites that spglib then finds equivalent get the mean of their occupancies.

    Raises
    ------
    InvalidInputError
        If an occupancy is invalid, see :func:`~alchemflows.structures.species.site_occupancy`.
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
    """Check that no two sites of a crystal exclude one another.

    Two sites, at least one of them partly occupied, exclude one another if they are closer than any two atoms in a
    crystal. The limit is :data:`EXCLUSION_FRACTION` times the sum of the covalent radii of their elements. If their
    occupancies sum to at most 1 and both sites contain the same element, it is at least
    :data:`EXCLUSION_SAME_ELEMENT_A`; with a larger sum they may be the two atoms of a molecule.

    Parameters
    ----------
    structure
        The crystal.
    sites
        Occupancies of each site.

    Raises
    ------
    InvalidInputError
        If sites exclude one another; the message names the closest pair.
    """
    partial = [k for k, occupancy in enumerate(sites) if _total(occupancy) < 1 - FLOATING_POINT]
    if len(partial) < 1:
        return
    pairs = exclusions(structure, sites, partial)
    if pairs:
        distance, i, j = min(pairs, key=lambda pair: (not _overfull(sites[pair[1]], sites[pair[2]]), pair))
        apart = (
            f"sites {i} ({_text(sites[i])}) and {j} ({_text(sites[j])}) are {distance:.2f} Å apart and exclude one "
            f"another ({len(pairs)} pairs in total)"
        )
        if _overfull(sites[i], sites[j]):
            raise InvalidInputError(
                f"{apart}, but their occupancies sum to {_total(sites[i]) + _total(sites[j]):.4g}, more than 1; "
                "correct the occupancies or the positions"
            )
        raise InvalidInputError(
            f"{apart}; they are never occupied together, but an alchemical cell or a random arrangement could occupy "
            "both. Merge each split position into one site at its centre, or use an ordered structure"
        )


def exclusions(
    structure: Structure, sites: Sequence[Mapping[str, float]], partial: Sequence[int]
) -> list[tuple[float, int, int]]:
    """Return the pairs of sites that exclude one another: distance (Å) and the two site indices.

    At least one site of each pair is partly occupied.
    """
    radii = {symbol: covalent_radii[atomic_numbers[symbol]] for occupancy in sites for symbol in occupancy}
    cutoff = max(EXCLUSION_SAME_ELEMENT_A, 2 * EXCLUSION_FRACTION * max(radii.values()))
    first, second, distances = neighbour_list(
        "ijd",
        cell=structure.lattice.matrix,
        pbc=[True] * 3,
        positions=structure.cart_coords,
        numbers=np.ones(len(sites), dtype=np.int32),
        cutoff=float(cutoff),
    )
    some = set(partial)
    return [
        (float(distance), int(i), int(j))
        for i, j, distance in zip(first, second, distances, strict=True)
        if i < j and (i in some or j in some) and distance < _limit(sites[i], sites[j])
    ]


def _total(occupancy: Mapping[str, float]) -> float:
    return sum(occupancy.values())


def _overfull(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Return whether the occupancies of two sites sum to more than 1."""
    return _total(one) + _total(other) > 1 + sum_tolerance(len(one) + len(other))


def _limit(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the distance (Å) below which an atom on one site excludes an atom on the other."""
    limits = [EXCLUSION_SAME_ELEMENT_A] if one.keys() & other.keys() and not _overfull(one, other) else []
    limits += [
        EXCLUSION_FRACTION * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
        for a in one
        for b in other
    ]
    return float(max(limits))


def _kinds(sites: Sequence[Mapping[str, float]]) -> list[int]:
    """Return a label for each site; sites whose occupancies are equal within rounding get the same label."""
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
    """Return a label for each site, shape (N,); sites of one crystallographic orbit get the same label."""
    cell = (lattice.matrix.tolist(), places.tolist(), [kind + 1 for kind in kinds])
    dataset = spglib.get_symmetry_dataset(cell, symprec=SYMPREC_A)
    # Use the orbits of the crystal, since the shape of a supercell may break the symmetry.
    return np.arange(len(places)) if dataset is None else np.asarray(dataset.crystallographic_orbits)


def _text(occupancy: Mapping[str, float]) -> str:
    return " ".join(f"{symbol}{fraction:.4g}" for symbol, fraction in occupancy.items())
