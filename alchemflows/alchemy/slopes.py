"""Forces and stress from the slopes of the energy with respect to the vectors of pairs of atoms."""

from __future__ import annotations

import torch

from alchemflows.alchemy.volumes import volumes


def forces_of_pairs(slope: torch.Tensor, first: torch.Tensor, second: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Return the forces of B replicas of N atoms (eV/Å), shape (B, N, 3), which is `shape`.

    `slope` is ∂E/∂r of the vectors of P pairs (eV/Å), shape (P, 3); `first` and `second` are their atoms, shape (P,).
    """
    forces = slope.new_zeros(shape[0] * shape[1], 3)
    return forces.index_add_(0, second, slope).index_add_(0, first, slope, alpha=-1).reshape(shape)


def stress_of_pairs(
    slope: torch.Tensor, vectors: torch.Tensor, replica: torch.Tensor, cells: torch.Tensor
) -> torch.Tensor:
    """Return the stress of B replicas (eV/Å³), shape (B, 3, 3).

    `slope` and `vectors` belong to P pairs, shape (P, 3) (eV/Å, Å), and `replica` tells to which replica each belongs.
    """
    virial = slope.new_zeros(len(cells), 3, 3)
    virial.index_add_(0, replica, vectors[:, :, None] * slope[:, None, :])
    virial = (virial + virial.transpose(1, 2)) / 2
    return virial / volumes(cells)[:, None, None]
