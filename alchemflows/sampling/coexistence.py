"""Solid and liquid in contact: cells of which one half is melted, sampled at several temperatures in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import units
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.blocks import Blocks, Samples
from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.liquids import LiquidWatch
from alchemflows.sampling.switching import BLOCK
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.liquid import LiquidSummary
from alchemflows.schemas.progress import Progress

#: Smallest length of a cell across the interfaces, in units of the distance of neighbours in a close packing.
MIN_LAYERS = 10.0
#: Factor of the masses of the atoms that are held while the others are melted; their speeds are smaller by its root.
HELD_MASS = 1e10


@dataclass(frozen=True)
class TwoPhaseCell:
    """A long cell, of which one half is to be melted.

    Attributes
    ----------
    structure
        The cell; the atoms of the solid half come first.
    axis
        Cell vector across the interfaces.
    stretch
        Factor by which the half that is melted is longer than the solid half.
    """

    structure: Structure
    axis: int
    stretch: float

    @property
    def n_held(self) -> int:
        """Number of atoms in the solid half."""
        return len(self.structure) // 2

    @property
    def length_A(self) -> float:
        """Length of the cell across the interfaces (Å)."""
        return _width(self.structure.lattice, self.axis)

    @property
    def n_layers(self) -> float:
        """Length in units of the distance of neighbours in a close packing of the same density."""
        return self.length_A / (np.sqrt(2) * self.structure.volume / len(self.structure)) ** (1 / 3)

    @property
    def heated_half(self) -> Structure:
        """The half that is melted, in a cell of its own, in which a slab of uniform density has no order."""
        matrix = np.array(self.structure.lattice.matrix)
        matrix[self.axis] *= self.stretch / (1 + self.stretch)
        sites = self.structure[self.n_held :]
        species, places = [site.species for site in sites], [site.coords for site in sites]
        return Structure(Lattice(matrix), species, places, coords_are_cartesian=True)


def _width(lattice: Lattice, axis: int) -> float:
    """Return the distance between the faces of a cell that a cell vector connects (Å)."""
    return float(1 / np.linalg.norm(lattice.inv_matrix[:, axis]))


def two_phase_cell(crystal: Structure, n_repeats: int, stretch: float = 1.0) -> TwoPhaseCell:
    """Repeat a crystal along its longest direction, and stretch one half of the cell to the density of the liquid.

    Parameters
    ----------
    crystal
        The crystal, with the cell that both phases have along the interfaces.
    n_repeats
        Number of repeats, even, so that both halves have the same composition.
    stretch
        Volume of the liquid divided by that of the solid.

    Raises
    ------
    InvalidInputError
        If the number is not even, or the cell has fewer layers than :data:`MIN_LAYERS`.
    """
    if n_repeats < 2 or n_repeats % 2:
        raise InvalidInputError(
            f"n_coexistence_repeats must be an even number of at least 2, one half for each phase; got {n_repeats}"
        )
    axis = max((2, 1, 0), key=lambda k: round(_width(crystal.lattice, k), 6))
    half = n_repeats // 2
    total = half * (1 + stretch)
    fractional = []
    for image in range(n_repeats):
        places = np.array(crystal.frac_coords)
        along = places[:, axis] + image
        along = along if image < half else half + (along - half) * stretch
        places[:, axis] = along / total
        fractional.append(places)
    matrix = np.array(crystal.lattice.matrix)
    matrix[axis] *= total
    cell = TwoPhaseCell(
        Structure(Lattice(matrix), list(crystal.species) * n_repeats, np.concatenate(fractional)), axis, stretch
    )
    if cell.n_layers < MIN_LAYERS:
        raise InvalidInputError(
            f"the cell of solid and liquid is too short: it has {cell.n_layers:.1f} layers of atoms "
            f"({cell.length_A:.1f} Å) across the interfaces, at least {MIN_LAYERS:g} are needed; use a larger "
            "supercell, or more n_coexistence_repeats"
        )
    return cell


@dataclass(frozen=True)
class ContactRun:
    """Results of sampling solid and liquid in contact: n samples of each of B replicas.

    Attributes
    ----------
    time_fs
        Time since production began (fs), shape (n,).
    enthalpy_eV
        Potential energy and pV (eV), shape (n, B).
    heated
        Diffusion and order of the heated half in the second half of the heating.
    """

    time_fs: np.ndarray
    enthalpy_eV: np.ndarray
    heated: LiquidSummary


def coexist(
    model: EnergyModel,
    system: AlchemicalSystem,
    cell: TwoPhaseCell,
    dynamics: DynamicsSettings,
    temperatures_K: Sequence[float],
    heating_temperature_K: float,
    n_heating_steps: int,
    seeds: Sequence[int],
    *,
    on_progress: Callable[[Progress], None] | None = None,
    checkpoint: Checkpoint = NO_CHECKPOINT,
) -> ContactRun:
    """Melt half of a crystal while the other half is held, and sample both phases in contact.

    The half is melted at constant volume, in which it has the density of the liquid. The atoms of the other half are
    held by large masses, which change no forces. Then all atoms have their own masses and new velocities, at the
    temperature of each replica and at constant pressure.

    Parameters
    ----------
    model
        Potential without weights.
    system
        The cell as a system, without site groups.
    cell
        The cell, with the positions at which dynamics start.
    dynamics
        Pressure, cell degrees of freedom, time step, and lengths of equilibration and production.
    temperatures_K
        Temperature of each of B replicas (K).
    heating_temperature_K, n_heating_steps
        Temperature at which the half is melted, and number of steps there.
    seeds
        Two seeds for each replica.
    on_progress, checkpoint
        As for :func:`~alchemflows.sampling.windows.run_windows`.

    Raises
    ------
    RunStoppedError
        If the run was asked to stop, or another worker has taken it over.
    NotLiquidError
        If the heated half did not melt.
    TrajectoryError
        If a trajectory explodes.
    """
    n_replicas = len(temperatures_K)
    masses = np.broadcast_to(system.masses([]), (n_replicas, system.n_sites))
    weights = np.zeros((n_replicas, 0))
    hot = dynamics.model_copy(update={"pressure_GPa": None, "temperature_K": heating_temperature_K})
    positions, heated = _half_melted(
        model, cell, hot, masses, n_heating_steps, seeds[:n_replicas], on_progress, checkpoint.stage("heating")
    )
    cells = np.broadcast_to(cell.structure.lattice.matrix, (n_replicas, 3, 3))
    langevin = Langevin.under(
        dynamics,
        model,
        (positions, cells),
        weights,
        masses,
        seeds[n_replicas:],
        temperatures_K=temperatures_K,
        fix_centre_of_mass=True,
    )
    interval, n_equilibration = dynamics.sample_interval_steps, dynamics.n_equilibration_steps
    n_steps = n_equilibration + dynamics.n_samples * interval
    samples = Samples("enthalpy")
    stage = checkpoint.stage("coexistence")
    blocks = Blocks(langevin, n_steps, samples=samples, on_progress=on_progress, checkpoint=stage)
    for _, ends_block in blocks.steps("equilibration", 0, n_equilibration, interval):
        langevin.step(check=ends_block)
    pressure = (dynamics.pressure_GPa or 0.0) * units.GPa
    for _, ends_block in blocks.steps("production", n_equilibration, n_steps, interval):
        langevin.step(check=ends_block)
        if ends_block:
            enthalpy = langevin.evaluation.energy + pressure * langevin.volumes()
            samples.append(enthalpy=enthalpy.cpu().numpy())
    return ContactRun(
        time_fs=(np.arange(dynamics.n_samples) + 1) * interval * dynamics.timestep_fs,
        enthalpy_eV=samples.since(0)["enthalpy"],
        heated=heated,
    )


def _half_melted(
    model: EnergyModel,
    cell: TwoPhaseCell,
    dynamics: DynamicsSettings,
    masses: np.ndarray,
    n_steps: int,
    seeds: Sequence[int],
    on_progress: Callable[[Progress], None] | None,
    checkpoint: Checkpoint,
) -> tuple[torch.Tensor, LiquidSummary]:
    """Return the positions after half of each replica was melted (Å), and diffusion and order of that half."""
    n_replicas, n_atoms = masses.shape
    held = np.arange(n_atoms) < cell.n_held
    langevin = Langevin.under(
        dynamics,
        model,
        (
            np.broadcast_to(cell.structure.cart_coords, (n_replicas, n_atoms, 3)),
            np.broadcast_to(cell.structure.lattice.matrix, (n_replicas, 3, 3)),
        ),
        np.zeros((n_replicas, 0)),
        np.where(held, HELD_MASS, 1.0) * masses,
        seeds,
        fix_centre_of_mass=True,
    )
    structure = cell.heated_half
    half = torch.as_tensor(np.array([structure.lattice.matrix] * n_replicas), device=model.device)
    watch = LiquidWatch(structure, n_replicas, BLOCK * dynamics.timestep_fs, model.device)
    blocks = Blocks(langevin, n_steps, parts=[watch], on_progress=on_progress, checkpoint=checkpoint)
    for step, ends_block in blocks.steps("heating", 0, n_steps, BLOCK):
        langevin.step(check=ends_block)
        if ends_block and step > n_steps // 2:
            watch.see(langevin.positions[:, cell.n_held :], half)
    where = f"the half of {structure.composition.reduced_formula} that was heated to {dynamics.temperature_K:g} K"
    return langevin.positions, watch.checked(where)
