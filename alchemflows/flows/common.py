"""Bases of flow makers: potential and FireWorks category, sampling conditions, and alchemical transformations."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from jobflow import Flow, Job, Maker, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.path import AlchemicalPath, Substitution
from alchemflows.alchemy.strains import freedom_of_symmetry
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.analysis.terms import shape_notes
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.stores import SAMPLES
from alchemflows.sampling.seeds import derived_seeds
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA, MIN_SAMPLES, CellFreedom, DynamicsSettings, Settings, settings
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.substitution import mixtures

#: FireWorks category of the jobs that evaluate a potential.
GPU_CATEGORY = "gpu"
#: Cell degrees of freedom; ``auto`` chooses them by the symmetry of the crystal.
CellChoice = CellFreedom | Literal["auto"]

M = TypeVar("M", bound="ConditionsMaker")
logger = logging.getLogger(__name__)


@dataclass
class PotentialMaker(Maker):
    """Base of makers of flows whose jobs evaluate a potential.

    Parameters
    ----------
    name
        Name of the flow.
    potential
        Potential: ``mace-demo``, ``sevennet-0``, ``chgnet``, a name that ``mace_mp`` knows (``small``, ...), or
        the path of a model file.

        A specification also sets dtype, device and head.
    category
        FireWorks category of the jobs that evaluate the potential, so that GPU workers take them; none for no category.
    """

    name: str = "flow"
    potential: PotentialSpec | str = "sevennet-0"
    category: str | None = GPU_CATEGORY

    def checked_potential(self, *systems: AlchemicalSystem) -> PotentialSpec:
        """Return the potential spec with the SHA-256 of the model file, after loading the potential on the CPU.

        Raises
        ------
        PotentialError
            If the potential cannot be loaded.
        InvalidInputError
            If the potential does not support an element of the systems.
        """
        from alchemflows.alchemy.backends import resolve
        from alchemflows.alchemy.potential import check_supported

        potential, backend = resolve(self.potential)
        for system in systems:
            check_supported(system, backend)
        return potential

    def categorised(self, jobs: Iterable[Job | Flow]) -> list[Job | Flow]:
        """Return the jobs, or flows of jobs, after setting their FireWorks category."""
        found = list(jobs)
        assign_category(found, self.category)
        return found


@dataclass
class ConditionsMaker(PotentialMaker):
    """Base of makers whose jobs run dynamics with a potential under common conditions.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    pressure_GPa
        Pressure (GPa).

        None for constant volume.
    cell_freedom
        Cell degrees of freedom at constant pressure: ``isotropic`` (volume), ``axes`` (lengths), ``full`` (lengths and
        angles) or ``auto`` (the fewest that include every cell parameter not fixed by the symmetry of the crystal).

        The symmetry is that of the crystal with its alchemical sites.
    timestep_fs
        Time step (fs).
    friction_per_ps
        Friction coefficient γ of the Langevin dynamics (1/ps).
    barostat_time_ps
        Relaxation time of the barostat (ps); at least 10 time steps.
    seed
        Seed of all random numbers; at least 0.
    """

    name: str = "dynamics"
    pressure_GPa: float | None = ATMOSPHERE_GPA
    cell_freedom: CellChoice = "auto"
    timestep_fs: float = 2.0
    friction_per_ps: float = 5.0
    barostat_time_ps: float = 0.5
    seed: int = 0

    def settings(self, kind: type[Settings], **values: Any) -> Settings:
        """Return settings with these conditions; ``cell_freedom`` must not be ``auto``, see :meth:`in_crystal`.

        Raises
        ------
        InvalidInputError
            If a number is out of range.
        """
        if self.seed < 0:
            raise InvalidInputError(f"seed must be at least 0; got {self.seed}")
        conditions = {
            "pressure_GPa": self.pressure_GPa,
            "cell_freedom": self.cell_freedom,
            "timestep_fs": self.timestep_fs,
            "friction_per_ps": self.friction_per_ps,
            "barostat_time_ps": self.barostat_time_ps,
        }
        return settings(kind, **conditions | values)

    def in_crystal(self: M, system: AlchemicalSystem) -> M:
        """Return the maker with ``auto`` replaced by the cell degrees of freedom that the crystal's symmetry allows."""
        if self.cell_freedom != "auto":
            self.warn_of_frozen_shape(system)
            return self
        if self.pressure_GPa is None:
            return replace(self, cell_freedom="isotropic")
        rotations = symmetry_of(system).point_group
        return replace(self, cell_freedom=freedom_of_symmetry(system.structure.lattice.matrix, rotations))

    def warn_of_frozen_shape(self, system: AlchemicalSystem) -> None:
        """Log a warning if ``cell_freedom`` fixes cell parameters that the symmetry of the crystal leaves free."""
        freedom = self.cell_freedom
        if freedom == "auto" or freedom not in get_args(CellFreedom):
            return
        for note in shape_notes(system, self.pressure_GPa, freedom):
            logger.warning("%s: %s", system.structure.composition.reduced_formula, note)


@dataclass
class SampledMaker(ConditionsMaker):
    """Base of makers whose jobs sample at one temperature.

    See :class:`ConditionsMaker` for the other parameters.

    Parameters
    ----------
    temperature
        Temperature (K).
    """

    name: str = "sampling"
    temperature: float = 300.0

    def settings(self, kind: type[Settings], **values: Any) -> Settings:
        """Return settings with these conditions and this temperature, as :meth:`ConditionsMaker.settings`."""
        if self.temperature <= 0:
            raise InvalidInputError(f"temperature must be above 0 K; got {self.temperature:g}")
        return super().settings(kind, temperature_K=self.temperature, **values)

    def cell_settings(self, n_cell_steps: int) -> DynamicsSettings:
        """Return the settings of dynamics that determine a mean cell, of which the first third is equilibration.

        Raises
        ------
        InvalidInputError
            If the steps are too few, or a number is out of range.
        """
        equilibration = n_cell_steps // 3
        least = MIN_SAMPLES * DynamicsSettings.model_fields["sample_interval_steps"].default
        if n_cell_steps - equilibration < least:
            raise InvalidInputError(
                f"n_cell_steps = {n_cell_steps} is too small: two thirds of it must be at least {least} steps for "
                f"{MIN_SAMPLES} samples"
            )
        return self.settings(
            DynamicsSettings,
            n_equilibration_steps=equilibration,
            n_production_steps=n_cell_steps - equilibration,
        )

    def seed_of(self, structure: Structure, *purpose: str) -> int:
        """Return the seed of one run, which differs between crystals, temperatures and purposes.

        Results that are compared need independent random numbers, so that their errors are independent.
        """
        lengths = ", ".join(f"{v:.4f}" for v in structure.lattice.parameters)
        identity = [structure.formula, str(len(structure)), lengths, f"{self.temperature:g}", *purpose]
        return derived_seeds(self.seed, "|".join(identity), 1)[0]


@dataclass
class TransformationMaker(SampledMaker):
    """Base of makers of alchemical transformations.

    See :class:`SampledMaker` for the other parameters.

    Parameters
    ----------
    coupling
        Interaction between the alchemical sites of a group: ``paired`` (all sites change together) or ``mean-field``
        (sites mix independently, as in a random solid solution).

        See :class:`AlchemicalSystem`.
    site_resolved
        Whether every changed or disordered site is a separate site group; otherwise sites that change in the same way
        form one group.
    relax_maker
        Relax positions and cell before the dynamics.

        With None the dynamics start from the given structure.
    crystal
        Whether atoms must stay on their sites: if one leaves its site, the verdict is ``not converged``.

        Use False for systems in which atoms diffuse.
    """

    coupling: Coupling = "paired"
    site_resolved: bool = False
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=AlchemicalRelaxMaker)
    crystal: bool = True

    def path(self, structure: Structure, substitution: Substitution, sites: Sequence[int] | None) -> AlchemicalPath:
        """Return the path of a substitution.

        Raises
        ------
        InvalidInputError
            If the structure or the substitution is invalid, if atoms appear or vanish, or if the nearest neighbours of
            an atom are its own periodic images.
        """
        check_neighbours(structure)
        path = AlchemicalPath.from_substitution(
            structure, substitution, sites=sites, coupling=self.coupling, site_resolved=self.site_resolved
        )
        if not path.conserves_sites():
            raise InvalidInputError(_vanishing(substitution))
        return path

    def relaxed(self, path: AlchemicalPath, potential: PotentialSpec) -> tuple[list[Job], OutputReference | None]:
        """Return the job that relaxes a path at λ = ½ and its output structure; none without a `relax_maker`."""
        if self.relax_maker is None:
            return [], None
        relax = self.relax_maker.make(path.system, path.weights(0.5).tolist(), potential, later_store=SAMPLES)
        return [relax], structure_of(relax)

    def relaxed_ends(
        self, path: AlchemicalPath, potential: PotentialSpec
    ) -> tuple[list[Job], list[OutputReference] | None]:
        """Return the jobs that relax a path at λ = 0 and 1, and both structures; none without a `relax_maker`.

        If the barostat can change the whole cell, the cell is relaxed at each end. Otherwise all windows need a common
        shape, or a common cell at constant volume: the cell is relaxed at λ = ½, and then only the atoms at the ends.
        ``cell_freedom`` must not be ``auto``, see :meth:`in_crystal`.
        """
        if self.relax_maker is None:
            return [], None
        maker = self.relax_maker
        jobs: list[Job] = []
        start = None
        whole = self.pressure_GPa is not None and self.cell_freedom == "full"
        if maker.maker.relax_cell and not whole:
            jobs, start = self.relaxed(path, potential)
            maker = replace(maker, maker=replace(maker.maker, relax_cell=False))
        ends = [
            replace(maker, name=f"{maker.name} λ = {value}").make(
                path.system, path.weights(float(value)).tolist(), potential, start, later_store=SAMPLES
            )
            for value in (0, 1)
        ]
        return [*jobs, *ends], [structure_of(job) for job in ends]


def _vanishing(substitution: Substitution) -> str:
    """Return the error message for a substitution with a replacement whose fractions do not sum to 1."""
    totals = {source: sum(mixture.values()) for source, mixture in mixtures(substitution).items()}
    source, total = max(totals.items(), key=lambda item: abs(item[1] - 1))
    return (
        f"substitution: the fractions of the replacement of {source} sum to {total:.6g}; they must sum to 1, since an "
        "atom that vanishes along a path is not confined and its free energy diverges. For the free energy of a "
        "vacancy use `alchemflows vacancy` (VacancyFreeEnergyMaker); for a crystal that has vacancies along the whole "
        "path, give them in the structure as occupancies below 1"
    )


def structure_of(relaxation: Job) -> OutputReference:
    """Return a reference to the output structure of a relaxation."""
    # Without the output schema, since jobflow's look-up of attributes in it is slow.
    return OutputReference(relaxation.uuid).structure
