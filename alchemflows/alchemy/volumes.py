"""Volumes of the cells of a batch of replicas."""

from __future__ import annotations

import torch


def volumes(cells: torch.Tensor) -> torch.Tensor:
    """Return the volume |a · (b × c)| of each cell (Å³), shape (B,), from lattice vectors as rows (Å), shape (B, 3, 3).

    Unlike a determinant by matrix decomposition, the product runs on a GPU as a few elementary operations.
    """
    a, b, c = cells.unbind(dim=-2)
    return (a * torch.linalg.cross(b, c)).sum(dim=-1).abs()
