"""The flow that computes the absolute free energy of a crystal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import Flow, Job, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.jobs.equilibrium import EquilibriumMaker
from alchemflows.jobs.frenkel_ladd import (
    SAMPLE_INTERVAL_STEPS,
    EinsteinSwitchesMaker,
    SizeExtrapolationMaker,
    given_stiffness,
)
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.stores import SAMPLES
from alchemflows.sampling.schedules import schedule
from alchemflows.schemas.dynamics import MIN_SAMPLES, DynamicsSettings, Schedule, SwitchingSettings
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class FrenkelLaddMaker(SampledMaker):
    """Compute the absolute free energy of a crystal: mean cell, spring constants, switches to an Einstein crystal.

    See :class:`SampledMaker` for the other parameters.

    Parameters
    ----------
    n_repeats
        Number of switches to the Einstein crystal in each direction; at least 2.

        All switches run in one batch.
    n_cell_steps
        Number of steps at constant pressure that determine the mean cell; the first third is equilibration.

        With ``pressure_GPa=None`` the given or relaxed cell is used, and G = F + pV is at 1 atm.
    n_equilibration_steps
        Number of equilibration steps at constant volume.
    n_sampling_steps
        Number of steps at constant volume that sample the mean squared displacements, which give the spring constants.
    n_switching_steps
        Number of steps of each switch to the Einstein crystal.
    schedule
        λ as a function of time during a switch: linear, or a polynomial of third, fifth or ninth order.
    springs_eV_per_A2
        Spring constants by element (eV/Å²), instead of those from the mean squared displacements.

        They can be shared between phases; see :class:`EinsteinSwitchesMaker`.
    quantum
        Also compute the quantum correction of harmonic modes; it is not added to F and G.
    symmetrise
        Whether to symmetrise the mean cell and the mean positions to the space group of the relaxed structure.

        The verdict says if the crystal has another space group at this temperature.
    n_frames
        Number of configurations to store from the run that determines the mean cell; 0 for none.

        `alchemflows frames export` writes them to a file.
    coupling
        Interaction between the alchemical sites of a structure with partial occupancies: ``paired`` or ``mean-field``.

        See :class:`AlchemicalSystem`.
    relax_maker
        Relax positions and cell before the dynamics.

        With None the dynamics start from the given structure.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import FrenkelLaddMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = FrenkelLaddMaker(potential="mace-demo", temperature=400.0)
    >>> [job.name for job in maker.make(salt * (2, 2, 2)).jobs]
    ['alchemical relax', 'mean cell, 64 atoms', 'Frenkel–Ladd, 64 atoms']
    """

    name: str = "Frenkel–Ladd"
    n_repeats: int = 4
    n_cell_steps: int = 15000
    n_equilibration_steps: int = 5000
    n_sampling_steps: int = 5000
    n_switching_steps: int = 10000
    schedule: Schedule = "ninth-order"
    springs_eV_per_A2: Mapping[str, float] | None = None
    quantum: bool = False
    symmetrise: bool = True
    n_frames: int = 100
    coupling: Coupling = "paired"
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=AlchemicalRelaxMaker)

    @checked
    def make(
        self,
        structure: Structure,
        *,
        supercells: Sequence[tuple[int, int, int]] | None = None,
        n_primitive_cells: int | None = None,
    ) -> Flow:
        """Return the flow; its output is a :class:`FrenkelLaddDocument`, or a :class:`SizeExtrapolation`.

        Parameters
        ----------
        structure
            Ordered structure, or one with partial occupancies. The latter gives the free energy of the alchemical
            crystal at this composition, without the entropy of mixing.
        supercells
            Repeats of the structure, of at least two sizes, for an extrapolation of F and G to a large crystal.
        n_primitive_cells
            Number of primitive cells in the structure; needed if a defect breaks its translational symmetry.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is invalid, or the nearest neighbours of an atom are its own
            periodic images.
        """
        if self.n_sampling_steps < MIN_SAMPLES * SAMPLE_INTERVAL_STEPS:
            raise InvalidInputError(
                f"n_sampling_steps must be at least {MIN_SAMPLES * SAMPLE_INTERVAL_STEPS} ({MIN_SAMPLES} samples, one "
                f"every {SAMPLE_INTERVAL_STEPS} steps); got {self.n_sampling_steps}"
            )
        if self.n_frames < 0:
            raise InvalidInputError(f"n_frames must be at least 0; got {self.n_frames}")
        if n_primitive_cells is not None and n_primitive_cells < 1:
            raise InvalidInputError(f"n_primitive_cells must be at least 1; got {n_primitive_cells}")
        sizes = [(1, 1, 1)] if supercells is None else [(int(a), int(b), int(c)) for a, b, c in supercells]
        if supercells is not None and len({a * b * c for a, b, c in sizes}) < 2:
            raise InvalidInputError("supercells must have at least two sizes for an extrapolation")
        if len(set(sizes)) < len(sizes):
            raise InvalidInputError("supercells contains a supercell twice; give each once")
        for size in sizes:
            check_neighbours(structure * size)
        crystals = [AlchemicalSystem.from_structure(structure * size, coupling=self.coupling) for size in sizes]
        makers = [self.in_crystal(system) for system, _ in crystals]
        dynamics = [
            (None if maker.pressure_GPa is None else maker.cell_settings(self.n_cell_steps), maker.switching_settings())
            for maker in makers
        ]
        if self.springs_eV_per_A2 is not None:
            for system, weights in crystals:
                given_stiffness(system, weights, self.springs_eV_per_A2, self.timestep_fs)
        potential = self.checked_potential(*(system for system, _ in crystals))
        runs: list[Job] = []
        jobs: list[Job] = []
        for size, (system, weights), (cell, switching) in zip(sizes, crystals, dynamics, strict=True):
            points = None if n_primitive_cells is None else n_primitive_cells * size[0] * size[1] * size[2]
            jobs += self._of_one_cell(system, weights.tolist(), potential, cell, switching, points)
            runs.append(jobs[-1])
        parts = self.categorised(jobs)
        last = runs[0]
        if supercells is not None:
            last = SizeExtrapolationMaker().make([run.output for run in runs])
            parts.append(last)
        formula = system.formula(weights)
        return Flow(parts, output=last.output, name=f"{self.name} {formula} {self.temperature:g} K")

    def switching_settings(self) -> SwitchingSettings:
        """Return the settings of the switches.

        Raises
        ------
        InvalidInputError
            If a number is out of range, or the schedule is unknown.
        """
        schedule(self.schedule, [0.0])
        return self.settings(
            SwitchingSettings,
            n_repeats=self.n_repeats,
            n_equilibration_steps=self.n_equilibration_steps,
            n_switching_steps=self.n_switching_steps,
            schedule=self.schedule,
        )

    def _of_one_cell(
        self,
        system: AlchemicalSystem,
        weights: list[float],
        potential: PotentialSpec,
        cell: DynamicsSettings | None,
        switching: SwitchingSettings,
        n_primitive_cells: int | None,
    ) -> list[Job]:
        jobs: list[Job] = []
        start: OutputReference | None = None
        mean_cell: OutputReference | None = None
        mean_cell_job: str | None = None
        label = f"{system.n_sites} atoms"
        seed = self.seed_of(system.structure, system.formula(weights), "Frenkel–Ladd")
        if self.relax_maker is not None:
            jobs.append(self.relax_maker.make(system, weights, potential, later_store=SAMPLES))
            start = jobs[-1].output.structure
        if cell is not None:
            equilibrium = EquilibriumMaker(
                name=f"mean cell, {label}",
                potential=potential,
                dynamics=cell,
                symmetrise=self.symmetrise,
                seed=seed,
                n_frames=self.n_frames,
            )
            jobs.append(equilibrium.make(system, weights, start))
            start, mean_cell, mean_cell_job = jobs[-1].output.structure, jobs[-1].output, jobs[-1].uuid
        switches = EinsteinSwitchesMaker(
            name=f"Frenkel–Ladd, {label}",
            potential=potential,
            settings=switching,
            n_sampling_steps=self.n_sampling_steps,
            springs_eV_per_A2=self.springs_eV_per_A2,
            quantum=self.quantum,
            symmetrise=self.symmetrise,
            seed=seed,
        )
        return [*jobs, switches.make(system, weights, start, n_primitive_cells, mean_cell, mean_cell_job)]
