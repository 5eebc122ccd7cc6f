"""Find the neighbour pairs of a batch of replicas with operations of torch, on the device of the positions."""

from __future__ import annotations

import numpy as np
import torch

#: Candidate pairs that are compared with the cutoff at a time; each needs about 50 bytes.
CANDIDATES_AT_ONCE = 2**24


def listed_pairs(
    positions: torch.Tensor, cells: torch.Tensor, reach_A: float
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the pairs of each replica that are closer than a distance, in both directions.

    All replicas are searched together, by comparing all pairs of atoms and periodic images. The host reads the number
    of images and the results.

    Parameters
    ----------
    positions
        Positions (Å), float64, shape (B, N, 3); atoms may lie outside the cell.
    cells
        Lattice vectors as rows (Å), float64, shape (B, 3, 3).
    reach_A
        Largest distance (Å).

    Returns
    -------
    pairs
        ``first, second, shifts`` of each replica, as in :class:`~alchemflows.alchemy.neighbours.NeighbourList`.
    """
    n_replicas, n_atoms = positions.shape[:2]
    inverse = torch.linalg.inv(cells)
    wrapped = torch.floor(positions @ inverse)  # the cell in which each atom is
    inside = positions - wrapped @ cells
    shifts = _images(inverse, reach_A)
    translations = shifts @ cells  # (B, S, 3)
    replica = torch.arange(n_replicas, device=cells.device).repeat_interleave(n_atoms)
    first = torch.arange(n_atoms, device=cells.device).repeat(n_replicas)
    found = []
    # Rows are atoms of all replicas.
    for rows in torch.arange(n_replicas * n_atoms, device=cells.device).split(
        max(1, CANDIDATES_AT_ONCE // max(1, n_atoms * len(shifts)))
    ):
        b, i = replica[rows], first[rows]
        vectors = (inside[b] - inside[b, i][:, None])[:, :, None] + translations[b][:, None]
        near = (vectors**2).sum(dim=-1) < reach_A**2
        near[torch.arange(len(i), device=i.device), i, len(shifts) // 2] = False  # the atom itself
        row, j, s = near.nonzero().unbind(1)
        images = shifts[s] + wrapped[b[row], i[row]] - wrapped[b[row], j]
        found.append(torch.cat([torch.stack([b[row], i[row], j]), images.to(torch.int64).T]))
    table = torch.cat(found, dim=1).cpu().numpy()
    parts = np.split(table[1:], np.searchsorted(table[0], np.arange(1, n_replicas)), axis=1)
    return [(part[0], part[1], part[2:].T) for part in parts]


def _images(inverse_cells: torch.Tensor, reach_A: float) -> torch.Tensor:
    """Return the cell vectors up to which atoms within a distance may be, shape (S, 3); zero is the middle one."""
    heights = 1 / torch.linalg.vector_norm(inverse_cells, dim=1)
    ranges = (torch.floor(reach_A / heights.amin(dim=0)) + 1).tolist()
    axes = [torch.arange(-n, n + 1, dtype=inverse_cells.dtype, device=inverse_cells.device) for n in map(int, ranges)]
    return torch.cartesian_prod(*axes)
