"""Alchemical systems: a structure in which some sites are several elements at once.

Words used throughout the package: a *site group* is a set of sites that change together; a *channel* of a
group is one choice of element for each of its sites; the *weight* λ of a channel says how much of it is
there. The weights of all channels, group after group, are the flat vector ``weights`` of length C.
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
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.counts import Counts
from alchemflows.structures.formula import reduced_formula
from alchemflows.structures.species import check_fixed_atoms, element_of, is_full
from alchemflows.structures.sublattices import check_exclusions, occupancies_of

Coupling = Literal["paired", "mean-field"]
#: How the masses of the elements on one site are averaged.
MassMean = Literal["arithmetic", "geometric", "harmonic"]

#: Each mean of masses: the function of a mass that is averaged, and its inverse.
_MEANS: dict[MassMean, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "arithmetic": (np.positive, np.positive),
    "geometric": (np.log, np.exp),
    "harmonic": (np.reciprocal, np.reciprocal),
}

#: Atoms closer than this (Å) are a mistake in the structure, not physics.
MIN_DISTANCE_A = 0.5
#: Weights may miss the simplex by this much (rounding of occupancies in files).
WEIGHT_TOLERANCE = 1e-6


@dataclass(frozen=True)
class AlchemicalSystem(MSONable):
    """A structure, the site groups in it, and how alchemical sites see each other.

    Parameters
    ----------
    structure
        Ordered pymatgen structure with every atom that exists at any weight (N atoms). What it says of the
        element of an alchemical site is not read.
    groups
        Site groups; no site is in two of them.
    coupling
        How alchemical sites of the same group see each other. ``paired``: the whole group changes together,
        so only channels of the same index interact (Nam et al., Nat. Commun. 16, 4350, 2025).
        ``mean-field``: sites mix independently (a random solid solution); every pair of channels interacts,
        weighted by the sender's λ, except that an atom's own periodic images stay the same element.
        Sites of different groups always interact as in ``mean-field``.

    Raises
    ------
    InvalidInputError
        If the structure is disordered, holds an isotope or fixed atoms, a site does not exist or is in two groups, or
        the coupling is unknown.

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
        if self.coupling not in get_args(Coupling):
            raise InvalidInputError(f"coupling must be one of {', '.join(get_args(Coupling))}; got {self.coupling!r}")
        if not self.structure.is_ordered:
            raise InvalidInputError("the host structure is disordered; use AlchemicalSystem.from_structure")
        check_fixed_atoms(self.structure)
        for index, ordinary in enumerate(self.structure):
            element_of(ordinary.specie, f"site {index}")
        taken: set[int] = set()
        for group in self.groups:
            for site in group.sites:
                if not 0 <= site < len(self.structure):
                    raise InvalidInputError(f"site {site} does not exist: there are {len(self.structure)} atoms")
                if site in taken:
                    raise InvalidInputError(f"site {site} is in two site groups")
                taken.add(site)

    @classmethod
    @checked
    def from_structure(
        cls, structure: Structure, *, coupling: Coupling = "paired", site_resolved: bool = False
    ) -> tuple[AlchemicalSystem, np.ndarray]:
        """Read a pymatgen structure: partial occupancies are weights, a shortfall is a vacancy.

        Parameters
        ----------
        structure
            Ordered or disordered structure; oxidation states are ignored.
        coupling
            See the class.
        site_resolved
            If True every disordered site is a group of its own; otherwise a group is a sublattice: disordered sites
            that are equivalent by symmetry and have the same occupancies.

        Returns
        -------
        system, weights
            The system, and the weights (C,) that the occupancies say.

        Raises
        ------
        InvalidInputError
            If an occupancy is not on the simplex, two atoms are closer than 0.5 Å, sites exclude one another, or there
            are isotopes or fixed atoms.
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
        """Return it for jobs and databases, its content as one string.

        A job holds its system. jobflow, FireWorks and monty walk through all that a job holds, several times; with a
        site as a dozen leaves that would be most of the time that it takes to submit a campaign.
        """
        return {"@module": type(self).__module__, "@class": type(self).__name__, "json": self._json}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> AlchemicalSystem:
        """Return the system of :meth:`as_dict`; the same object for the same content."""
        return _read(d["json"])

    @cached_property
    def _json(self) -> str:
        groups = [{"sites": group.sites, "channels": group.channels} for group in self.groups]
        return json.dumps({"structure": self.structure.as_dict(), "groups": groups, "coupling": self.coupling})

    @property
    def n_sites(self) -> int:
        """Number of sites N, empty ones included; :meth:`amounts` gives the number of atoms."""
        return len(self.structure)

    @property
    def n_weights(self) -> int:
        """Number of weights C: channels of all groups."""
        return sum(len(group.channels) for group in self.groups)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Atomic numbers of the host structure, shape (N,); meaningless on alchemical sites."""
        return np.array([site.specie.Z for site in self.structure])

    @cached_property
    def group_of_weight(self) -> np.ndarray:
        """Index of the group that each weight belongs to, shape (C,)."""
        return np.repeat(np.arange(len(self.groups)), [len(group.channels) for group in self.groups])

    @cached_property
    def atoms_per_weight(self) -> np.ndarray:
        """Number of atoms that each channel has at weight 1, shape (C,)."""
        return np.array([len(group.sites) for group in self.groups], dtype=float)[self.group_of_weight]

    @cached_property
    def elements(self) -> frozenset[int]:
        """Atomic numbers of every element that occurs at any weight."""
        alchemical = {site for group in self.groups for site in group.sites}
        ordinary = {int(z) for i, z in enumerate(self.numbers) if i not in alchemical}
        return frozenset(ordinary | {z for group in self.groups for c in group.channels for z in c})

    @cached_property
    def weight_labels(self) -> tuple[str, ...]:
        """A readable name of each weight, such as ``Pb[8]`` for eight Pb atoms."""
        labels = []
        for group in self.groups:
            for channel in group.channels:
                names = [chemical_symbols[z] for z in sorted(set(channel))]
                labels.append(f"{'/'.join(names)}[{len(group.sites)}]")
        return tuple(labels)

    def check_weights(self, weights: ArrayLike) -> np.ndarray:
        """Return the weights as an array of shape (..., C), after checking that they lie on the simplex.

        Raises
        ------
        InvalidInputError
            If a weight is negative or not a number, a group's weights sum to more than 1, or their number
            is wrong.
        """
        values = np.array(weights, dtype=float)
        if values.shape[-1:] != (self.n_weights,):
            raise InvalidInputError(
                f"{self.n_weights} weights are needed ({', '.join(self.weight_labels)}); "
                f"got an array of shape {values.shape}"
            )
        if not np.isfinite(values).all():
            raise InvalidInputError("a weight is not a finite number")
        if (values < -WEIGHT_TOLERANCE).any():
            where = int(np.argwhere(values < -WEIGHT_TOLERANCE)[0][-1])
            raise InvalidInputError(
                f"weights must be at least 0: {self.weight_labels[where]} has {values[..., where].min():g}"
            )
        for index, group in enumerate(self.groups):
            total = values[..., self.group_of_weight == index].sum(axis=-1)
            if (total > 1 + WEIGHT_TOLERANCE).any():
                raise InvalidInputError(
                    f"the weights of a site group must sum to at most 1: group {index} "
                    f"(sites {list(group.sites)}) sums to {np.max(total):g}"
                )
        return np.clip(values, 0.0, 1.0)

    def check_distances(self, structure: Structure | None = None) -> None:
        """Refuse a structure (the host, if none is given) with atoms closer than 0.5 Å.

        Raises
        ------
        InvalidInputError
            Naming the closest pair.
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
        """Return one mass for each site: a mean over its elements with their shares λ_ie / Σ_e λ_ie.

        An element that is absent has no share, and a vacancy has no mass. A site that is empty altogether has the mean
        mass of its elements, which keeps its motion finite.

        Parameters
        ----------
        weights
            Shape (..., C).
        mean
            ``arithmetic``, for the dynamics: their masses change no configurational average. ``geometric``
            (ln m_i = Σ_e x_ie ln m_e), for classical free energies: the momenta of a mixture contribute
            Σ_e x_ie (3/2) k_B T ln(1 / m_e) for each site, a sum over elements. ``harmonic``
            (1/m_i = Σ_e x_ie / m_e), for quantum corrections: their leading term is proportional to the mean of 1/m.

        Returns
        -------
        masses
            In atomic mass units, shape (..., N).

        Raises
        ------
        InvalidInputError
            If the weights are not on the simplex or the mean is unknown.
        """
        if mean not in get_args(MassMean):
            raise InvalidInputError(f"mean must be one of {', '.join(get_args(MassMean))}; got {mean!r}")
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
        """Return how much of an atom each site holds, Σ_e λ_ie: 1 for a full site, 0 for an empty one.

        Parameters
        ----------
        weights
            Shape (..., C).

        Returns
        -------
        occupancies
            Shape (..., N).
        """
        values = self.check_weights(weights)
        occupancies = np.ones((*values.shape[:-1], self.n_sites))
        for index, group in enumerate(self.groups):
            total = values[..., self.group_of_weight == index].sum(axis=-1, keepdims=True)
            occupancies[..., list(group.sites)] = np.minimum(total, 1.0)
        return occupancies

    def site_composition(self, weights: ArrayLike) -> list[dict[int, float]]:
        """Return the share of each element on each site, by atomic numbers, at given weights, shape (C,).

        Elements of weight 0 are left out; shares that sum to less than 1 leave a vacancy.
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
        """How many atoms of each element there are at given weights, shape (C,); those that are absent are left out."""
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
        """How many atoms, sites and formula units there are at given weights, shape (C,).

        Raises
        ------
        InvalidInputError
            If no atom is left.
        """
        alchemical = {site for group in self.groups for site in group.sites}
        ordinary = Counter(int(z) for i, z in enumerate(self.numbers) if i not in alchemical)
        atoms = sum(ordinary.values()) + float(self.atoms_per_weight @ self.check_weights(weights))
        if atoms < WEIGHT_TOLERANCE:
            raise InvalidInputError("there is no atom at these weights")
        units = gcd(*ordinary.values(), *(len(group.sites) for group in self.groups))
        return Counts(atoms=round(atoms, 9), sites=self.n_sites, formula_units=units)

    def formula(self, weights: ArrayLike) -> str:
        """Reduced formula at given weights, shape (C,), such as ``CsSn0.5Pb0.5I3``."""
        return reduced_formula(self.amounts(weights))

    def at_vertex(self, weights: ArrayLike) -> Structure:
        """Return the plain structure at a vertex of the simplex (all weights 0 or 1).

        Raises
        ------
        InvalidInputError
            If a weight is neither 0 nor 1.
        """
        values = self.check_weights(weights)
        if not np.isin(values, (0.0, 1.0)).all():
            raise InvalidInputError(f"not a vertex of the simplex: weights {values.tolist()}")
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
            raise InvalidInputError(f"the structure has {len(structure)} atoms, the system {self.n_sites}")
        host = Structure(structure.lattice, self.structure.species, structure.frac_coords)
        system = AlchemicalSystem(host, self.groups, self.coupling)
        system.check_distances()
        return system


def occupancy_key(occupancy: Mapping[str, float]) -> Hashable:
    """Return what equal occupancies have in common, whatever their order."""
    return tuple(sorted((symbol, round(fraction, 6)) for symbol, fraction in occupancy.items()))


def host_structure(structure: Structure, sites: Sequence[Mapping[str, float]]) -> Structure:
    """Return an ordered copy without oxidation states: the first element of each site stands for it.

    Raises
    ------
    InvalidInputError
        If it has fixed atoms.
    """
    check_fixed_atoms(structure)
    return Structure(Lattice(structure.lattice.matrix), [next(iter(each)) for each in sites], structure.frac_coords)


@lru_cache(maxsize=32)
def _read(content: str) -> AlchemicalSystem:
    """Read a system; FireWorks and jobflow read that of a job a dozen times while it runs."""
    fields = json.loads(content)
    structure = Structure.from_dict(fields.pop("structure"))
    groups = [SiteGroup(**group) for group in fields.pop("groups")]
    system = AlchemicalSystem(structure, tuple(groups), **fields)
    system.__dict__["_json"] = content  # its cached property
    return system
