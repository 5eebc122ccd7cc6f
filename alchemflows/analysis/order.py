"""Short- and long-range order of arrangements.

Short-range order is measured by the Warren–Cowley parameters of pairs (:func:`warren_cowley`), and long-range order by
the amplitudes of concentration waves (:func:`wave_order`). Both are computed from labels and from the sites of the
crystal before relaxation, separately for each sublattice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pymatgen.core import Lattice, Structure
from scipy.sparse import coo_array, csr_array

from alchemflows.errors import InvalidInputError

#: Successive distances that differ by less belong to the same shell (Å).
SHELL_TOLERANCE_A = 0.05
#: Largest deviation of a phase (in turns) at which a wave still fits into a cell.
_PHASE_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Shell:
    """Pairs of sites at about the same distance.

    Attributes
    ----------
    distance_A
        Mean distance (Å).
    pairs
        Number of periodic images of site j in this shell of site i, sparse and symmetric, shape (n, n). In a small
        cell, a number can be larger than 1, and a site can be its own neighbour.
    """

    distance_A: float
    pairs: csr_array

    @property
    def n_neighbours(self) -> float:
        """Number of neighbours of a site; their mean if the sites are not equivalent."""
        return float(self.pairs.sum() / self.pairs.shape[0])

    def joint(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return the share of the pairs with the first species on one site and the second on the other, shape (k,).

        Parameters
        ----------
        first, second
            Whether a site has this species, in k samples, shape (k, n).
        """
        return np.einsum("kn,kn->k", (self.pairs @ first.T.astype(float)).T, second) / self.pairs.sum()

    def random_joint(self, first: np.ndarray, second: np.ndarray, *, same: bool) -> np.ndarray:
        """Return the mean of :meth:`joint` over random arrangements with given shares of the two species.

        Parameters
        ----------
        first, second
            Shares of the species, shape (k,).
        same
            Whether they are the same species.
        """
        n, own = self.pairs.shape[0], self.pairs.diagonal().sum() / self.pairs.sum()
        other = (first * (n * second - same) / (n - 1)) if n > 1 else np.zeros_like(first)
        return own * same * first + (1 - own) * other


def shells(structure: Structure, n_shells: int, *, tolerance_A: float = SHELL_TOLERANCE_A) -> list[Shell]:
    """Return the nearest neighbour shells of the sites of a structure.

    Parameters
    ----------
    structure
        The sites of one sublattice; species are ignored.
    n_shells
        Number of shells.
    tolerance_A
        Distances are sorted; a new shell begins where two successive ones differ by more than this (Å).

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows.analysis.order import shells
    >>> fcc = Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.0), ["Au"], [[0, 0, 0]])
    >>> [(round(shell.distance_A, 3), shell.n_neighbours) for shell in shells(fcc, 3)]
    [(2.828, 12.0), (4.0, 6.0), (4.899, 24.0)]
    """
    n, radius = len(structure), 1.5 * (structure.volume / len(structure)) ** (1 / 3)
    while True:
        first, second, _, distances = structure.get_neighbor_list(radius)
        order = np.argsort(distances, kind="stable")
        ascending = distances[order]
        starts = np.concatenate([[0], 1 + np.flatnonzero(np.diff(ascending) > tolerance_A), [len(ascending)]])
        complete = sum(ascending[stop - 1] + tolerance_A < radius for stop in starts[1:]) if len(ascending) else 0
        if complete >= n_shells:
            break
        radius *= 1.3
    found = []
    for start, stop in list(pairwise(starts))[:n_shells]:
        own = order[start:stop]
        pairs = coo_array((np.ones(len(own)), (first[own], second[own])), shape=(n, n)).tocsr()
        found.append(Shell(float(distances[own].mean()), pairs))
    return found


def warren_cowley(joint: float, first: float, second: float) -> float:
    """Return the Warren–Cowley parameter of two different species in a shell.

        α_AB = 1 − P(AB) / (x_A x_B) = 1 − P(B|A) / x_B.

    P(AB) is the share of the pairs (i, j) of the shell with A on site i and B on site j, and P(B|A) = P(AB) / x_A the
    probability of B on a neighbour of A. Hence α_AB = α_BA, for any number of species. α is 0 if the species of
    neighbours are independent, negative if unlike neighbours are preferred (−1 if all neighbours of A are B in an
    equiatomic binary alloy), and positive if like neighbours are preferred. The parameters of like pairs follow from
    Σ_B x_B α_AB = 0 over all species B, α_AA = −Σ_{B≠A} x_B α_AB / x_A with the same definition, so they are not
    stored.

    In a cell of n sites at constant composition, random arrangements do not have α = 0 but −1/(n − 1), since the other
    n − 1 sites contain one A less than all sites do. Compare with that value. It differs in cells so small that a site
    is a neighbour of its own image (:meth:`Shell.random_joint`).

    Sources: J. M. Cowley, Phys. Rev. 77, 669 (1950); for several species, D. de Fontaine, J. Appl. Crystallogr. 4, 15
    (1971).

    Parameters
    ----------
    joint
        P(AB).
    first, second
        Shares x_A and x_B of the sites.

    Examples
    --------
    >>> import numpy as np
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows.analysis.order import shells, warren_cowley
    >>> bcc = Structure(Lattice.cubic(3.0), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> ordered = np.array([[True, False]])
    >>> for shell in shells(bcc, 2):
    ...     print(warren_cowley(shell.joint(ordered, ~ordered)[0], 0.5, 0.5))
    -1.0
    1.0
    """
    return 1 - joint / (first * second)


@dataclass(frozen=True)
class Wave:
    """A concentration wave on the n sites of a sublattice.

    Attributes
    ----------
    phases
        exp(2πi q·r) at each site, shape (n,).

    Examples
    --------
    >>> import numpy as np
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows.analysis.order import Wave, wave_order
    >>> cell = Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, 0]])
    >>> wave = Wave.of(cell * (4, 1, 1), [0.5, 0, 0], cell.lattice)
    >>> alternating = np.array([[True, False, True, False]])
    >>> round(float(wave_order(wave.squared(alternating)[0], wave, 0.5)), 6)
    1.0
    """

    phases: np.ndarray

    @classmethod
    def of(cls, structure: Structure, wave_vector: Sequence[float] | np.ndarray, unit_cell: Lattice) -> Wave:
        """Return the wave on the sites of a structure.

        Parameters
        ----------
        structure
            The sites of one sublattice, in a supercell.
        wave_vector
            Wave vector q in units of the reciprocal lattice vectors of the unit cell, as in
            :meth:`~alchemflows.alchemy.arrangements.Disorder.wave`.
        unit_cell
            Lattice of the unit cell from which the supercell was made.

        Raises
        ------
        InvalidInputError
            If the wave does not fit into the supercell, or has the same phase on all sites.
        """
        q = np.asarray(wave_vector, dtype=float)
        if q.shape != (3,) or not np.isfinite(q).all():
            raise InvalidInputError(f"a wave vector consists of three numbers; got {wave_vector}")
        turns = unit_cell.get_fractional_coords(structure.lattice.matrix) @ q
        if np.abs(turns - turns.round()).max() > _PHASE_TOLERANCE:
            raise InvalidInputError(
                f"the wave {q.tolist()} does not fit into the supercell; choose another wave vector or supercell"
            )
        places = unit_cell.get_fractional_coords(structure.cart_coords)
        phases = np.exp(2j * np.pi * (places - places[0]) @ q)
        if np.abs(phases - 1).max() < 2 * np.pi * _PHASE_TOLERANCE:
            raise InvalidInputError(f"the wave {q.tolist()} has the same phase on all sites of a sublattice")
        return cls(phases)

    def squared(self, occupied: np.ndarray) -> np.ndarray:
        """Return |η|² of one species in k samples, shape (k,); see :func:`wave_order`.

        Parameters
        ----------
        occupied
            Whether a site has this species, shape (k, n).
        """
        share = occupied.mean(axis=1, keepdims=True)
        return np.abs((occupied - share) @ self.phases / len(self.phases)) ** 2

    def largest(self, share: float) -> float:
        """Return the largest |η|² of any arrangement in which the species has this share of the sites.

        It is exact for whole numbers of sites, and |η| is interpolated linearly between them.
        """
        count = share * len(self.phases)
        below = int(np.floor(count + 1e-9))
        above = min(below + 1, len(self.phases))
        low, high = (self._largest_amplitude(k) for k in (below, above))
        return float((low + (high - low) * max(0.0, count - below)) ** 2)

    def _largest_amplitude(self, count: int) -> float:
        """Return the largest |η| of all ways to put a species on this number of sites.

        |η| is the largest projection on any direction. The best sites for a direction are those with the largest
        projections, which follow one another in the order of their phases.
        """
        n = len(self.phases)
        deviations = (self.phases - self.phases.mean())[np.argsort(np.angle(self.phases), kind="stable")]
        sums = np.concatenate([[0], np.cumsum(np.tile(deviations, 2))])
        return float(np.abs(sums[count : count + n] - sums[:n]).max() / n)

    def slope_of_largest(self, share: float) -> float:
        """Return the change of :meth:`largest` with the share, as the difference over one site more and one less."""
        low, high = max(0.0, share - 1 / len(self.phases)), min(1.0, share + 1 / len(self.phases))
        return (self.largest(high) - self.largest(low)) / (high - low)

    def random_squared(self, share: np.ndarray) -> np.ndarray:
        """Return the mean of |η|² over random arrangements with given shares, shape (k,)."""
        n = len(self.phases)
        return share * (1 - share) * (1 - np.abs(self.phases.mean()) ** 2) / max(n - 1, 1)


def wave_order(squared: float, wave: Wave, share: float) -> float:
    """Return the order parameter of a concentration wave, 1 for perfect order.

        η_A(q) = (1/n) Σ_j [p_A(j) − x_A] exp(2πi q·r_j),
        s_A(q) = ⟨|η_A(q)|²⟩ / max |η_A(q)|².

    p_A(j) is 1 if species A is on site j and 0 otherwise, and x_A its share of the n sites. The share is subtracted so
    that a uniform occupation has no amplitude; for a sublattice with one site per unit cell this changes nothing. The
    maximum is taken over all arrangements in which A has its mean share of the sites. If the wave has the phases 0 and
    π only, it is min(x_A, 1 − x_A)², and s = 4 |η|² for an equiatomic alloy. Random arrangements have
    ⟨|η_A|²⟩ = x_A (1 − x_A) / (n − 1), which vanishes in a large cell.

    Source: D. de Fontaine, Solid State Phys. 34, 73 (1979).

    Parameters
    ----------
    squared
        |η_A|², or its mean.
    wave
        The wave.
    share
        Mean share x_A, between 0 and 1.
    """
    return squared / wave.largest(share)
