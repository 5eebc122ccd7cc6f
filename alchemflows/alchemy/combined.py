"""Base of potentials that are combined with another energy, such as that of springs or of a reference liquid.

U(x; w, s, κ) = s U_potential(x; w) + κ U_added(x)

The factors s and κ are appended to the weights w of the potential. Windows and switching follow straight lines in the
weights, so they can transform a crystal or a liquid into a reference system.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.volumes import volumes
from alchemflows.alchemy.wrapped import WrappedPotential


class CombinedPotential(WrappedPotential, ABC):
    """A potential with an added energy; its weights are (w_1 … w_C, s, κ).

    Parameters
    ----------
    model
        The potential.

    Notes
    -----
    The potential is not evaluated if s is 0 in all replicas and ∂E/∂w is not requested.
    """

    @abstractmethod
    def added(self, positions: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the added energy (B,), its forces (B, N, 3), and its virial ∂U/∂ε (B, 3, 3), all with κ = 1."""

    def evaluate(
        self,
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation:
        """Evaluate B replicas like :meth:`AlchemicalPotential.evaluate`; weights have the shape (B, C + 2)."""
        w, s, kappa = weights[:, :-2], weights[:, -2], weights[:, -1]
        energy, push, virial = self.added(positions, cells)
        if not weight_gradients and not s.any():
            plain = Evaluation(
                torch.zeros_like(energy),
                torch.zeros_like(positions) if forces else None,
                torch.zeros_like(cells) if stress else None,
            )
        else:
            plain = self.model.evaluate(
                positions, cells, w, forces=forces, stress=stress, weight_gradients=weight_gradients
            )
        total_forces = total_stress = gradients = None
        if plain.forces is not None:
            total_forces = s[:, None, None] * plain.forces + kappa[:, None, None] * push
        if plain.stress is not None:
            total_stress = s[:, None, None] * plain.stress + kappa[:, None, None] * (
                virial / volumes(cells)[:, None, None]
            )
        if plain.weight_gradients is not None:
            gradients = torch.cat([s[:, None] * plain.weight_gradients, plain.energy[:, None], energy[:, None]], dim=1)
        return Evaluation(s * plain.energy + kappa * energy, total_forces, total_stress, gradients)

    def energies(self, positions: torch.Tensor, cells: torch.Tensor, weights: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Return the energies (eV) at K sets of weights, shape (B, K); `weights` have the shape (B, K, C + 2)."""
        values = torch.as_tensor(np.array(weights), dtype=torch.float64, device=self.device)
        w, s, kappa = values[..., :-2], values[..., -2], values[..., -1]
        # On a path to a reference system w is constant, so one evaluation of the potential serves all K sets.
        once = bool((w == w[:, :1]).all())
        plain = self.model.energies(positions, cells, w[:, :1] if once else w)
        return s * plain + kappa * self.added(positions, cells)[0][:, None]
