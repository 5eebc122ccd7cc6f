"""A potential with a scaled enthalpy, which samples other temperatures and pressures at one temperature.

E(x, h; w, s, p) = s [U(x, h; w) + p V]

Dynamics at the temperature T_d with the factor s have the distribution of the crystal at the temperature T = T_d / s
and the pressure p. Changing s is reversible scaling (de Koning, Antonelli & Yip, Phys. Rev. Lett. 83, 3973, 1999), and
changing p is adiabatic switching of the pressure. The factor s and the pressure p (eV/Å³) are appended to the weights w
of the potential, so that switches follow straight lines in them. The pressure of the barostat is then 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.path import WeightPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.volumes import volumes
from alchemflows.alchemy.wrapped import WrappedPotential


@dataclass(frozen=True)
class ScaledPath(WeightPath):
    """A straight path in the weights (w_1 … w_C, s, p) of a :class:`ScaledPotential`."""

    def __post_init__(self) -> None:
        for end in ("initial", "final"):
            object.__setattr__(self, end, tuple(float(value) for value in getattr(self, end)))

    @classmethod
    def over_temperatures(
        cls, system: AlchemicalSystem, weights: ArrayLike, low_K: float, high_K: float, pressure_eV_per_A3: float = 0.0
    ) -> ScaledPath:
        """Return the path from a low to a high temperature, for dynamics at the low one.

        The factor s is at most 1, so that no force is larger than that of the potential, and a time step that is short
        enough for the potential is short enough for the path.

        Parameters
        ----------
        system
            The crystal.
        weights
            Composition weights, shape (C,).
        low_K, high_K
            Temperatures (K) at λ = 0 and λ = 1.
        pressure_eV_per_A3
            Pressure (eV/Å³); 0 at constant volume.
        """
        w = tuple(system.check_weights(weights).tolist())
        return cls(system, (*w, 1.0, pressure_eV_per_A3), (*w, low_K / high_K, pressure_eV_per_A3))

    @classmethod
    def over_pressures(
        cls, system: AlchemicalSystem, weights: ArrayLike, low_eV_per_A3: float, high_eV_per_A3: float
    ) -> ScaledPath:
        """Return the path from a low to a high pressure (eV/Å³) at the temperature of the dynamics."""
        w = tuple(system.check_weights(weights).tolist())
        return cls(system, (*w, 1.0, low_eV_per_A3), (*w, 1.0, high_eV_per_A3))


class ScaledPotential(WrappedPotential):
    """A potential with a scaled enthalpy; its weights are (w_1 … w_C, s, p), with p in eV/Å³.

    Parameters
    ----------
    model
        The potential.
    """

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
        w, s, pressure = weights[:, :-2], weights[:, -2], weights[:, -1]
        plain = self.model.evaluate(
            positions, cells, w, forces=forces, stress=stress, weight_gradients=weight_gradients
        )
        volume = volumes(cells)
        enthalpy = plain.energy + pressure * volume
        scaled_forces = scaled_stress = gradients = None
        if plain.forces is not None:
            scaled_forces = s[:, None, None] * plain.forces
        if plain.stress is not None:
            unit = torch.eye(3, dtype=cells.dtype, device=cells.device)
            scaled_stress = s[:, None, None] * (plain.stress + pressure[:, None, None] * unit)
        if plain.weight_gradients is not None:
            own = s[:, None] * plain.weight_gradients
            gradients = torch.cat([own, enthalpy[:, None], (s * volume)[:, None]], dim=1)
        return Evaluation(s * enthalpy, scaled_forces, scaled_stress, gradients)

    def energies(self, positions: torch.Tensor, cells: torch.Tensor, weights: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Return the energies (eV) at K sets of weights, shape (B, K); `weights` have the shape (B, K, C + 2)."""
        values = torch.as_tensor(np.array(weights), dtype=torch.float64, device=self.device)
        w, s, pressure = values[..., :-2], values[..., -2], values[..., -1]
        # Along a sweep w is constant, so one evaluation of the potential serves all K sets.
        once = bool((w == w[:, :1]).all())
        plain = self.model.energies(positions, cells, w[:, :1] if once else w)
        return s * (plain + pressure * volumes(cells)[:, None])
