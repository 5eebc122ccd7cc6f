"""Arrangements of species on the sites of a crystal, as labels and as weights of a site-resolved system."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Element

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.groups import SiteGroup, uniform_group
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError

#: Name of a vacancy where species are given by name.
VACANCY = "vacancy"


class Arrangements:
    """All arrangements of species on n sites, on one or several sublattices.

    A *site* is a site group of one atom. A *species* is an element, or a vacancy, whose weights are all 0. Arrangements
    of B replicas are *labels*: an array of shape (B, n) with the index of the species on each site in :attr:`species`.

    Parameters
    ----------
    system
        Site-resolved system: each site group has one atom.
    sublattices
        For each sublattice, the indices of its site groups. By default, sites with the same elements form a sublattice.
    vacant
        Indices of the sublattices whose sites may be vacant.

    Attributes
    ----------
    species
        Symbols of all S species, in the order of their first appearance; a vacancy is the last.
    sublattice
        Index of the sublattice of each site, shape (n,).
    allowed
        Whether a species can be on a site, shape (n, S).

    Raises
    ------
    InvalidInputError
        If there is no site group, a group has several atoms, a site is not in exactly one sublattice, or elements
        differ within a sublattice.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalSystem
    >>> from alchemflows.sampling.arrangements import Arrangements
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> system, _ = AlchemicalSystem.from_structure(mixed, site_resolved=True)
    >>> arrangements = Arrangements(system)
    >>> arrangements.species, arrangements.weights([[0, 0, 1, 1]]).tolist()
    (('Na', 'K'), [[1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]])
    """

    def __init__(
        self,
        system: AlchemicalSystem,
        *,
        sublattices: Sequence[Sequence[int]] | None = None,
        vacant: Collection[int] = (),
    ) -> None:
        self.system = system
        elements = [_elements_of(system, index) for index in range(len(system.groups))]
        if not elements:
            raise InvalidInputError("system: an arrangement needs site groups; this system has none")
        if sublattices is None:
            alike: dict[frozenset[str], list[int]] = {}
            for index, symbols in enumerate(elements):
                alike.setdefault(frozenset(symbols), []).append(index)
            sublattices = list(alike.values())
        self.sublattice = _sublattice_of_site(sublattices, len(elements))
        self.n_sublattices = len(sublattices)
        if not set(vacant) <= set(range(self.n_sublattices)):
            raise InvalidInputError(f"vacant: the sublattices are 0 to {self.n_sublattices - 1}; got {list(vacant)}")
        for index, sites in enumerate(sublattices):
            if len({frozenset(elements[site]) for site in sites}) > 1:
                raise InvalidInputError(f"sublattices: the elements on the sites of sublattice {index} differ")
        symbols = list(dict.fromkeys(symbol for each in elements for symbol in each))
        self.species = (*symbols, VACANCY) if vacant else tuple(symbols)
        # The weight of a vacancy is in an additional column, which is not passed to the potential.
        self._column = np.full((self.n_sites, len(self.species)), system.n_weights)
        self.allowed = np.zeros(self._column.shape, dtype=bool)
        first = 0
        for site, each in enumerate(elements):
            own = [self.species.index(symbol) for symbol in each]
            self._column[site, own] = range(first, first + len(each))
            self.allowed[site, own] = True
            first += len(each)
        if vacant:
            self.allowed[:, -1] = np.isin(self.sublattice, list(vacant))

    @classmethod
    def of(cls, disorder: Disorder) -> Arrangements:
        """Return the arrangements of a disordered crystal in its supercell.

        The sites of each sublattice are in the order of :attr:`Disorder.sublattices`.
        """
        groups: list[SiteGroup] = []
        sublattices = []
        for sublattice in disorder.sublattices:
            symbols = [symbol for symbol in sublattice.symbols if symbol is not None]
            sublattices.append(range(len(groups), len(groups) + len(sublattice.sites)))
            groups += [uniform_group([site], symbols) for site in sublattice.sites]
        system = AlchemicalSystem(disorder.system.structure, tuple(groups), disorder.system.coupling)
        vacant = [index for index, sublattice in enumerate(disorder.sublattices) if None in sublattice.symbols]
        return cls(system, sublattices=sublattices, vacant=vacant)

    @property
    def n_sites(self) -> int:
        """Number of sites n."""
        return len(self.sublattice)

    @property
    def site_names(self) -> list[str]:
        """Species of all sites of the structure, the constant ones too; for example Na/K where both may be."""
        names = [site.species_string for site in self.system.structure]
        for group, allowed in zip(self.system.groups, self.allowed, strict=True):
            names[group.sites[0]] = "/".join(np.array(self.species)[allowed])
        return names

    @property
    def sites_per_sublattice(self) -> np.ndarray:
        """Number of sites of each sublattice, shape (L,)."""
        return np.bincount(self.sublattice, minlength=self.n_sublattices)

    def check(self, labels: ArrayLike) -> np.ndarray:
        """Check labels of shape (B, n), and return them as an array of integers.

        Raises
        ------
        InvalidInputError
            If the shape is wrong, or a species cannot be on its site.
        """
        values = np.array(labels)
        if values.ndim != 2 or values.shape[1] != self.n_sites or not len(values):
            raise InvalidInputError(f"labels must have shape (B, {self.n_sites}); got {values.shape}")
        if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= len(self.species):
            raise InvalidInputError(f"labels must be whole numbers from 0 to {len(self.species) - 1}")
        wrong = np.argwhere(~self.allowed[np.arange(self.n_sites), values])
        if len(wrong):
            replica, site = wrong[0]
            raise InvalidInputError(
                f"labels: {self.species[values[replica, site]]} cannot be on site {site} of replica {replica}"
            )
        return values.astype(np.int64)

    def weights(self, labels: ArrayLike) -> np.ndarray:
        """Return the weights of arrangements, shape (B, C)."""
        columns = self._column[np.arange(self.n_sites), np.asarray(labels)]
        weights = np.zeros((len(columns), self.system.n_weights + 1))
        np.put_along_axis(weights, columns, 1.0, axis=1)
        return weights[:, :-1]

    def labels(self, weights: ArrayLike) -> np.ndarray:
        """Return the labels of weights of shape (B, C).

        Raises
        ------
        InvalidInputError
            If the weights are not those of an arrangement.
        """
        values = self.system.check_weights(weights)
        shares = np.concatenate([values, np.zeros((len(values), 1))], axis=1)[:, self._column]
        if VACANCY in self.species:
            shares[..., -1] = (1.0 - shares.sum(axis=2)) * self.allowed[:, -1]
        labels = shares.argmax(axis=2)
        if not np.array_equal(self.weights(labels), values):
            raise InvalidInputError("weights must be 0 or 1, and occupy every site that cannot be vacant")
        return self.check(labels)

    def slopes(self, weight_gradients: np.ndarray) -> np.ndarray:
        """Return ∂E/∂w of each species on each site (eV), shape (B, n, S); zero for vacancies.

        Parameters
        ----------
        weight_gradients
            Shape (B, C).
        """
        padded = np.concatenate([weight_gradients, np.zeros((len(weight_gradients), 1))], axis=1)
        return padded[:, self._column]

    def counts(self, labels: np.ndarray) -> np.ndarray:
        """Return the number of sites of each sublattice with each species, shape (B, L, S)."""
        n_replicas, n_species = len(labels), len(self.species)
        place = self.sublattice * n_species + labels
        place = place + np.arange(n_replicas)[:, None] * (self.n_sublattices * n_species)
        counts = np.bincount(place.ravel(), minlength=n_replicas * self.n_sublattices * n_species)
        return counts.reshape(n_replicas, self.n_sublattices, n_species)

    def random(self, counts: ArrayLike, seeds: Sequence[int]) -> np.ndarray:
        """Return a random arrangement for each seed, all of them equally probable, shape (B, n).

        Parameters
        ----------
        counts
            Number of sites with each species on each sublattice, shape (L, S).
        seeds
            One seed for each replica.

        Raises
        ------
        InvalidInputError
            If the counts do not sum to the sites of a sublattice, or a species cannot be on its sites.
        """
        numbers = np.asarray(counts)
        if numbers.shape != (self.n_sublattices, len(self.species)) or (numbers < 0).any():
            raise InvalidInputError(
                f"counts must have shape {(self.n_sublattices, len(self.species))} and not be negative; "
                f"got {numbers.tolist()}"
            )
        if (numbers.sum(axis=1) != self.sites_per_sublattice).any():
            raise InvalidInputError(
                f"counts of the sublattices must sum to {self.sites_per_sublattice.tolist()}, the numbers of their "
                f"sites; got {numbers.sum(axis=1).tolist()}"
            )
        labels = np.zeros((len(seeds), self.n_sites), dtype=np.int64)
        for replica, seed in enumerate(seeds):
            rng = np.random.default_rng(seed)
            for index, own in enumerate(numbers):
                labels[replica, self.sublattice == index] = rng.permutation(np.repeat(np.arange(len(own)), own))
        return self.check(labels)

    def table(self, name: str, values: Mapping[str, float] | Sequence[Mapping[str, float]]) -> np.ndarray:
        """Return a quantity of each species on each sublattice, shape (L, S); zero for species that cannot be there.

        Parameters
        ----------
        name
            Name of the quantity in errors.
        values
            Value of each species by its symbol, or one such mapping for each sublattice.

        Raises
        ------
        InvalidInputError
            If a species has no value, a value is not finite, or the number of mappings is wrong.
        """
        each = [values] * self.n_sublattices if isinstance(values, Mapping) else list(values)
        if len(each) != self.n_sublattices:
            raise InvalidInputError(f"{name}: one mapping for each of {self.n_sublattices} sublattices; got {each}")
        unknown = sorted({symbol for own in each for symbol in own} - set(self.species))
        if unknown:
            raise InvalidInputError(f"{name}: {', '.join(unknown)} is not among the species {', '.join(self.species)}")
        table = np.zeros((self.n_sublattices, len(self.species)))
        for index, own in enumerate(each):
            allowed = self.allowed[self.sublattice == index].any(axis=0)
            for k, symbol in enumerate(self.species):
                if allowed[k]:
                    if symbol not in own:
                        raise InvalidInputError(f"{name}: give a value for {symbol} on sublattice {index}")
                    table[index, k] = own[symbol]
        if not np.isfinite(table).all():
            raise InvalidInputError(f"{name}: values must be finite numbers; got {values}")
        return table


def _elements_of(system: AlchemicalSystem, index: int) -> list[str]:
    """Return the symbols of the elements of a site group, which must have one site."""
    group = system.groups[index]
    if len(group.sites) != 1:
        raise InvalidInputError(
            f"groups: site group {index} has {len(group.sites)} sites; arrangements need site groups of one site "
            "(AlchemicalSystem.from_structure(..., site_resolved=True))"
        )
    symbols = [Element.from_Z(channel[0]).symbol for channel in group.channels]
    if len(set(symbols)) != len(symbols):
        raise InvalidInputError(f"groups: an element occurs twice in site group {index}: {', '.join(symbols)}")
    return symbols


def _sublattice_of_site(sublattices: Sequence[Sequence[int]], n_sites: int) -> np.ndarray:
    """Return the index of the sublattice of each site, each of which must be in one."""
    members = sorted(site for sites in sublattices for site in sites)
    if members != list(range(n_sites)):
        raise InvalidInputError(
            f"sublattices: each of the site groups 0 to {n_sites - 1} must be in exactly one sublattice; got {members}"
        )
    index = np.zeros(n_sites, dtype=np.int64)
    for k, sites in enumerate(sublattices):
        index[list(sites)] = k
    return index
