r"""Coupled moves that change several sites at once, so that the charge is conserved.

Where elements of different valence mix, a change of a single site gives a charged crystal. A *reaction*, such as
Ca + Ca → Na + La, replaces one species by another on each of several sites. In place k, the species left_k becomes
right_k; the reverse move replaces right_k by left_k. With the slope g_is of species s on site i, the energy changes to
first order by

    ΔÊ = Σ_k (g_(i_k, right_k) − g_(i_k, left_k)).

The ensemble is semi-grand in the direction of the reactions. A reaction r with the net change ν_rs of the number of
each species has a chemical potential Δμ_r = Σ_s ν_rs μ_s, and Φ = −Σ_s μ_s N_s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from pymatgen.core import Element

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.sampling.ensembles import Candidates, Ensemble, relative_slopes

#: Largest number of candidates, which are all listed for each replica.
MAX_CANDIDATES = 200_000


@dataclass(frozen=True)
class Reaction:
    """Replacement of species on several sites, and its reverse.

    Parameters
    ----------
    left, right
        Symbols of the species before and after; the species in the same place share a site.

    Raises
    ------
    InvalidInputError
        If the sides do not have the same number of species, or a species is in the same place on both sides.

    Examples
    --------
    >>> from alchemflows.sampling.reactions import Reaction
    >>> reaction = Reaction.parse("2 Ca -> Na + La")
    >>> reaction
    Reaction(left=('Ca', 'Ca'), right=('Na', 'La'))
    >>> reaction.charge({"Ca": 2, "Na": 1, "La": 3})
    0
    """

    left: tuple[str, ...]
    right: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.left or len(self.left) != len(self.right):
            raise InvalidInputError(
                f"reaction {self}: both sides need the same number of species, one for each site; got "
                f"{len(self.left)} and {len(self.right)} (an empty site is a {VACANCY})"
            )
        for before, after in self.replacements:
            if before == after:
                raise InvalidInputError(f"reaction {self}: {before} is in the same place on both sides")

    def __str__(self) -> str:
        return f"{' + '.join(self.left)} -> {' + '.join(self.right)}"

    @classmethod
    def parse(cls, text: str) -> Reaction:
        """Read a reaction, such as ``Ca + Ca -> Na + La`` or ``2 Ca -> Na + La``.

        Raises
        ------
        InvalidInputError
            If the text is not a reaction.
        """
        sides = text.split("->")
        if len(sides) != 2:
            raise InvalidInputError(f"reaction {text!r} must have the form 'Ca + Ca -> Na + La'")
        left, right = (_species_of(side, text) for side in sides)
        return cls(left, right)

    @property
    def replacements(self) -> list[tuple[str, str]]:
        """Species before and after on each site."""
        return list(zip(self.left, self.right, strict=True))

    @property
    def sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Species before and after."""
        return self.left, self.right

    @property
    def species(self) -> list[str]:
        """All species, each once."""
        return list(dict.fromkeys(self.left + self.right))

    def charge(self, oxidation_states: Mapping[str, float] | None = None) -> float:
        """Return the change of the charge by the reaction.

        Parameters
        ----------
        oxidation_states
            Oxidation state of each species. By default that of pymatgen, for elements with only one common state; a
            vacancy is not charged.

        Raises
        ------
        InvalidInputError
            If the state of a species is not given, and the element has several common ones.
        """
        given = {VACANCY: 0.0, **(oxidation_states or {})}
        states = {symbol: given[symbol] if symbol in given else _only_state(symbol) for symbol in self.species}
        return sum(states[after] - states[before] for before, after in self.replacements)


class _Moves(NamedTuple):
    """M moves on K sites each.

    Moves of fewer sites repeat their last one, which does not count again.

    Attributes
    ----------
    sites, before, after
        Site, and the species there before and after the move, shape (M, K).
    counted
        Whether a site counts, shape (M, K).
    reverse
        Index of the reverse move, shape (M,).
    """

    sites: np.ndarray
    before: np.ndarray
    after: np.ndarray
    counted: np.ndarray
    reverse: np.ndarray


class Reactions:
    """Arrangements whose composition changes by reactions only; a move is a reaction or its reverse.

    Reactions do not move species from site to site otherwise; combine them with swaps, see :class:`Combined`.

    Parameters
    ----------
    arrangements
        The arrangements.
    reactions
        Reactions, or their text, see :meth:`Reaction.parse`. The sites may be on the same or different sublattices.
    delta_mu_eV
        Chemical potential Δμ of each reaction (eV), Σ μ of the species on the right minus those on the left: one
        number for all, one for each of R reactions, or shape (B, R) for replicas at different Δμ. Positive values
        favour the right side.
    oxidation_states
        Oxidation states of the species, see :meth:`Reaction.charge`.

    Attributes
    ----------
    mu_eV
        Chemical potentials μ of each species with the given Δμ, of least norm (eV), shape (1, S) or (B, S).

    Raises
    ------
    InvalidInputError
        If a reaction changes the charge, names a species that is not among those of the arrangements, or has no sites;
        if there are more than :data:`MAX_CANDIDATES` candidates; or if no μ gives all Δμ.

    Examples
    --------
    >>> import numpy as np
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows.alchemy.arrangements import Disorder
    >>> from alchemflows.sampling.arrangements import Arrangements
    >>> from alchemflows.sampling.ensembles import Canonical
    >>> from alchemflows.sampling.reactions import Combined, Reactions
    >>> cations = {"Ca": 0.5, "Na": 0.25, "La": 0.25}
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.9), [cations, "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> arrangements = Arrangements.of(Disorder(mixed))
    >>> reactions = Reactions(arrangements, ["2 Ca -> Na + La"], delta_mu_eV=0.1)
    >>> ensemble = Combined([Canonical(arrangements), reactions])
    >>> labels = arrangements.random([[2, 1, 1]], seeds=[0])
    >>> [arrangements.species[k] for k in labels[0]]
    ['Na', 'Ca', 'Ca', 'La']
    >>> slopes = np.zeros((1, 4, 3))
    >>> int(ensemble.candidates(labels, slopes).possible.sum())  # five swaps, two reactions and one reverse
    8
    """

    conserves_composition = False

    def __init__(
        self,
        arrangements: Arrangements,
        reactions: Sequence[Reaction | str],
        delta_mu_eV: ArrayLike = 0.0,
        *,
        oxidation_states: Mapping[str, float] | None = None,
    ) -> None:
        self.arrangements = arrangements
        self.reactions = [each if isinstance(each, Reaction) else Reaction.parse(each) for each in reactions]
        if not self.reactions:
            raise InvalidInputError("reactions: give at least one")
        for reaction in self.reactions:
            _check(reaction, arrangements, oxidation_states)
        lists = [_sites(reaction, arrangements) for reaction in self.reactions]
        self.n_candidates = 2 * sum(map(len, lists))
        if self.n_candidates > MAX_CANDIDATES:
            raise _too_many(self.n_candidates)
        self._moves = _moves(arrangements, self.reactions, lists)
        self.mu_eV = species_potentials(arrangements, self.reactions, delta_mu_eV)

    def candidates(self, labels: np.ndarray, slopes: np.ndarray) -> Candidates:
        """Return all reactions and reverse reactions; those whose species are on their sites are possible.

        Raises
        ------
        InvalidInputError
            If Δμ was given for another number of replicas.
        """
        if len(self.mu_eV) not in (1, len(labels)):
            raise InvalidInputError(
                f"delta_mu_eV: one row, or one for each of the {len(labels)} replicas; got {len(self.mu_eV)}"
            )
        relative = relative_slopes(labels, slopes)
        replica = np.arange(len(labels))[:, None, None]
        moves = self._moves
        gained = relative[replica, moves.sites, moves.after]
        gained = gained - (self.mu_eV[:, moves.after] - self.mu_eV[:, moves.before])
        changes = (gained * moves.counted).sum(axis=2)
        return Candidates(changes, (labels[:, moves.sites] == moves.before).all(axis=2))

    def apply(self, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels after the reactions, and the indices of the reverse reactions on the same sites."""
        moved = labels.copy()
        np.put_along_axis(moved, self._moves.sites[chosen], self._moves.after[chosen], axis=1)
        return moved, self._moves.reverse[chosen]

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return −Σ μ N (eV), shape (B,)."""
        return -(self.mu_eV * self.arrangements.counts(labels).sum(axis=1)).sum(axis=1)


class Combined:
    """Moves of several kinds in one ensemble, such as swaps and reactions.

    The candidates are those of all parts. At most one part may change the composition; Φ is that of this part.

    Parameters
    ----------
    parts
        Ensembles of the same arrangements.

    Raises
    ------
    InvalidInputError
        If there is no part, the arrangements differ, or several parts change the composition.
    """

    def __init__(self, parts: Sequence[Ensemble]) -> None:
        if not parts or any(part.arrangements is not parts[0].arrangements for part in parts):
            raise InvalidInputError("parts: give ensembles of the same arrangements")
        changing = [part for part in parts if not part.conserves_composition]
        if len(changing) > 1:
            names = ", ".join(type(part).__name__ for part in changing)
            raise InvalidInputError(f"parts: only one may change the composition; got {names}")
        self.arrangements = parts[0].arrangements
        self.parts = list(parts)
        self.conserves_composition = not changing
        self._energy_of = (changing or self.parts)[0]
        lengths = [part.n_candidates for part in self.parts]
        self.n_candidates = sum(lengths)
        self._first = np.cumsum(lengths) - lengths

    def candidates(self, labels: np.ndarray, slopes: np.ndarray) -> Candidates:
        """Return the candidates of the first part, then those of the second, and so on."""
        each = [part.candidates(labels, slopes) for part in self.parts]
        return Candidates(*(np.concatenate(arrays, axis=1) for arrays in zip(*each, strict=True)))

    def apply(self, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels after one candidate of each replica, and the index of the candidate that reverses it."""
        moved, reverse = labels.copy(), np.array(chosen)
        owner = np.searchsorted(self._first, chosen, side="right") - 1
        for index, part in enumerate(self.parts):
            own, first = owner == index, self._first[index]
            if own.any():
                moved[own], reverse[own] = part.apply(labels[own], chosen[own] - first)
                reverse[own] += first
        return moved, reverse

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return Φ of the part that changes the composition (eV), shape (B,)."""
        return self._energy_of.composition_energy_eV(labels)


def species_potentials(arrangements: Arrangements, reactions: Sequence[Reaction], delta_mu_eV: ArrayLike) -> np.ndarray:
    """Return chemical potentials of all species, of least norm, that give the Δμ of reactions (eV), (1, S) or (B, S).

    Parameters
    ----------
    arrangements
        The arrangements.
    reactions
        R reactions of their species.
    delta_mu_eV
        Chemical potential of each reaction (eV): one number for all, shape (R,) or shape (B, R).

    Raises
    ------
    InvalidInputError
        If the shape is wrong, a number is not finite, or no chemical potentials of the species give all of them.
    """
    n = len(reactions)
    given = np.asarray(delta_mu_eV, dtype=float)
    if given.shape not in ((), (n,)) and (given.ndim != 2 or given.shape[1] != n):
        raise InvalidInputError(f"delta_mu_eV must be one number, or have shape ({n},) or (B, {n}); got {given.shape}")
    if not np.isfinite(given).all():
        raise InvalidInputError(f"delta_mu_eV must be finite; got {given.tolist()}")
    delta = np.atleast_2d(np.broadcast_to(given, (n,)) if given.ndim < 2 else given)
    net = np.zeros((n, len(arrangements.species)))
    for row, reaction in zip(net, reactions, strict=True):
        for one, other in reaction.replacements:
            row[arrangements.species.index(one)] -= 1
            row[arrangements.species.index(other)] += 1
    mu = delta @ np.linalg.pinv(net).T
    if not np.allclose(mu @ net.T, delta, rtol=0, atol=1e-9):
        raise InvalidInputError(
            f"delta_mu_eV: the reactions {', '.join(map(str, reactions))} depend on each other, and no chemical "
            f"potentials of the species give {given.tolist()}"
        )
    return mu


def _species_of(side: str, text: str) -> tuple[str, ...]:
    """Return the species of one side of a reaction."""
    species: list[str] = []
    for term in side.split("+"):
        match = re.fullmatch(r"\s*(?:([1-9]\d?)\s+)?([A-Za-z]+)\s*", term)
        if match is None or not (match[2] == VACANCY or Element.is_valid_symbol(match[2])):
            raise InvalidInputError(
                f"reaction {text!r}: {term.strip()!r} is neither an element nor {VACANCY}; write 'Ca + Ca -> Na + La'"
            )
        species += [match[2]] * int(match[1] or 1)
    return tuple(species)


def _only_state(symbol: str) -> int:
    """Return the only common oxidation state of an element."""
    states = Element(symbol).common_oxidation_states
    if len(states) != 1:
        found = ", ".join(map(str, states)) or "none known"
        raise InvalidInputError(f"oxidation_states: give that of {symbol} (common: {found})")
    return states[0]


def _check(reaction: Reaction, arrangements: Arrangements, oxidation_states: Mapping[str, float] | None) -> None:
    """Check that the species of a reaction are known, and that it keeps the charge."""
    for symbol in reaction.species:
        if symbol not in arrangements.species:
            raise InvalidInputError(
                f"reaction {reaction}: {symbol} is not among the species {', '.join(arrangements.species)}"
            )
    if abs(charge := reaction.charge(oxidation_states)) > 1e-9:
        raise InvalidInputError(
            f"reaction {reaction} changes the charge by {charge:+g}; give other species, or their oxidation_states"
        )


def _sites(reaction: Reaction, arrangements: Arrangements) -> np.ndarray:
    """Return all choices of different sites for the places of a reaction, shape (choices, places).

    Places with the same replacement have increasing sites, because their order does not matter.
    """
    index = arrangements.species.index
    able = [
        np.flatnonzero(arrangements.allowed[:, index(one)] & arrangements.allowed[:, index(other)])
        for one, other in reaction.replacements
    ]
    numbers = {pair: reaction.replacements.count(pair) for pair in reaction.replacements}
    n_sites = {pair: len(sites) for pair, sites in zip(reaction.replacements, able, strict=True)}
    n_choices = prod(comb(n_sites[pair], number) for pair, number in numbers.items())
    if 2 * n_choices > MAX_CANDIDATES:
        raise _too_many(2 * n_choices)
    chosen = np.zeros((1, 0), dtype=np.int64)
    for place, sites in enumerate(able):
        n = len(chosen)
        chosen = np.column_stack([np.repeat(chosen, len(sites), axis=0), np.tile(sites, n)])
        keep = (chosen[:, :-1] != chosen[:, -1:]).all(axis=1)
        for earlier in range(place):
            if reaction.replacements[earlier] == reaction.replacements[place]:
                keep &= chosen[:, earlier] < chosen[:, -1]
        chosen = chosen[keep]
    if not len(chosen):
        raise InvalidInputError(f"reaction {reaction}: there are not enough sites that can have these species")
    return chosen


def _moves(arrangements: Arrangements, reactions: Sequence[Reaction], lists: Sequence[np.ndarray]) -> _Moves:
    """Return the moves of all reactions, each forward and then in reverse, on the chosen sites of each."""
    n_places = max(len(reaction.left) for reaction in reactions)
    parts, first = [], 0
    for reaction, chosen in zip(reactions, lists, strict=True):
        n, n_own = chosen.shape
        columns = np.minimum(np.arange(n_places), n_own - 1)
        left, right = (
            np.tile([arrangements.species.index(side[k]) for k in columns], (n, 1))
            for side in (reaction.left, reaction.right)
        )
        counted = np.tile(np.arange(n_places) < n_own, (n, 1))
        index = first + np.arange(n)
        parts.append(_Moves(chosen[:, columns], left, right, counted, index + n))
        parts.append(_Moves(chosen[:, columns], right, left, counted, index))
        first += 2 * n
    return _Moves(*map(np.concatenate, zip(*parts, strict=True)))


def _too_many(n_candidates: int) -> InvalidInputError:
    return InvalidInputError(
        f"reactions: {n_candidates} candidates are more than {MAX_CANDIDATES}, the largest number; use a smaller cell, "
        "or reactions of fewer sites"
    )
