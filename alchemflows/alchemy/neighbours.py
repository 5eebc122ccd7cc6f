"""Neighbour lists of a batch of replicas, with a skin so that they are seldom rebuilt."""

from __future__ import annotations

import numpy as np
import torch
from matscipy.neighbours import neighbour_list


class NeighbourList:
    """Directed neighbour pairs of B replicas within a cutoff plus a skin; for one thread at a time.

    Parameters
    ----------
    cutoff_A
        Cutoff of the potential (Å).
    skin_A
        Pairs up to ``cutoff_A + skin_A`` are kept; a replica's list is rebuilt once a pair that is not in it
        could have come within the cutoff.

    Attributes
    ----------
    pairs
        For each replica ``first, second, shifts``: atoms of each pair, shape (P,), and cell vectors to add,
        shape (P, 3). The vector from `first` to `second` is ``x[second] - x[first] + shifts @ cell``. Every
        pair occurs in both directions.
    made_at
        Positions and cells for which the lists were made, Å, shapes (B, N, 3) and (B, 3, 3).
    """

    def __init__(self, cutoff_A: float, skin_A: float) -> None:
        self.cutoff_A = cutoff_A
        self.skin_A = skin_A
        self.pairs: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.forget()

    def forget(self) -> None:
        """Let all lists be made anew at the next update."""
        self.made_at = torch.empty(0, 0, 3), torch.empty(0, 3, 3)
        self._inverse_cells = torch.empty(0, 3, 3)

    def update(self, positions: torch.Tensor, cells: torch.Tensor) -> list[int]:
        """Rebuild what is out of date, and tell which replicas were.

        The check runs where the positions are; only its outcome and what must be rebuilt leave the device.

        Parameters
        ----------
        positions
            Shape (B, N, 3), Å, float64.
        cells
            Shape (B, 3, 3), rows are lattice vectors, Å, float64.

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
        stale = self._stale(positions, cells).nonzero().flatten().tolist()
        if stale:
            inverse = torch.linalg.inv(cells[stale])
            # Stale until all is done: what interrupts this must not leave old lists that look new.
            self.made_at[0][stale] = torch.nan
            for b, x, cell in zip(stale, positions[stale].cpu().numpy(), cells[stale].cpu().numpy(), strict=True):
                self.pairs[b] = neighbour_list(
                    "ijS",
                    cell=cell,
                    pbc=[True] * 3,
                    positions=x,
                    numbers=np.ones(len(x), dtype=np.int32),
                    cutoff=self.cutoff_A + self.skin_A,
                )
            self.made_at[0][stale], self.made_at[1][stale] = positions[stale], cells[stale]
            self._inverse_cells[stale] = inverse
        return stale

    def _stale(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Which replicas may have a pair within the cutoff that their list lacks, shape (B,).

        With the cell deformed by F since the list was made, and atoms moved by at most d besides, a pair that
        was at least cutoff + skin apart is now at least σ (cutoff + skin) − 2 d apart, σ the smallest stretch
        of F; and σ ≥ 1 − |F − 1|.
        """
        deformation = self._inverse_cells @ cells
        moved = torch.linalg.vector_norm(positions - self.made_at[0] @ deformation, dim=-1)
        strain = torch.linalg.matrix_norm(deformation - torch.eye(3, dtype=cells.dtype, device=cells.device))
        farthest = moved.amax(dim=-1) if positions.shape[1] else torch.zeros_like(strain)
        # NaN, a list not yet made, is stale.
        return ~(2 * farthest < (1 - strain) * (self.cutoff_A + self.skin_A) - self.cutoff_A)
