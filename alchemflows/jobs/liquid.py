"""Jobs that melt a crystal, and that compute the free energy of a liquid by switching it to a reference liquid."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import units
from jobflow import JobConfig, Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.jobs.cost import JobCost, cost_of_switches
from alchemflows.jobs.equilibrium import error_of_mean_volume, frames_of_replicas
from alchemflows.jobs.inputs import started_from
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, DynamicsSettings, SwitchingSettings
from alchemflows.schemas.frames import packed_bytes
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.liquid import LiquidDocument, LiquidFreeEnergyDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


@dataclass
class MeltMaker(Maker):
    """Melt a crystal by heating, and sample the liquid at a temperature, at constant pressure by default.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    dynamics
        Conditions of the liquid and numbers of steps.
    heating_temperature_K, n_heating_steps
        Temperature at which the crystal is melted, and number of steps there.
    n_replicas
        Number of replicas in the batch; means are over all of them.
    seed
        Seed from which the seeds of the replicas derive.
    n_frames
        Number of configurations that are stored, of all replicas together; 0 for none.
    """

    name: str = "melt"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    dynamics: DynamicsSettings = field(default_factory=lambda: DynamicsSettings(temperature_K=300.0))
    heating_temperature_K: float = 450.0
    n_heating_steps: int = 10000
    n_replicas: int = 1
    seed: int = 0
    n_frames: int = 100

    def cost(self, system: AlchemicalSystem, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        n_steps = self.n_heating_steps + self.dynamics.n_equilibration_steps + self.dynamics.n_production_steps
        n_frames = self.n_replicas * min(self._n_of_replica(), self.dynamics.n_samples)
        n_bytes = packed_bytes(n_frames, system.n_sites, cells_vary=self.dynamics.pressure_GPa is not None)
        return JobCost("sampling", self.n_replicas, self.n_replicas * n_steps, n_bytes, n_frames=n_frames)

    def _n_of_replica(self) -> int:
        """Return the number of configurations of each replica that are wanted."""
        return math.ceil(self.n_frames / self.n_replicas)

    @job(output_schema=LiquidDocument, data=["frames"], config=JobConfig(expose_store=True))
    def make(self, system: AlchemicalSystem, structure: Structure | None = None) -> LiquidDocument:
        """Melt a crystal and sample the liquid.

        Parameters
        ----------
        system
            The crystal, without site groups.
        structure
            Positions and cell to start from; those of the system if not given.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        NotLiquidError
            If the crystal did not melt, or the liquid has crystallized or does not flow.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.free_energy.cells import cell_noise
        from alchemflows.free_energy.convergence import drift
        from alchemflows.sampling.frames import FrameRecorder
        from alchemflows.sampling.liquids import melt

        require_store()
        started = time.perf_counter()
        system = started_from(system, structure)
        model = potential_of_job(self.potential, system)
        recorder = FrameRecorder(range(self.n_replicas), self.dynamics.n_samples, self._n_of_replica())
        with resumable() as checkpoint:
            run = melt(
                model,
                system,
                [],
                self.dynamics,
                self.heating_temperature_K,
                self.n_heating_steps,
                derived_seeds(self.seed, "melt", 2 * self.n_replicas),
                recorder=recorder,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        bias = (0.0, 0.0)
        if self.dynamics.pressure_GPa is not None:
            noise = cell_noise(np.log(run.volume_A3)[..., None], self.dynamics.temperature_K)
            bias = noise.bias_eV, noise.error_eV
        reasons = drift("the volume", run.volume_A3) + drift("the energy", run.energy_eV)
        return LiquidDocument(
            structure=run.structure,
            formula=system.formula([]),
            counts=system.counts([]),
            temperature_K=self.dynamics.temperature_K,
            pressure_GPa=self.dynamics.pressure_GPa,
            heating_temperature_K=self.heating_temperature_K,
            volume_A3=run.structure.volume,
            volume_error_A3=error_of_mean_volume(run.volume_A3),
            cell_bias_eV=bias[0],
            cell_bias_error_eV=bias[1],
            mean_energy_eV=run.energy_eV.mean(),
            liquid=run.summary,
            dynamics=self.dynamics,
            frames=frames_of_replicas(system.site_composition([]), recorder, run.energy_eV, run.time_fs),
            verdict=Verdict.of(reasons + run.summary.reasons("mean volume")),
            provenance=Provenance(
                potential=model.record, wall_time_s=time.perf_counter() - started + checkpoint.spent_s, seed=self.seed
            ),
        )


@dataclass
class LiquidSwitchesMaker(Maker):
    """Compute the absolute free energy of a liquid in a given cell by switching it to an Uhlenbeck–Ford liquid.

    The liquid and its reference are equilibrated at constant volume, with one replica per switch, and each is switched
    to the other. The centre of mass is fixed throughout; this changes F of both by the same amount.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Temperature, number and length of the switches. The volume is constant; the pressure is used only in G = F + pV
        (1 atm if it is None).
    reference_p, reference_density
        Factor p and reduced density x of the reference liquid, see
        :mod:`alchemflows.free_energy.reference_liquid`.
    seed
        Seed from which all others derive.
    """

    name: str = "liquid"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    reference_p: float = 50.0
    reference_density: float = 0.6
    seed: int = 0

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        return cost_of_switches(self.settings)

    @job(output_schema=LiquidFreeEnergyDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(
        self, system: AlchemicalSystem, melted: LiquidDocument, mean_cell_job: str | None = None
    ) -> LiquidFreeEnergyDocument:
        """Compute F and G.

        Parameters
        ----------
        system
            The crystal that was melted, without site groups.
        melted
            The liquid at this temperature; dynamics start from its structure. Its reasons become reasons against G, and
            the bias that the noise of its volume adds to G is subtracted.
        mean_cell_job
            Identifier of the job that sampled this liquid at constant pressure, which stores its frames.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        NotLiquidError
            If the liquid has crystallized or does not flow.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.alchemy.reference_liquid import (
            ReferenceLiquidPath,
            ReferenceLiquidPotential,
            UhlenbeckFord,
        )
        from alchemflows.analysis.work import work_document
        from alchemflows.free_energy.reference_liquid import sigma_A
        from alchemflows.sampling.liquids import switch_to_reference

        require_store()
        started = time.perf_counter()
        system = started_from(system, melted.structure)
        potential = potential_of_job(self.potential, system)
        settings = self.settings.model_copy(update={"pressure_GPa": None})
        sigma = sigma_A(self.reference_density, system.n_sites / system.structure.volume)
        reference = UhlenbeckFord(sigma, settings.temperature_K, self.reference_p)
        with resumable() as checkpoint:
            switches, summary = switch_to_reference(
                ReferenceLiquidPotential(potential, reference),
                ReferenceLiquidPath.from_liquid(system, []),
                settings,
                self.seed,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        counts = system.counts([])
        result, work = work_document(switches, settings, counts)
        reasons = [f"melt: {reason}" for reason in melted.verdict.reasons]
        reasons += [*summary.reasons("equilibration"), *result.warnings]
        return LiquidFreeEnergyDocument(
            formula=system.formula([]),
            weights=[],
            weight_labels=[],
            coupling=system.coupling,
            counts=counts,
            temperature_K=settings.temperature_K,
            volume_A3=system.structure.volume,
            structure=system.structure,
            reference_sigma_A=sigma,
            reference_p=self.reference_p,
            reference_density=self.reference_density,
            **self._terms(system, melted, result.best),
            liquid=summary,
            mean_cell_job=mean_cell_job,
            work=work,
            settings=settings,
            verdict=Verdict.of(reasons),
            provenance=Provenance(
                potential=potential.record,
                wall_time_s=time.perf_counter() - started + checkpoint.spent_s,
                seed=self.seed,
            ),
        )

    def _terms(
        self, system: AlchemicalSystem, melted: LiquidDocument, switching_eV: tuple[float, float]
    ) -> dict[str, Any]:
        """Return F, G and their terms, by the names of the document's fields."""
        from alchemflows.free_energy.reference_liquid import excess_free_energy, ideal_gas_free_energy_eV

        counts, temperature, volume = system.counts([]), self.settings.temperature_K, system.structure.volume
        (work, error), (bias, bias_error) = switching_eV, (melted.cell_bias_eV, melted.cell_bias_error_eV)
        ideal = ideal_gas_free_energy_eV(system.masses([]), system.numbers, volume, temperature)
        excess = float(excess_free_energy(self.reference_density, self.reference_p))
        excess *= system.n_sites * units.kB * temperature
        helmholtz = ideal + excess - work
        pressure = ATMOSPHERE_GPA if self.settings.pressure_GPa is None else self.settings.pressure_GPa
        pv = pressure * units.GPa * volume
        return {
            "pressure_GPa": pressure,
            "ideal_gas_eV": ideal,
            "excess_eV": excess,
            "switching_eV": -work,
            "switching_error_eV": error,
            "helmholtz": FreeEnergyValue.of(helmholtz, error, counts),
            "pv_eV": pv,
            "cell_bias_eV": bias,
            "cell_bias_error_eV": bias_error,
            "gibbs": FreeEnergyValue.of(helmholtz + pv - bias, float(np.hypot(error, bias_error)), counts),
        }
