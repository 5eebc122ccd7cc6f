"""Grids of compositions of one alchemical system: lines and simplices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
from monty.json import MSONable
from pymatgen.core import Structure
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.system import WEIGHT_TOLERANCE, AlchemicalSystem, Coupling, host_structure
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.structures.species import check_symbol
from alchemflows.structures.sublattices import check_exclusions, occupancies_of

#: Distances between points that differ by no more are equal.
_DIGITS = 9


@dataclass(frozen=True)
class CompositionGrid(MSONable):
    """Points in the space of weights of one alchemical system.

    Parameters
    ----------
    system
        The alchemical system.
    weights
        Shape (P, C), each row on the simplex.

    Raises
    ------
    InvalidInputError
        If there is no point, one is off the simplex or leaves no atom, or two are the same.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CompositionGrid
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> CompositionGrid.line(salt, {"Na": "K"}, [0.0, 0.5, 1.0]).weights
    ((1.0, 0.0), (0.5, 0.5), (0.0, 1.0))
    >>> len(CompositionGrid.simplex(salt, {"Na": ["Li", "Na", "K"]}, n_intervals=4).weights)
    15
    """

    system: AlchemicalSystem
    weights: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if not len(self.weights):
            raise InvalidInputError("a grid needs at least one composition")
        points = self.system.check_weights(self.weights)
        if len(np.unique(points.round(_DIGITS), axis=0)) < len(points):
            raise InvalidInputError("the grid has a composition twice")
        object.__setattr__(self, "weights", tuple(map(tuple, points.tolist())))
        for point in self.weights:
            self.system.counts(point)

    @classmethod
    @checked
    def line(
        cls,
        structure: Structure,
        substitution: Substitution,
        shares: Sequence[float],
        *,
        sites: Sequence[int] | None = None,
        coupling: Coupling = "paired",
    ) -> CompositionGrid:
        """Return the points on a straight line from a structure to what a substitution makes of it.

        Parameters
        ----------
        structure, substitution, sites, coupling
            As for :meth:`AlchemicalPath.from_substitution`.
        shares
            Shares x of the substitution, between 0 and 1.

        Raises
        ------
        InvalidInputError
            If the substitution makes no sense, or a share is not between 0 and 1, or given twice.
        """
        path = AlchemicalPath.from_substitution(structure, substitution, sites=sites, coupling=coupling)
        return cls(path.system, tuple(map(tuple, path.weights(list(shares)).tolist())))

    @classmethod
    @checked
    def simplex(
        cls,
        structure: Structure,
        choices: Mapping[str, Sequence[str]],
        n_intervals: int,
        *,
        coupling: Coupling = "paired",
    ) -> CompositionGrid:
        """Return all compositions whose fractions are multiples of 1/n, for each group of sites.

        Parameters
        ----------
        structure
            Ordered, or with partial occupancies, which are not read.
        choices
            What the sites that hold an element may be, such as ``{"Na": ["Li", "Na", "K"]}``. With several entries the
            grid is the product of all.
        n_intervals
            Intervals n along an edge: a ternary has (n + 1)(n + 2)/2 points.

        Raises
        ------
        InvalidInputError
            If no site holds an element, a site holds two that have choices, a disordered site has none, an element is
            unknown or named twice, or n is not positive.
        """
        if n_intervals < 1:
            raise InvalidInputError(f"n_intervals must be at least 1; got {n_intervals}")
        sites: dict[str, list[int]] = {element: [] for element in choices}
        occupancies = occupancies_of(structure).sites
        for index, occupancy in enumerate(occupancies):
            here = [element for element in choices if element in occupancy]
            if len(here) > 1:
                raise InvalidInputError(f"site {index} holds {' and '.join(here)}, which both have choices")
            if here:
                sites[here[0]].append(index)
            elif len(occupancy) > 1 or abs(sum(occupancy.values()) - 1) > WEIGHT_TOLERANCE:
                raise InvalidInputError(f"site {index} is disordered ({occupancy}) and has no choices")
        groups, grids = [], []
        for element, symbols in choices.items():
            if not sites[element]:
                raise InvalidInputError(f"{element} is not in the structure, {structure.composition.reduced_formula}")
            for symbol in symbols:
                check_symbol(symbol)
            if len(set(symbols)) < len(symbols) or len(symbols) < 2:
                raise InvalidInputError(
                    f"the choices for {element} must be at least two different elements; got {', '.join(symbols)}"
                )
            groups.append(uniform_group(sites[element], symbols))
            grids.append([np.array(parts) / n_intervals for parts in _partitions(n_intervals, len(symbols))])
        if not groups:
            raise InvalidInputError("there are no choices")
        check_exclusions(structure, occupancies)
        system = AlchemicalSystem(host_structure(structure, occupancies), tuple(groups), coupling)
        system.check_distances()
        return cls(system, tuple(tuple(np.concatenate(parts).tolist()) for parts in product(*grids)))

    @property
    def points(self) -> np.ndarray:
        """Weights as an array, shape (P, C)."""
        return np.array(self.weights)

    def tree(self, roots: Sequence[int] = ()) -> list[tuple[int, int | None]]:
        """Return all points but the roots, each with the neighbour that it may start from, which comes before it.

        Parameters
        ----------
        roots
            Points that are known already; without any, the one in the middle is first, and has no neighbour.
        """
        points = self.points
        if not roots:
            middle = int(np.linalg.norm(points - points.mean(axis=0), axis=1).round(_DIGITS).argmin())
            return [(middle, None), *self.tree([middle])]
        # With squares, many small steps are shorter than a large one.
        far, parents, _ = dijkstra(
            cdist(points, points, "sqeuclidean"), indices=list(roots), min_only=True, return_predecessors=True
        )
        order = np.argsort(far.round(_DIGITS), kind="stable")
        return [(int(k), int(parents[k])) for k in order if int(k) not in roots]

    def corners(self) -> list[int] | None:
        """Return the points at which every group is one channel, in the order of :meth:`corner_shares`, or None."""
        found = []
        for corner in self._corner_weights():
            here = np.flatnonzero(np.abs(self.points - corner).max(axis=1) < WEIGHT_TOLERANCE)
            if not len(here):
                return None
            found.append(int(here[0]))
        return found

    def corner_shares(self) -> np.ndarray:
        """Return how much of each corner is in each point, shape (P, number of corners): products over the groups."""
        chosen = np.array(list(self._corner_weights())).astype(bool)
        return np.array([[float(np.prod(point[corner])) for corner in chosen] for point in self.points])

    def direction(self) -> np.ndarray | None:
        """Return the step in weights from the first to the last point of a line, shape (C,); None where it is none."""
        steps = self.points[1:] - self.points[0]
        if not len(steps) or np.linalg.matrix_rank(steps, tol=WEIGHT_TOLERANCE) != 1:
            return None
        return steps[-1]

    def _corner_weights(self) -> Iterator[np.ndarray]:
        for ones in product(*(np.eye(len(group.channels)) for group in self.system.groups)):
            yield np.concatenate(ones)


def _partitions(total: int, n_parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all tuples of non-negative integers with this sum."""
    for bars in combinations(range(total + n_parts - 1), n_parts - 1):
        edges = (-1, *bars, total + n_parts - 1)
        yield tuple(b - a - 1 for a, b in pairwise(edges))
