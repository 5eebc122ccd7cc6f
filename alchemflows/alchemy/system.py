"""Define alchemical systems: structures in which some sites are mixtures of elements.

Terms used throughout the package: a *site group* is a set of sites that change together. A *channel* of a group is one
choice of an element for each of its sites. The *weight* λ of a channel, between 0 and 1, is its share. The weights of
all channels, group after group, form the vector ``weights`` of length C.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import gcd
from typing import Any, Literal, get_args

import numpy as np
from ase.data import atomic_masses, chemical_symbols
from matscipy.neighbours import neighbour_list
from monty.json import MSONable
from numpy.typing import ArrayLike
from pymatgen.core import Element, Lattice, Structure

from alchemflows.alchemy.groups import SiteGroup, uniform_group
from alchemflows.arguments import checked
from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.counts import Counts
from alchemflows.structures.formula import reduced_formula
from alchemflows.structures.species import check_fixed_atoms, element_of, is_full
from alchemflows.structures.sublattices import check_exclusions, occupancies_of

Coupling = Literal["paired", "mean-field"]
#: How the masses of the elements on one site are averaged.
MassMean = Literal["arithmetic", "geometric", "harmonic"]

#: For each mean of masses, the function of the mass that is averaged, and its inverse.
_MEANS: dict[MassMean, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "arithmetic": (np.positive, np.positive),
    "geometric": (np.log, np.exp),
    "harmonic": (np.reciprocal, np.reciprocal),
}

#: Smallest distance between atoms (Å) that is accepted in a structure.
MIN_DISTANCE_A = 0.5
#: Tolerance of weights outside the simplex, for occupancies that are rounded in files.
WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class AlchemicalSystem(MSONable):
    """A structure with site groups, and the coupling between alchemical sites.

    Parameters
    ----------
    structure
        Ordered pymatgen structure with every atom that exists at any weight (N atoms). Its elements on alchemical
        sites are ignored.
    groups
        Site groups; a site belongs to at most one group.
    coupling
        Interaction between alchemical sites of the same group. ``paired``: all sites of the group change together, so
        only channels of the same index interact (Nam et al., Nat. Commun. 16, 4350, 2025). ``mean-field``: sites mix
        independently, as in a random solid solution; all pairs of channels interact, weighted by the sender's λ, except
        that an atom and its own periodic images have the same element. Sites of different groups always interact as in
        ``mean-field``.

    Raises
    ------
    InvalidInputError
        If the structure is disordered or contains isotopes or fixed atoms, a site does not exist or is in two groups,
        or the coupling is unknown.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalSystem
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> system, weights = AlchemicalSystem.from_structure(mixed)
    >>> system.weight_labels, weights.tolist(), system.formula(weights)
    (('Na[4]', 'K[4]'), [0.5, 0.5], 'KNaCl2')
    """

    structure: Structure
    groups: tuple[SiteGroup, ...] = ()
    coupling: Coupling = "paired"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(self.groups))
        check_choice("coupling", self.coupling, get_args(Coupling))
        if not self.structure.is_ordered:
            raise InvalidInputError("the structure is disordered; use AlchemicalSystem.from_structure")
        check_fixed_atoms(self.structure)
        for index, ordinary in enumerate(self.structure):
            element_of(ordinary.specie, f"site {index}")
        taken: set[int] = set()
        for group in self.groups:
            for site in group.sites:
                if not 0 <= site < len(self.structure):
                    raise InvalidInputError(
                        f"groups: site {site} does not exist; the sites are 0 to {len(self.structure) - 1}"
                    )
                if site in taken:
                    raise InvalidInputError(f"groups: site {site} is in two site groups; each site can be in one only")
                taken.add(site)

    @classmethod
    @checked
    def from_structure(
        cls, structure: Structure, *, coupling: Coupling = "paired", site_resolved: bool = False
    ) -> tuple[AlchemicalSystem, np.ndarray]:
        """Return the alchemical system of a structure, and its weights from the partial occupancies.

        Parameters
        ----------
        structure
            Ordered or disordered structure. Occupancies that sum to less than 1 imply vacancies; oxidation states are
            ignored.
        coupling
            See :class:`AlchemicalSystem`.
        site_resolved
            If True, every disordered site is a separate group. If False, each sublattice is a group: disordered sites
            that are equivalent by symmetry and have the same occupancies.

        Returns
        -------
        system, weights
            The system and its weights, shape (C,).

        Raises
        ------
        InvalidInputError
            If occupancies are not on the simplex, two atoms are closer than 0.5 Å, sites exclude one another, or the
            structure contains isotopes or fixed atoms.
        """
        occupancies = occupancies_of(structure)
        members: dict[Hashable, list[int]] = {}
        for index, occupancy in enumerate(occupancies.sites):
            if not is_full(occupancy):
                members.setdefault(index if site_resolved else occupancies.sublattices[index], []).append(index)
        groups, weights = [], []
        for sites in members.values():
            occupancy = occupancies.sites[sites[0]]
            groups.append(uniform_group(sites, list(occupancy)))
            weights += list(occupancy.values())
        check_exclusions(structure, occupancies.sites)
        system = cls(host_structure(structure, occupancies.sites), tuple(groups), coupling)
        system.check_distances()
        return system, system.check_weights(weights)

    def as_dict(self) -> dict[str, Any]:
        """Return a dictionary for jobs and databases, with the content as one string.

        jobflow, FireWorks and monty walk through all content of a job several times. With one string instead of many
        values per site, submitting a campaign is much faster.
        """
        return {"@module": type(self).__module__, "@class": type(self).__name__, "json": self._json}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> AlchemicalSystem:
        """Return the system from the dictionary of :meth:`as_dict`; equal content gives the same object."""
        return _read(d["json"])

    @cached_property
    def _json(self) -> str:
        groups = [{"sites": group.sites, "channels": group.channels} for group in self.groups]
        return json.dumps({"structure": self.structure.as_dict(), "groups": groups, "coupling": self.coupling})

    @property
    def n_sites(self) -> int:
        """Number of sites N, including empty sites; :meth:`amounts` returns numbers of atoms."""
        return len(self.structure)

    @property
    def n_weights(self) -> int:
        """Number of weights C, that is, of channels of all groups."""
        return sum(len(group.channels) for group in self.groups)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of the structure, shape (N,); arbitrary on alchemical sites."""
        return np.array([site.specie.Z for site in self.structure])

    @cached_property
    def group_of_weight(self) -> np.ndarray:
        """Index of the group of each weight, shape (C,)."""
        return np.repeat(np.arange(len(self.groups)), [len(group.channels) for group in self.groups])

    @cached_property
    def atoms_per_weight(self) -> np.ndarray:
        """Number of atoms of each channel at weight 1, shape (C,)."""
        return np.array([len(group.sites) for group in self.groups], dtype=float)[self.group_of_weight]

    @cached_property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of all elements that occur at any weight."""
        alchemical = {site for group in self.groups for site in group.sites}
        ordinary = {int(z) for i, z in enumerate(self.numbers) if i not in alchemical}
        return frozenset(ordinary | {z for group in self.groups for c in group.channels for z in c})

    @cached_property
    def weight_labels(self) -> tuple[str, ...]:
        """Readable names of the weights, such as ``Pb[8]`` for eight Pb atoms."""
        labels = []
        for group in self.groups:
            for channel in group.channels:
                names = [chemical_symbols[z] for z in sorted(set(channel))]
                labels.append(f"{'/'.join(names)}[{len(group.sites)}]")
        return tuple(labels)

    def check_weights(self, weights: ArrayLike) -> np.ndarray:
        """Check that weights lie on the simplex, and return them as an array of shape (..., C).

        Raises
        ------
        InvalidInputError
            If a weight is negative or not finite, the weights of a group sum to more than 1, or the number of weights
            is wrong.
        """
        values = np.array(weights, dtype=float)
        if values.shape[-1:] != (self.n_weights,):
            raise InvalidInputError(
                f"{self.n_weights} weights are needed ({', '.join(self.weight_labels)}); "
                f"got an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise InvalidInputError("weights must be finite numbers")
        if (values < -WEIGHT_TOLERANCE).any():
            where = int(np.argwhere(values < -WEIGHT_TOLERANCE)[0][-1])
            raise InvalidInputError(
                f"weights must be at least 0: {self.weight_labels[where]} has {values[..., where].min():g}"
            )
        for index, group in enumerate(self.groups):
            total = values[..., self.group_of_weight == index].sum(axis=-1)
            if (total > 1 + WEIGHT_TOLERANCE).any():
                raise InvalidInputError(
                    f"the weights of each site group must sum to at most 1; those of group {index} "
                    f"(sites {list(group.sites)}) sum to {np.max(total):g}"
                )
        return np.clip(values, 0.0, 1.0)

    def check_distances(self, structure: Structure | None = None) -> None:
        """Check that atoms of a structure (by default that of the system) are at least 0.5 Å apart.

        Raises
        ------
        InvalidInputError
            If atoms are closer; it names the closest pair.
        """
        structure = structure or self.structure
        first, second, distance = neighbour_list(
            "ijd",
            cell=structure.lattice.matrix,
            pbc=[True] * 3,
            positions=structure.cart_coords,
            numbers=np.ones(len(structure), dtype=np.int32),
            cutoff=MIN_DISTANCE_A,
        )
        if len(distance):
            k = int(np.argmin(distance))
            raise InvalidInputError(
                f"atoms {first[k]} ({structure[int(first[k])].species_string}) and "
                f"{second[k]} ({structure[int(second[k])].species_string}) are {distance[k]:.3f} Å apart; "
                f"at least {MIN_DISTANCE_A} Å is needed"
            )

    def masses(self, weights: ArrayLike, mean: MassMean = "arithmetic") -> np.ndarray:
        """Return a mass for each site: the mean over its elements, weighted by their shares λ_ie / Σ_e λ_ie.

        Vacancies do not contribute. An empty site has the mean mass of its possible elements, so that its motion is
        finite.

        Parameters
        ----------
        weights
            Shape (..., C).
        mean
            ``arithmetic`` for dynamics, where masses do not change configurational averages. ``geometric``
            (ln m_i = Σ_e x_ie ln m_e) for classical free energies, in which the momenta of a mixture contribute
            Σ_e x_ie (3/2) k_B T ln(1 / m_e) per site. ``harmonic`` (1/m_i = Σ_e x_ie / m_e) for quantum corrections,
            whose leading term is proportional to the mean of 1/m.

        Returns
        -------
        masses
            Masses (atomic mass units), shape (..., N).

        Raises
        ------
        InvalidInputError
            If the weights are not on the simplex or the mean is unknown.
        """
        check_choice("mean", mean, get_args(MassMean))
        function, inverse = _MEANS[mean]
        values = self.check_weights(weights)
        masses = np.broadcast_to(atomic_masses[self.numbers], (*values.shape[:-1], self.n_sites)).copy()
        start = 0
        for group in self.groups:
            share = values[..., start : start + len(group.channels)]
            start += len(group.channels)
            total = share.sum(axis=-1, keepdims=True)
            share = np.where(total > 0, share / np.where(total > 0, total, 1.0), 1.0 / len(group.channels))
            masses[..., list(group.sites)] = inverse(share @ function(atomic_masses[np.array(group.channels)]))
        return masses

    def occupancies(self, weights: ArrayLike) -> np.ndarray:
        """Return the occupancy of each site, Σ_e λ_ie: 1 for a full site, 0 for an empty site.

        Parameters
        ----------
        weights
            Weights, shape (..., C).

        Returns
        -------
        occupancies
            Occupancies, shape (..., N).
        """
        values = self.check_weights(weights)
        occupancies = np.ones((*values.shape[:-1], self.n_sites))
        for index, group in enumerate(self.groups):
            total = values[..., self.group_of_weight == index].sum(axis=-1, keepdims=True)
            occupancies[..., list(group.sites)] = np.minimum(total, 1.0)
        return occupancies

    def site_composition(self, weights: ArrayLike) -> list[dict[int, float]]:
        """Return the share of each element on each site, by atomic number, at given weights, shape (C,).

        Elements of weight 0 are omitted; shares that sum to less than 1 imply a vacancy.
        """
        values = self.check_weights(weights)
        composition: list[dict[int, float]] = [{int(z): 1.0} for z in self.numbers]
        start = 0
        for group in self.groups:
            for k, site in enumerate(group.sites):
                composition[site] = {}
                for channel, weight in zip(group.channels, values[start:], strict=False):
                    if weight > WEIGHT_TOLERANCE:
                        composition[site][channel[k]] = composition[site].get(channel[k], 0.0) + float(weight)
            start += len(group.channels)
        return composition

    def amounts(self, weights: ArrayLike) -> dict[str, float]:
        """Return the number of atoms of each element at given weights, shape (C,); absent elements are omitted."""
        values = self.check_weights(weights)
        amounts: dict[str, float] = {}
        sites = {site for group in self.groups for site in group.sites}
        parts = [(int(z), 1.0) for i, z in enumerate(self.numbers) if i not in sites]
        channels = [channel for group in self.groups for channel in group.channels]
        parts += [(z, w) for channel, w in zip(channels, values, strict=True) for z in channel]
        for number, amount in parts:
            amounts[chemical_symbols[number]] = amounts.get(chemical_symbols[number], 0.0) + amount
        return {symbol: round(amount, 6) for symbol, amount in amounts.items() if amount > WEIGHT_TOLERANCE}

    def counts(self, weights: ArrayLike) -> Counts:
        """Return the numbers of atoms, sites and formula units at given weights, shape (C,).

        Raises
        ------
        InvalidInputError
            If there are no atoms.
        """
        alchemical = {site for group in self.groups for site in group.sites}
        ordinary = Counter(int(z) for i, z in enumerate(self.numbers) if i not in alchemical)
        atoms = sum(ordinary.values()) + float(self.atoms_per_weight @ self.check_weights(weights))
        if atoms < WEIGHT_TOLERANCE:
            raise InvalidInputError(f"weights: there are no atoms at {np.asarray(weights).tolist()}")
        units = gcd(*ordinary.values(), *(len(group.sites) for group in self.groups))
        return Counts(atoms=round(atoms, 9), sites=self.n_sites, formula_units=units)

    def formula(self, weights: ArrayLike) -> str:
        """Return the reduced formula at given weights, shape (C,), such as ``CsSn0.5Pb0.5I3``."""
        return reduced_formula(self.amounts(weights))

    def at_vertex(self, weights: ArrayLike) -> Structure:
        """Return the ordered structure at a vertex of the simplex (all weights 0 or 1), without vacant sites.

        Raises
        ------
        InvalidInputError
            If a weight is neither 0 nor 1.
        """
        values = self.check_weights(weights)
        if not np.isin(values, (0.0, 1.0)).all():
            raise InvalidInputError(f"weights must all be 0 or 1 at a vertex of the simplex; got {values.tolist()}")
        numbers: list[int | None] = [int(z) for z in self.numbers]
        start = 0
        for group in self.groups:
            for k, site in enumerate(group.sites):
                here = [c[k] for c, w in zip(group.channels, values[start:], strict=False) if w == 1.0]
                numbers[site] = here[0] if here else None
            start += len(group.channels)
        kept = [i for i, z in enumerate(numbers) if z is not None]
        return Structure(
            self.structure.lattice,
            [Element.from_Z(numbers[i]) for i in kept],  # type: ignore[arg-type]
            self.structure.frac_coords[kept],
        )

    def with_structure(self, structure: Structure) -> AlchemicalSystem:
        """Return the same system with the positions and the cell of another structure.

        Raises
        ------
        InvalidInputError
            If the number of atoms differs or two atoms are closer than 0.5 Å.
        """
        if len(structure) != self.n_sites:
            raise InvalidInputError(
                f"structure: the number of atoms must be {self.n_sites}, as in the system; got {len(structure)}"
            )
        host = Structure(structure.lattice, self.structure.species, structure.frac_coords)
        system = AlchemicalSystem(host, self.groups, self.coupling)
        system.check_distances()
        return system


def occupancy_key(occupancy: Mapping[str, float]) -> Hashable:
    """Return a key that is equal for equal occupancies, regardless of the order of elements."""
    return tuple(sorted((symbol, round(fraction, 6)) for symbol, fraction in occupancy.items()))


def host_structure(structure: Structure, sites: Sequence[Mapping[str, float]]) -> Structure:
    """Return an ordered copy of a structure without oxidation states, with the first element of each site.

    Raises
    ------
    InvalidInputError
        If the structure has fixed atoms.
    """
    check_fixed_atoms(structure)
    return Structure(Lattice(structure.lattice.matrix), [next(iter(each)) for each in sites], structure.frac_coords)


@lru_cache(maxsize=32)
def _read(content: str) -> AlchemicalSystem:
    """Return a system from its stored string; cached, since FireWorks and jobflow read it several times per job."""
    fields = json.loads(content)
    structure = Structure.from_dict(fields.pop("structure"))
    groups = [SiteGroup(**group) for group in fields.pop("groups")]
    system = AlchemicalSystem(structure, tuple(groups), **fields)
    system.__dict__["_json"] = content  # fills the cached property
    return system
