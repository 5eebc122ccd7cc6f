"""Keep configurations of some windows of a batch, evenly spaced over the samples of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch


def evenly_spaced(n_samples: int, n_frames: int) -> list[int]:
    """Return the indices of up to `n_frames` samples of `n_samples`, evenly spaced; the last sample is one of them.

    Examples
    --------
    >>> evenly_spaced(10, 3), evenly_spaced(2, 5), evenly_spaced(10, 0)
    ([2, 5, 9], [0, 1], [])
    """
    n = min(n_samples, n_frames)
    return [(k + 1) * n_samples // n - 1 for k in range(n)]


class FrameRecorder:
    """Configurations of some windows at evenly spaced samples.

    Parameters
    ----------
    windows
        Positions of the windows in the batch.
    n_samples
        Number of samples of the run.
    n_frames
        Number of configurations to keep of each window; if there are fewer samples, all are kept.
    """

    def __init__(self, windows: Sequence[int], n_samples: int, n_frames: int) -> None:
        self.windows = list(windows)
        self._wanted = frozenset(evenly_spaced(n_samples, n_frames)) if self.windows else frozenset()
        self._samples: list[int] = []
        self._positions: list[np.ndarray] = []
        self._cells: list[np.ndarray] = []
        self._energies: list[np.ndarray] = []

    def see(
        self,
        sample: int,
        positions: torch.Tensor,
        cells: torch.Tensor,
        order: Sequence[int] | None = None,
        energies: torch.Tensor | None = None,
    ) -> None:
        """Keep the configurations of a sample if it is one of those wanted.

        Parameters
        ----------
        sample
            Index of the sample in the run.
        positions, cells
            Positions and cells of all replicas (Å), shapes (B, N, 3) and (B, 3, 3).
        order
            With replica exchange, the replica in each window.
        energies
            Potential energies of all replicas (eV), shape (B,), of runs that do not store them otherwise.
        """
        if sample not in self._wanted:
            return
        rows = self.windows if order is None else [order[window] for window in self.windows]
        self._samples.append(sample)
        self._positions.append(positions[rows].cpu().numpy())
        self._cells.append(cells[rows].cpu().numpy())
        if energies is not None:
            self._energies.append(energies[rows].cpu().numpy())

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all configurations so far, for a checkpoint."""
        if not self._samples:
            return {}
        return {
            "frame_samples": np.array(self._samples),
            "frame_positions": np.array(self._positions),
            "frame_cells": np.array(self._cells),
            "frame_energies": np.array(self._energies),
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`; checkpoints of earlier releases have no frames."""
        self._samples = [int(sample) for sample in snapshot.get("frame_samples", ())]
        self._positions = list(snapshot.get("frame_positions", ()))
        self._cells = list(snapshot.get("frame_cells", ()))
        self._energies = list(snapshot.get("frame_energies", ()))

    def of_window(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Return indices of samples (m,), positions (m, N, 3) and cells (m, 3, 3) of a window; None if none are kept.

        Parameters
        ----------
        window
            Position of the window in the batch.
        """
        if window not in self.windows or not self._samples:
            return None
        k = self.windows.index(window)
        return np.array(self._samples), np.array(self._positions)[:, k], np.array(self._cells)[:, k]

    def energies_of_window(self, window: int) -> np.ndarray:
        """Return the energies that were kept with the configurations of a window (eV), shape (m,)."""
        return np.array(self._energies)[:, self.windows.index(window)]
