"""Batched Langevin dynamics with the BAOAB splitting of Leimkuhler & Matthews (Appl. Math. Res. Express 2013, 34).

A step consists of half a kick, half a drift, the exact Ornstein–Uhlenbeck step of the velocities, half a drift and half
a kick. Configurational averages are exact for a harmonic potential at any stable time step. A barostat deforms the cell
and the positions between the two drifts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, inf, log

import numpy as np
import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation, float64_tensor
from alchemflows.alchemy.volumes import volumes
from alchemflows.errors import ExplosionError, InvalidInputError, TrajectoryError
from alchemflows.sampling.barostat import Barostat
from alchemflows.schemas.dynamics import Conditions

#: Limits of force and of temperature relative to the target; a trajectory beyond them counts as exploded.
MAX_FORCE_EV_PER_A = 1000.0
MAX_TEMPERATURE_RATIO = 100.0
#: Largest factor by which the volume may grow or shrink from its initial value; beyond it the crystal counts as lost.
MAX_VOLUME_RATIO = 1.5
#: Volume strain used to measure the bulk modulus of a cell.
_PROBE = 0.01


@dataclass(frozen=True)
class State:
    """State of B replicas: positions (Å), (B, N, 3); cells (Å), (B, 3, 3); velocities (ASE units), (B, N, 3)."""

    positions: torch.Tensor
    cells: torch.Tensor
    velocities: torch.Tensor

    def select(self, replicas: Sequence[int]) -> State:
        """Return some of the replicas, in the order given."""
        index = list(replicas)
        return State(self.positions[index], self.cells[index], self.velocities[index])


class Langevin:
    """Langevin dynamics of B replicas in one batch, with separate weights, masses and random numbers.

    The trajectory of a replica depends only on its seed and its initial state, not on the other replicas (up to the
    rounding of batched sums).

    Parameters
    ----------
    model
        Potential that gives energies and forces.
    positions
        Initial positions (Å), shape (B, N, 3).
    cells
        Initial cells (Å), shape (B, 3, 3); constant without a barostat.
    weights
        Weights, shape (B, C); constant unless :meth:`step` is given new ones.
    masses
        Masses in atomic mass units, shape (B, N).
    temperature_K
        Temperature (K) of all replicas, or one for each.
    timestep_fs, friction_per_ps
        Time step (fs) and friction (1/ps).
    seeds
        One seed for each replica, for initial velocities (Maxwell–Boltzmann) and noise.
    velocities
        Initial velocities (ASE units), shape (B, N, 3); drawn at random by default.
    barostat
        Barostat that moves the cells, for the same temperatures; without one the volume is constant.
    fix_centre_of_mass
        Whether the centre of mass is fixed (in fractional coordinates, if there is a barostat).
    max_volume_ratio
        Factor by which the volume may grow or shrink before the run counts as lost.
    measure_heat
        Whether to measure the heat.
    stop_at_explosion
        Whether an explosion raises an error. Otherwise the replica is marked in `exploded` and rests at its initial
        positions, and the others continue.

    Attributes
    ----------
    heat
        Kinetic energy that each replica has received from the thermostat (eV), shape (B,); None if not measured.
    exploded
        Whether the trajectory of a replica exploded, shape (B,).

    Raises
    ------
    InvalidInputError
        If a condition is not positive, or the number of seeds or of temperatures is not B.
    TrajectoryError
        If energy, force or temperature exceeds its limit or is not finite, at the start or after a step, unless
        explosions are only marked.
    """

    def __init__(
        self,
        model: EnergyModel,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        masses: ArrayLike | torch.Tensor,
        *,
        temperature_K: float | Sequence[float] | np.ndarray,
        timestep_fs: float,
        friction_per_ps: float,
        seeds: Sequence[int],
        velocities: ArrayLike | torch.Tensor | None = None,
        barostat: Barostat | None = None,
        fix_centre_of_mass: bool = False,
        max_volume_ratio: float = MAX_VOLUME_RATIO,
        measure_heat: bool = False,
        stop_at_explosion: bool = True,
    ) -> None:
        for name, value in (
            ("temperature_K", temperature_K),
            ("timestep_fs", timestep_fs),
            ("friction_per_ps", friction_per_ps),
        ):
            if not np.all(np.asarray(value) > 0):
                raise InvalidInputError(f"{name} must be positive; got {value}")
        self.model = model
        self.positions, self.cells, self.weights, self.masses = (
            float64_tensor(v, model.device).clone() for v in (positions, cells, weights, masses)
        )
        if len(seeds) != len(self.positions):
            raise InvalidInputError(f"seeds: one for each of the {len(self.positions)} replicas; got {len(seeds)}")
        if np.shape(temperature_K) not in ((), (len(seeds),)):
            raise InvalidInputError(
                f"temperature_K: one number, or one for each of the {len(seeds)} replicas; got {temperature_K}"
            )
        self._temperatures = float64_tensor(temperature_K, model.device).expand(len(seeds))
        self.timestep_fs = timestep_fs
        self.n_steps = 0
        self._generators = [torch.Generator(model.device).manual_seed(int(seed)) for seed in seeds]
        self._dt = timestep_fs * units.fs
        damping = torch.exp(torch.tensor(-friction_per_ps * timestep_fs * 1e-3, dtype=torch.float64))
        self._damping = float(damping)
        self._renewal = float(torch.sqrt(1 - damping**2))
        self._set_masses(self.masses)
        self._fixed = fix_centre_of_mass
        self._barostat = barostat
        self._start_volumes = self.volumes()
        self._growth = torch.zeros_like(self._start_volumes)
        self._max_growth = log(max_volume_ratio)
        self.heat = torch.zeros(len(seeds), dtype=torch.float64, device=model.device) if measure_heat else None
        self._stops = stop_at_explosion
        self._refuge = self.positions, self.cells
        self.exploded = torch.zeros(len(seeds), dtype=torch.bool, device=model.device)
        self._set_limits()
        start = self._thermal_speed * self._normal() if velocities is None else velocities
        self.velocities = self._internal(float64_tensor(start, model.device).clone())
        self._check_positions()
        self.evaluation = self._evaluate(weight_gradients=True)
        self.check()
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
        temperatures_K: Sequence[float] | np.ndarray | None = None,
        fix_centre_of_mass: bool = False,
        max_volume_ratio: float = MAX_VOLUME_RATIO,
    ) -> Langevin:
        """Return dynamics at the given conditions, started from a state, or from positions and cells.

        `temperatures_K` replaces the temperature of the conditions by one for each replica, shape (B,).
        """
        positions, cells = (start.positions, start.cells) if isinstance(start, State) else start
        return cls(
            model,
            positions,
            cells,
            weights,
            masses,
            temperature_K=conditions.temperature_K if temperatures_K is None else temperatures_K,
            timestep_fs=conditions.timestep_fs,
            friction_per_ps=conditions.friction_per_ps,
            seeds=seeds,
            velocities=start.velocities if isinstance(start, State) else None,
            barostat=None if conditions.pressure_GPa is None else Barostat(conditions, temperatures_K, model.device),
            fix_centre_of_mass=fix_centre_of_mass,
            max_volume_ratio=max_volume_ratio,
        )

    def step(
        self,
        weights: ArrayLike | torch.Tensor | None = None,
        *,
        weight_gradients: bool = False,
        check: bool = True,
    ) -> None:
        """Advance all replicas by one time step and update ``evaluation`` to the new positions.

        Parameters
        ----------
        weights
            New weights, shape (B, C), used from the new positions on; for λ that changes in time.
        weight_gradients
            Whether to compute ∂E/∂w.
        check
            Whether to call :meth:`check`. It waits for the device, so that loops that use no result of most steps may
            do without it in these.

        Raises
        ------
        TrajectoryError
            As for :meth:`check`.
        """
        half = self._dt / 2
        self._kick(half)
        self.positions = torch.add(self.positions, self.velocities, alpha=half)
        self._thermostat()
        if self._barostat is not None:
            self._deform(self._barostat)
        self.positions = torch.add(self.positions, self.velocities, alpha=half)
        self.n_steps += 1
        if weights is not None:
            self.weights = float64_tensor(weights, self.positions.device)
        self._rest()
        self.evaluation = self._evaluate(weight_gradients)
        self._kick(half)
        if check:
            self.check()

    def check(self) -> None:
        """Raise an error if a trajectory has exploded or lost its volume in a step until now.

        The dynamics look for this in every step. Until the error is raised, the replica rests at its initial positions.

        Raises
        ------
        ExplosionError
            If energy, force, temperature or volume of a replica exceeded its limit or was not finite, unless explosions
            are only marked. The message has the replica, the step and the quantities.
        """
        if not self._stops or not self.exploded.any():
            return
        b = int(self.exploded.nonzero()[0, 0])
        force, temperature, energy, growth, atom, step = self._last[b].tolist()
        texts = (
            f"force {force:.4g} eV/Å on atom {atom:.0f}",
            f"temperature {temperature:.4g} K",
            f"energy {energy:.6g} eV",
            f"volume {exp(growth):.3g} times the initial one",
        )
        beyond = ~(self._last[b].abs() < self._limits[b])
        found = ", ".join(text for text, outside in zip(texts, beyond.tolist(), strict=False) if outside)
        bath = f"{float(self._temperatures[b]):g} K"
        message = f"replica {b} exploded at step {step:.0f} of the dynamics at {bath}: {found}"
        raise ExplosionError(message, replica=b, quantities=found)

    def exchange(self, order: Sequence[int]) -> None:
        """Give replica b the weights, masses and temperature of replica ``order[b]``.

        Kinetic energies are proportional to the temperature of a replica, and do not change otherwise.

        Raises
        ------
        InvalidInputError
            If the centre of mass is fixed and masses differ, since the exchange would change the fixed point.
        """
        index = list(order)
        weights, changes = self.weights[index], not torch.equal(self.weights[index], self.weights)
        self._heat_to(self._temperatures[index])
        self._transmute(weights, self.masses[index])
        if changes:
            self.evaluation = self._evaluate(weight_gradients=False)
        self.check()

    def move_to(
        self,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        masses: ArrayLike | torch.Tensor,
    ) -> None:
        """Continue from other positions, cells, weights and masses; kinetic energies are kept.

        Raises
        ------
        InvalidInputError
            If the centre of mass is fixed and masses differ from the present ones.
        TrajectoryError
            If energy or force exceeds its limit or is not finite.
        """
        device = self.positions.device
        self.positions, self.cells = (float64_tensor(values, device).clone() for values in (positions, cells))
        self._transmute(float64_tensor(weights, device), float64_tensor(masses, device))
        self._check_positions()
        self.evaluation = self._evaluate(weight_gradients=False)
        self.check()

    def permute(self, order: Sequence[int]) -> None:
        """Give replica b the configuration of replica ``order[b]``, without an evaluation of the potential.

        Temperatures and random numbers stay; velocities are scaled by √(T_b / T_order[b]).
        """
        index = list(order)
        scale = torch.sqrt(self._temperatures / self._temperatures[index])
        self.positions, self.cells, self.weights = (v[index] for v in (self.positions, self.cells, self.weights))
        self.velocities = self.velocities[index] * scale[:, None, None]
        self._start_volumes = self._start_volumes[index]
        self._set_masses(self.masses[index])
        old = self.evaluation
        forces, stress, gradients = (
            None if v is None else v[index] for v in (old.forces, old.stress, old.weight_gradients)
        )
        self.evaluation = Evaluation(old.energy[index], forces, stress, gradients)

    @property
    def state(self) -> State:
        """Current state of the replicas."""
        return State(self.positions, self.cells, self.velocities)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the complete state of the dynamics, from which :meth:`restore` continues bit for bit."""
        evaluation = self.evaluation
        assert evaluation.forces is not None
        tensors = {
            "positions": self.positions,
            "cells": self.cells,
            "velocities": self.velocities,
            "weights": self.weights,
            "masses": self.masses,
            "temperatures": self._temperatures,
            "start_volumes": self._start_volumes,
            "energy": evaluation.energy,
            "forces": evaluation.forces,
            "random": torch.stack([generator.get_state() for generator in self._generators]),
            **self.model.memory(),
        }
        if self.heat is not None:
            tensors |= {"heat": self.heat}
        if self._barostat is not None and self._barostat.mobility_step is not None and evaluation.stress is not None:
            tensors |= {"stress": evaluation.stress, "mobility_step": self._barostat.mobility_step}
        if self.exploded.any():  # in a step that was not checked
            tensors |= {"exploded": self.exploded, "beyond_limits": self._last}
        return {name: values.cpu().numpy() for name, values in tensors.items()} | {"n_steps": np.array(self.n_steps)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot` of the same run; the evaluation has no ∂E/∂w until the next step.

        A state of random numbers from a device of another kind cannot be restored; new seeds are derived from it.
        """
        random = torch.from_numpy(snapshot["random"])
        tensors = {k: torch.as_tensor(v, device=self.model.device) for k, v in snapshot.items() if k != "random"}
        self.positions, self.cells, self.velocities, self.weights = (
            tensors[name] for name in ("positions", "cells", "velocities", "weights")
        )
        self._temperatures = tensors.get("temperatures", self._temperatures)
        if self._barostat is not None:
            self._barostat.set_temperatures(self._temperatures)
        self._set_masses(tensors["masses"])
        self._set_limits()
        self.exploded = torch.zeros_like(self.exploded)
        if "exploded" in tensors:
            self.exploded, self._last = tensors["exploded"], tensors["beyond_limits"]
        self._start_volumes = tensors["start_volumes"]
        self.heat = tensors.get("heat")
        self.evaluation = Evaluation(tensors["energy"], tensors["forces"], tensors.get("stress"))
        if self._barostat is not None:
            self._barostat.mobility_step = tensors["mobility_step"]
        for generator, state in zip(self._generators, random, strict=True):
            if len(state) == len(generator.get_state()):
                generator.set_state(state.clone())  # set_state crashes if the tensor is not aligned in memory
            else:
                generator.manual_seed(int.from_bytes(hashlib.sha256(state.numpy().tobytes()).digest()[:7], "big"))
        self.n_steps = int(snapshot["n_steps"])
        self.model.recall(tensors)

    def volumes(self) -> torch.Tensor:
        """Return the volume of each cell (Å³), shape (B,)."""
        return volumes(self.cells)

    def kinetic_energies(self) -> torch.Tensor:
        """Return the kinetic energy of each replica (eV), shape (B,)."""
        return 0.5 * (self.masses[..., None] * self.velocities**2).sum(dim=(1, 2))

    def kinetic_temperatures(self) -> torch.Tensor:
        """Return the kinetic temperature of each replica (K), shape (B,).

        It is 2 E_kin / (n k_B) with n = 3N, or 3N − 3 if the centre of mass is fixed.
        """
        n_free = 3 * self.masses.shape[1] - (3 if self._fixed else 0)
        return self.kinetic_energies() / (0.5 * max(n_free, 1) * units.kB)

    def bath_temperatures(self) -> torch.Tensor:
        """Return the temperature of the thermostat of each replica (K), shape (B,)."""
        return self._temperatures

    def _heat_to(self, temperatures_K: torch.Tensor) -> None:
        """Set the temperature of each replica, and scale the velocities accordingly."""
        if torch.equal(temperatures_K, self._temperatures):
            return
        self.velocities = self.velocities * torch.sqrt(temperatures_K / self._temperatures)[:, None, None]
        self._temperatures = temperatures_K
        if self._barostat is not None:
            self._barostat.set_temperatures(temperatures_K)
        self._set_limits()

    def _transmute(self, weights: torch.Tensor, masses: torch.Tensor) -> None:
        """Set weights and masses, and scale the velocities so that kinetic energies do not change."""
        if self._fixed and not torch.equal(masses, self.masses):
            raise InvalidInputError("fix_centre_of_mass: the masses of a replica cannot change")
        self.velocities = self.velocities * torch.sqrt(self.masses / masses)[..., None]
        self.weights = weights
        self._set_masses(masses)

    def _set_masses(self, masses: torch.Tensor) -> None:
        self.masses = masses
        self._inverse_masses = 1 / masses[..., None]
        self._thermal_speed = torch.sqrt((units.kB * self._temperatures)[:, None, None] * self._inverse_masses)
        self._noise = self._thermal_speed * self._renewal
        self._mass_shares = (masses / masses.sum(dim=1, keepdim=True))[..., None]

    def _thermostat(self) -> None:
        """Make the Ornstein–Uhlenbeck step of the velocities."""
        before = None if self.heat is None else self.kinetic_energies()
        noisy = torch.addcmul(self._damping * self.velocities, self._noise, self._normal())
        self.velocities = self._internal(noisy)
        if self.heat is not None and before is not None:
            self.heat = self.heat + self.kinetic_energies() - before

    def _kick(self, time: float) -> None:
        """Accelerate the atoms during a time (ASE units)."""
        assert self.evaluation.forces is not None
        kicked = torch.addcmul(self.velocities, self.evaluation.forces, self._inverse_masses, value=time)
        self.velocities = self._internal(kicked)

    def _internal(self, vectors: torch.Tensor) -> torch.Tensor:
        """Remove the motion of the centre of mass from velocities, if it is fixed."""
        return vectors - (self._mass_shares * vectors).sum(dim=1, keepdim=True) if self._fixed else vectors

    def _deform(self, barostat: Barostat) -> None:
        assert self.evaluation.stress is not None
        n_atoms = self.positions.shape[1]
        deformation = barostat.deformation(
            self.cells, self.evaluation.stress, n_atoms, self._normal((barostat.n_directions,))
        )
        self.positions = self.positions @ deformation
        self.cells = self.cells @ deformation
        self._growth = torch.log(self.volumes() / self._start_volumes)

    def _bulk_moduli(self) -> torch.Tensor:
        """Return the bulk moduli −V dP/dV at the start (eV/Å³), shape (B,), from two slightly scaled cells."""
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
        numbers = self.positions.new_empty((len(self._generators), *shape), dtype=torch.float64)
        for row, generator in zip(numbers.unbind(), self._generators, strict=True):
            row.normal_(generator=generator)  # the numbers of torch.randn, in half the time for small crystals
        return numbers

    def _set_limits(self) -> None:
        """Set the limits of the quantities of :meth:`_note`, and forget those of earlier steps."""
        hot = MAX_TEMPERATURE_RATIO * self._temperatures
        limits = (MAX_FORCE_EV_PER_A, inf, self._max_growth, inf, inf)
        force, energy, growth, atom, step = (torch.full_like(hot, limit) for limit in limits)
        self._limits = torch.stack([force, hot, energy, growth, atom, step], dim=1)
        self._last = torch.zeros_like(self._limits)

    def _evaluate(self, weight_gradients: bool) -> Evaluation:
        evaluation = self.model.evaluate(
            self.positions,
            self.cells,
            self.weights,
            stress=self._barostat is not None,
            weight_gradients=weight_gradients,
        )
        assert evaluation.forces is not None
        self._note(evaluation.energy, evaluation.forces)
        return replace(evaluation, forces=evaluation.forces.masked_fill(self.exploded[:, None, None], 0.0))

    def _note(self, energy: torch.Tensor, forces: torch.Tensor) -> None:
        """Mark replicas with quantities beyond their limits, and keep those of the step in which it happened."""
        force, atom = forces.abs().amax(dim=2).max(dim=1)
        quantities = [
            force,
            self.kinetic_temperatures(),
            energy,
            self._growth,
            atom,
            torch.full_like(energy, self.n_steps),
        ]
        self._last = torch.where(self.exploded[:, None], self._last, torch.stack(quantities, dim=1))
        # Not ">=", since NaN is beyond every limit.
        self.exploded = self.exploded | ~(self._last.abs() < self._limits).all(dim=1)

    def _rest(self) -> None:
        """Keep replicas that exploded, or that lose their volume in this step, at their initial positions."""
        gone = self.exploded
        if self._barostat is not None:
            gone = gone | ~(self._growth.abs() < self._max_growth)
            self.cells = torch.where(gone[:, None, None], self._refuge[1], self.cells)
        self.positions = torch.where(gone[:, None, None], self._refuge[0], self.positions)
        self.velocities = self.velocities.masked_fill(gone[:, None, None], 0.0)

    def _check_positions(self) -> None:
        """Check positions that were given; a neighbour list of atoms at infinity would never end."""
        if not self.positions.isfinite().all():
            b, atom, _ = (~self.positions.isfinite()).nonzero()[0].tolist()
            raise TrajectoryError(f"replica {b}: the position of atom {atom} is not finite")
