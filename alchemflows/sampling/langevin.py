"""Batched Langevin dynamics: the BAOAB splitting of Leimkuhler & Matthews.

Appl. Math. Res. Express 2013, 34 (2013): half a kick, half a drift, the exact Ornstein–Uhlenbeck step of the
velocities, half a drift, half a kick. Configurational averages are exact for a harmonic potential at any
stable time step. A barostat deforms the cell and the atoms with it between the two drifts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.errors import InvalidInputError, TrajectoryError
from alchemflows.sampling.barostat import Barostat
from alchemflows.schemas.dynamics import Conditions

#: Above these a trajectory is taken to have exploded.
MAX_FORCE_EV_PER_A = 1000.0
MAX_TEMPERATURE_RATIO = 100.0
#: A cell that has grown or shrunk by this factor since the start no longer holds the crystal it began with.
MAX_VOLUME_RATIO = 1.5
#: Volume strain by which the stiffness of a cell is measured.
_PROBE = 0.01


@dataclass(frozen=True)
class State:
    """Where B replicas are: positions (Å, (B, N, 3)), cells (Å, (B, 3, 3)) and velocities (ASE units, (B, N, 3))."""

    positions: torch.Tensor
    cells: torch.Tensor
    velocities: torch.Tensor

    def select(self, replicas: Sequence[int]) -> State:
        """Return some of the replicas, in the order given."""
        index = list(replicas)
        return State(self.positions[index], self.cells[index], self.velocities[index])


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
        Å, shape (B, 3, 3); fixed unless there is a barostat.
    weights
        Shape (B, C); fixed unless :meth:`step` is given others.
    masses
        Atomic mass units, shape (B, N).
    temperature_K, timestep_fs, friction_per_ps
        Conditions.
    seeds
        One seed for each replica, for start velocities (Maxwell–Boltzmann) and noise.
    velocities
        Start velocities instead (ASE units, shape (B, N, 3)).
    barostat
        Moves the cells; without one the volume is constant.
    fix_centre_of_mass
        Whether the centre of mass rests (in units of the cell, where there is a barostat).

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
        velocities: ArrayLike | torch.Tensor | None = None,
        barostat: Barostat | None = None,
        fix_centre_of_mass: bool = False,
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
        self.timestep_fs = timestep_fs
        self.n_steps = 0
        self._generators = [torch.Generator(model.device).manual_seed(int(seed)) for seed in seeds]
        self._dt = timestep_fs * units.fs
        damping = torch.exp(torch.tensor(-friction_per_ps * timestep_fs * 1e-3, dtype=torch.float64))
        self._damping = float(damping)
        self._kick = float(torch.sqrt(1 - damping**2))
        self._set_masses(self.masses)
        self._fixed = fix_centre_of_mass
        self._barostat = barostat
        self._start_volumes = self.volumes()
        start = self._thermal_speed * self._normal() if velocities is None else velocities
        self.velocities = self._internal(torch.as_tensor(start, dtype=torch.float64, device=model.device).clone())
        self.evaluation = self._evaluate(weight_gradients=True)
        if barostat is not None:
            barostat.set_stiffness(self._bulk_moduli(), self._start_volumes)

    @classmethod
    def under(
        cls,
        conditions: Conditions,
        model: EnergyModel,
        start: State | tuple[ArrayLike, ArrayLike],
        weights: ArrayLike | torch.Tensor,
        masses: ArrayLike | torch.Tensor,
        seeds: Sequence[int],
        *,
        fix_centre_of_mass: bool = False,
    ) -> Langevin:
        """Return dynamics under conditions, from a state, or from positions and cells with new velocities."""
        positions, cells = (start.positions, start.cells) if isinstance(start, State) else start
        return cls(
            model,
            positions,
            cells,
            weights,
            masses,
            temperature_K=conditions.temperature_K,
            timestep_fs=conditions.timestep_fs,
            friction_per_ps=conditions.friction_per_ps,
            seeds=seeds,
            velocities=start.velocities if isinstance(start, State) else None,
            barostat=None if conditions.pressure_GPa is None else Barostat(conditions),
            fix_centre_of_mass=fix_centre_of_mass,
        )

    def step(self, weights: ArrayLike | torch.Tensor | None = None, *, weight_gradients: bool = False) -> None:
        """Advance all replicas by one time step; ``evaluation`` then belongs to the new positions.

        Parameters
        ----------
        weights
            Weights from the new positions on, shape (B, C), where λ changes in time.
        weight_gradients
            Whether the evaluation is to have ∂E/∂w.
        """
        half = self._dt / 2
        self.velocities = self.velocities + half * self._accelerations()
        self.positions = self.positions + half * self.velocities
        self.velocities = self._internal(self._damping * self.velocities + self._noise * self._normal())
        if self._barostat is not None:
            self._deform(self._barostat)
        self.positions = self.positions + half * self.velocities
        self.n_steps += 1
        if weights is not None:
            self.weights = torch.as_tensor(weights, dtype=torch.float64, device=self.positions.device)
        self.evaluation = self._evaluate(weight_gradients)
        self.velocities = self.velocities + half * self._accelerations()

    def exchange(self, order: Sequence[int]) -> None:
        """Give replica b the weights and the masses of replica ``order[b]``; its kinetic energy stays what it was.

        Raises
        ------
        InvalidInputError
            If the centre of mass rests and masses differ: another centre would rest.
        """
        index = list(order)
        masses = self.masses[index]
        if self._fixed and not torch.equal(masses, self.masses):
            raise InvalidInputError("replicas whose centre of mass rests must have the same masses to swap")
        self.velocities = self.velocities * torch.sqrt(self.masses / masses)[..., None]
        self.weights = self.weights[index]
        self._set_masses(masses)
        self.evaluation = self._evaluate(weight_gradients=False)

    @property
    def state(self) -> State:
        """Where the replicas are now."""
        return State(self.positions, self.cells, self.velocities)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return all that the next steps depend on, down to the last bit, for :meth:`restore`."""
        evaluation = self.evaluation
        assert evaluation.forces is not None
        tensors = {
            "positions": self.positions,
            "cells": self.cells,
            "velocities": self.velocities,
            "weights": self.weights,
            "masses": self.masses,
            "start_volumes": self._start_volumes,
            "energy": evaluation.energy,
            "forces": evaluation.forces,
            "random": torch.stack([generator.get_state() for generator in self._generators]),
            **self.model.memory(),
        }
        if self._barostat is not None and self._barostat.mobility_step is not None and evaluation.stress is not None:
            tensors |= {"stress": evaluation.stress, "mobility_step": self._barostat.mobility_step}
        return {name: values.cpu().numpy() for name, values in tensors.items()} | {"n_steps": np.array(self.n_steps)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Go on from a :meth:`snapshot` of the same run; the evaluation has no ∂E/∂w until the next step.

        On a device of another kind random numbers have another state; they begin anew from a seed that derives from it.
        """
        random = torch.from_numpy(snapshot["random"])
        tensors = {k: torch.as_tensor(v, device=self.model.device) for k, v in snapshot.items() if k != "random"}
        self.positions, self.cells, self.velocities, self.weights = (
            tensors[name] for name in ("positions", "cells", "velocities", "weights")
        )
        self._set_masses(tensors["masses"])
        self._start_volumes = tensors["start_volumes"]
        self.evaluation = Evaluation(tensors["energy"], tensors["forces"], tensors.get("stress"))
        if self._barostat is not None:
            self._barostat.mobility_step = tensors["mobility_step"]
        for generator, state in zip(self._generators, random, strict=True):
            if len(state) == len(generator.get_state()):
                generator.set_state(state.clone())  # it wants an aligned tensor, and crashes on others
            else:
                generator.manual_seed(int.from_bytes(hashlib.sha256(state.numpy().tobytes()).digest()[:7], "big"))
        self.n_steps = int(snapshot["n_steps"])
        self.model.recall(tensors)

    def volumes(self) -> torch.Tensor:
        """Volume of each cell, Å³, shape (B,)."""
        return torch.linalg.det(self.cells).abs()

    def kinetic_temperatures(self) -> torch.Tensor:
        """Kinetic temperature of each replica, 2 E_kin / (n k_B) with n = 3N, or 3N − 3, K, shape (B,)."""
        kinetic = 0.5 * (self.masses[..., None] * self.velocities**2).sum(dim=(1, 2))
        n_free = 3 * self.masses.shape[1] - (3 if self._fixed else 0)
        return kinetic / (0.5 * max(n_free, 1) * units.kB)

    def _set_masses(self, masses: torch.Tensor) -> None:
        self.masses = masses
        self._thermal_speed = torch.sqrt(units.kB * self.temperature_K / masses)[..., None]
        self._noise = self._thermal_speed * self._kick
        self._inverse_masses = 1 / masses[..., None]
        self._mass_shares = (masses / masses.sum(dim=1, keepdim=True))[..., None]

    def _accelerations(self) -> torch.Tensor:
        assert self.evaluation.forces is not None
        return self._internal(self.evaluation.forces * self._inverse_masses)

    def _internal(self, vectors: torch.Tensor) -> torch.Tensor:
        """Take the motion of the centre of mass out of velocities or accelerations, where it is to rest."""
        return vectors - (self._mass_shares * vectors).sum(dim=1, keepdim=True) if self._fixed else vectors

    def _deform(self, barostat: Barostat) -> None:
        assert self.evaluation.stress is not None
        n_atoms = self.positions.shape[1]
        deformation = barostat.deformation(
            self.cells, self.evaluation.stress, n_atoms, self._normal((barostat.n_directions,))
        )
        self.positions = self.positions @ deformation
        self.cells = self.cells @ deformation
        ratio = self.volumes() / self._start_volumes
        sound = (ratio < MAX_VOLUME_RATIO) & (ratio > 1 / MAX_VOLUME_RATIO)
        if not sound.all():
            b = int((~sound).nonzero()[0, 0])
            raise TrajectoryError(
                f"replica {b} does not keep its volume: at step {self.n_steps} it is {float(ratio[b]):.3g} times that "
                "at the start"
            )

    def _bulk_moduli(self) -> torch.Tensor:
        """Return −V dP/dV at the start, from two slightly scaled cells, eV/Å³, shape (B,)."""
        means = []
        for sign in (-1, 1):
            scale = (1 + sign * _PROBE / 2) ** (1 / 3)
            scaled = self.model.evaluate(
                scale * self.positions, scale * self.cells, self.weights, forces=False, weight_gradients=False
            )
            assert scaled.stress is not None
            means.append(scaled.stress.diagonal(dim1=1, dim2=2).mean(dim=1))
        return (means[1] - means[0]) / _PROBE

    def _normal(self, shape: Sequence[int] | None = None) -> torch.Tensor:
        shape = self.positions.shape[1:] if shape is None else shape
        return torch.stack(
            [torch.randn(shape, generator=g, dtype=torch.float64, device=g.device) for g in self._generators]
        )

    def _evaluate(self, weight_gradients: bool) -> Evaluation:
        # Before the evaluation: a neighbour list of atoms at infinity has no end.
        self._check(self.positions.isfinite().all(dim=2), "position", self.positions)
        evaluation = self.model.evaluate(
            self.positions,
            self.cells,
            self.weights,
            stress=self._barostat is not None,
            weight_gradients=weight_gradients,
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
