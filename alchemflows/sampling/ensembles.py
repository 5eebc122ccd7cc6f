r"""Ensembles of arrangements, and the moves that sample them.

An ensemble weights an arrangement x by exp{−β [E(x) + Φ(N)]}, where N are the numbers of each species on each
sublattice. A *candidate* is a possible move. Its change of energy is estimated to first order from ∂E/∂w at the present
arrangement. With the slope g_is of species s on site i, a swap of A on site i and B on site j gives

    ΔÊ = (g_iB − g_iA) + (g_jA − g_jB),

and a change of site i from A to B gives ΔÊ = g_iB − g_iA, to which the exact change of Φ is added.

=====================  ===========  =====================================================================
ensemble               move         Φ(N)
=====================  ===========  =====================================================================
:class:`Canonical`     swap         0; N is constant
:class:`SemiGrand`     flip         −Σ_ls μ_ls N_ls; only differences of μ within a sublattice matter
:class:`Constrained`   flip         K Σ_ls n_l (x_ls − x̂_ls)², with x_ls = N_ls / n_l
=====================  ===========  =====================================================================

The last is the variance-constrained semi-grand ensemble of Sadigh & Erhart (Phys. Rev. B 86, 134204, 2012). It samples
compositions within a miscibility gap, where no Δμ gives a stable mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import Arrangements

#: Values by symbol for all sublattices, or for each of them, or as an array of shape (L, S) or (B, L, S).
_Parameter = Mapping[str, float] | Sequence[Mapping[str, float]] | np.ndarray


class Candidates(NamedTuple):
    """Moves from the arrangements of B replicas: estimated ΔE + ΔΦ (eV), and whether they are possible; (B, M)."""

    changes_eV: np.ndarray
    possible: np.ndarray


class Ensemble(Protocol):
    """What :class:`~alchemflows.sampling.monte_carlo.MonteCarlo` needs of an ensemble."""

    arrangements: Arrangements
    #: Number of candidates M, possible or not.
    n_candidates: int
    #: Whether moves keep the numbers of each species on each sublattice.
    conserves_composition: bool

    def candidates(self, labels: np.ndarray, slopes: np.ndarray) -> Candidates:
        """Return all moves from labels, shape (B, n), with slopes ∂E/∂w (eV) of shape (B, n, S)."""
        ...

    def apply(self, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels after one candidate of each replica, and the index of the candidate that reverses it."""
        ...

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return Φ (eV), shape (B,)."""
        ...


class Canonical:
    """Arrangements of constant composition; a move swaps two unlike species within a sublattice.

    Parameters
    ----------
    arrangements
        The arrangements.
    """

    conserves_composition = True

    def __init__(self, arrangements: Arrangements) -> None:
        self.arrangements = arrangements
        first, second = np.triu_indices(arrangements.n_sites, 1)
        same = arrangements.sublattice[first] == arrangements.sublattice[second]
        self._first, self._second = first[same], second[same]
        self.n_candidates = len(self._first)

    def candidates(self, labels: np.ndarray, slopes: np.ndarray) -> Candidates:
        """Return the swaps of all pairs of sites; those of unlike species are possible."""
        first, second = labels[:, self._first], labels[:, self._second]
        relative = relative_slopes(labels, slopes)
        replica = np.arange(len(labels))[:, None]
        changes = relative[replica, self._first, second] + relative[replica, self._second, first]
        return Candidates(changes, first != second)

    def apply(self, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels after the swaps; a swap reverses itself."""
        pairs = np.stack([self._first[chosen], self._second[chosen]], axis=1)
        swapped = labels.copy()
        np.put_along_axis(swapped, pairs, np.take_along_axis(labels, pairs[:, ::-1], axis=1), axis=1)
        return swapped, chosen

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return zeros."""
        return np.zeros(len(labels))


class _Flips:
    """Moves that change the species on one site; candidate i S + s puts species s on site i.

    Φ has a parameter for each species on each sublattice, of shape (1, L, S), or (B, L, S) if replicas differ.
    """

    conserves_composition = False

    def __init__(self, arrangements: Arrangements, name: str, parameter: _Parameter) -> None:
        self.arrangements = arrangements
        self.n_candidates = arrangements.n_sites * len(arrangements.species)
        self._name = name
        self._parameter = _table(arrangements, name, parameter)

    def candidates(self, labels: np.ndarray, slopes: np.ndarray) -> Candidates:
        """Return the changes of each site to each species; changes to another species that is allowed are possible.

        Raises
        ------
        InvalidInputError
            If Φ has parameters of another number of replicas.
        """
        place = self.arrangements
        if len(self._parameter) not in (1, len(labels)):
            raise InvalidInputError(
                f"{self._name}: one table, or one for each of the {len(labels)} replicas; got {len(self._parameter)}"
            )
        losses, gains = self._changes_eV(place.counts(labels))
        lost = np.take_along_axis(losses[:, place.sublattice], labels[..., None], axis=2)
        changes = relative_slopes(labels, slopes) + gains[:, place.sublattice] + lost
        possible = place.allowed & (np.arange(len(place.species)) != labels[..., None])
        return Candidates(changes.reshape(len(labels), -1), possible.reshape(len(labels), -1))

    def apply(self, labels: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the labels after the changes; the reverse puts the former species on the same site."""
        site, species = np.divmod(chosen, len(self.arrangements.species))
        replica = np.arange(len(labels))
        flipped = labels.copy()
        flipped[replica, site] = species
        return flipped, site * len(self.arrangements.species) + labels[replica, site]

    def _changes_eV(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the changes of Φ if one of a species is removed, and if one is added (eV), shape (B, L, S) each."""
        raise NotImplementedError


class SemiGrand(_Flips):
    """Arrangements of variable composition at given chemical potentials.

    Parameters
    ----------
    arrangements
        The arrangements.
    mu_eV
        Chemical potential μ of each species (eV): a mapping from symbols, for all sublattices or one for each
        sublattice; or an array of shape (L, S), or (B, L, S) for replicas at different μ. Only differences within a
        sublattice matter.

    Raises
    ------
    InvalidInputError
        If a species has no chemical potential, or the shape is wrong.
    """

    def __init__(self, arrangements: Arrangements, mu_eV: _Parameter) -> None:
        super().__init__(arrangements, "mu_eV", mu_eV)

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return −Σ μ N (eV), shape (B,)."""
        return -(self._parameter * self.arrangements.counts(labels)).sum(axis=(1, 2))

    def _changes_eV(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mu = np.broadcast_to(self._parameter, counts.shape)
        return mu, -mu


class Constrained(_Flips):
    """Arrangements whose composition is held near a target by a harmonic term (variance-constrained semi-grand).

    From the mean shares follow differences of chemical potentials within a sublattice, to leading order in 1/n_l:
    μ_B − μ_A = 2 K [(⟨x_A⟩ − x̂_A) − (⟨x_B⟩ − x̂_B)].

    Parameters
    ----------
    arrangements
        The arrangements.
    shares
        Targets x̂: a mapping from symbols, for all sublattices or one for each sublattice, or an array of shape (L, S)
        or (B, L, S). Targets beyond 0 and 1 are useful near pure compositions.
    stiffness_eV
        Stiffness K per site (eV). The variance of a share is k_B T / (4 K n_l) for two species without interaction and
        large K; Sadigh & Erhart write K in units of k_B T.

    Raises
    ------
    InvalidInputError
        If a species has no target, the shape is wrong, or the stiffness is not positive.
    """

    def __init__(self, arrangements: Arrangements, shares: _Parameter, stiffness_eV: float) -> None:
        super().__init__(arrangements, "shares", shares)
        if not stiffness_eV > 0:
            raise InvalidInputError(f"stiffness_eV must be positive; got {stiffness_eV}")
        n_sites = arrangements.sites_per_sublattice[:, None]
        self._targets = self._parameter * n_sites
        self._scale = stiffness_eV / n_sites

    def composition_energy_eV(self, labels: np.ndarray) -> np.ndarray:
        """Return K Σ n (x − x̂)² (eV), shape (B,)."""
        return (self._scale * (self.arrangements.counts(labels) - self._targets) ** 2).sum(axis=(1, 2))

    def _changes_eV(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        beyond = counts - self._targets
        return self._scale * (1 - 2 * beyond), self._scale * (1 + 2 * beyond)


def relative_slopes(labels: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Return the slope of each species on each site relative to the species that is there, shape (B, n, S)."""
    return slopes - np.take_along_axis(slopes, labels[..., None], axis=2)


def _table(arrangements: Arrangements, name: str, values: _Parameter) -> np.ndarray:
    """Return values of each species on each sublattice, shape (1, L, S) or (B, L, S)."""
    if not isinstance(values, np.ndarray):
        return arrangements.table(name, values)[None]
    shape = (arrangements.n_sublattices, len(arrangements.species))
    if values.shape[-2:] != shape or values.ndim not in (2, 3) or not np.isfinite(values).all():
        raise InvalidInputError(f"{name} must be finite, of shape {shape} or (B, {shape[0]}, {shape[1]})")
    return values.reshape(-1, *shape).astype(float)
