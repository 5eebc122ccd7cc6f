"""A potential combined with harmonic springs, for paths to an Einstein crystal or to a vacancy.

U(x; w, s, κ) = s U_potential(x; w) + κ Σ_i ½ k_i |x_i − x⁰_i|²

The factors s and κ are appended to the weights w of the potential. Windows and switching follow straight lines in the
weights, so they can transform a crystal into its Einstein crystal, or remove an atom that is held by a spring.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from monty.json import MSONable
from numpy.typing import ArrayLike

from alchemflows.alchemy.combined import CombinedPotential
from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.path import AlchemicalPath, WeightPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError


@dataclass(frozen=True)
class Springs(MSONable):
    """Harmonic springs that hold atoms to their sites.

    Parameters
    ----------
    sites
        Rest positions in fractional coordinates, shape (N, 3); they deform with the cell.
    stiffness_eV_per_A2
        Spring constants k_i, shape (N,); zero for an atom without a spring.

    Raises
    ------
    InvalidInputError
        If a number is not finite, a spring constant is negative, or the shapes do not match.
    """

    sites: tuple[tuple[float, float, float], ...]
    stiffness_eV_per_A2: tuple[float, ...]

    def __post_init__(self) -> None:
        sites, stiffness = np.asarray(self.sites, dtype=float), np.asarray(self.stiffness_eV_per_A2, dtype=float)
        if stiffness.ndim != 1 or sites.shape != (len(stiffness), 3):
            raise InvalidInputError(
                "sites and stiffness_eV_per_A2 must have the shapes (N, 3) and (N,); got "
                f"{sites.shape} and {stiffness.shape}"
            )
        if not np.isfinite(sites).all() or not np.isfinite(stiffness).all() or (stiffness < 0).any():
            raise InvalidInputError(
                "sites must be finite, and stiffness_eV_per_A2 must be finite and not negative; got the stiffness "
                f"{stiffness.tolist()}"
            )
        object.__setattr__(self, "sites", tuple(map(tuple, sites.tolist())))
        object.__setattr__(self, "stiffness_eV_per_A2", tuple(stiffness.tolist()))


@dataclass(frozen=True)
class TetheredPath(WeightPath):
    """A straight path in the weights (w_1 … w_C, s, κ) of a :class:`TetheredPotential`."""

    def __post_init__(self) -> None:
        for end in ("initial", "final"):
            object.__setattr__(self, end, tuple(float(value) for value in getattr(self, end)))

    @classmethod
    def to_einstein_crystal(cls, system: AlchemicalSystem, weights: ArrayLike) -> TetheredPath:
        """Return the path from a crystal with the given weights, shape (C,), to its Einstein crystal."""
        w = tuple(system.check_weights(weights).tolist())
        return cls(system, (*w, 1.0, 0.0), (*w, 0.0, 1.0))

    @classmethod
    def with_growing_springs(cls, path: AlchemicalPath) -> TetheredPath:
        """Return an alchemical path along which the springs are switched on, so that they hold vanishing atoms."""
        return cls(path.system, (*path.initial, 1.0, 0.0), (*path.final, 1.0, 1.0))


class TetheredPotential(CombinedPotential):
    """A potential with springs; its weights are (w_1 … w_C, s, κ), see :class:`CombinedPotential`.

    Parameters
    ----------
    model
        The potential without springs.
    springs
        The springs.
    """

    def __init__(self, model: EnergyModel, springs: Springs) -> None:
        super().__init__(model)
        self.springs = springs
        self._sites = torch.tensor(springs.sites, dtype=torch.float64, device=model.device)
        self._stiffness = torch.tensor(springs.stiffness_eV_per_A2, dtype=torch.float64, device=model.device)

    def added(self, positions: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the energy of the springs, their forces and their virial."""
        displacement = positions - self._sites @ cells
        pull = self._stiffness[:, None] * displacement
        # The rest positions deform with the cell, so a strain stretches each displacement.
        virial = torch.einsum("bni,bnj->bij", pull, displacement)
        return 0.5 * (pull * displacement).sum(dim=(1, 2)), -pull, virial
