"""Ordered arrangements of a disordered crystal: random, special quasirandom, concentration waves, or all distinct."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb, factorial, prod
from typing import Any, Literal, get_args

import numpy as np
from monty.json import MSONable
from pymatgen.core import Element, Lattice, Structure

from alchemflows.alchemy.symmetry import site_permutations
from alchemflows.alchemy.system import WEIGHT_TOLERANCE, AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.counts import Counts
from alchemflows.structures.species import FLOATING_POINT, OCCUPANCY_ROUNDING

#: Kind of ordered structure: random occupation of the sites, or a special quasirandom structure.
Ordering = Literal["random", "sqs"]

#: Largest number of arrangements that are enumerated.
MAX_ARRANGEMENTS = 200_000
#: Number of random arrangements tried in the search for a special quasirandom structure.
SQS_ITERATIONS = 100_000
#: Error message without sqsgenerator.
NEEDS_SQSGENERATOR = "special quasirandom structures need sqsgenerator: pip install 'alchemflows[sqs]'"


@dataclass(frozen=True)
class Sublattice:
    """A set of equivalent sites and the elements that are distributed over them.

    Attributes
    ----------
    sites
        Indices of the sites in the structure.
    symbols
        Elements; None stands for a vacancy.
    counts
        Number of atoms (or vacancies) of each element.
    """

    sites: tuple[int, ...]
    symbols: tuple[str | None, ...]
    counts: tuple[int, ...]

    @property
    def n_arrangements(self) -> int:
        """Number of ways to distribute the elements, without regard to symmetry."""
        return factorial(len(self.sites)) // prod(factorial(count) for count in self.counts)


class Disorder(MSONable):
    """A disordered crystal in a supercell in which it can be represented by ordered arrangements.

    Parameters
    ----------
    structure
        pymatgen Structure with partial occupancies. Occupancies that sum to less than 1 imply vacancies; oxidation
        states are ignored.
    supercell
        Repeats along the three cell vectors.
    rounded
        Whether to round the composition to whole atoms; :attr:`rounding` describes the change. If False, it is an error
        if the number of atoms n x of a share x on n sites differs from a whole number by more than (1 + n x) times
        :data:`~alchemflows.structures.species.OCCUPANCY_ROUNDING`.

    Attributes
    ----------
    system, weights
        Alchemical system of the supercell and its weights, shape (C,), after rounding to whole atoms.
    sublattices
        Disordered sublattices. The sites of one are equivalent by symmetry in `structure` and have the same
        occupancies. The composition of each sublattice is kept.
    rounding
        Description of the change by rounding to whole atoms; empty if nothing changed.

    Raises
    ------
    InvalidInputError
        If the crystal is ordered, an occupancy is invalid, sites exclude one another, the occupancies do not
        correspond to whole numbers of atoms, or an element would get no site.

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
            raise InvalidInputError(f"supercell must be three numbers of repeats, each at least 1; got {supercell}")
        self._inputs = structure, tuple(supercell), rounded
        self.system, weights = AlchemicalSystem.from_structure(structure * tuple(supercell))
        if not self.system.groups:
            raise InvalidInputError(
                f"{structure.composition.reduced_formula} is ordered; a structure with partial occupancies is required"
            )
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
            # Each share was rounded in the input, and then divided by a sum of rounded shares.
            rounding = OCCUPANCY_ROUNDING * (len(group.sites) + len(parts) * asked)
            if (np.abs(counts - asked) > rounding + FLOATING_POINT).any():
                changes.append(_change(names, asked, counts))
            if not counts.all():
                raise InvalidInputError(
                    f"a species with occupancy {parts.min():.4f} would get none of the {len(group.sites)} sites; "
                    "choose a larger supercell"
                )
            self.sublattices.append(Sublattice(group.sites, names, tuple(counts.tolist())))
            shares.append(counts[: len(symbols)] / len(group.sites))
        self.weights = np.concatenate(shares)
        self.rounding = ""
        if changes:
            if not rounded:
                raise InvalidInputError(
                    f"the composition does not give whole numbers of atoms in this cell ({'; '.join(changes)}); choose "
                    "another supercell, or round to whole numbers (--round-composition, rounded=True)"
                )
            self.rounding = (
                f"the composition was rounded to whole atoms, from {self.system.formula(weights)} to "
                f"{self.system.formula(self.weights)} ({'; '.join(changes)})"
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the inputs as a dictionary, from which :meth:`from_dict` makes an equal object."""
        structure, supercell, rounded = self._inputs
        kind = {"@module": type(self).__module__, "@class": type(self).__name__}
        return kind | {"structure": structure.as_dict(), "supercell": list(supercell), "rounded": rounded}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Disorder:
        """Return the object of the dictionary of :meth:`as_dict`."""
        return cls(Structure.from_dict(d["structure"]), d["supercell"], rounded=d["rounded"])

    @property
    def unit_cell(self) -> Structure:
        """The structure from which the supercell was made."""
        return self._inputs[0]

    @property
    def repeats(self) -> tuple[int, int, int]:
        """Repeats of the unit cell along its three vectors."""
        a, b, c = self._inputs[1]
        return a, b, c

    @property
    def counts(self) -> Counts:
        """Numbers of atoms, sites and formula units of the supercell; the same for all arrangements."""
        return self.system.counts(self.weights)

    @property
    def entropy_kB(self) -> float:
        """Ideal configurational entropy of the supercell (k_B): −Σ x ln x over sites, elements and vacancies."""
        total = 0.0
        for sublattice in self.sublattices:
            shares = np.array([count for count in sublattice.counts if count]) / len(sublattice.sites)
            total -= len(sublattice.sites) * float(shares @ np.log(shares))
        return total

    @property
    def n_arrangements(self) -> int:
        """Number of arrangements of the whole supercell, without regard to symmetry."""
        return prod(sublattice.n_arrangements for sublattice in self.sublattices)

    def structure(
        self, labels: Sequence[np.ndarray], positions: np.ndarray | None = None, lattice: Lattice | None = None
    ) -> Structure:
        """Return the ordered structure of one arrangement.

        Parameters
        ----------
        labels
            For each sublattice, the index of the element on each of its sites, shape (sites,).
        positions, lattice
            Cartesian positions (Å), shape (N, 3), and lattice; by default those of the system.
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
        """Return n random ordered structures; all arrangements are equally probable."""
        rng = np.random.default_rng(seed)
        return [
            self.structure([rng.permutation(np.repeat(np.arange(len(s.counts)), s.counts)) for s in self.sublattices])
            for _ in range(n)
        ]

    def quasirandom(self, seed: int = 0, n_iterations: int = SQS_ITERATIONS) -> Structure:
        """Return a special quasirandom structure, found by sqsgenerator for each sublattice separately.

        The search minimises the Warren–Cowley parameters of pairs over all shells that the cell resolves, with shell
        weights 1/shell². Each pair is counted once, at its shortest distance (Gehringer, Friák & Holec, Comput. Phys.
        Commun. 286, 108664, 2023).

        Parameters
        ----------
        seed
            Seed of the random arrangements.
        n_iterations
            Number of random arrangements to try.

        Raises
        ------
        InvalidInputError
            If sqsgenerator is not installed, or the cell has too few sites.
        """
        return self.structure(
            [self._quasirandom(sublattice, seed + k, n_iterations) for k, sublattice in enumerate(self.sublattices)]
        )

    def wave(self, wave_vector: Sequence[float], cell: Structure) -> Structure:
        """Return the arrangement in which two elements in equal amounts alternate along a concentration wave.

        A site at r gets the first element if cos(2π q·r) is positive and the second if it is negative. On the B sites
        of a cubic perovskite, q = (½, ½, ½) gives rocksalt order, (0, 0, ½) layers and (½, ½, 0) columns.

        Parameters
        ----------
        wave_vector
            Wave vector q in units of the reciprocal lattice vectors of `cell`.
        cell
            Unit cell from which the supercell was made.

        Raises
        ------
        InvalidInputError
            If a sublattice does not have two elements in equal amounts, the wave does not fit into the supercell, it is
            zero on a site, or its two signs do not occur equally often.
        """
        q = np.array(wave_vector, dtype=float)
        repeats = cell.lattice.get_fractional_coords(self.system.structure.lattice.matrix)
        labels = []
        for sublattice in self.sublattices:
            if len(sublattice.counts) != 2 or sublattice.counts[0] != sublattice.counts[1]:
                raise InvalidInputError(
                    "a wave orders sublattices of two elements in equal amounts; this one has the counts "
                    f"{', '.join(map(str, sublattice.counts))}"
                )
            sites = list(sublattice.sites)
            places = cell.lattice.get_fractional_coords(self.system.structure.cart_coords[sites])
            waves = np.cos(2 * np.pi * (places - places[0]) @ q)
            chosen = (waves < 0).astype(int)
            if np.abs(repeats @ q - (repeats @ q).round()).max() > 1e-6 or np.abs(waves).min() < 1e-6:
                raise InvalidInputError(
                    f"the wave {q.tolist()} does not fit into the supercell or is zero on a site; choose another wave "
                    "vector or supercell"
                )
            if chosen.sum() * 2 != len(sites):
                raise InvalidInputError(
                    f"the wave {q.tolist()} assigns {chosen.sum()} of {len(sites)} sites to the second element instead "
                    "of half of them; choose another wave vector or supercell"
                )
            labels.append(chosen)
        return self.structure(labels)

    def distinct(self) -> list[tuple[Structure, int]]:
        """Return all symmetry-distinct arrangements, each with its multiplicity.

        Raises
        ------
        InvalidInputError
            If there are more than :data:`MAX_ARRANGEMENTS` arrangements.
        """
        if self.n_arrangements > MAX_ARRANGEMENTS:
            raise InvalidInputError(
                f"{self.n_arrangements} arrangements are too many to enumerate (at most {MAX_ARRANGEMENTS}); choose a "
                "smaller supercell"
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
        """Return a key that is equal for symmetry-equivalent arrangements; `labels` as in :meth:`structure`."""
        return self._images(np.concatenate(labels).astype(np.int64))[0].tobytes()

    def _images(self, arrangement: np.ndarray) -> np.ndarray:
        """Return the distinct symmetry images of an arrangement, sorted, shape (images, sites)."""
        return np.unique(arrangement[self._permutations], axis=0)

    @cached_property
    def _permutations(self) -> np.ndarray:
        """Index of the image of each disordered site under each symmetry operation, shape (operations, sites)."""
        sites = np.concatenate([sublattice.sites for sublattice in self.sublattices])
        place = {int(site): k for k, site in enumerate(sites)}
        return np.unique(
            [[place[int(image[site])] for site in sites] for image in site_permutations(self.system)], axis=0
        )

    def _quasirandom(self, sublattice: Sublattice, seed: int, n_iterations: int) -> np.ndarray:
        """Return the index of the element on each site of a sublattice in a special quasirandom structure."""
        try:
            from sqsgenerator import optimize, parse_config
        except ImportError as error:
            raise InvalidInputError(NEEDS_SQSGENERATOR) from error
        if sum(count > 0 for count in sublattice.counts) == 1:
            return np.full(len(sublattice.sites), np.argmax(sublattice.counts))
        sites = list(sublattice.sites)
        # sqsgenerator has no vacancies, so the elements H, He, ... stand for the species in turn.
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
        except (ValueError, AttributeError) as error:  # sqsgenerator returns a ParseError instead of raising it
            raise InvalidInputError(
                f"sqsgenerator found no structure with {len(sites)} sites; choose a larger supercell"
            ) from error
        # Many results are equally good and come in random order; the smallest makes the choice reproducible.
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
    """Return an ordered structure that represents a structure with partial occupancies.

    Parameters
    ----------
    structure, supercell, rounded
        As for :class:`Disorder`.
    kind
        ``sqs`` for a special quasirandom structure, or ``random``.
    seed
        Seed of the random numbers.

    Raises
    ------
    InvalidInputError
        If the kind is unknown, or for the same reasons as in :class:`Disorder`.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import to_ordered
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> to_ordered(mixed, kind="random", seed=1).composition.formula
    'K2 Na2 Cl4'
    """
    check_choice("kind", kind, get_args(Ordering))
    disorder = Disorder(structure, supercell, rounded=rounded)
    return disorder.quasirandom(seed) if kind == "sqs" else disorder.random(1, seed)[0]


def whole(shares: np.ndarray, n: int) -> np.ndarray:
    """Return the whole numbers of sum n that are closest to n times the shares (method of largest remainders)."""
    exact = shares * n
    counts = np.floor(exact + 1e-9).astype(int)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts


def _change(names: Sequence[str | None], asked: np.ndarray, counts: np.ndarray) -> str:
    """Describe how the numbers of atoms on a sublattice were rounded."""
    listed = (f"{name or 'vacancies'} {n:.4g} → {count}" for name, n, count in zip(names, asked, counts, strict=True))
    return f"{counts.sum()} sites: {', '.join(listed)}"


def _distributions(counts: Sequence[int]) -> np.ndarray:
    """Return all ways to label sites so that label k occurs ``counts[k]`` times, shape (ways, sites)."""
    n = sum(counts)
    if len(counts) == 1:
        return np.zeros((1, n), dtype=np.int64)
    rest = _distributions(counts[1:]) + 1
    found = np.zeros((comb(n, counts[0]) * len(rest), n), dtype=np.int64)
    for k, chosen in enumerate(combinations(range(n), counts[0])):
        others = np.setdiff1d(np.arange(n), chosen)
        found[k * len(rest) : (k + 1) * len(rest), others] = rest
    return found
