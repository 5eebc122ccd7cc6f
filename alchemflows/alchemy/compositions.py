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

#: Decimals to which weights and distances are rounded before they are compared.
_DIGITS = 9


@dataclass(frozen=True)
class CompositionGrid(MSONable):
    """A grid of compositions: P points in the space of weights of one alchemical system.

    Parameters
    ----------
    system
        The alchemical system.
    weights
        Weights of each point, shape (P, C); each row lies on the simplex.

    Raises
    ------
    InvalidInputError
        If there is no point, a point is not on the simplex or has no atoms, or two points are equal.

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
            raise InvalidInputError("weights: two compositions of the grid are equal; give each composition once")
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
        """Return compositions on a straight line between a structure and its substituted form.

        Parameters
        ----------
        structure, substitution, sites, coupling
            As for :meth:`AlchemicalPath.from_substitution`.
        shares
            Progress x of the substitution at each point, between 0 (structure as given) and 1 (fully substituted).

        Raises
        ------
        InvalidInputError
            If the substitution is invalid, or if a share is not between 0 and 1 or occurs twice.
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
        """Return all compositions whose fractions are multiples of 1/n on each site group.

        Parameters
        ----------
        structure
            Ordered or disordered structure. Partial occupancies only select sites; their values are not used.
        choices
            Elements allowed on the sites of an element, for example ``{"Na": ["Li", "Na", "K"]}``. With several entries
            the grid is the product of their simplices.
        n_intervals
            Number n of intervals along an edge of the simplex; a ternary has (n + 1)(n + 2)/2 points.

        Raises
        ------
        InvalidInputError
            If an element of `choices` is not in the structure, a site contains two of them, a disordered site contains
            none, a choice is unknown or given twice, or n is not positive.
        """
        if n_intervals < 1:
            raise InvalidInputError(f"n_intervals must be at least 1; got {n_intervals}")
        sites: dict[str, list[int]] = {element: [] for element in choices}
        occupancies = occupancies_of(structure).sites
        for index, occupancy in enumerate(occupancies):
            here = [element for element in choices if element in occupancy]
            if len(here) > 1:
                raise InvalidInputError(
                    f"choices: site {index} contains {' and '.join(here)}; give choices for one of them only"
                )
            if here:
                sites[here[0]].append(index)
            elif len(occupancy) > 1 or abs(sum(occupancy.values()) - 1) > WEIGHT_TOLERANCE:
                raise InvalidInputError(
                    f"choices: site {index} is disordered ({occupancy}), but none of its elements has choices; add them"
                )
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
            raise InvalidInputError('choices is empty; give elements for at least one, e.g. {"Na": ["Na", "K"]}')
        check_exclusions(structure, occupancies)
        system = AlchemicalSystem(host_structure(structure, occupancies), tuple(groups), coupling)
        system.check_distances()
        return cls(system, tuple(tuple(np.concatenate(parts).tolist()) for parts in product(*grids)))

    @property
    def points(self) -> np.ndarray:
        """Weights of all points as an array, shape (P, C)."""
        return np.array(self.weights)

    def tree(self, roots: Sequence[int] = ()) -> list[tuple[int, int | None]]:
        """Return an order in which to compute the points, each with an earlier point to start from.

        Parameters
        ----------
        roots
            Points that are already computed; they are not returned. If empty, the central point comes first, with None
            instead of an earlier point.
        """
        points = self.points
        if not roots:
            middle = int(np.linalg.norm(points - points.mean(axis=0), axis=1).round(_DIGITS).argmin())
            return [(middle, None), *self.tree([middle])]
        # Squared distances make a path of many small steps shorter than one large step.
        far, parents, _ = dijkstra(
            cdist(points, points, "sqeuclidean"), indices=list(roots), min_only=True, return_predecessors=True
        )
        order = np.argsort(far.round(_DIGITS), kind="stable")
        return [(int(k), int(parents[k])) for k in order if int(k) not in roots]

    def corners(self) -> list[int] | None:
        """Return the grid points with a single channel on every group, ordered as in :meth:`corner_shares`.

        Return None if a corner is not on the grid.
        """
        found = []
        for corner in self._corner_weights():
            here = np.flatnonzero(np.abs(self.points - corner).max(axis=1) < WEIGHT_TOLERANCE)
            if not len(here):
                return None
            found.append(int(here[0]))
        return found

    def corner_shares(self) -> np.ndarray:
        """Return the share of each corner at each point, a product over the groups; shape (P, number of corners)."""
        chosen = np.array(list(self._corner_weights())).astype(bool)
        return np.array([[float(np.prod(point[corner])) for corner in chosen] for point in self.points])

    def direction(self) -> np.ndarray | None:
        """Return the difference in weights between the last and the first point, shape (C,); None if not a line."""
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
