"""Melt a crystal, sample the liquid, and switch it to a reference liquid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.reference_liquid import ReferenceLiquidPath, ReferenceLiquidPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import NotLiquidError
from alchemflows.sampling.blocks import Blocks, Resumable, Samples
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.frames import FrameRecorder
from alchemflows.sampling.langevin import Langevin, State
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.switching import BLOCK, Switches, equilibrate_ends, switch
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings
from alchemflows.schemas.liquid import MAX_ORDER, LiquidSummary
from alchemflows.schemas.progress import Progress

#: Largest wave vector at which order is measured, in units of 1/spacing; that of the first strong reflections of common
#: crystals is at most 7.7.
MAX_WAVE_VECTOR = 10.0

#: In a section of a sweep the order of N atoms of a liquid, about 3/N, may fluctuate up to this number divided by N.
SECTION_FLUCTUATION = 13.0

#: Factor by which the volume of a crystal may change while it is heated and melts; soft crystals expand by half.
MAX_VOLUME_RATIO = 3.0

OnProgress = Callable[[Progress], None] | None


class LiquidWatch:
    """Diffusion and order of the atoms of the first replicas of a batch.

    Displacements are those since the first look. The dynamics must keep the centre of mass fixed.

    Parameters
    ----------
    structure
        A configuration, which gives elements and density.
    n_replicas
        Number of replicas that are watched.
    interval_fs
        Time between two looks.
    device
        Device of the positions.
    """

    def __init__(
        self, structure: Structure, n_replicas: int, interval_fs: float, device: torch.device | str = "cpu"
    ) -> None:
        self.elements = [site.species_string for site in structure]
        self.spacing_A = float((np.sqrt(2) * structure.volume / len(structure)) ** (1 / 3))
        self._n = n_replicas
        self._interval_fs = interval_fs
        waves = _waves(structure.lattice, MAX_WAVE_VECTOR / self.spacing_A)
        self._waves = torch.as_tensor(waves, dtype=torch.float64, device=device)
        self._n_looks = 0
        self._start = torch.zeros(n_replicas, len(structure), 3, dtype=torch.float64, device=device)
        self._squares = torch.zeros(len(structure), dtype=torch.float64, device=device)
        self._order = torch.zeros(n_replicas, len(waves), dtype=torch.float64, device=device)

    def see(self, positions: torch.Tensor, cells: torch.Tensor) -> None:
        """Add the positions (Å) at one time, shape (B, N, 3)."""
        h = cells[: self._n]
        fractional = positions[: self._n] @ torch.linalg.inv(h)
        if self._n_looks == 0:
            self._start = fractional
        self._n_looks += 1
        self._squares = (((fractional - self._start) @ h) ** 2).sum(dim=2).mean(dim=0)
        angles = 2 * torch.pi * fractional @ self._waves.T
        self._order = (
            self._order + (angles.cos().sum(dim=1) ** 2 + angles.sin().sum(dim=1) ** 2) / len(self.elements) ** 2
        )

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the sums, for a checkpoint."""
        sums = {"start": self._start, "squares": self._squares, "order": self._order}
        arrays = {f"liquid_{name}": values.cpu().numpy() for name, values in sums.items()}
        return arrays | {"liquid_looks": np.array(self._n_looks)}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`."""
        self._n_looks = int(snapshot["liquid_looks"])
        self._start, self._squares, self._order = (
            torch.as_tensor(snapshot[f"liquid_{name}"], device=self._waves.device)
            for name in ("start", "squares", "order")
        )

    def summary(self) -> LiquidSummary:
        """Return the summary of the run so far."""
        time_ps = max(self._n_looks - 1, 0) * self._interval_fs * 1e-3
        squares, elements = self._squares.cpu().numpy(), np.array(self.elements)
        mean = {element: float(squares[elements == element].mean()) for element in sorted(set(self.elements))}
        slowest = min(mean, key=lambda element: mean[element])
        order = self._order.mean(dim=0).max() / max(self._n_looks, 1)
        return LiquidSummary(
            time_ps=time_ps,
            spacing_A=self.spacing_A,
            element=slowest,
            displacement_A=float(np.sqrt(mean[slowest])),
            diffusion_A2_per_ps=mean[slowest] / (6 * time_ps) if time_ps > 0 else 0.0,
            order=float(order),
        )

    def checked(self, where: str) -> LiquidSummary:
        """Return the summary of a liquid.

        Raises
        ------
        NotLiquidError
            If it is crystalline, or its atoms do not diffuse; the message says where and which of both.
        """
        summary = self.summary()
        if (problem := summary.problem) is not None:
            raise NotLiquidError(f"{where} is no liquid: {problem}")
        return summary


class LiquidHistory(LiquidWatch):
    """A :class:`LiquidWatch` that also records in which sections of a run a replica was crystalline.

    Parameters
    ----------
    structure, n_replicas, interval_fs, device
        As for :class:`LiquidWatch`.
    looks_per_section
        Number of calls of :meth:`see` in a section; an incomplete last section is not recorded.
    """

    def __init__(
        self,
        structure: Structure,
        n_replicas: int,
        interval_fs: float,
        device: torch.device | str = "cpu",
        *,
        looks_per_section: int,
    ) -> None:
        super().__init__(structure, n_replicas, interval_fs, device)
        self._looks = looks_per_section
        self._before = torch.zeros_like(self._order)
        self._lost: list[torch.Tensor] = []

    @property
    def lost(self) -> np.ndarray:
        """Whether each replica was crystalline in each section, shape (B, number of sections)."""
        return torch.stack(self._lost, dim=1).cpu().numpy() if self._lost else np.zeros((self._n, 0), dtype=bool)

    def see(self, positions: torch.Tensor, cells: torch.Tensor) -> None:
        """Add the positions (Å) at one time, shape (B, N, 3)."""
        super().see(positions, cells)
        if self._n_looks % self._looks == 0:
            order = (self._order - self._before).amax(dim=1) / self._looks
            self._lost.append(order > max(MAX_ORDER, SECTION_FLUCTUATION / len(self.elements)))
            self._before = self._order

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the sums, for a checkpoint."""
        return super().snapshot() | {"liquid_before": self._before.cpu().numpy(), "liquid_lost": self.lost}

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot`."""
        super().restore(snapshot)
        self._before = torch.as_tensor(snapshot["liquid_before"], device=self._waves.device)
        self._lost = list(torch.as_tensor(snapshot["liquid_lost"], device=self._waves.device).T)


@dataclass(frozen=True)
class MeltedLiquid:
    """Results of sampling a liquid: n samples of each of B replicas.

    Attributes
    ----------
    time_fs
        Time since production began (fs), shape (n,).
    energy_eV, volume_A3
        Potential energy (eV) and volume (Å³), shape (n, B).
    structure
        Final configuration of the first replica, scaled to the mean volume.
    summary
        Diffusion and order during the samples.
    """

    time_fs: np.ndarray
    energy_eV: np.ndarray
    volume_A3: np.ndarray
    structure: Structure
    summary: LiquidSummary


def melt(
    model: EnergyModel,
    system: AlchemicalSystem,
    weights: Sequence[float] | np.ndarray,
    dynamics: DynamicsSettings,
    heating_temperature_K: float,
    n_heating_steps: int,
    seeds: Sequence[int],
    *,
    recorder: FrameRecorder | None = None,
    on_progress: OnProgress = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> MeltedLiquid:
    """Melt a crystal by heating, cool the liquid to a temperature, and sample it there.

    Parameters
    ----------
    model
        Potential with C weights.
    system
        The crystal, from whose structure dynamics start.
    weights
        Composition weights, shape (C,).
    dynamics
        Conditions of the liquid, and lengths of equilibration and production.
    heating_temperature_K, n_heating_steps
        Temperature at which the crystal is melted, and number of steps there.
    seeds
        Two seeds for each replica.
    recorder
        Keeps configurations of the samples.
    on_progress, checkpoint
        As for :func:`~alchemflows.sampling.windows.run_windows`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    NotLiquidError
        If the crystal did not melt, or the liquid has crystallized or does not flow.
    TrajectoryError
        If a trajectory explodes.
    """
    n_replicas, n = len(seeds) // 2, dynamics.n_samples
    row = np.asarray(weights, dtype=float)
    fixed = np.broadcast_to(row, (n_replicas, len(row)))
    masses = np.broadcast_to(system.masses(row), (n_replicas, system.n_sites))
    start: State | tuple[np.ndarray, np.ndarray] = (
        np.broadcast_to(system.structure.cart_coords, (n_replicas, system.n_sites, 3)),
        np.broadcast_to(system.structure.lattice.matrix, (n_replicas, 3, 3)),
    )

    def langevin(temperature_K: float, own: Sequence[int]) -> Langevin:
        conditions = dynamics.model_copy(update={"temperature_K": temperature_K})
        return Langevin.under(
            conditions,
            model,
            start,
            fixed,
            masses,
            own,
            fix_centre_of_mass=True,
            max_volume_ratio=MAX_VOLUME_RATIO,
        )

    hot = langevin(heating_temperature_K, seeds[:n_replicas])
    blocks = Blocks(hot, n_heating_steps, on_progress=on_progress, checkpoint=checkpoint.stage("heating"))
    for _, ends_block in blocks.steps("heating", 0, n_heating_steps, BLOCK):
        hot.step(check=ends_block)
    start = hot.state
    cool = langevin(dynamics.temperature_K, seeds[n_replicas:])
    interval, n_equilibration = dynamics.sample_interval_steps, dynamics.n_equilibration_steps
    n_steps = n_equilibration + n * interval
    samples = Samples("energy", "volume")
    watch = LiquidWatch(system.structure, n_replicas, interval * dynamics.timestep_fs, model.device)
    parts: list[Resumable] = [watch, *([] if recorder is None else [recorder])]
    blocks = Blocks(
        cool, n_steps, parts=parts, samples=samples, on_progress=on_progress, checkpoint=checkpoint.stage("liquid")
    )
    for _, ends_block in blocks.steps("equilibration", 0, n_equilibration, interval):
        cool.step(check=ends_block)
    for _, ends_block in blocks.steps("production", n_equilibration, n_steps, interval):
        cool.step(check=ends_block)
        if ends_block:
            watch.see(cool.positions, cool.cells)
            samples.append(energy=cool.evaluation.energy.cpu().numpy(), volume=cool.volumes().cpu().numpy())
            if recorder is not None:
                recorder.see(len(samples) - 1, cool.positions, cool.cells)
    series = samples.since(0)
    cell = cool.cells[0].cpu().numpy()
    fractional = cool.positions[0].cpu().numpy() @ np.linalg.inv(cell)
    lattice = Lattice(cell).scale(float(series["volume"].mean()))
    return MeltedLiquid(
        time_fs=(np.arange(n) + 1) * interval * dynamics.timestep_fs,
        energy_eV=series["energy"],
        volume_A3=series["volume"],
        structure=Structure(lattice, system.structure.species, fractional, to_unit_cell=True),
        summary=watch.checked(
            f"{system.formula(row)} at {dynamics.temperature_K:g} K, after {n_heating_steps} steps at "
            f"{heating_temperature_K:g} K,"
        ),
    )


def switch_to_reference(
    model: ReferenceLiquidPotential,
    path: ReferenceLiquidPath,
    settings: SwitchingSettings,
    seed: int,
    *,
    on_progress: OnProgress = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> tuple[Switches, LiquidSummary]:
    """Equilibrate a liquid and its reference at constant volume, and switch each replica to the other end.

    Parameters
    ----------
    model, path
        The potential with the reference, and the path from the liquid (λ = 0) to the reference (λ = 1).
    settings
        Temperature, and lengths of equilibration and switches; without a pressure.
    seed
        Seed from which the seeds of all replicas are derived.
    on_progress, checkpoint
        As for :func:`~alchemflows.sampling.switching.equilibrate_and_switch`.

    Returns
    -------
    switches, summary
        The switches, and diffusion and order of the liquid before them.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    NotLiquidError
        If the liquid has crystallized or does not flow.
    TrajectoryError
        If a trajectory explodes.
    """
    n, structure = settings.n_repeats, path.system.structure
    watch = LiquidWatch(structure, n, BLOCK * settings.timestep_fs, model.device)
    ends = equilibrate_ends(
        model,
        path,
        settings,
        derived_seeds(seed, "equilibration of the liquid", 2 * n),
        fix_centre_of_mass=True,
        watch=watch,
        on_progress=on_progress,
        checkpoint=checkpoint.stage("equilibration"),
    )
    summary = watch.checked(f"{structure.composition.reduced_formula} at {settings.temperature_K:g} K")
    switches = switch(
        model,
        path,
        settings,
        ends,
        derived_seeds(seed, "switching of the liquid", 2 * n),
        fix_centre_of_mass=True,
        on_progress=on_progress,
        checkpoint=checkpoint.stage("switching"),
    )
    return switches, summary


def _waves(lattice: Lattice, largest_per_A: float) -> np.ndarray:
    """Return the wave vectors of a cell up to a length as integers, one of each pair k and −k, shape (K, 3)."""
    limits = np.floor(largest_per_A * np.array(lattice.abc) / (2 * np.pi)).astype(int)
    grid = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in limits), indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm(grid @ lattice.reciprocal_lattice.matrix, axis=1)
    first = (grid[:, 0] > 0) | ((grid[:, 0] == 0) & ((grid[:, 1] > 0) | ((grid[:, 1] == 0) & (grid[:, 2] > 0))))
    return np.asarray(grid[first & (lengths <= largest_per_A)])
