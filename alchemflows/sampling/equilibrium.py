"""Sample a crystal at fixed weights: mean cell, mean positions and mean squared displacements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.sampling.blocks import Blocks, Resumable, Samples
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin, State
from alchemflows.sampling.sites import CORRELATION_TIME_FS, Sites
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.progress import Progress


@dataclass(frozen=True)
class Equilibrium:
    """Results of sampling a crystal: n samples of each of B replicas.

    Attributes
    ----------
    time_fs
        Time since production began (fs), shape (n,).
    energy_eV, volume_A3, temperature_K
        Potential energy (eV), volume (Å³) and kinetic temperature (K), shape (n, B).
    cell_parameters
        a, b, c (Å), α, β, γ (degrees), shape (n, B, 6).
    mean_displacement_A
        Mean displacement of each atom from its initial site (Å), shape (B, N, 3); sites move with the cell.
    msd_A2
        Mean squared displacement from the mean position (Å²), shape (B, N).
    structure
        Initial structure.
    state
        Final state of the replicas.
    """

    time_fs: np.ndarray
    energy_eV: np.ndarray
    volume_A3: np.ndarray
    temperature_K: np.ndarray
    cell_parameters: np.ndarray
    mean_displacement_A: np.ndarray
    msd_A2: np.ndarray
    structure: Structure
    state: State

    def mean_structure(self) -> Structure:
        """Return the crystal with mean cell parameters, mean volume and mean positions, oriented as at the start.

        Its centre of mass is that of the dynamics, and therefore also that of an Einstein crystal on these sites.
        """
        lattice = Lattice.from_parameters(*self.cell_parameters.mean(axis=(0, 1)))
        matrix = lattice.scale(float(self.volume_A3.mean())).matrix
        # Rotate (or reflect) the mean cell to match the initial cell most closely.
        left, _, right = np.linalg.svd(matrix.T @ self.structure.lattice.matrix)
        cell = matrix @ left @ right
        fractional = self.structure.frac_coords + self.mean_displacement_A.mean(axis=0) @ np.linalg.inv(cell)
        return Structure(cell, self.structure.species, fractional)


def sample_equilibrium(
    model: EnergyModel,
    system: AlchemicalSystem,
    weights: ArrayLike,
    dynamics: DynamicsSettings,
    seeds: Sequence[int],
    *,
    recorder: FrameRecorder | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Equilibrium:
    """Equilibrate and sample replicas of a crystal at fixed weights, with a fixed centre of mass.

    Parameters
    ----------
    model
        Potential with C' weights.
    system
        The crystal; dynamics start from its structure.
    weights
        Weights, shape (C',); the first C are those of the system.
    dynamics
        Conditions, and lengths of equilibration and production.
    seeds
        One seed for each replica.
    recorder
        Keeps configurations of the samples.
    on_progress
        Function called after each sample.
    checkpoint
        As for :func:`~alchemflows.sampling.windows.run_windows`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    UnstableCrystalError
        If an atom leaves its site, or mean positions differ from those of the structure.
    TrajectoryError
        If a trajectory explodes.
    """
    n_replicas, n = len(seeds), dynamics.n_samples
    row = np.atleast_1d(np.asarray(weights, dtype=float))
    langevin = Langevin.under(
        dynamics,
        model,
        (
            np.broadcast_to(system.structure.cart_coords, (n_replicas, system.n_sites, 3)),
            np.broadcast_to(system.structure.lattice.matrix, (n_replicas, 3, 3)),
        ),
        np.broadcast_to(row, (n_replicas, len(row))),
        np.broadcast_to(system.masses(row[: system.n_weights]), (n_replicas, system.n_sites)),
        seeds,
        fix_centre_of_mass=True,
    )
    sites = Sites(system.structure, model.device)
    interval, n_equilibration = dynamics.sample_interval_steps, dynamics.n_equilibration_steps
    n_steps = n_equilibration + n * interval
    samples = Samples("energy", "volume", "temperature", "parameters")
    moments = _Moments(langevin.positions)
    parts: list[Resumable] = [moments, *([] if recorder is None else [recorder])]
    blocks = Blocks(langevin, n_steps, parts=parts, samples=samples, on_progress=on_progress, checkpoint=checkpoint)

    def check() -> None:
        sites.check(langevin.positions, langevin.cells, f"after {langevin.n_steps * dynamics.timestep_fs * 1e-3:g} ps")

    for _, ends_block in blocks.steps("equilibration", 0, n_equilibration, interval):
        langevin.step(check=ends_block)
        if ends_block:
            check()
    for _, ends_block in blocks.steps("production", n_equilibration, n_steps, interval):
        langevin.step(check=ends_block)
        if ends_block:
            check()
            samples.append(
                energy=langevin.evaluation.energy.cpu().numpy(),
                volume=langevin.volumes().cpu().numpy(),
                temperature=langevin.kinetic_temperatures().cpu().numpy(),
                parameters=np.array([Lattice(cell).parameters for cell in langevin.cells.cpu().numpy()]),
            )
            moments.add(sites.displacements(langevin.positions, langevin.cells))
            if recorder is not None:
                recorder.see(len(samples) - 1, langevin.positions, langevin.cells)
    series = samples.since(0)
    mean = moments.total / n
    cell = langevin.cells.mean(dim=0)
    msd = moments.squares / n - (mean**2).sum(dim=2)
    # Each replica counts as at least one independent sample.
    n_independent = n_replicas * (1 + n * interval * dynamics.timestep_fs / CORRELATION_TIME_FS)
    noise = torch.sqrt((moments.squares / n).mean(dim=0) / n_independent)
    sites.check_mean(sites.fractional + mean.mean(dim=0) @ torch.linalg.inv(cell), cell, noise)
    return Equilibrium(
        time_fs=(np.arange(n) + 1) * interval * dynamics.timestep_fs,
        energy_eV=series["energy"],
        volume_A3=series["volume"],
        temperature_K=series["temperature"],
        cell_parameters=series["parameters"],
        mean_displacement_A=mean.cpu().numpy(),
        msd_A2=msd.cpu().numpy(),
        structure=system.structure,
        state=langevin.state,
    )


class _Moments:
    """Sums of displacements and of squared displacements over the samples, for each atom of each replica."""

    def __init__(self, positions: torch.Tensor) -> None:
        self.total = torch.zeros_like(positions)
        self.squares = torch.zeros_like(positions[..., 0])

    def add(self, displacements: torch.Tensor) -> None:
        self.total += displacements
        self.squares += (displacements**2).sum(dim=2)

    def snapshot(self) -> dict[str, np.ndarray]:
        return {"total": self.total.cpu().numpy(), "squares": self.squares.cpu().numpy()}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        device = self.total.device
        self.total, self.squares = (torch.as_tensor(snapshot[name], device=device) for name in ("total", "squares"))
