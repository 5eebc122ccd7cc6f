"""Check whether the atoms of a crystal stay on their sites."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pymatgen.core import Structure

from alchemflows.errors import UnstableCrystalError
from alchemflows.schemas.sites import MAX_DISPLACEMENT_SHARE, SitesSummary

#: Largest distance of an atom's mean position from its site, relative to the distance to the nearest other site. Beyond
#: it the crystal counts as another structure (for example with tilted octahedra), even if no atom has left its site.
MAX_SHIFT_SHARE = 0.15
#: Correlation time of an atom's displacement (fs), used for the standard error of mean positions.
CORRELATION_TIME_FS = 1000.0
#: Shortest time (fs) over which displaced mean positions must stay the same to count as another structure. Octahedra of
#: a cubic perovskite, for example, can tilt back and forth within 5 ps, so that means over 2 ps are displaced.
STATIC_FS = 20_000.0
#: Smallest number of sections in this time.
MIN_STATIC_SECTIONS = 5
#: Largest variance of the mean positions of sections, relative to their squared displacement, of a static structure.
MAX_SCATTER = 0.1
#: Number of neighbouring sites that are considered as destinations of an atom.
N_NEIGHBOURS = 32


def nearest_sites_A(structure: Structure) -> np.ndarray:
    """Return the distance from each site to the nearest other site or own periodic image (Å), shape (N,)."""
    distances = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
    # The reduced cell contains the shortest lattice vector.
    own_image = min(structure.lattice.get_lll_reduced_lattice().abc)
    return np.minimum(distances.min(axis=1), own_image)


def neighbour_vectors(structure: Structure) -> np.ndarray:
    """Return the vectors from each site to its nearest sites, including periodic images, in fractional coordinates.

    Returns
    -------
    vectors
        Shape (N, :data:`N_NEIGHBOURS`, 3); if there are fewer neighbours, they are repeated.
    """
    cutoff, found = 2.2 * float(nearest_sites_A(structure).max()), []
    places = structure.frac_coords
    centres, others, images, distances = structure.get_neighbor_list(cutoff, exclude_self=True)
    steps = places[others] + images - places[centres]
    for site in range(len(structure)):
        own = np.flatnonzero(centres == site)
        own = own[np.argsort(distances[own], kind="stable")][:N_NEIGHBOURS]
        found.append(steps[np.resize(own, N_NEIGHBOURS)])
    return np.array(found)


def shares_of_the_way(vectors: torch.Tensor, neighbours: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """Return how far each atom has moved towards another site, as a share of the distance between both sites.

    Displacements are projected on the line to the other site. Beyond ½ the atom is closer to that site than to its own.
    Large displacements perpendicular to these lines, as those of the anions of a perovskite, do not count.

    Parameters
    ----------
    vectors
        Displacements of the atoms from their sites (Å), shape (B, N, 3).
    neighbours
        Result of :func:`neighbour_vectors`, shape (N, M, 3) or (B, N, M, 3).
    cells
        Cells (Å), shape (B, 3, 3).

    Returns
    -------
    shares
        Largest share over all neighbours, shape (B, N).
    """
    ways = neighbours @ cells[:, None]
    return (torch.einsum("bnj,bnkj->bnk", vectors, ways) / (ways**2).sum(dim=3)).amax(dim=2)


class Sites:
    """Sites of a crystal, with checks that raise an error if atoms leave them.

    An atom has left its site if it is closer to another one, as in :class:`SiteWatch`. The dynamics must keep the
    centre of mass fixed.

    Parameters
    ----------
    structure
        The crystal, with all atoms on their sites.
    device
        Device of the positions.
    """

    def __init__(self, structure: Structure, device: torch.device | str = "cpu") -> None:
        self.structure = structure
        self.fractional = torch.as_tensor(np.array(structure.frac_coords), dtype=torch.float64, device=device)
        self.nearest_A = torch.as_tensor(nearest_sites_A(structure), dtype=torch.float64, device=device)
        self._neighbours = torch.as_tensor(neighbour_vectors(structure), dtype=torch.float64, device=device)

    def displacements(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Return the displacements of the atoms from their sites (Å), shape (B, N, 3); sites move with the cell."""
        return positions - self.fractional @ cells

    def check(self, positions: torch.Tensor, cells: torch.Tensor, when: str) -> None:
        """Check that all atoms are on their sites at this moment; `when` is used in the error message.

        Raises
        ------
        UnstableCrystalError
            If an atom is closer to another site; it names the replica, the atom and the displacement.
        """
        displacements = self.displacements(positions, cells)
        shares = shares_of_the_way(displacements, self._neighbours, cells)
        if bool((shares > MAX_DISPLACEMENT_SHARE).any()):
            b, atom = divmod(int(shares.argmax()), shares.shape[1])
            raise UnstableCrystalError(
                f"{self.structure.composition.reduced_formula} is not mechanically stable, or an atom diffuses: "
                f"{when}, atom {atom} ({self.structure[atom].species_string}) of replica {b} was "
                f"{float(displacements[b, atom].norm()):.2f} Å from its site and closer to another site; the distance "
                f"between its site and the nearest one is {float(self.nearest_A[atom]):.2f} Å"
            )

    def check_mean(self, mean: torch.Tensor, cell: torch.Tensor, noise_A: torch.Tensor | None = None) -> None:
        """Check that the mean positions are still those of the structure, up to a common translation.

        Parameters
        ----------
        mean
            Mean positions (fractional coordinates), shape (N, 3).
        cell
            Mean cell (Å), shape (3, 3).
        noise_A
            Standard error of the mean position of each atom (Å), shape (N,); shifts below three standard errors are
            ignored.

        Raises
        ------
        UnstableCrystalError
            If an atom's mean position is too far from its site; it names the atom with the largest shift.
        """
        shift = (mean - self.fractional) @ cell
        shift = torch.linalg.vector_norm(shift - shift.mean(dim=0), dim=1)
        limit = MAX_SHIFT_SHARE * self.nearest_A
        if noise_A is not None:
            limit = torch.maximum(limit, 3 * noise_A)
        if bool((shift > limit).any()):
            atom = int((shift / limit).argmax())
            raise UnstableCrystalError(
                f"{self.structure.composition.reduced_formula} is not mechanically stable as given: the mean position "
                f"of atom {atom} ({self.structure[atom].species_string}) is {float(shift[atom]):.2f} Å from its site, "
                f"more than {MAX_SHIFT_SHARE:.0%} of the distance to the nearest site; relax the structure, or start "
                "from the structure that it transforms into"
            )


class SiteWatch:
    """Statistics of the displacements of atoms from their sites, for B replicas.

    An atom is away from its site if it is closer to another site or to a periodic image of its own site. Trajectories
    are not wrapped into the cell, so that an atom that moved by a lattice vector has left its site. The median
    displacement of all atoms along each axis is subtracted, since the crystal may move as a whole; unlike the mean, the
    median is not changed by one atom that leaves its site. Sums stay on the device, without synchronisation.

    Parameters
    ----------
    structures
        Initial crystal of each replica, which defines its sites.
    device
        Device of the positions.
    elements
        Element on each site, or the elements that may be on it; by default those of the first structure.
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        device: torch.device | str = "cpu",
        elements: Sequence[str] | None = None,
    ) -> None:
        self.elements = [site.species_string for site in structures[0]] if elements is None else list(elements)
        # Many replicas share one initial structure, whose neighbours are determined once.
        distinct = {id(structure): structure for structure in structures}
        known = {key: (s.frac_coords, nearest_sites_A(s), neighbour_vectors(s)) for key, s in distinct.items()}
        self.fractional, self.nearest_A, self._neighbours = (
            torch.as_tensor(np.array(values), dtype=torch.float64, device=device)
            for values in zip(*(known[id(structure)] for structure in structures), strict=True)
        )
        self._n_samples = 0
        self._share, self._largest, self._count, self._last = (torch.zeros_like(self.nearest_A) for _ in range(4))
        self._total = torch.zeros_like(self.fractional)

    def see(self, positions: torch.Tensor, cells: torch.Tensor, order: Sequence[int] | None = None) -> None:
        """Add the positions (Å) at one time, shape (B, N, 3).

        With replica exchange, `order` is the replica in each window, and statistics are kept for each window.
        """
        vectors = positions - self.fractional @ cells
        vectors = vectors - vectors.median(dim=1, keepdim=True).values
        shares = shares_of_the_way(vectors, self._neighbours, cells)
        if order is not None:
            vectors, shares = vectors[list(order)], shares[list(order)]
        self._add(vectors, shares)

    def _add(self, vectors: torch.Tensor, shares: torch.Tensor) -> None:
        """Add displacements (Å), shape (B, N, 3), and shares of the way to another site, shape (B, N)."""
        self._n_samples += 1
        self._share = torch.maximum(self._share, shares)
        self._largest = torch.maximum(self._largest, torch.linalg.vector_norm(vectors, dim=2))
        self._last = shares
        self._count = self._count + (shares > MAX_DISPLACEMENT_SHARE)
        self._total = self._total + vectors

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the sums, for a checkpoint."""
        sums = {
            "share": self._share,
            "largest": self._largest,
            "count": self._count,
            "last": self._last,
            "total": self._total,
        }
        arrays = {f"sites_{name}": values.cpu().numpy() for name, values in sums.items()}
        return arrays | {"sites_samples": np.array(self._n_samples)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`; checkpoints of Monte Carlo by earlier releases have no such sums."""
        if "sites_samples" not in snapshot:
            return
        self._n_samples = int(snapshot["sites_samples"])
        self._share, self._largest, self._count, self._last, self._total = (
            torch.as_tensor(snapshot[f"sites_{name}"], device=self.nearest_A.device)
            for name in ("share", "largest", "count", "last", "total")
        )

    def summaries(self) -> list[SitesSummary]:
        """Return a summary for each replica or, with replica exchange, for each window."""
        n = max(self._n_samples, 1)
        found = []
        shifts = torch.linalg.vector_norm(self._total, dim=2) / n
        for b, nearest in enumerate(self.nearest_A):
            atom = int(self._share[b].argmax())
            found.append(
                SitesSummary(
                    atom=atom,
                    element=self.elements[atom],
                    largest_displacement_A=float(self._largest[b, atom]),
                    nearest_A=float(nearest[atom]),
                    time_away=float(self._count[b].max()) / n,
                    away_at_end=bool((self._last[b] > MAX_DISPLACEMENT_SHARE).any()),
                    mean_shift_A=float(shifts[b].max()),
                )
            )
        return found


class SiteHistory(SiteWatch):
    """A :class:`SiteWatch` that also records in which sections of a run a crystal was another structure.

    In a section, a replica is no longer the crystal in two cases:

    - An atom was away from its site for more than half of the time (melting, diffusion).
    - Mean positions were too far from the sites, as in :meth:`Sites.check_mean`, and stayed the same for
      :data:`STATIC_FS`, in at least :data:`MIN_STATIC_SECTIONS` sections (transformation). Displacements that change
      from section to section are slow vibrations of the same crystal.

    Parameters
    ----------
    structures, device
        As for :class:`SiteWatch`.
    looks_per_section
        Number of calls of :meth:`see` in a section; an incomplete last section is not recorded.
    section_fs
        Length of a section (fs), for the noise of mean positions.
    """

    def __init__(
        self,
        structures: Sequence[Structure],
        device: torch.device | str = "cpu",
        *,
        looks_per_section: int,
        section_fs: float,
    ) -> None:
        super().__init__(structures, device)
        self._looks = looks_per_section
        self._n_independent = 1 + section_fs / CORRELATION_TIME_FS
        self._n_static = max(MIN_STATIC_SECTIONS, math.ceil(STATIC_FS / section_fs))
        self._mean, self._squares, self._away = self._zeros()
        # Of each section: whether an atom left its site, whether mean positions were displaced, and these positions.
        self._left: list[torch.Tensor] = []
        self._shifted: list[torch.Tensor] = []
        self._means: list[torch.Tensor] = []

    @property
    def lost(self) -> np.ndarray:
        """Whether each replica was another structure in each section, shape (B, number of sections)."""
        if not self._left:
            return np.zeros((len(self.fractional), 0), dtype=bool)
        lost, shifted = (torch.stack(values, dim=1) for values in (self._left, self._shifted))
        n = self._n_static
        for first in range(len(self._means) - n + 1):
            window = slice(first, first + n)
            held = shifted[:, window].all(dim=1) & self._static(torch.stack(self._means[window]))
            lost[:, window] |= held[:, None]
        return lost.cpu().numpy()

    def _static(self, means: torch.Tensor) -> torch.Tensor:
        """Return whether the displaced atoms of each replica were at the same positions in all sections.

        Parameters
        ----------
        means
            Mean displacements in the sections (Å), shape (n, B, N, 3).
        """
        scatter, squares = means.var(dim=0).sum(dim=2), (means.mean(dim=0) ** 2).sum(dim=2)
        displaced = squares.sqrt() > MAX_SHIFT_SHARE * self.nearest_A
        squares, scatter = ((values * displaced).sum(dim=1) for values in (squares, scatter))
        return (squares > 0) & (scatter <= MAX_SCATTER * squares)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the sums, for a checkpoint."""
        sums = {"mean": self._mean, "squares": self._squares, "away": self._away}
        sections = {"left": self._left, "shifted": self._shifted, "means": self._means}
        arrays = {f"section_{name}": values.cpu().numpy() for name, values in sums.items()}
        arrays |= {f"sections_{name}": torch.stack(v).cpu().numpy() for name, v in sections.items() if v}
        return super().snapshot() | arrays

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`; one of an earlier release only has the sections in which it was lost."""
        super().restore(snapshot)
        device = self.nearest_A.device
        self._mean, self._squares, self._away = (
            torch.as_tensor(snapshot[f"section_{name}"], device=device) for name in ("mean", "squares", "away")
        )
        n = self._n_samples // self._looks
        none = np.zeros((n, len(self._mean)), dtype=bool)
        former = {
            "left": snapshot.get("sections_lost", none.T).T,
            "shifted": none,
            "means": np.zeros((n, *self._mean.shape)),
        }
        self._left, self._shifted, self._means = (
            list(torch.as_tensor(snapshot.get(f"sections_{name}", values), device=device))
            for name, values in former.items()
        )

    def _add(self, vectors: torch.Tensor, shares: torch.Tensor) -> None:
        super()._add(vectors, shares)
        self._mean = self._mean + vectors / self._looks
        self._squares = self._squares + (vectors**2).sum(dim=2) / self._looks
        self._away = self._away + (shares > MAX_DISPLACEMENT_SHARE).double() / self._looks
        if self._n_samples % self._looks == 0:
            shift = torch.linalg.vector_norm(self._mean, dim=2)
            noise = torch.sqrt((self._squares - shift**2).clamp(min=0) / self._n_independent)
            limit = torch.maximum(MAX_SHIFT_SHARE * self.nearest_A, 3 * noise)
            self._left.append((self._away > 0.5).any(dim=1))
            self._shifted.append((shift > limit).any(dim=1))
            self._means.append(self._mean)
            self._mean, self._squares, self._away = self._zeros()

    def _zeros(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        zeros = torch.zeros_like(self.nearest_A)
        return torch.zeros_like(self.fractional), zeros, zeros
