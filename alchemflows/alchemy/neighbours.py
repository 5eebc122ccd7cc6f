"""Neighbour lists of a batch of replicas, with a skin that makes rebuilding rare."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from matscipy.neighbours import neighbour_list

from alchemflows.alchemy.device_pairs import listed_pairs


class NeighbourList:
    """Directed neighbour pairs of B replicas within a cutoff plus a skin; not thread-safe.

    Parameters
    ----------
    cutoff_A
        Cutoff of the potential (Å).
    skin_A
        Pairs up to ``cutoff_A + skin_A`` are listed. The list of a replica is rebuilt as soon as an unlisted pair could
        be within the cutoff.
    on_device
        Whether lists are built on the device of the positions, those of all replicas together, instead of one by one on
        the host. By default on a GPU only.

    Attributes
    ----------
    pairs
        For each replica ``first, second, shifts``: indices of the two atoms of each pair, shape (P,), and the cell
        vectors to add, shape (P, 3). The vector from `first` to `second` is ``x[second] - x[first] + shifts @ cell``.
        Every pair is listed in both directions.
    made_at
        Positions and cells (Å) for which the lists were built, shapes (B, N, 3) and (B, 3, 3).
    """

    def __init__(self, cutoff_A: float, skin_A: float, *, on_device: bool | None = None) -> None:
        self.cutoff_A = cutoff_A
        self.skin_A = skin_A
        self._on_device = on_device
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.forget()

    def forget(self) -> None:
        """Discard all lists, so that the next update rebuilds them."""
        self.made_at = torch.empty(0, 0, 3), torch.empty(0, 3, 3)
        self._inverse_cells = torch.empty(0, 3, 3)
        self._unit = torch.empty(3, 3)

    def update(self, positions: torch.Tensor, cells: torch.Tensor) -> list[int]:
        """Rebuild the lists that are out of date and return the indices of their replicas.

        The check runs on the device of the positions. The host reads one flag; only if a list is out of date, it also
        reads which one, and its positions or, if lists are built on the device, its pairs.

        Parameters
        ----------
        positions
            Positions (Å), float64, shape (B, N, 3).
        cells
            Lattice vectors as rows (Å), float64, shape (B, 3, 3).

        Returns
        -------
        stale
            Indices of the replicas whose lists were rebuilt.

        Raises
        ------
        torch.linalg.LinAlgError
            If a cell has no volume.
        """
        if positions.shape != self.made_at[0].shape:
            self.pairs = [(np.empty(0, int), np.empty(0, int), np.empty((0, 3), int))] * len(positions)
            self.made_at = torch.full_like(positions, torch.nan), torch.full_like(cells, torch.nan)
            self._inverse_cells = torch.full_like(cells, torch.nan)
            self._unit = torch.eye(3, dtype=cells.dtype, device=cells.device)
        current = self._current(positions, cells)
        if current.all():
            return []
        stale = (~current).nonzero().flatten().tolist()
        inverse = torch.linalg.inv(cells[stale])
        # Marked as stale until all lists are rebuilt, so that an interruption leaves no outdated list in use.
        self.made_at[0][stale] = torch.nan
        for b, pairs in zip(stale, self._listed(positions[stale], cells[stale]), strict=True):
            self.pairs[b] = pairs
        self.made_at[0][stale], self.made_at[1][stale] = positions[stale], cells[stale]
        self._inverse_cells[stale] = inverse
        return stale

    def _listed(
        self, positions: torch.Tensor, cells: torch.Tensor
    ) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Return the pairs of some replicas."""
        reach_A = self.cutoff_A + self.skin_A
        if positions.device.type == "cuda" if self._on_device is None else self._on_device:
            return listed_pairs(positions, cells, reach_A)
        return (
            neighbour_list(
                "ijS", cell=cell, pbc=[True] * 3, positions=x, numbers=np.ones(len(x), dtype=np.int32), cutoff=reach_A
            )
            for x, cell in zip(positions.cpu().numpy(), cells.cpu().numpy(), strict=True)
        )

    def _current(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Return in which replicas all pairs within the cutoff are listed for certain, shape (B,), bool.

        Let F be the deformation of the cell since the list was built and d the largest displacement of an atom in
        addition to F. A pair that was at least cutoff + skin apart is now at least σ (cutoff + skin) − 2 d apart, where
        σ ≥ 1 − |F − 1| is the smallest stretch of F.
        """
        deformation = self._inverse_cells @ cells
        moved = torch.linalg.vector_norm(positions - self.made_at[0] @ deformation, dim=-1)
        strain = torch.linalg.vector_norm(deformation - self._unit, dim=(1, 2))
        farthest = moved.amax(dim=-1) if positions.shape[1] else torch.zeros_like(strain)
        # NaN, which marks a list that was never built, compares as False.
        return 2 * farthest + (self.cutoff_A + self.skin_A) * strain < self.skin_A


def both_directions(
    first: np.ndarray, second: np.ndarray, shifts: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return the pairs that are listed in both directions, and the index of the other direction of each of them.

    The lengths of the two directions may differ by rounding, so that a list may have only one of them, if the pair is
    just as long as the list reaches.
    """
    reach = int(np.abs(shifts).max(initial=0))
    sizes = (max(first.max(initial=0), second.max(initial=0)) + 1,) * 2 + (2 * reach + 1,) * 3
    forward = np.ravel_multi_index((first, second, *(shifts + reach).T), sizes)
    backward = np.ravel_multi_index((second, first, *(reach - shifts).T), sizes)
    order, other = np.argsort(forward), np.argsort(backward)
    if not np.array_equal(forward[order], backward[other]):
        is_listed = np.isin(backward, forward)
        return both_directions(first[is_listed], second[is_listed], shifts[is_listed])
    reverse = np.empty_like(order)
    reverse[order] = other
    return (first, second, shifts), reverse
