"""Jobs that switch a crystal to an Einstein crystal and back, and that extrapolate over cell sizes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from ase.data import chemical_symbols
from jobflow import JobConfig, Maker, job
from numpy.typing import ArrayLike
from pymatgen.core import Structure

from alchemflows.alchemy.symmetrise import symmetrised
from alchemflows.alchemy.symmetry import Symmetry, symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.analysis.terms import mixing_term_eV
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import (
    HBAR,
    centre_of_mass_term_eV,
    einstein_free_energy_eV,
    spring_constants_eV_per_A2,
)
from alchemflows.free_energy.quantum import quantum_correction_eV
from alchemflows.free_energy.size import extrapolate, logarithmic_term_eV_per_atom
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import check_same, reasons_of, started_from
from alchemflows.jobs.modes import frequencies, n_of_modes
from alchemflows.jobs.potential import potential_of_job
from alchemflows.jobs.resuming import resumable
from alchemflows.jobs.stores import require_store
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.crystal import EquilibriumDocument
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, DynamicsSettings, SwitchingSettings
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue, FrenkelLaddDocument, SizeExtrapolation, SpringKind
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.progress import ProgressFile
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.alchemy.potential import AlchemicalPotential
    from alchemflows.sampling.equilibrium import Equilibrium
    from alchemflows.sampling.switching import Switches

#: Longest time step in units of 1/ω of the stiffest spring.
MAX_STEP_OF_SPRING = 1.0
#: Number of steps between samples of the displacements.
SAMPLE_INTERVAL_STEPS = 10


@dataclass(frozen=True)
class _Sampled:
    """Dynamics of a Frenkel–Ladd job.

    Attributes
    ----------
    run
        The crystal at equilibrium.
    mean
        Its mean structure, to which the springs are tied.
    stiffness
        Spring of each atom, eV/Å², shape (N,).
    switches
        From the crystal to the Einstein crystal and back.
    spent_s
        Time that was spent before the job was resumed.
    """

    run: Equilibrium
    mean: Structure
    stiffness: np.ndarray
    switches: Switches
    spent_s: float


@dataclass
class EinsteinSwitchesMaker(Maker):
    """Compute the absolute free energy of a crystal in a given cell by switching it to an Einstein crystal.

    The crystal is equilibrated at constant volume, with one replica per forward switch. The mean squared displacements
    give the spring constants, and the final states are the starts of the forward switches. Backward switches start
    from the exact distribution of the Einstein crystal. The centre of mass is fixed throughout.

    On mixed sites the dynamics use the mean mass, while the kinetic part of F is that of a classical mixture. F does
    not contain the entropy of mixing, which is reported separately.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential to sample with.
    settings
        Temperature, number and length of the switches. The volume is constant; the pressure is used only in G = F + pV
        (1 atm if it is None).
    n_sampling_steps
        Number of steps in which displacements are measured, after the equilibration of the settings.
    springs_eV_per_A2
        Spring constants by element (eV/Å²), in place of those from the displacements; an alchemical site is named by
        its elements, joined by / in alphabetical order (``Pb/Sn``).
    quantum
        Whether to compute the quantum correction of the harmonic modes (6N force evaluations).
    symmetrise
        Whether the mean positions, to which the springs are tied, keep the space group of the structure that dynamics
        start from. F does not depend on where the springs are tied.
    seed
        Seed from which all others derive.
    """

    name: str = "Frenkel–Ladd"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    settings: SwitchingSettings = field(default_factory=lambda: SwitchingSettings(temperature_K=300.0))
    n_sampling_steps: int = 5000
    springs_eV_per_A2: Mapping[str, float] | None = None
    quantum: bool = False
    symmetrise: bool = True
    seed: int = 0

    def cost(self, system: AlchemicalSystem, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`."""
        settings, n = self.settings, self.settings.n_repeats
        n_sampled = n * (settings.n_equilibration_steps + self.n_sampling_steps)
        n_steps = n_sampled + 2 * n * settings.n_switching_steps
        return JobCost("sampling", 2 * n, n_steps, n_evaluations=n_of_modes(system) if self.quantum else 0)

    @job(output_schema=FrenkelLaddDocument, data=["curves"], config=JobConfig(expose_store=True))
    def make(
        self,
        system: AlchemicalSystem,
        weights: Sequence[float],
        structure: Structure | None = None,
        n_primitive_cells: int | None = None,
        mean_cell: EquilibriumDocument | None = None,
        mean_cell_job: str | None = None,
    ) -> FrenkelLaddDocument:
        """Compute F and G.

        Parameters
        ----------
        system
            The crystal; equivalent atoms are found from the symmetry of its structure.
        weights
            Composition weights, shape (C,).
        structure
            Positions and cell to start from; those of the system if not given.
        n_primitive_cells
            Number of primitive cells in the cell; found by symmetry if not given. With a defect, give that of the
            perfect crystal.
        mean_cell
            The run that gave the mean cell. Its reasons become reasons against G, and the bias that its noise adds to
            G is subtracted.
        mean_cell_job
            Identifier of the job of that run, which stores its frames.

        Raises
        ------
        RunStoppedError
            If the job was asked to stop; a rerun resumes from its last checkpoint.
        UnstableCrystalError
            If atoms leave their sites.
        InvalidInputError
            If a spring constant is missing, or too large for the time step.
        TrajectoryError
            If a trajectory explodes.
        """
        from alchemflows.analysis.work import work_document
        from alchemflows.free_energy.convergence import drift

        require_store()
        started = time.perf_counter()
        w = system.check_weights(weights)
        symmetry = symmetry_of(system)
        system = started_from(system, structure)
        potential = potential_of_job(self.potential, system)
        settings = self.settings.model_copy(update={"pressure_GPa": None})
        dynamics = _sampling(settings, self.n_sampling_steps)
        sampled = self._sample(potential, system, w, symmetry, settings, dynamics)
        counts = system.counts(w)
        result, work = work_document(sampled.switches, settings, counts)
        crystal = system.with_structure(sampled.mean)
        omegas, unstable = frequencies(crystal, w, self.potential) if self.quantum else (None, [])
        reasons = _reasons_of_cell(mean_cell, result.best[1])
        reasons += drift("the energy of the crystal", sampled.run.energy_eV) + result.warnings + unstable
        points = symmetry.n_primitive_cells if n_primitive_cells is None else n_primitive_cells
        return FrenkelLaddDocument(
            formula=system.formula(w),
            weights=w.tolist(),
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            counts=counts,
            temperature_K=settings.temperature_K,
            volume_A3=sampled.mean.volume,
            structure=sampled.mean,
            space_group=symmetry.space_group,
            springs=_kinds(system, symmetry, sampled.stiffness),
            stiffness_eV_per_A2=sampled.stiffness.tolist(),
            **self._terms(system, w, sampled, sampled.mean.volume / points, result.best, _cell_bias_eV(mean_cell)),
            mixing_term_eV=mixing_term_eV(system, w, settings.temperature_K),
            quantum_correction_eV=None if omegas is None else quantum_correction_eV(omegas, settings.temperature_K),
            mode_energies_eV=None if omegas is None else (HBAR * omegas).tolist(),
            work=work,
            mean_cell_job=mean_cell_job,
            dynamics=dynamics,
            settings=settings,
            verdict=Verdict.of(reasons),
            provenance=Provenance(
                potential=potential.record,
                wall_time_s=time.perf_counter() - started + sampled.spent_s,
                seed=self.seed,
            ),
        )

    def _sample(
        self,
        potential: AlchemicalPotential,
        system: AlchemicalSystem,
        weights: np.ndarray,
        symmetry: Symmetry,
        settings: SwitchingSettings,
        dynamics: DynamicsSettings,
    ) -> _Sampled:
        """Sample the displacements, choose the springs, and switch from the crystal and from the Einstein crystal."""
        from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
        from alchemflows.sampling.equilibrium import sample_equilibrium
        from alchemflows.sampling.switching import draw_einstein_crystal, joined, switch

        progress, n, masses = ProgressFile(Path.cwd()), settings.n_repeats, system.masses(weights)
        given = self.springs_eV_per_A2
        # Before any step: what is wrong with given springs needs no dynamics to be seen.
        stiffness = None if given is None else given_stiffness(system, weights, given, settings.timestep_fs)
        with resumable() as checkpoint:
            run = sample_equilibrium(
                potential,
                system,
                weights,
                dynamics,
                derived_seeds(self.seed, "displacements", n),
                on_progress=progress,
                checkpoint=checkpoint.stage("displacements"),
            )
            if stiffness is None:
                msd = run.msd_A2.mean(axis=0)
                stiffness = spring_constants_eV_per_A2(msd, symmetry.equivalent_atoms, settings.temperature_K)
                _check_time_step(stiffness, masses, settings.timestep_fs)
            mean = run.mean_structure()
            if self.symmetrise:
                mean = symmetrised(mean, system, masses)
            springs = Springs(tuple(map(tuple, mean.frac_coords.tolist())), tuple(stiffness.tolist()))
            seeds = derived_seeds(self.seed, "Einstein crystal", n)
            einstein = draw_einstein_crystal(springs, mean.lattice.matrix, masses, settings.temperature_K, seeds)
            switches = switch(
                TetheredPotential(potential, springs),
                TetheredPath.to_einstein_crystal(system, weights),
                settings,
                joined(run.state, einstein),
                derived_seeds(self.seed, "switching", 2 * n),
                fix_centre_of_mass=True,
                on_progress=progress,
                checkpoint=checkpoint.stage("switching"),
            )
        return _Sampled(run, mean, stiffness, switches, checkpoint.spent_s)

    def _terms(
        self,
        system: AlchemicalSystem,
        weights: np.ndarray,
        sampled: _Sampled,
        free_volume_A3: float,
        switching_eV: tuple[float, float],
        cell_bias_eV: tuple[float, float],
    ) -> dict[str, Any]:
        """Return F, G and their terms, by the names of the document's fields."""
        counts, stiffness, temperature = system.counts(weights), sampled.stiffness, self.settings.temperature_K
        (work, error), (bias, bias_error) = switching_eV, cell_bias_eV
        # The momenta of a mixture; those of the dynamics, with their mixed masses, are in no term.
        einstein = einstein_free_energy_eV(
            stiffness, system.masses(weights, "geometric"), temperature, system.occupancies(weights)
        )
        centre = centre_of_mass_term_eV(stiffness, system.masses(weights), free_volume_A3, temperature)
        helmholtz = einstein - work + centre
        pressure = ATMOSPHERE_GPA if self.settings.pressure_GPa is None else self.settings.pressure_GPa
        pv = pressure * units.GPa * sampled.mean.volume
        return {
            "pressure_GPa": pressure,
            "einstein_eV": einstein,
            "switching_eV": -work,
            "switching_error_eV": error,
            "centre_of_mass_eV": centre,
            "free_volume_A3": free_volume_A3,
            "helmholtz": FreeEnergyValue.of(helmholtz, error, counts),
            "pv_eV": pv,
            "cell_bias_eV": bias,
            "cell_bias_error_eV": bias_error,
            "gibbs": FreeEnergyValue.of(helmholtz + pv - bias, float(np.hypot(error, bias_error)), counts),
        }


@dataclass
class SizeExtrapolationMaker(Maker):
    """Extrapolate F and G per atom from cells of several sizes to a large crystal.

    The known term in ln N / N is subtracted, and a straight line in 1/N is fitted to the rest. The quantum correction
    is not extrapolated; the value of the largest cell is used.

    Parameters
    ----------
    name
        Name of the job.
    """

    name: str = "size extrapolation"

    @job(output_schema=SizeExtrapolation, data=["curves"])
    def make(self, documents: Sequence[FrenkelLaddDocument]) -> SizeExtrapolation:
        """Extrapolate to a large crystal.

        Parameters
        ----------
        documents
            Results for cells of at least two sizes, of the same crystal under the same conditions.

        Raises
        ------
        InvalidInputError
            If crystals or conditions differ, or all cells have the same size.
        """
        first = documents[0]
        check_same("cells", documents, "formula", "temperature_K", "pressure_GPa")
        n_atoms = [document.counts.atoms for document in documents]
        errors = [document.gibbs.error_eV_per_atom for document in documents]
        helmholtz = [document.helmholtz.value_eV_per_atom for document in documents]
        gibbs = [document.gibbs.value_eV_per_atom for document in documents]
        limit = extrapolate(n_atoms, gibbs, errors, first.temperature_K)
        reasons = reasons_of((document.counts.title, document) for document in documents) + limit.reasons
        quantum = _quantum_corrections(documents)
        change = abs(quantum[-1] - quantum[-2]) if len(quantum) > 1 else None
        if change is not None and change > limit.error:
            reasons.append(Reason.QUANTUM_SIZE.because(change=1e3 * change, error=1e3 * limit.error))
        return SizeExtrapolation(
            formula=first.formula,
            temperature_K=first.temperature_K,
            pressure_GPa=first.pressure_GPa,
            n_atoms=n_atoms,
            helmholtz_eV_per_atom=helmholtz,
            gibbs_eV_per_atom=gibbs,
            errors_eV_per_atom=errors,
            logarithmic_terms_eV_per_atom=logarithmic_term_eV_per_atom(n_atoms, first.temperature_K).tolist(),
            helmholtz_limit_eV_per_atom=extrapolate(n_atoms, helmholtz, errors, first.temperature_K).limit,
            gibbs_limit_eV_per_atom=limit.limit,
            limit_error_eV_per_atom=limit.error,
            chi_squared_per_degree=limit.chi_squared_per_degree,
            quantum_correction_limit_eV_per_atom=quantum[-1] if quantum else None,
            quantum_correction_change_eV_per_atom=change,
            cells=list(documents),
            verdict=Verdict.of(reasons),
            provenance=Provenance(potential=first.provenance.potential, seed=first.provenance.seed),
        )


def _cell_bias_eV(mean_cell: EquilibriumDocument | None) -> tuple[float, float]:
    """Return the bias of G due to the noise of a mean cell, and its standard error (eV)."""
    noise = None if mean_cell is None else mean_cell.mean_cell
    return (0.0, 0.0) if noise is None else (noise.bias_eV, noise.bias_error_eV)


def _reasons_of_cell(mean_cell: EquilibriumDocument | None, switching_error_eV: float) -> list[str]:
    """Return the reasons against the mean cell: its own, and noise larger than the error of the switching."""
    reasons = [] if mean_cell is None else [f"mean cell: {reason}" for reason in mean_cell.verdict.reasons]
    bias, bias_error = _cell_bias_eV(mean_cell)
    if bias > switching_error_eV:
        reasons.append(Reason.CELL_NOISE.because(bias=bias, error=bias_error, switching=switching_error_eV))
    return reasons


def _quantum_corrections(documents: Sequence[FrenkelLaddDocument]) -> list[float]:
    """Return the quantum corrections per atom by increasing size of the cell, one for each size that has one."""
    by_size = {
        document.counts.atoms: document.counts.per_atom(document.quantum_correction_eV)
        for document in documents
        if document.quantum_correction_eV is not None
    }
    return [by_size[n] for n in sorted(by_size)]


def element_names(system: AlchemicalSystem) -> list[str]:
    """Return the element of each atom; those of an alchemical site joined by / in alphabetical order."""
    names = [chemical_symbols[int(z)] for z in system.numbers]
    for group in system.groups:
        for k, site in enumerate(group.sites):
            names[site] = "/".join(sorted({chemical_symbols[channel[k]] for channel in group.channels}))
    return names


def given_stiffness(
    system: AlchemicalSystem, weights: ArrayLike, springs_eV_per_A2: Mapping[str, float], timestep_fs: float
) -> np.ndarray:
    """Return the spring constant of each atom (eV/Å²), shape (N,), from spring constants by element.

    Raises
    ------
    InvalidInputError
        If an element has no spring constant or is not in the crystal, or if a spring constant is not positive or too
        large for the time step.
    """
    names = element_names(system)
    missing, unknown = (sorted(set(x) - set(y)) for x, y in ((names, springs_eV_per_A2), (springs_eV_per_A2, names)))
    if missing or unknown:
        wrong = f"has no value for {', '.join(missing)}" if missing else f"names {', '.join(unknown)}"
        raise InvalidInputError(f"springs_eV_per_A2 {wrong}; the crystal has {', '.join(sorted(set(names)))}")
    stiffness = np.array([float(springs_eV_per_A2[name]) for name in names])
    if not (np.isfinite(stiffness) & (stiffness > 0)).all():
        raise InvalidInputError(f"springs_eV_per_A2 must be positive; got {dict(springs_eV_per_A2)}")
    _check_time_step(stiffness, system.masses(weights), timestep_fs)
    return stiffness


def _check_time_step(stiffness: np.ndarray, masses: np.ndarray, timestep_fs: float) -> None:
    omega = np.sqrt(stiffness / masses)
    atom = int(omega.argmax())
    if omega[atom] * timestep_fs * units.fs > MAX_STEP_OF_SPRING:
        raise InvalidInputError(
            f"the spring of atom {atom} ({stiffness[atom]:.3g} eV/Å²) needs a time step below "
            f"{MAX_STEP_OF_SPRING / omega[atom] / units.fs:.2g} fs; it is {timestep_fs:g} fs"
        )


def _kinds(system: AlchemicalSystem, symmetry: Symmetry, stiffness: np.ndarray) -> list[SpringKind]:
    names = element_names(system)
    kinds = []
    for label in sorted(set(symmetry.equivalent_atoms.tolist())):
        members = np.flatnonzero(symmetry.equivalent_atoms == label)
        kinds.append(
            SpringKind(element=names[members[0]], n_atoms=len(members), stiffness_eV_per_A2=stiffness[members[0]])
        )
    return kinds


def _sampling(settings: SwitchingSettings, n_steps: int) -> DynamicsSettings:
    """Return the settings of the dynamics that measure displacements, under the conditions of the switches."""
    shared = {name: getattr(settings, name) for name in ("temperature_K", "timestep_fs", "friction_per_ps")}
    return DynamicsSettings(
        **shared,
        n_equilibration_steps=settings.n_equilibration_steps,
        n_production_steps=n_steps,
        sample_interval_steps=SAMPLE_INTERVAL_STEPS,
    )
