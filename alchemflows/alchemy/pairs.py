"""Sums of a pair energy over all pairs of atoms of a batch of replicas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from alchemflows.alchemy.neighbours import NeighbourList

#: Function that returns the energy u of pairs and du/d(r²) at squared distances r² (Å²).
PairEnergy = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class PairSums:
    """Energy, forces and virial of a pair energy that depends on the distance alone.

    Parameters
    ----------
    pair_energy
        The pair energy; it is not evaluated beyond the cutoff.
    cutoff_A
        Cutoff (Å).
    skin_A
        Distance beyond the cutoff up to which pairs are listed (Å).
    """

    def __init__(self, pair_energy: PairEnergy, cutoff_A: float, skin_A: float) -> None:
        self._pair_energy = pair_energy
        self._cutoff_A = cutoff_A
        self._list = NeighbourList(cutoff_A, skin_A)
        self._pairs: tuple[torch.Tensor, ...] = ()

    def evaluate(self, positions: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return energy (B,), forces (B, N, 3) and virial ∂U/∂ε (B, 3, 3) at positions (B, N, 3), cells (B, 3, 3)."""
        replicas, first, second, shifts = self._listed(positions, cells)
        flat = positions.reshape(-1, 3)
        vectors = flat[second] - flat[first] + torch.einsum("pi,pij->pj", shifts, cells[replicas])
        squares = (vectors**2).sum(dim=1)
        near = squares < self._cutoff_A**2
        replicas, first, vectors = replicas[near], first[near], vectors[near]
        energies, slopes = self._pair_energy(squares[near])
        pulls = 2 * slopes[:, None] * vectors
        n = len(positions)
        # Each pair is listed in both directions.
        energy = positions.new_zeros(n).index_add_(0, replicas, 0.5 * energies)
        forces = torch.zeros_like(flat).index_add_(0, first, pulls).reshape(positions.shape)
        products = 0.5 * pulls[:, :, None] * vectors[:, None, :]
        return energy, forces, positions.new_zeros(n, 3, 3).index_add_(0, replicas, products)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return positions and cells of the current lists of pairs, whose order affects rounding."""
        positions, cells = self._list.made_at
        return {"pair_positions": positions, "pair_cells": cells}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Rebuild the lists of pairs for the positions and cells that :meth:`memory` returned."""
        self._list.forget()
        self._listed(memory["pair_positions"], memory["pair_cells"])

    def _listed(self, positions: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return replica, both atoms (indices in all replicas) and cell vectors of each pair."""
        if self._list.update(positions, cells) or not self._pairs:
            n_atoms, pairs = positions.shape[1], self._list.pairs
            replicas = np.repeat(np.arange(len(pairs)), [len(first) for first, _, _ in pairs])
            first, second, shifts = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
            self._pairs = tuple(
                torch.as_tensor(values, dtype=kind, device=positions.device)
                for values, kind in (
                    (replicas, torch.int64),
                    (first + n_atoms * replicas, torch.int64),
                    (second + n_atoms * replicas, torch.int64),
                    (shifts, torch.float64),
                )
            )
        return self._pairs
