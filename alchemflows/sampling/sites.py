"""Whether atoms are where a crystal has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from pymatgen.core import Structure

from alchemflows.errors import UnstableCrystalError
from alchemflows.schemas.sites import MAX_DISPLACEMENT_SHARE, SitesSummary

#: An atom whose mean place is further from its site than this share of the distance to the nearest other site has
#: found another structure (tilted octahedra, say), though it is still between the same neighbours.
MAX_SHIFT_SHARE = 0.15
#: Neighbouring sites that an atom may have gone to.
N_NEIGHBOURS = 32


def nearest_sites_A(structure: Structure) -> np.ndarray:
    """Return the distance from each site to the nearest other one, or to its own nearest image, Å, shape (N,)."""
    distances = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
    # The shortest vector of a reduced lattice; a cell may be given by longer ones.
    own_image = min(structure.lattice.get_lll_reduced_lattice().abc)
    return np.minimum(distances.min(axis=1), own_image)


def neighbour_vectors(structure: Structure) -> np.ndarray:
    """Return the vectors from each site to the nearest others, periodic images included, in units of the cell.

    Returns
    -------
    vectors
        Shape (N, :data:`N_NEIGHBOURS`, 3); where there are fewer neighbours, the first is repeated.
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
    """Return how far each atom is on the way to another site; beyond ½ it is nearer to that one than to its own.

    Half of the way is the plane between both sites, so that a large swing between neighbours, as of the anions of a
    perovskite, does not count.

    Parameters
    ----------
    vectors
        From the sites to the atoms, Å, shape (B, N, 3).
    neighbours
        From :func:`neighbour_vectors`, shape (N, M, 3), or (B, N, M, 3).
    cells
        Å, shape (B, 3, 3).

    Returns
    -------
    shares
        The largest of all neighbours, shape (B, N).
    """
    ways = neighbours @ cells[:, None]
    return (torch.einsum("bnj,bnkj->bnk", vectors, ways) / (ways**2).sum(dim=3)).amax(dim=2)


class Sites:
    """Sites of a crystal, in units of its cell, and how far an atom may go from them.

    An atom has left its site where it is nearer to another, as for :class:`SiteWatch`. The centre of mass must rest.

    Parameters
    ----------
    structure
        The crystal; its sites are those at the start.
    device
        Where positions will be.
    """

    def __init__(self, structure: Structure, device: torch.device | str = "cpu") -> None:
        self.structure = structure
        self.fractional = torch.as_tensor(np.array(structure.frac_coords), dtype=torch.float64, device=device)
        self.nearest_A = torch.as_tensor(nearest_sites_A(structure), dtype=torch.float64, device=device)
        self._neighbours = torch.as_tensor(neighbour_vectors(structure), dtype=torch.float64, device=device)

    def displacements(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Vectors from the sites, which move with the cell, to the atoms, Å, shape (B, N, 3)."""
        return positions - self.fractional @ cells

    def check(self, positions: torch.Tensor, cells: torch.Tensor, when: str) -> None:
        """Refuse atoms that have left their sites, even for a moment.

        Raises
        ------
        UnstableCrystalError
            Naming replica, atom and how far it went.
        """
        displacements = self.displacements(positions, cells)
        shares = shares_of_the_way(displacements, self._neighbours, cells)
        if bool((shares > MAX_DISPLACEMENT_SHARE).any()):
            b, atom = divmod(int(shares.argmax()), shares.shape[1])
            raise UnstableCrystalError(
                f"{self.structure.composition.reduced_formula} is not mechanically stable, or an atom diffuses: "
                f"{when}, atom {atom} ({self.structure[atom].species_string}) of replica {b} was "
                f"{float(displacements[b, atom].norm()):.2f} Å from its site and nearer to another one; the nearest "
                f"is {float(self.nearest_A[atom]):.2f} Å away"
            )

    def check_mean(self, mean: torch.Tensor, cell: torch.Tensor, noise_A: torch.Tensor | None = None) -> None:
        """Refuse a crystal whose mean positions are those of another structure.

        A motion of all atoms together does not count.

        Parameters
        ----------
        mean
            Mean positions in units of the cell, shape (N, 3).
        cell
            Å, shape (3, 3).
        noise_A
            Standard error of the mean position of each atom, Å, shape (N,); a shift below three of them says nothing.

        Raises
        ------
        UnstableCrystalError
            Naming the atom that moved farthest.
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
                f"more than {MAX_SHIFT_SHARE:.0%} of the distance to the next; relax it, or start from the structure "
                "that it turns into"
            )


class SiteWatch:
    """Adds up how far the atoms of B replicas are from their sites; the device does it, and nothing waits for it.

    An atom is away where it is nearer to another site, or to an image of its own, than to its site. Trajectories are
    continuous across the borders of the cell, so that an atom that moved by a lattice vector has left its site. The
    median displacement of all atoms is subtracted along each axis: the crystal may move as a whole, and one atom that
    leaves does not carry the others along, as it would with the mean.

    Parameters
    ----------
    structures
        The crystal that each replica began as: sites, in units of its cell, and elements.
    device
        Where positions will be.
    """

    def __init__(self, structures: Sequence[Structure], device: torch.device | str = "cpu") -> None:
        self.elements = [site.species_string for site in structures[0]]
        self.fractional, self.nearest_A = (
            torch.as_tensor(np.array(values), dtype=torch.float64, device=device)
            for values in ([s.frac_coords for s in structures], [nearest_sites_A(s) for s in structures])
        )
        # Starts of one ladder are few; their neighbours are looked for once.
        known = {id(structure): neighbour_vectors(structure) for structure in structures}
        vectors = np.array([known[id(structure)] for structure in structures])
        self._neighbours = torch.as_tensor(vectors, dtype=torch.float64, device=device)
        self._n_samples = 0
        self._share, self._largest, self._count, self._last = (torch.zeros_like(self.nearest_A) for _ in range(4))
        self._total = torch.zeros_like(self.fractional)

    def see(self, positions: torch.Tensor, cells: torch.Tensor, order: Sequence[int] | None = None) -> None:
        """Add the positions of one moment, shape (B, N, 3); `order` names the replica at each place, if they swap."""
        vectors = positions - self.fractional @ cells
        vectors = vectors - vectors.median(dim=1, keepdim=True).values
        shares = shares_of_the_way(vectors, self._neighbours, cells)
        if order is not None:
            vectors, shares = vectors[list(order)], shares[list(order)]
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
        """Go on from a snapshot."""
        self._n_samples = int(snapshot["sites_samples"])
        self._share, self._largest, self._count, self._last, self._total = (
            torch.as_tensor(snapshot[f"sites_{name}"], device=self.nearest_A.device)
            for name in ("share", "largest", "count", "last", "total")
        )

    def summaries(self) -> list[SitesSummary]:
        """Return what became of each replica, or place where they swap."""
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
