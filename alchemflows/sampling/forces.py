"""Mean squares of the forces along a run, for quantum corrections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike


class ForceSquares:
    """Sums over the steps of a run of Σ_i |F_i|²/m_i (eV²/Å²/amu), for each kind of atom, which is each mass.

    Parameters
    ----------
    masses
        Masses in atomic mass units, shape (N,).
    n_replicas
        Number of replicas B.
    device
        Device of the potential.
    """

    def __init__(self, masses: ArrayLike, n_replicas: int, device: torch.device) -> None:
        different, kinds, self.counts = np.unique(np.asarray(masses), return_inverse=True, return_counts=True)
        factors = np.eye(len(different))[kinds] / different
        self._factors = torch.as_tensor(factors, dtype=torch.float64, device=device)
        self._sum = torch.zeros(n_replicas, len(different), dtype=torch.float64, device=device)
        self._sums: list[torch.Tensor] | None = [self._sum]

    def add(self, forces: torch.Tensor | None, *, keep: bool) -> None:
        """Add the forces of a step (eV/Å), shape (B, N, 3), and keep the sums until it if asked to."""
        assert forces is not None
        self._sum = self._sum + forces.to(self._sum.dtype).square().sum(dim=2) @ self._factors
        if keep and self._sums is not None:
            self._sums.append(self._sum)

    def means(self, steps: np.ndarray) -> np.ndarray | None:
        """Return the means between successive kept steps, shape (B, m − 1, kinds), from the numbers of these m steps.

        Returns None if the run continues from a checkpoint of a release that did not store the sums.
        """
        if self._sums is None:
            return None
        sums = torch.stack(self._sums, dim=1).cpu().numpy()
        return np.asarray(np.diff(sums, axis=1) / np.diff(steps)[:, None])

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all sums so far, for a checkpoint."""
        if self._sums is None:
            return {}
        return {"force_square": self._sum.cpu().numpy(), "force_squares": torch.stack(self._sums).cpu().numpy()}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`."""
        if "force_squares" not in snapshot:
            self._sums = None
            return
        device = self._sum.device
        self._sum = torch.as_tensor(snapshot["force_square"], device=device)
        self._sums = list(torch.as_tensor(snapshot["force_squares"], device=device))
