"""Neighbour lists of a batch of replicas, with a skin so that they are seldom rebuilt."""

from __future__ import annotations

import numpy as np
from matscipy.neighbours import neighbour_list


class NeighbourList:
    """Directed neighbour pairs of B replicas within a cutoff plus a skin.

    Parameters
    ----------
    cutoff_A
        Cutoff of the potential (Å).
    skin_A
        Pairs up to ``cutoff_A + skin_A`` are kept; a replica's list is rebuilt once an atom has moved half
        the skin or its cell has changed.

    Attributes
    ----------
    replica, first, second
        Replica and atoms of each pair, shape (P,). Every pair occurs in both directions.
    shifts
        Cell vectors to add, shape (P, 3): the vector from `first` to `second` is
        ``x[second] - x[first] + shifts @ cell``.
    """

    def __init__(self, cutoff_A: float, skin_A: float) -> None:
        self.cutoff_A = cutoff_A
        self.skin_A = skin_A
        self._lists: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._positions = np.empty((0, 0, 3))
        self._cells = np.empty((0, 3, 3))

    def update(self, positions: np.ndarray, cells: np.ndarray) -> bool:
        """Rebuild what is out of date, and tell whether anything was.

        Parameters
        ----------
        positions
            Shape (B, N, 3), Å.
        cells
            Shape (B, 3, 3), rows are lattice vectors, Å.
        """
        if positions.shape != self._positions.shape:
            self._lists = [(np.empty(0, int),) * 3] * len(positions)
            self._positions = np.full(positions.shape, np.inf)
            self._cells = np.full(cells.shape, np.inf)
        with np.errstate(invalid="ignore"):
            moved = np.linalg.norm(positions - self._positions, axis=-1).max(axis=-1, initial=0.0)
        stale = ~(moved < self.skin_A / 2) | (cells != self._cells).any(axis=(1, 2))
        for b in np.flatnonzero(stale):
            self._lists[b] = neighbour_list(
                "ijS",
                cell=cells[b],
                pbc=[True] * 3,
                positions=positions[b],
                numbers=np.ones(len(positions[b]), dtype=np.int32),
                cutoff=self.cutoff_A + self.skin_A,
            )
            self._positions[b] = positions[b]
            self._cells[b] = cells[b]
        if stale.any():
            self.replica = np.repeat(np.arange(len(self._lists)), [len(pairs[0]) for pairs in self._lists])
            self.first, self.second, self.shifts = (
                np.concatenate([pairs[k] for pairs in self._lists]) for k in range(3)
            )
        return bool(stale.any())
