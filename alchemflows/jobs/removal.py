"""The job that removes an atom of a crystal alchemically."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols
from jobflow import JobConfig, Maker, job

from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import einstein_free_energy_eV
from alchemflows.jobs.cost import JobCost, cost_of_switches
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.vacancy import RemovalDocument
from alchemflows.schemas.verdict import Verdict


@dataclass
class RemovalMaker(Maker):
    """Remove one atom of a crystal by switching its weight from 1 to 0, while a spring to its site is switched on.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Conditions, numbers of steps, number of switches, and schedule.
    seed
        Seed from which all others derive.
    """

    name: str = "removal of an atom"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    seed: int = 0

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        return cost_of_switches(self.settings)

    @job(output_schema=RemovalDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(self, perfect: FrenkelLaddDocument, site: int) -> RemovalDocument:
        """Remove an atom.

        Parameters
        ----------
        perfect
            The perfect crystal. Dynamics start from its mean structure, and its spring constant is used for the atom.
        site
            Index of the atom.

        Raises
        ------
        InvalidInputError
            If the atom does not exist, or the crystal is alchemical.
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
        from alchemflows.analysis.work import work_document
        from alchemflows.sampling.sites import Sites
        from alchemflows.sampling.switching import equilibrate_and_switch

        require_store()
        started = time.perf_counter()
        if perfect.weights:
            raise InvalidInputError("a vacancy in an alchemical crystal is not supported")
        structure, temperature = perfect.structure, self.settings.temperature_K
        if not 0 <= site < len(structure):
            raise InvalidInputError(f"site {site} does not exist: there are {len(structure)} atoms")
        path = AlchemicalPath.from_substitution(structure, {structure[site].specie.symbol: None}, sites=[site])
        stiffness = np.zeros(len(structure))
        stiffness[site] = perfect.stiffness_eV_per_A2[site]
        springs = Springs(tuple(map(tuple, structure.frac_coords.tolist())), tuple(stiffness.tolist()))
        potential = potential_of_job(self.potential, path.system)
        model, line = TetheredPotential(potential, springs), TetheredPath.with_growing_springs(path)
        sites = Sites(structure, potential.device)
        # The centre of mass is fixed, so that the crystal does not drift away from the spring.
        with resumable() as checkpoint:
            switches = equilibrate_and_switch(
                model,
                line,
                self.settings,
                self.seed,
                "the removal",
                fix_centre_of_mass=True,
                sites=sites,
                on_progress=ProgressFile(Path.cwd()),
                checkpoint=checkpoint,
            )
        result, work = work_document(switches, self.settings, path.system.counts(path.initial))
        masses = path.masses(0.0)
        spring = einstein_free_energy_eV([stiffness[site]], [masses[site]], temperature)
        centre = float(3 * units.kB * temperature * np.log(masses.sum() / (masses.sum() - masses[site])))
        return RemovalDocument(
            element=chemical_symbols[structure[site].specie.Z],
            site=site,
            counts=path.system.counts(path.initial),
            temperature_K=temperature,
            pressure_GPa=self.settings.pressure_GPa,
            stiffness_eV_per_A2=stiffness[site],
            switching_eV=result.best[0],
            switching_error_eV=result.best[1],
            spring_eV=spring,
            centre_of_mass_eV=centre,
            removal_eV=result.best[0] - spring + centre,
            removal_error_eV=result.best[1],
            work=work,
            settings=self.settings,
            verdict=Verdict.of(result.warnings),
            provenance=Provenance(
                potential=potential.record,
                wall_time_s=time.perf_counter() - started + checkpoint.spent_s,
                seed=self.seed,
            ),
        )
