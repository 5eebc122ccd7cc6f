"""Samples λ-windows: replicas at fixed λ, in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields

import numpy as np

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import EnergyModel
from alchemflows.errors import TrajectoryError
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.progress import Progress
from alchemflows.schemas.samples import WindowSeries


class WindowsStoppedError(TrajectoryError):
    """Sampling broke off (an explosion, a device out of memory); `series` holds what all windows had by then."""

    def __init__(self, message: str, series: list[WindowSeries]) -> None:
        super().__init__(message)
        self.series = series


def window_seed(seed: int, index: int) -> int:
    """Seed of one window's random numbers, derived from the seed of the ladder."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)


def sample_windows(
    model: EnergyModel,
    path: AlchemicalPath,
    lambdas: Sequence[float],
    indices: Sequence[int],
    dynamics: DynamicsSettings,
    *,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[WindowSeries]:
    """Equilibrate and sample some windows of a ladder, all in one batch.

    All start from the positions and the cell of the path's structure.

    Parameters
    ----------
    model
        Energies of ``path.system``.
    path
        Path through the weights.
    lambdas
        λ of all K windows of the ladder; every sample is evaluated at each of them.
    indices
        Which of them to sample here.
    dynamics
        Conditions and lengths.
    seed
        Seed of the ladder; a window's trajectory does not depend on which windows share its batch.
    on_progress
        Called after each block of `sample_interval_steps` steps.

    Returns
    -------
    series
        One for each of `indices`.

    Raises
    ------
    WindowsStoppedError
        If a trajectory explodes or anything else fails; it keeps what was sampled.
    """
    system = path.system
    n_replicas = len(indices)
    weights = path.weights(np.asarray(lambdas)[list(indices)])
    ladder = np.broadcast_to(path.weights(lambdas), (n_replicas, len(lambdas), system.n_weights))
    record = _Record(n_replicas)
    interval = dynamics.sample_interval_steps
    n_blocks = dynamics.n_samples
    n_steps = dynamics.n_equilibration_steps + n_blocks * interval
    langevin: Langevin | None = None

    def report(phase: str) -> None:
        if on_progress is not None and langevin is not None:
            temperatures = tuple(langevin.kinetic_temperatures().tolist())
            on_progress(Progress(phase, langevin.n_steps, n_steps, temperatures))

    try:
        langevin = Langevin(
            model,
            np.broadcast_to(system.structure.cart_coords, (n_replicas, system.n_atoms, 3)),
            np.broadcast_to(system.structure.lattice.matrix, (n_replicas, 3, 3)),
            weights,
            system.masses(weights),
            temperature_K=dynamics.temperature_K,
            timestep_fs=dynamics.timestep_fs,
            friction_per_ps=dynamics.friction_per_ps,
            seeds=[window_seed(seed, index) for index in indices],
        )
        for step in range(dynamics.n_equilibration_steps):
            langevin.step()
            if (step + 1) % interval == 0:
                report("equilibration")
        for block in range(n_blocks):
            for k in range(interval):
                langevin.step(weight_gradients=k == interval - 1)
            evaluation = langevin.evaluation
            assert evaluation.weight_gradients is not None
            dudl = evaluation.weight_gradients.cpu().numpy() @ path.direction
            energies = model.energies(langevin.positions, langevin.cells, ladder).cpu().numpy()
            for quantity, values in (("dU/dλ", dudl), ("the energy at a window", energies.sum(axis=1))):
                if not np.isfinite(values).all():
                    b = int(np.flatnonzero(~np.isfinite(values))[0])
                    raise TrajectoryError(f"replica {b} exploded at step {langevin.n_steps}: {quantity} is not finite")
            record.append(
                time_fs=np.full(n_replicas, (block + 1) * interval * dynamics.timestep_fs),
                energy_eV=evaluation.energy.cpu().numpy(),
                dudl_eV=dudl,
                temperature_K=langevin.kinetic_temperatures().cpu().numpy(),
                energies_eV=energies,
            )
            report("production")
    except Exception as error:
        labels = ", ".join(f"{b}: λ = {lambdas[i]:g}" for b, i in enumerate(indices))
        reason = str(error) if isinstance(error, TrajectoryError) else f"{type(error).__name__}: {error}"
        raise WindowsStoppedError(f"{reason} (replicas {labels})", record.series(len(lambdas))) from error
    return record.series(len(lambdas))


class _Record:
    """Collects samples of a batch, and hands them out replica by replica."""

    def __init__(self, n_replicas: int) -> None:
        self._n_replicas = n_replicas
        self._samples: dict[str, list[np.ndarray]] = {field.name: [] for field in fields(WindowSeries)}

    def append(self, **values: np.ndarray) -> None:
        for name, samples in self._samples.items():
            samples.append(values[name])

    def series(self, n_windows: int) -> list[WindowSeries]:
        shapes = dict.fromkeys(self._samples, (0, self._n_replicas)) | {"energies_eV": (0, self._n_replicas, n_windows)}
        arrays = {
            name: np.array(samples) if samples else np.empty(shapes[name]) for name, samples in self._samples.items()
        }
        return [
            WindowSeries(**{name: np.ascontiguousarray(values[:, b]) for name, values in arrays.items()})
            for b in range(self._n_replicas)
        ]
