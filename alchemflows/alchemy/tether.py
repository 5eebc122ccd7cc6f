"""A potential with springs beside it, each with a weight of its own: towards an Einstein crystal, or a held atom.

U(x; w, s, κ) = s U_potential(x; w) + κ Σ_i ½ k_i |x_i − x⁰_i|²

s and κ stand behind the weights w of the potential, so that everything that moves along a straight line of weights
(windows, switching) can go from a crystal to its Einstein crystal, or let an atom vanish that a spring holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from monty.json import MSONable
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.path import AlchemicalPath, WeightPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError


@dataclass(frozen=True)
class Springs(MSONable):
    """Springs that hold atoms to their sites.

    Parameters
    ----------
    sites
        Where each spring has no force, in units of the cell, shape (N, 3): sites move with the cell.
    stiffness_eV_per_A2
        k_i, shape (N,); zero for an atom that is not held.

    Raises
    ------
    InvalidInputError
        If a number is not finite, a stiffness is negative, or the shapes do not fit.
    """

    sites: tuple[tuple[float, float, float], ...]
    stiffness_eV_per_A2: tuple[float, ...]

    def __post_init__(self) -> None:
        sites, stiffness = np.asarray(self.sites, dtype=float), np.asarray(self.stiffness_eV_per_A2, dtype=float)
        if stiffness.ndim != 1 or sites.shape != (len(stiffness), 3):
            raise InvalidInputError(f"springs need one site and one stiffness for each atom; got {sites.shape}")
        if not np.isfinite(sites).all() or not np.isfinite(stiffness).all() or (stiffness < 0).any():
            raise InvalidInputError("the stiffness of a spring must be a finite number and not negative")
        object.__setattr__(self, "sites", tuple(map(tuple, sites.tolist())))
        object.__setattr__(self, "stiffness_eV_per_A2", tuple(stiffness.tolist()))


@dataclass(frozen=True)
class TetheredPath(WeightPath):
    """A path of (w_1 … w_C, s, κ), for a :class:`TetheredPotential`."""

    def __post_init__(self) -> None:
        for end in ("initial", "final"):
            object.__setattr__(self, end, tuple(float(value) for value in getattr(self, end)))

    @classmethod
    def to_einstein_crystal(cls, system: AlchemicalSystem, weights: ArrayLike) -> TetheredPath:
        """Return the path from a crystal at some weights, shape (C,), to its Einstein crystal."""
        w = tuple(system.check_weights(weights).tolist())
        return cls(system, (*w, 1.0, 0.0), (*w, 0.0, 1.0))

    @classmethod
    def with_growing_springs(cls, path: AlchemicalPath) -> TetheredPath:
        """Return an alchemical path on which the springs grow, so that they hold what vanishes."""
        return cls(path.system, (*path.initial, 1.0, 0.0), (*path.final, 1.0, 1.0))


class TetheredPotential:
    """An energy model with springs; its weights are (w_1 … w_C, s, κ).

    Parameters
    ----------
    model
        The potential.
    springs
        The springs.

    Notes
    -----
    Where s is 0 in all replicas and ∂E/∂w is not asked for, the potential is not evaluated.
    """

    def __init__(self, model: EnergyModel, springs: Springs) -> None:
        self.model = model
        self.springs = springs
        self._sites = torch.tensor(springs.sites, dtype=torch.float64, device=model.device)
        self._stiffness = torch.tensor(springs.stiffness_eV_per_A2, dtype=torch.float64, device=model.device)

    @property
    def device(self) -> torch.device:
        """Where the potential runs."""
        return self.model.device

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
        """Evaluate B replicas; as :meth:`AlchemicalPotential.evaluate`, with weights of shape (B, C + 2)."""
        w, s, kappa = weights[:, :-2], weights[:, -2], weights[:, -1]
        displacement = positions - self._sites @ cells
        pull = self._stiffness[:, None] * displacement
        spring_energy = 0.5 * (pull * displacement).sum(dim=(1, 2))
        if not weight_gradients and not s.any():
            plain = Evaluation(
                torch.zeros_like(spring_energy),
                torch.zeros_like(positions) if forces else None,
                torch.zeros_like(cells) if stress else None,
            )
        else:
            plain = self.model.evaluate(
                positions, cells, w, forces=forces, stress=stress, weight_gradients=weight_gradients
            )
        total_forces = total_stress = gradients = None
        if plain.forces is not None:
            total_forces = s[:, None, None] * plain.forces - kappa[:, None, None] * pull
        if plain.stress is not None:
            volumes = torch.linalg.det(cells).abs()[:, None, None]
            # The sites move with the cell, so that strain stretches each displacement.
            springs = torch.einsum("bni,bnj->bij", pull, displacement) / volumes
            total_stress = s[:, None, None] * plain.stress + kappa[:, None, None] * springs
        if plain.weight_gradients is not None:
            gradients = torch.cat(
                [s[:, None] * plain.weight_gradients, plain.energy[:, None], spring_energy[:, None]], dim=1
            )
        return Evaluation(s * plain.energy + kappa * spring_energy, total_forces, total_stress, gradients)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return that of the potential."""
        return self.model.memory()

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Give the potential its memory."""
        self.model.recall(memory)

    def energies(self, positions: torch.Tensor, cells: torch.Tensor, weights: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Energies at K sets of weights, shape (B, K); `weights` have shape (B, K, C + 2)."""
        values = torch.as_tensor(np.array(weights), dtype=torch.float64, device=self.device)
        w, s, kappa = values[..., :-2], values[..., -2], values[..., -1]
        displacement = positions - self._sites @ cells
        spring_energy = 0.5 * (self._stiffness[:, None] * displacement**2).sum(dim=(1, 2))
        # To an Einstein crystal the potential is the same everywhere: one evaluation gives it for all.
        once = bool((w == w[:, :1]).all())
        plain = self.model.energies(positions, cells, w[:, :1] if once else w)
        return s * plain + kappa * spring_energy[:, None]
