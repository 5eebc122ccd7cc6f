"""Jobs of a vacancy: let an atom vanish, compare the routes to its free energy, join sizes and temperatures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase import units
from ase.data import chemical_symbols
from jobflow import JobConfig, Maker, job

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.defects import charge_caveats
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
from alchemflows.analysis.work import work_document
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.defects import thermal_fit
from alchemflows.free_energy.einstein import einstein_free_energy_eV
from alchemflows.free_energy.size import logarithmic_term_eV_per_atom, straight_line
from alchemflows.jobs.chemical_potentials import concentration, known_potentials, limits_of, stability_eV
from alchemflows.jobs.cost import JobCost, cost_of_switches
from alchemflows.jobs.frenkel_ladd import MAX_CHI_SQUARED
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.sampling.sites import Sites
from alchemflows.sampling.switching import equilibrate_ends, switch
from alchemflows.schemas.chemical_potentials import ChemicalPotential, SiteFraction
from alchemflows.schemas.dynamics import SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.vacancy import (
    RemovalDocument,
    VacancyDocument,
    VacancyLimit,
    VacancySizes,
    VacancyTemperatures,
)
from alchemflows.schemas.verdict import Verdict

#: Largest share of the sites with a defect at which defects count as dilute.
MAX_SITE_FRACTION = 0.01


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

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return what a job costs, see :mod:`alchemflows.jobs.cost`."""
        return cost_of_switches(self.settings)

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
    """Join both routes to the formation free energy of a vacancy, G_f = G(N−1, vacancy) − G(N) + μ.

    Parameters
    ----------
    name
        Name of the job.
    degeneracy
        g, states of the vacancy on one site beside its vibrations (spin, or orientations of a distortion).
    """

    name: str = "vacancy"
    degeneracy: float = 1.0

    @job(output_schema=VacancyDocument, data=["curves"])
    def make(
        self,
        perfect: FrenkelLaddDocument,
        defective: FrenkelLaddDocument,
        removal: RemovalDocument,
        volume_errors_A3: Sequence[float] = (0.0, 0.0),
        given: Mapping[str, tuple[float, float]] | None = None,
        references: Mapping[str, FrenkelLaddDocument] | None = None,
        reference_volume_errors_A3: Mapping[str, float] | None = None,
        n_sites: int = 1,
    ) -> VacancyDocument:
        """Compare.

        Parameters
        ----------
        perfect, defective
            Absolute free energies of the crystal with N and with N − 1 atoms.
        removal
            Of an atom of the perfect crystal.
        volume_errors_A3
            Standard errors of the mean volumes of the perfect and the defective crystal.
        given
            Chemical potentials by element, eV per atom, with standard errors; not needed for an element.
        references
            Elemental crystals by element, whose G per atom is the chemical potential.
        reference_volume_errors_A3
            Standard errors of their mean volumes.
        n_sites
            Sites of the perfect cell that are equivalent to that of the vacancy.

        Raises
        ------
        InvalidInputError
            If the runs do not belong together, or the chemical potential of the element does not follow.
        """
        parts = {"perfect crystal": perfect, "vacancy": defective}
        check_conditions([perfect, defective, removal, *(references or {}).values()])
        n = len(perfect.structure)
        if (len(defective.structure), removal.counts.sites) != (n - 1, n):
            raise InvalidInputError("the crystals are not one with N atoms and one with N − 1")
        known = known_potentials(given or {}, references or {}, reference_volume_errors_A3 or {})
        limits = [
            _limit(potential, perfect, defective, removal, volume_errors_A3, n_sites, self.degeneracy)
            for potential in limits_of(removal.element, perfect, known)
        ]
        stability = stability_eV(perfect, known)
        # G(N) is in both routes, and μ too: their difference has G(N) once and no μ.
        difference = removal.removal_eV - (defective.gibbs.value_eV - perfect.gibbs.value_eV)
        difference_error = float(
            np.hypot(np.hypot(removal.removal_error_eV, defective.gibbs.error_eV), perfect.gibbs.error_eV)
        )
        reasons = reasons_of(
            {**parts, "removal": removal, **{f"reference {e}": d for e, d in (references or {}).items()}}
        )
        agree = abs(difference) <= 2 * difference_error
        if not agree:
            reasons.append(f"the routes differ by {difference:.4f} eV, more than twice {difference_error:.4f} eV")
        formula = perfect.structure.composition.reduced_formula
        if stability is not None and stability[0] > 2 * stability[1]:
            reasons.append(
                f"{formula} is not stable at these chemical potentials: G of a formula unit is {stability[0]:.4f} ± "
                f"{stability[1]:.4f} eV above Σ ν μ"
            )
        reasons += dilution(limits[0].concentration)
        first = limits[0]
        return VacancyDocument(
            element=removal.element,
            formula=formula,
            counts=perfect.counts,
            temperature_K=perfect.temperature_K,
            pressure_GPa=perfect.pressure_GPa,
            chemical_potential=first.chemical_potential,
            frenkel_ladd_eV=first.frenkel_ladd_eV,
            frenkel_ladd_error_eV=first.frenkel_ladd_error_eV,
            alchemical_eV=first.alchemical_eV,
            alchemical_error_eV=first.alchemical_error_eV,
            difference_eV=difference,
            difference_error_eV=difference_error,
            agree=agree,
            relaxation_volume_A3=defective.volume_A3 - perfect.volume_A3,
            relaxation_volume_error_A3=quadrature(*volume_errors_A3),
            formation_volume_A3=first.formation_volume_A3,
            formation_volume_error_A3=first.formation_volume_error_A3,
            concentration=first.concentration,
            limits=limits,
            stability_eV=stability and stability[0],
            stability_error_eV=stability and stability[1],
            perfect=perfect,
            defective=defective,
            removal=removal,
            references=dict(references or {}),
            verdict=Verdict.of(reasons, charge_caveats(perfect.structure)),
            provenance=Provenance(potential=perfect.provenance.potential, seed=perfect.provenance.seed),
        )


@dataclass
class VacancySizesMaker(Maker):
    """Extrapolate G_f of a vacancy in cells of several sizes to a large crystal, by a straight line in 1/N.

    The elastic interaction of the vacancy with its images falls off as 1/V at leading order (Leslie & Gillan,
    J. Phys. C 18, 973, 1985; Varvenne et al., Phys. Rev. B 88, 134102, 2013).

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "vacancy, sizes"

    @job(output_schema=VacancySizes, data=["curves"])
    def make(self, documents: Sequence[VacancyDocument]) -> VacancySizes:
        """Extrapolate.

        Parameters
        ----------
        documents
            Of cells of at least two sizes of the same crystal at the same conditions.

        Raises
        ------
        InvalidInputError
            If they are of different vacancies or conditions, or of one size.
        """
        first = documents[0]
        check_same(documents, "temperature_K", "pressure_GPa")
        n_atoms, values = [d.counts.atoms for d in documents], [d.alchemical_eV for d in documents]
        shared = first.chemical_potential.independent_error_eV
        errors = [own_error_eV(d) for d in documents]
        # G(N) has −½ k_B T ln N; μ brings a share of it into G_f.
        counted = np.array([d.counts.atoms * d.chemical_potential.crystal_share for d in documents])
        logarithms = counted * logarithmic_term_eV_per_atom(n_atoms, first.temperature_K)
        limit = straight_line(n_atoms, np.array(values) - logarithms, errors)
        error = float(np.hypot(limit.error, shared))
        largest = max(documents, key=lambda d: d.counts.atoms)
        n_sites, degeneracy = largest.concentration.n_sites, largest.concentration.degeneracy
        reasons = list(dict.fromkeys(f"{d.counts.title}: {reason}" for d in documents for reason in d.verdict.reasons))
        if limit.chi_squared_per_degree is not None and limit.chi_squared_per_degree > MAX_CHI_SQUARED:
            reasons.append(
                f"the cells do not lie on a line in 1/N: χ² per degree is {limit.chi_squared_per_degree:.1f}"
            )
        return VacancySizes(
            element=first.element,
            formula=first.formula,
            temperature_K=first.temperature_K,
            pressure_GPa=first.pressure_GPa,
            limit=first.chemical_potential.limit,
            n_atoms=n_atoms,
            formation_eV=values,
            errors_eV=errors,
            shared_error_eV=shared,
            formation_limit_eV=limit.limit,
            limit_error_eV=error,
            chi_squared_per_degree=limit.chi_squared_per_degree,
            concentration=concentration(largest.perfect, limit.limit, error, n_sites, degeneracy),
            cells=list(documents),
            verdict=Verdict.of(reasons, first.verdict.notes),
            provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
        )


@dataclass
class VacancyTemperaturesMaker(Maker):
    """Formation entropy and enthalpy of a vacancy from G_f at several temperatures.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "vacancy, temperatures"

    @job(output_schema=VacancyTemperatures, data=["curves"])
    def make(self, documents: Sequence[VacancyDocument]) -> VacancyTemperatures:
        """Fit G_f(T).

        Parameters
        ----------
        documents
            Of the same vacancy at the same pressure and at least two temperatures.

        Raises
        ------
        InvalidInputError
            If they are of different vacancies, sizes or pressures, or of one temperature.
        """
        found = sorted(documents, key=lambda d: d.temperature_K)
        first = found[0]
        check_same(found, "pressure_GPa", "counts")
        temperatures = [d.temperature_K for d in found]
        values, errors = [d.alchemical_eV for d in found], [d.alchemical_error_eV for d in found]
        fit = thermal_fit(temperatures, values, errors)
        reasons = [f"{d.temperature_K:g} K: {reason}" for d in found for reason in d.verdict.reasons]
        if fit.chi_squared_per_degree is not None and fit.chi_squared_per_degree > MAX_CHI_SQUARED:
            line = "line" if fit.degree == 1 else "parabola"
            reasons.append(
                f"G_f(T) does not lie on a {line}: χ² per degree is {fit.chi_squared_per_degree:.1f}; "
                f"{'use at least four temperatures' if fit.degree == 1 else 'use a smaller range of temperatures'}"
            )
        return VacancyTemperatures(
            element=first.element,
            formula=first.formula,
            counts=first.counts,
            pressure_GPa=first.pressure_GPa,
            limit=first.chemical_potential.limit,
            temperatures_K=temperatures,
            formation_eV=values,
            errors_eV=errors,
            degree=fit.degree,
            entropy_eV_per_K=fit.entropy_eV_per_K.tolist(),
            entropy_error_eV_per_K=fit.entropy_error_eV_per_K.tolist(),
            enthalpy_eV=fit.enthalpy_eV.tolist(),
            enthalpy_error_eV=fit.enthalpy_error_eV.tolist(),
            chi_squared_per_degree=fit.chi_squared_per_degree,
            concentrations=[d.concentration for d in found],
            points=found,
            verdict=Verdict.of(reasons, first.verdict.notes),
            provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
        )


def _limit(
    potential: ChemicalPotential,
    perfect: FrenkelLaddDocument,
    defective: FrenkelLaddDocument,
    removal: RemovalDocument,
    volume_errors_A3: Sequence[float],
    n_sites: int,
    degeneracy: float,
) -> VacancyLimit:
    """Return G_f in one limit; the error of G(N) enters once, with the sum of its coefficients."""
    g, error, share = perfect.gibbs.value_eV, perfect.gibbs.error_eV, potential.crystal_share
    independent = potential.independent_error_eV
    one = removal.removal_eV + potential.value_eV
    one_error = quadrature(removal.removal_error_eV, share * error, independent)
    volume = volume_error = None
    if potential.volume_A3 is not None and potential.volume_independent_error_A3 is not None:
        volume = defective.volume_A3 - perfect.volume_A3 + potential.volume_A3
        volume_error = quadrature(
            volume_errors_A3[1], (1 - share) * volume_errors_A3[0], potential.volume_independent_error_A3
        )
    return VacancyLimit(
        chemical_potential=potential,
        frenkel_ladd_eV=defective.gibbs.value_eV - g + potential.value_eV,
        frenkel_ladd_error_eV=quadrature(defective.gibbs.error_eV, (1 - share) * error, independent),
        alchemical_eV=one,
        alchemical_error_eV=one_error,
        formation_volume_A3=volume,
        formation_volume_error_A3=volume_error,
        concentration=concentration(perfect, one, one_error, n_sites, degeneracy),
    )


def own_error_eV(document: VacancyDocument) -> float:
    """Return the standard error of G_f (removal) without the part of μ that does not rest on the same crystal."""
    share = document.chemical_potential.crystal_share
    return quadrature(document.removal.removal_error_eV, share * document.perfect.gibbs.error_eV)


def check_conditions(documents: Sequence[FrenkelLaddDocument | RemovalDocument]) -> None:
    """Check that runs are at one temperature and pressure.

    Raises
    ------
    InvalidInputError
        If they are not; it names the field.
    """
    for name in ("temperature_K", "pressure_GPa"):
        if len({getattr(document, name) for document in documents}) > 1:
            raise InvalidInputError(f"the runs differ in {name}")


def check_same(documents: Sequence[VacancyDocument], *names: str) -> None:
    """Check that vacancies are of one element in one crystal, in one limit, and agree in fields.

    Raises
    ------
    InvalidInputError
        If they do not; it names the field.
    """
    for name in ("element", "formula", *names):
        if len({getattr(document, name) for document in documents}) > 1:
            raise InvalidInputError(f"the vacancies differ in {name}")
    if len({document.chemical_potential.limit for document in documents}) > 1:
        raise InvalidInputError("the vacancies differ in the limit of their chemical potentials")


def reasons_of(parts: Mapping[str, FrenkelLaddDocument | RemovalDocument]) -> list[str]:
    """Return what speaks against the parts of a result, each reason with the name of its part."""
    return [f"{name}: {reason}" for name, document in parts.items() for reason in document.verdict.reasons]


def dilution(fraction: SiteFraction) -> list[str]:
    """Return the reason against a concentration at which defects meet; nothing where they are dilute."""
    if fraction.site_fraction <= MAX_SITE_FRACTION:
        return []
    return [
        f"{fraction.site_fraction:.3g} of the sites would have the defect: above {MAX_SITE_FRACTION:g} defects "
        "interact, and the dilute limit does not hold"
    ]


def quadrature(*errors: float) -> float:
    """Return the standard error of a sum of independent terms from theirs."""
    return float(np.sqrt(sum(error**2 for error in errors)))
