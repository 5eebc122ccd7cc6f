"""Batched Langevin dynamics at fixed λ: the BAOAB splitting of Leimkuhler & Matthews.

Appl. Math. Res. Express 2013, 34 (2013): half a kick, half a drift, the exact Ornstein–Uhlenbeck step of the
velocities, half a drift, half a kick. Configurational averages are exact for a harmonic potential at any
stable time step.
"""

from __future__ import annotations

from collections.abc import Sequence
import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.potential import EnergyModel, Evaluation
from alchemflows.errors import InvalidInputError, TrajectoryError

#: Above these a trajectory is taken to have exploded.
MAX_FORCE_EV_PER_A = 1000.0
MAX_TEMPERATURE_RATIO = 100.0


class Langevin:
    """B replicas that move together, each with its own weights, masses and random numbers.

    A replica's trajectory depends on its own seed and start alone, not on the replicas beside it (up to
    the rounding of batched sums).

    Parameters
    ----------
    model
        Energies and forces.
    positions
        Start, Å, shape (B, N, 3).
    cells
        Å, shape (B, 3, 3); fixed.
    weights
        Shape (B, C); fixed.
    masses
        Atomic mass units, shape (B, N).
    temperature_K, timestep_fs, friction_per_ps
        Conditions.
    seeds
        One seed for each replica, for start velocities (Maxwell–Boltzmann) and noise.

    Raises
    ------
    InvalidInputError
        If a condition is not positive or the number of seeds is not B.
    TrajectoryError
        If energy, force or temperature are absurd, at the start or after a step.
    """

    def __init__(
        self,
        model: EnergyModel,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        masses: ArrayLike | torch.Tensor,
        *,
        temperature_K: float,
        timestep_fs: float,
        friction_per_ps: float,
        seeds: Sequence[int],
    ) -> None:
        for name, value in (
            ("temperature_K", temperature_K),
            ("timestep_fs", timestep_fs),
            ("friction_per_ps", friction_per_ps),
        ):
            if not value > 0:
                raise InvalidInputError(f"{name} must be positive; got {value}")
        self.model = model
        self.positions, self.cells, self.weights, self.masses = (
            torch.as_tensor(v, dtype=torch.float64, device=model.device).clone()
            for v in (positions, cells, weights, masses)
        )
        if len(seeds) != len(self.positions):
            raise InvalidInputError(f"{len(self.positions)} seeds are needed; got {len(seeds)}")
        self.temperature_K = temperature_K
        self.n_steps = 0
        self._generators = [torch.Generator(model.device).manual_seed(int(seed)) for seed in seeds]
        self._dt = timestep_fs * units.fs
        damping = torch.exp(torch.tensor(-friction_per_ps * timestep_fs * 1e-3, dtype=torch.float64))
        self._damping = float(damping)
        thermal_speed = torch.sqrt(units.kB * temperature_K / self.masses)[..., None]
        self._noise = thermal_speed * float(torch.sqrt(1 - damping**2))
        self._inverse_masses = 1 / self.masses[..., None]
        self.velocities = thermal_speed * self._normal()
        self.evaluation = self._evaluate(weight_gradients=True)

    def step(self, *, weight_gradients: bool = False) -> None:
        """Advance all replicas by one time step; ``evaluation`` then belongs to the new positions."""
        half = self._dt / 2
        self.velocities = self.velocities + half * self._accelerations()
        self.positions = self.positions + half * self.velocities
        self.velocities = self._damping * self.velocities + self._noise * self._normal()
        self.positions = self.positions + half * self.velocities
        self.n_steps += 1
        self.evaluation = self._evaluate(weight_gradients)
        self.velocities = self.velocities + half * self._accelerations()

    def kinetic_temperatures(self) -> torch.Tensor:
        """Kinetic temperature of each replica, 2 E_kin / (3 N k_B), K, shape (B,)."""
        kinetic = 0.5 * (self.masses[..., None] * self.velocities**2).sum(dim=(1, 2))
        return kinetic / (1.5 * self.masses.shape[1] * units.kB)

    def _accelerations(self) -> torch.Tensor:
        assert self.evaluation.forces is not None
        return self.evaluation.forces * self._inverse_masses

    def _normal(self) -> torch.Tensor:
        shape = self.positions.shape[1:]
        return torch.stack(
            [torch.randn(shape, generator=g, dtype=torch.float64, device=g.device) for g in self._generators]
        )

    def _evaluate(self, weight_gradients: bool) -> Evaluation:
        # Before the evaluation: a neighbour list of atoms at infinity has no end.
        self._check(self.positions.isfinite().all(dim=2), "position", self.positions)
        evaluation = self.model.evaluate(
            self.positions, self.cells, self.weights, stress=False, weight_gradients=weight_gradients
        )
        assert evaluation.forces is not None
        self._check((evaluation.forces.abs() < MAX_FORCE_EV_PER_A).all(dim=2), "force (eV/Å)", evaluation.forces)
        temperatures = self.kinetic_temperatures()
        hot = ~(temperatures < MAX_TEMPERATURE_RATIO * self.temperature_K)
        if hot.any() or not evaluation.energy.isfinite().all():
            b = int((hot | ~evaluation.energy.isfinite()).nonzero()[0, 0])
            raise TrajectoryError(
                f"replica {b} exploded at step {self.n_steps}: temperature {float(temperatures[b]):.4g} K, "
                f"energy {float(evaluation.energy[b]):.6g} eV"
            )
        return evaluation

    def _check(self, sound: torch.Tensor, quantity: str, values: torch.Tensor) -> None:
        if not sound.all():
            b, atom = (int(i) for i in (~sound).nonzero()[0])
            shown = ", ".join(f"{float(v):.4g}" for v in values[b, atom])
            raise TrajectoryError(
                f"replica {b} exploded at step {self.n_steps}: {quantity} of atom {atom} is ({shown})"
            )
