"""Nonequilibrium switching: change λ from 0 to 1 and from 1 to 0 in finite time, and measure the work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ase import units
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import EnergyModel, float64_tensor
from alchemflows.alchemy.path import WeightPath
from alchemflows.alchemy.tether import Springs
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.blocks import Blocks, Resumable, Watch
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.forces import ForceSquares
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin, State
from alchemflows.sampling.schedules import schedule
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sites import Sites
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.progress import Progress

#: Number of points of ∂U/∂λ that are stored for each switch.
N_CURVE_POINTS = 200
#: Number of steps between two checks of the sites, progress reports and possible checkpoints.
BLOCK = 20


@dataclass(frozen=True)
class Switches:
    """Work of n switches in each direction, and ∂U/∂λ at m points along them.

    Attributes
    ----------
    forward_work_eV, backward_work_eV
        W = ∫ (∂U/∂λ) dλ (eV) from λ = 0 to 1, and from 1 to 0, shape (n,).
    lambdas
        λ along a forward switch, shape (m,); a backward switch passes through them in reverse order.
    forward_dudl_eV, backward_dudl_eV
        ∂U/∂λ (eV) in the order of time, shape (n, m).
    forward_progress_eV, backward_progress_eV
        Work (eV) done until each of the m points, in the order of time, shape (n, m).
    forward_gradients, backward_gradients
        Mean of ∂E/∂w over the steps between successive points, in the order of time, shape (n, m − 1, C).
    forward_force_squares, backward_force_squares
        Mean of Σ_i |F_i|²/m_i (eV²/Å²/amu) of each kind of atom over these steps, shape (n, m − 1, kinds); None if they
        were not collected.
    """

    forward_work_eV: np.ndarray
    backward_work_eV: np.ndarray
    lambdas: np.ndarray
    forward_dudl_eV: np.ndarray
    backward_dudl_eV: np.ndarray
    forward_progress_eV: np.ndarray
    backward_progress_eV: np.ndarray
    forward_gradients: np.ndarray
    backward_gradients: np.ndarray
    forward_force_squares: np.ndarray | None = None
    backward_force_squares: np.ndarray | None = None


def n_samples_of_ends(settings: SwitchingSettings) -> int:
    """Return the number of samples of each end from which frames are taken: the second half of the equilibration.

    A sample is the configuration after every :data:`BLOCK` steps.
    """
    return settings.n_equilibration_steps // BLOCK - _first_sample(settings)


def times_of_ends_fs(settings: SwitchingSettings) -> np.ndarray:
    """Return the times of these samples since dynamics began (fs)."""
    blocks = np.arange(_first_sample(settings), settings.n_equilibration_steps // BLOCK) + 1
    return blocks * BLOCK * settings.timestep_fs


def _first_sample(settings: SwitchingSettings) -> int:
    return settings.n_equilibration_steps // BLOCK // 2


def equilibrate_ends(
    model: EnergyModel,
    path: WeightPath,
    settings: SwitchingSettings,
    seeds: Sequence[int],
    *,
    fix_centre_of_mass: bool = False,
    sites: Sites | None = None,
    watch: Watch | None = None,
    recorder: FrameRecorder | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> State:
    """Equilibrate n replicas at λ = 0 and n at λ = 1, in one batch, from the path's structure.

    Parameters
    ----------
    model
        Potential at the weights of `path`.
    path
        The path. All replicas have the masses at λ = ½, which does not change configurational averages.
    settings
        Conditions, and lengths of equilibration and switches.
    seeds
        2n seeds.
    fix_centre_of_mass
        Whether the centre of mass is fixed.
    sites
        Sites that atoms must not leave; requires a fixed centre of mass.
    watch
        Collects statistics of the positions, every :data:`BLOCK` steps.
    recorder
        Keeps configurations of the samples of :func:`n_samples_of_ends`.
    on_progress
        Function called every :data:`BLOCK` steps.
    checkpoint
        As for :func:`~alchemflows.sampling.windows.run_windows`.

    Returns
    -------
    state
        2n replicas, those at λ = 0 first.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    InvalidInputError
        If the number of seeds is odd.
    TrajectoryError
        If a trajectory explodes.
    """
    system, n = path.system, 2 * _each_way(seeds)
    langevin = Langevin.under(
        settings,
        model,
        (
            np.broadcast_to(system.structure.cart_coords, (n, system.n_sites, 3)),
            np.broadcast_to(system.structure.lattice.matrix, (n, 3, 3)),
        ),
        path.weights(np.repeat([0.0, 1.0], n // 2)),
        np.broadcast_to(path.masses(0.5), (n, system.n_sites)),
        seeds,
        fix_centre_of_mass=fix_centre_of_mass,
    )
    n_steps = settings.n_equilibration_steps
    parts: list[Resumable] = [part for part in (watch, recorder) if part is not None]
    blocks = Blocks(langevin, n_steps, parts=parts, on_progress=on_progress, checkpoint=checkpoint)
    first = _first_sample(settings)
    for step, ends_block in blocks.steps("equilibration", 0, n_steps, BLOCK):
        langevin.step(check=ends_block)
        if ends_block:
            _look(langevin, sites, watch)
            if recorder is not None and step % BLOCK == 0:
                energies = langevin.evaluation.energy
                recorder.see(step // BLOCK - 1 - first, langevin.positions, langevin.cells, energies=energies)
    return langevin.state


def switch(
    model: EnergyModel,
    path: WeightPath,
    settings: SwitchingSettings,
    start: State,
    seeds: Sequence[int],
    *,
    fix_centre_of_mass: bool = False,
    sites: Sites | None = None,
    watch: Watch | None = None,
    ramp: Callable[[np.ndarray], np.ndarray] | None = None,
    squares: ForceSquares | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Switches:
    """Switch n replicas from λ = 0 to 1 and n from 1 to 0, in one batch.

    The work is the trapezoid sum of ∂U/∂λ over the steps.

    Parameters
    ----------
    model, path, settings, fix_centre_of_mass, sites, watch, on_progress, checkpoint
        As for :func:`equilibrate_ends`.
    start
        2n replicas in equilibrium, those at λ = 0 first.
    seeds
        2n seeds for the noise.
    ramp
        Function that maps the λ of the schedule to that of the switch, with 0 → 0 and 1 → 1; the same λ if not given.
    squares
        Collects the squares of the forces.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    InvalidInputError
        If the number of seeds differs from that of replicas, or is odd.
    TrajectoryError
        If a trajectory explodes.
    """
    n, n_steps = _each_way(seeds), settings.n_switching_steps
    system = path.system
    forward, backward = (schedule(settings.schedule, np.linspace(*ends, n_steps + 1)) for ends in ((0, 1), (1, 0)))
    if ramp is not None:
        forward, backward = ramp(forward), ramp(backward)
    # Shape (steps + 1, replicas).
    lambdas = np.stack([forward] * n + [backward] * n, axis=1)
    # On the device from the beginning, so that no step waits for a copy.
    at, changes = (float64_tensor(values, model.device) for values in (lambdas, np.diff(lambdas, axis=0)))
    initial, direction = (float64_tensor(w, model.device) for w in (path.initial_weights, path.direction))
    langevin = Langevin.under(
        settings,
        model,
        start,
        path.weights(lambdas[0]),
        np.broadcast_to(path.masses(0.5), (2 * n, system.n_sites)),
        seeds,
        fix_centre_of_mass=fix_centre_of_mass,
    )
    kept = np.unique(np.linspace(0, n_steps, N_CURVE_POINTS).round().astype(int))
    keep = set(kept.tolist())
    work = _Work(langevin, direction)
    parts: list[Resumable] = [work, *(part for part in (watch, squares) if part is not None)]
    blocks = Blocks(langevin, n_steps, parts=parts, on_progress=on_progress, checkpoint=checkpoint)
    for step, ends_block in blocks.steps("switching", 0, n_steps, BLOCK):
        weights = torch.addcmul(initial, at[step, :, None], direction)
        langevin.step(weights, weight_gradients=True, check=ends_block)
        work.add(langevin, changes[step - 1], keep=step in keep)
        if squares is not None:
            squares.add(langevin.evaluation.forces, keep=step in keep)
        if ends_block:
            _look(langevin, sites, watch)
    totals = work.total.cpu().numpy()
    dudl, progress, sums = (
        torch.stack(values, dim=1).cpu().numpy() for values in (work.curve, work.progress, work.gradient_sums)
    )
    means = np.diff(sums, axis=1) / np.diff(kept)[:, None]
    found = None if squares is None else squares.means(kept)
    return Switches(
        totals[:n],
        totals[n:],
        forward[kept],
        *(part for values in (dudl, progress, means) for part in (values[:n], values[n:])),
        *((None, None) if found is None else (found[:n], found[n:])),
    )


def equilibrate_and_switch(
    model: EnergyModel,
    path: WeightPath,
    settings: SwitchingSettings,
    seed: int,
    purpose: str = "",
    *,
    fix_centre_of_mass: bool = False,
    sites: Sites | None = None,
    watch: Watch | None = None,
    recorder: FrameRecorder | None = None,
    ramp: Callable[[np.ndarray], np.ndarray] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> Switches:
    """Equilibrate replicas at both ends of a path, and switch each of them to the other end.

    Parameters
    ----------
    model, path, settings, fix_centre_of_mass, sites, watch, recorder, on_progress, checkpoint
        As for :func:`equilibrate_ends`; the checkpoint has one stage for the equilibration and one for the switches.
    seed
        Seed from which the seeds of all replicas are derived.
    purpose
        Name of these switches; different names give different random numbers for the same seed.
    ramp
        As for :func:`switch`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    TrajectoryError
        If a trajectory explodes.
    """
    n, of = 2 * settings.n_repeats, f" of {purpose}" if purpose else ""
    common: dict[str, Any] = {
        "fix_centre_of_mass": fix_centre_of_mass,
        "sites": sites,
        "watch": watch,
        "on_progress": on_progress,
    }
    seeds = derived_seeds(seed, f"equilibration{of}", n)
    stage = checkpoint.stage("equilibration")
    ends = equilibrate_ends(model, path, settings, seeds, recorder=recorder, checkpoint=stage, **common)
    seeds = derived_seeds(seed, f"switching{of}", n)
    return switch(model, path, settings, ends, seeds, ramp=ramp, checkpoint=checkpoint.stage("switching"), **common)


def draw_einstein_crystal(
    springs: Springs, cell: ArrayLike, masses: ArrayLike, temperature_K: float, seeds: Sequence[int]
) -> State:
    """Draw replicas of an Einstein crystal from its equilibrium distribution, with a fixed centre of mass.

    Displacements are Gaussian with variance k_B T / k_i along each axis, under the condition Σ m_i Δx_i = 0; velocities
    follow the Maxwell–Boltzmann distribution, without motion of the centre of mass.

    Parameters
    ----------
    springs
        Springs, one for each atom.
    cell
        Cell (Å), shape (3, 3).
    masses
        Masses (atomic mass units), shape (N,).
    temperature_K
        Temperature (K).
    seeds
        One seed for each replica.
    """
    kT = units.kB * temperature_K
    h = np.asarray(cell, dtype=float)
    m = np.asarray(masses, dtype=float)
    variance = kT / np.array(springs.stiffness_eV_per_A2)
    share = m / m.sum()
    pull = variance * share / (variance * share**2).sum()
    positions, velocities = [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        displacement = np.sqrt(variance)[:, None] * rng.normal(size=(len(m), 3))
        positions.append(np.array(springs.sites) @ h + displacement - pull[:, None] * (share @ displacement))
        velocity = np.sqrt(kT / m)[:, None] * rng.normal(size=(len(m), 3))
        velocities.append(velocity - share @ velocity)
    return State(
        torch.as_tensor(np.array(positions)),
        torch.as_tensor(np.broadcast_to(h, (len(seeds), 3, 3)).copy()),
        torch.as_tensor(np.array(velocities)),
    )


def joined(first: State, second: State) -> State:
    """Return one state with the replicas of both states."""
    device = first.positions.device
    return State(
        torch.cat([first.positions, second.positions.to(device)]),
        torch.cat([first.cells, second.cells.to(device)]),
        torch.cat([first.velocities, second.velocities.to(device)]),
    )


def _each_way(seeds: Sequence[int]) -> int:
    if len(seeds) % 2:
        raise InvalidInputError(f"seeds: an even number is needed, half for λ = 0 and half for λ = 1; got {len(seeds)}")
    return len(seeds) // 2


def _look(langevin: Langevin, sites: Sites | None, watch: Watch | None) -> None:
    if sites is not None:
        time_ps = langevin.n_steps * langevin.timestep_fs * 1e-3
        sites.check(langevin.positions, langevin.cells, f"after {time_ps:g} ps")
    if watch is not None:
        watch.see(langevin.positions, langevin.cells)


class _Work:
    """Work of the switches so far, by the trapezoid rule; at the stored steps also ∂U/∂λ, work, and sums of ∂E/∂w."""

    def __init__(self, langevin: Langevin, direction: torch.Tensor) -> None:
        self._direction = direction
        gradients = _gradients(langevin)
        self._slope = gradients @ direction
        self._gradient_sum = torch.zeros_like(gradients)
        self.total = torch.zeros_like(self._slope)
        self.curve, self.progress, self.gradient_sums = [self._slope], [self.total], [self._gradient_sum]

    def add(self, langevin: Langevin, change: torch.Tensor, *, keep: bool) -> None:
        """Add a step in which λ changed by `change`, shape (2n,)."""
        gradients = _gradients(langevin)
        before, self._slope = self._slope, gradients @ self._direction
        self._gradient_sum = self._gradient_sum + gradients
        self.total = self.total + 0.5 * (before + self._slope) * change
        if keep:
            self.curve.append(self._slope)
            self.progress.append(self.total)
            self.gradient_sums.append(self._gradient_sum)

    def snapshot(self) -> dict[str, np.ndarray]:
        sums = {
            "work": self.total,
            "slope": self._slope,
            "gradient_sum": self._gradient_sum,
            "curve": torch.stack(self.curve),
            "progress": torch.stack(self.progress),
            "gradient_sums": torch.stack(self.gradient_sums),
        }
        return {name: values.cpu().numpy() for name, values in sums.items()}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        device = self.total.device
        self.total, self._slope, self._gradient_sum, curve, progress, gradient_sums = (
            torch.as_tensor(snapshot[name], device=device)
            for name in ("work", "slope", "gradient_sum", "curve", "progress", "gradient_sums")
        )
        self.curve, self.progress, self.gradient_sums = list(curve), list(progress), list(gradient_sums)


def _gradients(langevin: Langevin) -> torch.Tensor:
    assert langevin.evaluation.weight_gradients is not None
    return langevin.evaluation.weight_gradients
