"""The job that puts a solid and its liquid in contact at several temperatures, and finds which of them grows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.coexistence import CoexistenceDocument
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.isolines import TemperatureSweepDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance

if TYPE_CHECKING:
    from alchemflows.sampling.coexistence import TwoPhaseCell
    from alchemflows.schemas.melting import MeltingDocument


@dataclass
class CoexistenceMaker(Maker):
    """Put a solid and its liquid in contact at several temperatures, and find which of them grows.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    dynamics
        Conditions and numbers of steps; the temperatures are set by the other parameters.
    n_temperatures
        Number of temperatures, at least 2, evenly spaced around the crossing of the free energies.
    spread
        Distance of the highest and of the lowest temperature from the crossing, divided by it. Temperatures stay in the
        range that both curves contain; without a crossing they are spread over this range.
    n_replicas
        Number of replicas at each temperature.
    n_repeats
        Number of repeats of the crystal across the interfaces, an even number.
    heating_temperature_K, n_heating_steps
        Temperature at which half of the crystal is melted, and number of steps there.
    seed
        Seed from which the seeds of the replicas derive.
    """

    name: str = "coexistence"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(
        default_factory=lambda: DynamicsSettings(temperature_K=300.0, pressure_GPa=0.0, cell_freedom="axes")
    )
    n_temperatures: int = 6
    spread: float = 0.1
    n_replicas: int = 1
    n_repeats: int = 4
    heating_temperature_K: float = 450.0
    n_heating_steps: int = 10000
    seed: int = 0

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        n_steps = self.n_heating_steps + self.dynamics.n_equilibration_steps + self.dynamics.n_production_steps
        n_replicas = self.n_temperatures * self.n_replicas
        return JobCost("sampling", n_replicas, n_replicas * n_steps)

    @job(output_schema=CoexistenceDocument, config=JobConfig(expose_store=True))
    def make(
        self,
        system: AlchemicalSystem,
        crystal: Structure,
        solid: TemperatureSweepDocument,
        liquid: TemperatureSweepDocument,
    ) -> CoexistenceDocument:
        """Sample both phases in contact.

        Parameters
        ----------
        system
            The long cell that contains both phases, without site groups.
        crystal
            The crystal of which it consists, with mean cell and positions; its volume is changed to that of the
            temperatures.
        solid, liquid
            G(T) of both phases at the pressure of the dynamics.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        InvalidInputError
            If the curves have no temperature in common.
        NotLiquidError
            If the heated half did not melt.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.analysis.coexistence import coexistence_document, temperatures_around
        from alchemflows.analysis.melting import melting_document
        from alchemflows.sampling.coexistence import coexist

        require_store()
        started = time.perf_counter()
        crossing = melting_document(solid, liquid, [])
        temperatures = temperatures_around(crossing, self.spread, self.n_temperatures)
        cell = self._cell(crystal, crossing, float(temperatures.mean()))
        system = started_from(system, cell.structure)
        model = potential_of_job(self.potential, system)
        with resumable() as checkpoint:
            run = coexist(
                model,
                system,
                cell,
                self.dynamics,
                np.repeat(temperatures, self.n_replicas).tolist(),
                self.heating_temperature_K,
                self.n_heating_steps,
                derived_seeds(self.seed, "coexistence", 2 * self.n_temperatures * self.n_replicas),
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        return coexistence_document(
            crossing,
            temperatures,
            run.enthalpy_eV,
            self.dynamics.sample_interval_steps * self.dynamics.timestep_fs * 1e-3,
            counts=system.counts([]),
            length_A=cell.length_A,
            n_layers=cell.n_layers,
            heating_temperature_K=self.heating_temperature_K,
            n_heating_steps=self.n_heating_steps,
            heated=run.heated,
            dynamics=self.dynamics.model_copy(update={"temperature_K": float(temperatures[0])}),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )

    def _cell(self, crystal: Structure, crossing: MeltingDocument, temperature_K: float) -> TwoPhaseCell:
        """Return the cell in which both halves have the densities of their phases at a temperature."""
        from alchemflows.analysis.coexistence import volume_A3_per_atom
        from alchemflows.sampling.coexistence import two_phase_cell

        solid, liquid = (volume_A3_per_atom(each, temperature_K) for each in (crossing.solid, crossing.liquid))
        crystal = crystal.copy().scale_lattice(solid * len(crystal))
        return two_phase_cell(crystal, self.n_repeats, liquid / solid)
