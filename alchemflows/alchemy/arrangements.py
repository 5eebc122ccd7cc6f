"""Ordered arrangements of a disordered crystal: random, special quasirandom, ordered by waves, all distinct ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, factorial, prod
from typing import Any, Literal, get_args

import numpy as np
from pymatgen.core import Element, Lattice, Structure

from alchemflows.alchemy.symmetry import site_permutations
from alchemflows.alchemy.system import WEIGHT_TOLERANCE, AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.counts import Counts
from alchemflows.structures.species import FLOATING_POINT, OCCUPANCY_ROUNDING

#: How an ordered structure is made: all sites drawn at random, or a special quasirandom structure.
Ordering = Literal["random", "sqs"]

#: More arrangements than this are not enumerated.
MAX_ARRANGEMENTS = 200_000
#: Arrangements that are tried in the search for a special quasirandom structure.
SQS_ITERATIONS = 100_000


@dataclass(frozen=True)
class Sublattice:
    """Sites over which some elements are distributed.

    Attributes
    ----------
    sites
        Indices in the structure.
    symbols
        The elements; None is a vacancy.
    counts
        Atoms of each.
    """

    sites: tuple[int, ...]
    symbols: tuple[str | None, ...]
    counts: tuple[int, ...]

    @property
    def n_arrangements(self) -> int:
        """Ways to distribute the elements, symmetry not considered."""
        return factorial(len(self.sites)) // prod(factorial(count) for count in self.counts)


class Disorder:
    """A disordered crystal in a cell that is large enough to order it.

    Parameters
    ----------
    structure
        pymatgen structure with partial occupancies; a shortfall is vacancies, oxidation states are ignored.
    supercell
        Repeats along the three cell vectors.
    rounded
        Take the nearest whole numbers of atoms where the occupancies give none; :attr:`rounding` says so. Without it a
        composition is refused if one of n shares x differs from whole atoms by more than (1 + n x) times
        :data:`~alchemflows.structures.species.OCCUPANCY_ROUNDING`.

    Attributes
    ----------
    system, weights
        The alchemical system of the supercell and its weights, shape (C,): as the occupancies are, or as they are
        after rounding.
    sublattices
        Where it is disordered: sites that are equivalent by symmetry in `structure` and have the same occupancies. Each
        keeps its own composition.
    rounding
        What rounding to whole atoms changed, as a sentence; empty where it changed nothing.

    Raises
    ------
    InvalidInputError
        If it is ordered, an occupancy makes no sense, sites exclude one another, sites do not divide into whole atoms,
        or an element into none.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import Disorder
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> disorder = Disorder(mixed)
    >>> disorder.n_arrangements, [n for _, n in disorder.distinct()]
    (6, [6])
    """

    @checked
    def __init__(self, structure: Structure, supercell: Sequence[int] = (1, 1, 1), *, rounded: bool = False) -> None:
        if len(supercell) != 3 or min(supercell) < 1:
            raise InvalidInputError(f"a supercell repeats the cell at least once along each axis; got {supercell}")
        self.system, weights = AlchemicalSystem.from_structure(structure * tuple(supercell))
        if not self.system.groups:
            raise InvalidInputError(f"{structure.composition.reduced_formula} has no site with partial occupancies")
        self.sublattices: list[Sublattice] = []
        shares: list[np.ndarray] = []
        changes: list[str] = []
        for g, group in enumerate(self.system.groups):
            occupancies = weights[self.system.group_of_weight == g]
            symbols = [Element.from_Z(channel[0]).symbol for channel in group.channels]
            vacant = 1.0 - occupancies.sum()
            parts = np.append(occupancies, vacant) if vacant > WEIGHT_TOLERANCE else occupancies
            counts = whole(parts / parts.sum(), len(group.sites))
            asked = parts / parts.sum() * len(group.sites)
            names = (*symbols, None)[: len(parts)]
            # Each share was rounded, and scaled with a sum of rounded shares.
            rounding = OCCUPANCY_ROUNDING * (len(group.sites) + len(parts) * asked)
            if (np.abs(counts - asked) > rounding + FLOATING_POINT).any():
                changes.append(_change(names, asked, counts))
            if not counts.all():
                raise InvalidInputError(
                    f"not one of {len(group.sites)} sites would hold a species with {parts.min():.4f}: choose a larger "
                    "supercell"
                )
            self.sublattices.append(Sublattice(group.sites, names, tuple(counts.tolist())))
            shares.append(counts[: len(symbols)] / len(group.sites))
        self.weights = np.concatenate(shares)
        self.rounding = ""
        if changes:
            if not rounded:
                raise InvalidInputError(
                    f"the composition is not whole atoms in this cell ({'; '.join(changes)}): choose another "
                    "supercell, or accept the nearest whole numbers (--round-composition, rounded=True)"
                )
            self.rounding = (
                f"the composition was rounded to whole atoms, from {self.system.formula(weights)} to "
                f"{self.system.formula(self.weights)} ({'; '.join(changes)})"
            )

    @property
    def counts(self) -> Counts:
        """Atoms, sites and formula units of the supercell; every arrangement has as many atoms."""
        return self.system.counts(self.weights)

    @property
    def entropy_kB(self) -> float:
        """Ideal configurational entropy of the supercell, k_B: −Σ x ln x over sites, elements and vacancies."""
        total = 0.0
        for sublattice in self.sublattices:
            shares = np.array([count for count in sublattice.counts if count]) / len(sublattice.sites)
            total -= len(sublattice.sites) * float(shares @ np.log(shares))
        return total

    @property
    def n_arrangements(self) -> int:
        """Arrangements of the whole cell, symmetry not considered."""
        return prod(sublattice.n_arrangements for sublattice in self.sublattices)

    def structure(
        self, labels: Sequence[np.ndarray], positions: np.ndarray | None = None, lattice: Lattice | None = None
    ) -> Structure:
        """Return an ordered structure.

        Parameters
        ----------
        labels
            For each sublattice, which of its elements is at each of its sites, shape (sites,).
        positions, lattice
            Of the atoms, Å, shape (N, 3), and of the cell, where they are not those of the system.
        """
        host = self.system.structure
        symbols: list[str | None] = [site.specie.symbol for site in host]
        for sublattice, chosen in zip(self.sublattices, labels, strict=True):
            for site, k in zip(sublattice.sites, chosen, strict=True):
                symbols[site] = sublattice.symbols[int(k)]
        kept = [i for i, symbol in enumerate(symbols) if symbol is not None]
        places = (host.cart_coords if positions is None else positions)[kept]
        species = [symbols[i] for i in kept]
        return Structure(lattice or host.lattice, species, places, coords_are_cartesian=True)  # type: ignore[arg-type]

    def random(self, n: int, seed: int = 0) -> list[Structure]:
        """Return structures whose sites are drawn at random, each arrangement with the same probability."""
        rng = np.random.default_rng(seed)
        return [
            self.structure([rng.permutation(np.repeat(np.arange(len(s.counts)), s.counts)) for s in self.sublattices])
            for _ in range(n)
        ]

    def quasirandom(self, seed: int = 0, n_iterations: int = SQS_ITERATIONS) -> Structure:
        """Return a special quasirandom structure, by sqsgenerator, each sublattice by itself.

        Warren–Cowley parameters of pairs, of all shells that the cell resolves with weights 1/shell², are brought as
        near to zero as possible, each pair counted once, at its shortest distance (Gehringer, Friák & Holec, Comput.
        Phys. Commun. 286, 108664, 2023).

        Parameters
        ----------
        seed
            Of the arrangements that are tried.
        n_iterations
            How many are tried.

        Raises
        ------
        InvalidInputError
            If sqsgenerator is not installed, or the cell has too few sites.
        """
        return self.structure(
            [self._quasirandom(sublattice, seed + k, n_iterations) for k, sublattice in enumerate(self.sublattices)]
        )

    def wave(self, wave_vector: Sequence[float], cell: Structure) -> Structure:
        """Return the arrangement in which two elements in equal amounts alternate along a wave.

        Sites at r are the first element where cos(2π q·r) is positive and the second where it is negative: on the cubic
        perovskite's B sites q = (½, ½, ½) is rocksalt order, (0, 0, ½) layers, (½, ½, 0) columns.

        Parameters
        ----------
        wave_vector
            q, in reciprocal vectors of `cell`.
        cell
            The crystal before it was repeated.

        Raises
        ------
        InvalidInputError
            If there are not just two elements in equal amounts, or the wave does not part the sites into halves (it has
            zeros on sites, or does not fit into the supercell).
        """
        q = np.array(wave_vector, dtype=float)
        repeats = cell.lattice.get_fractional_coords(self.system.structure.lattice.matrix)
        labels = []
        for sublattice in self.sublattices:
            if len(sublattice.counts) != 2 or sublattice.counts[0] != sublattice.counts[1]:
                raise InvalidInputError("waves order two elements in equal amounts")
            sites = list(sublattice.sites)
            places = cell.lattice.get_fractional_coords(self.system.structure.cart_coords[sites])
            waves = np.cos(2 * np.pi * (places - places[0]) @ q)
            chosen = (waves < 0).astype(int)
            if np.abs(repeats @ q - (repeats @ q).round()).max() > 1e-6 or np.abs(waves).min() < 1e-6:
                raise InvalidInputError(f"the wave {q.tolist()} does not fit into the cell, or vanishes on a site")
            if chosen.sum() * 2 != len(sites):
                raise InvalidInputError(f"the wave {q.tolist()} does not part {len(sites)} sites into halves")
            labels.append(chosen)
        return self.structure(labels)

    def distinct(self) -> list[tuple[Structure, int]]:
        """Return all arrangements that symmetry does not make the same, with the number that each stands for.

        Raises
        ------
        InvalidInputError
            If there are too many.
        """
        if self.n_arrangements > MAX_ARRANGEMENTS:
            raise InvalidInputError(
                f"{self.n_arrangements} arrangements are too many to enumerate (at most {MAX_ARRANGEMENTS})"
            )
        arrangements = np.zeros((1, 0), dtype=np.int64)
        for sublattice in self.sublattices:
            own = _distributions(sublattice.counts)
            arrangements = np.hstack([np.repeat(arrangements, len(own), axis=0), np.tile(own, (len(arrangements), 1))])
        seen: set[bytes] = set()
        found = []
        for arrangement in arrangements:
            if arrangement.tobytes() not in seen:
                images = self._images(arrangement)
                seen.update(image.tobytes() for image in images)
                parts = np.split(arrangement, np.cumsum([len(s.sites) for s in self.sublattices])[:-1])
                found.append((self.structure(parts), len(images)))
        return found

    def same_by_symmetry(self, labels: Sequence[np.ndarray]) -> bytes:
        """Return what all arrangements have in common that symmetry makes the same; labels as in :meth:`structure`."""
        return self._images(np.concatenate(labels).astype(np.int64))[0].tobytes()

    def _images(self, arrangement: np.ndarray) -> np.ndarray:
        """Return all that symmetry makes of an arrangement, shape (images, sites), in one order for all of them."""
        return np.unique(arrangement[self._permutations], axis=0)

    @cached_property
    def _permutations(self) -> np.ndarray:
        """Where each symmetry operation takes each disordered site, shape (operations, sites)."""
        sites = np.concatenate([sublattice.sites for sublattice in self.sublattices])
        place = {int(site): k for k, site in enumerate(sites)}
        return np.unique(
            [[place[int(image[site])] for site in sites] for image in site_permutations(self.system)], axis=0
        )

    def _quasirandom(self, sublattice: Sublattice, seed: int, n_iterations: int) -> np.ndarray:
        """Return which element is at which site of a sublattice."""
        try:
            from sqsgenerator import optimize, parse_config
        except ImportError as error:
            raise InvalidInputError(
                "special quasirandom structures need sqsgenerator: pip install 'alchemflows[sqs]'"
            ) from error
        if sum(count > 0 for count in sublattice.counts) == 1:
            return np.full(len(sublattice.sites), np.argmax(sublattice.counts))
        sites = list(sublattice.sites)
        # Hydrogen is the first of the elements, and so on, since vacancies are unknown to it.
        counts = {Element.from_Z(k + 1).symbol: count for k, count in enumerate(sublattice.counts) if count}
        config: dict[str, Any] = {
            "structure": {
                "lattice": self.system.structure.lattice.matrix.tolist(),
                "coords": self.system.structure.frac_coords[sites].tolist(),
                "species": ["H"] * len(sites),
            },
            "composition": [{"sites": list(range(len(sites))), **counts}],
            "sublattice_mode": "split",
            "iteration_mode": "random",
            "iterations": n_iterations,
            "max_results_per_objective": 1000,
            "prec": "double",
            "thread_config": 1,
            "seed": seed,
        }
        try:
            n_shells = len(parse_config(config).shell_weights[0])
            config["shell_weights"] = {shell: 1 / shell**2 for shell in range(1, n_shells + 1)}
            pack = optimize(config)
        except (ValueError, AttributeError) as error:  # a ParseError is returned, not raised
            raise InvalidInputError(
                f"no special quasirandom structure can be had with {len(sites)} sites: choose a larger supercell"
            ) from error
        # Many are equally good, in an order that differs from run to run.
        _, species = min((round(off, 9), result.structure().species) for off, results in pack for result in results)
        return np.array(species) - 1


def to_ordered(
    structure: Structure,
    supercell: Sequence[int] = (1, 1, 1),
    *,
    kind: Ordering = "sqs",
    seed: int = 0,
    rounded: bool = False,
) -> Structure:
    """Return an ordered structure for one with partial occupancies.

    Parameters
    ----------
    structure, supercell, rounded
        As for :class:`Disorder`.
    kind
        ``sqs``, a special quasirandom structure, or ``random``.
    seed
        Of the random numbers.

    Raises
    ------
    InvalidInputError
        As :class:`Disorder`, or if the kind is unknown.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import to_ordered
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> to_ordered(mixed, kind="random", seed=1).composition.formula
    'K2 Na2 Cl4'
    """
    if kind not in get_args(Ordering):
        raise InvalidInputError(f"kind must be one of {', '.join(get_args(Ordering))}; got {kind!r}")
    disorder = Disorder(structure, supercell, rounded=rounded)
    return disorder.quasirandom(seed) if kind == "sqs" else disorder.random(1, seed)[0]


def whole(shares: np.ndarray, n: int) -> np.ndarray:
    """Return whole numbers that sum to n and are nearest to n times the shares, which sum to 1 (largest remainders)."""
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts


def _change(names: Sequence[str | None], asked: np.ndarray, counts: np.ndarray) -> str:
    """Return how many atoms of each element were asked for on a sublattice, and the nearest whole numbers."""
    listed = (f"{name or 'vacancies'} {n:.4g} → {count}" for name, n, count in zip(names, asked, counts, strict=True))
    return f"{counts.sum()} sites: {', '.join(listed)}"


def _distributions(counts: Sequence[int]) -> np.ndarray:
    """Return all ways to give so many sites each label, shape (ways, sites)."""
    n = sum(counts)
    if len(counts) == 1:
        return np.zeros((1, n), dtype=np.int64)
    rest = _distributions(counts[1:]) + 1
    found = np.zeros((comb(n, counts[0]) * len(rest), n), dtype=np.int64)
    for k, chosen in enumerate(combinations(range(n), counts[0])):
        others = np.setdiff1d(np.arange(n), chosen)
        found[k * len(rest) : (k + 1) * len(rest), others] = rest
    return found
