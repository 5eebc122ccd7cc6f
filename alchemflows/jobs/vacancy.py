"""Jobs of a vacancy: let an atom vanish, and compare the routes to the vacancy's free energy."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols
from jobflow import JobConfig, Maker, job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import einstein_free_energy_eV
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.jobs.work import work_document
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sites import Sites
from alchemflows.sampling.switching import equilibrate_ends, switch
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.vacancy import RemovalDocument, VacancyDocument
from alchemflows.schemas.verdict import Verdict


@dataclass
class RemovalMaker(Maker):
    """Let one atom of a crystal vanish, its weight going from 1 to 0, while a spring to its site takes hold of it.

    Parameters
    ----------
    name
        Name of the job.
    potential
        What to sample with.
    settings
        Conditions, lengths, number of switches, schedule.
    seed
        Seed that all others derive from.
    """

    name: str = "removal of an atom"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    seed: int = 0

    @job(output_schema=RemovalDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(self, perfect: FrenkelLaddDocument, site: int) -> RemovalDocument:
        """Remove an atom.

        Parameters
        ----------
        perfect
            The perfect crystal: its mean structure is where the dynamics start, and its spring holds the atom.
        site
            Index of the atom.

        Raises
        ------
        InvalidInputError
            If there is no such atom, or the crystal is alchemical itself.
        RunStoppedError
            If the job was asked to stop: run again, it goes on from its last checkpoint.
        TrajectoryError
            If a trajectory explodes.
        """
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
        potential = AlchemicalPotential(path.system, load_potential(self.potential))
        model, line = TetheredPotential(potential, springs), TetheredPath.with_growing_springs(path)
        progress, n = ProgressFile(Path.cwd()), 2 * self.settings.n_repeats
        sites = Sites(structure, potential.device)
        # At rest, or the crystal would drift away from the spring.
        with resumable() as checkpoint:
            ends = equilibrate_ends(
                model,
                line,
                self.settings,
                derived_seeds(self.seed, "equilibration of the removal", n),
                fix_centre_of_mass=True,
                sites=sites,
                on_progress=progress,
                checkpoint=checkpoint.stage("equilibration"),
            )
            switches = switch(
                model,
                line,
                self.settings,
                ends,
                derived_seeds(self.seed, "switching of the removal", n),
                fix_centre_of_mass=True,
                sites=sites,
                on_progress=progress,
                checkpoint=checkpoint.stage("switching"),
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


@dataclass
class VacancyComparisonMaker(Maker):
    """Join both routes to the free energy of a vacancy.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "vacancy"

    @job(output_schema=VacancyDocument, data=["curves"])
    def make(
        self, perfect: FrenkelLaddDocument, defective: FrenkelLaddDocument, removal: RemovalDocument
    ) -> VacancyDocument:
        """Compare.

        Parameters
        ----------
        perfect, defective
            Absolute free energies of the crystal with N and with N − 1 atoms.
        removal
            Of an atom of the perfect crystal.
        """
        n = perfect.counts.sites
        for name in ("temperature_K", "pressure_GPa"):
            if len({getattr(document, name) for document in (perfect, defective, removal)}) > 1:
                raise InvalidInputError(f"the runs differ in {name}")
        if (defective.counts.sites, removal.counts.sites) != (n - 1, n):
            raise InvalidInputError("the crystals are not one with N atoms and one with N − 1")
        g, error = perfect.gibbs.value_eV, perfect.gibbs.error_eV
        two = defective.gibbs.value_eV - (n - 1) / n * g
        one = removal.removal_eV + g / n
        # G(N) is in both routes, and their difference has it once.
        difference_error = float(np.hypot(np.hypot(removal.removal_error_eV, defective.gibbs.error_eV), error))
        reasons = [
            f"{name}: {reason}"
            for name, document in (("perfect crystal", perfect), ("vacancy", defective), ("removal", removal))
            for reason in document.verdict.reasons
        ]
        agree = abs(one - two) <= 2 * difference_error
        if not agree:
            reasons.append(f"the routes differ by {one - two:.4f} eV, more than twice {difference_error:.4f} eV")
        return VacancyDocument(
            element=removal.element,
            counts=perfect.counts,
            temperature_K=perfect.temperature_K,
            pressure_GPa=perfect.pressure_GPa,
            frenkel_ladd_eV=two,
            frenkel_ladd_error_eV=float(np.hypot(defective.gibbs.error_eV, (n - 1) / n * error)),
            alchemical_eV=one,
            alchemical_error_eV=float(np.hypot(removal.removal_error_eV, error / n)),
            difference_eV=one - two,
            difference_error_eV=difference_error,
            agree=agree,
            perfect=perfect,
            defective=defective,
            removal=removal,
            verdict=Verdict.of(reasons),
            provenance=Provenance(potential=perfect.provenance.potential, seed=perfect.provenance.seed),
        )
