"""The free energy of a vacancy, by two routes from one call."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.jobs.vacancy import RemovalMaker, VacancyComparisonMaker
from alchemflows.schemas.dynamics import SwitchingSettings


@dataclass
class VacancyFreeEnergyMaker(SampledMaker):
    """G_v = G(N−1, vacancy) − (N−1)/N G(N): from two Frenkel–Ladd runs, and from the removal of an atom.

    Parameters
    ----------
    n_repeats, n_cell_steps, n_equilibration_steps, n_sampling_steps, n_switching_steps, schedule
        As for :class:`FrenkelLaddMaker`; the removal has the same.
    relax_maker
        Relaxes both crystals first.

    See :class:`SampledMaker` for the other parameters; the pressure must not be None.
    """

    name: str = "vacancy"
    n_repeats: int = 4
    n_cell_steps: int = 15000
    n_equilibration_steps: int = 5000
    n_sampling_steps: int = 5000
    n_switching_steps: int = 10000
    schedule: str = "ninth-order"
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=AlchemicalRelaxMaker)

    def make(self, structure: Structure, site: int = 0) -> Flow:
        """Return the flow; its output is a :class:`VacancyDocument`.

        Parameters
        ----------
        structure
            The perfect crystal, ordered, so large that the vacancy does not see itself.
        site
            Index of the atom to remove.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, a number, or the potential is wrong.
        """
        if not structure.is_ordered:
            raise InvalidInputError("a vacancy in an alchemical crystal is not supported")
        if not 0 <= site < len(structure) or len(structure) < 2:
            raise InvalidInputError(f"site {site} cannot be removed: there are {len(structure)} atoms")
        if self.pressure_GPa is None:
            raise InvalidInputError("the free energy of a vacancy needs a pressure: the crystal shrinks around it")
        potential, _ = resolve(self.potential)
        system, _ = AlchemicalSystem.from_structure(structure)
        points = symmetry_of(system).n_primitive_cells
        shared = {name: getattr(self, name) for name in SampledMaker.__dataclass_fields__ if name != "name"}
        lengths = {
            name: getattr(self, name)
            for name in ("n_repeats", "n_equilibration_steps", "n_switching_steps", "schedule")
        }
        absolute = FrenkelLaddMaker(
            **shared | {"potential": potential},
            **lengths,
            n_cell_steps=self.n_cell_steps,
            n_sampling_steps=self.n_sampling_steps,
            relax_maker=self.relax_maker,
        )
        with_vacancy = structure.copy()
        with_vacancy.remove_sites([site])
        perfect = absolute.make(structure)
        # The vacancy keeps its place: its crystal may be shifted by a lattice vector of the perfect one no more.
        defective = absolute.make(with_vacancy, n_primitive_cells=points)
        settings = self.settings(SwitchingSettings, **lengths)
        removal = RemovalMaker(potential=potential, settings=settings, seed=self.seed).make(perfect.output, site)
        self.categorised([removal])
        comparison = VacancyComparisonMaker().make(perfect.output, defective.output, removal.output)
        formula = structure.composition.reduced_formula
        return Flow(
            [perfect, defective, removal, comparison],
            output=comparison.output,
            name=f"{self.name} {structure[site].specie} in {formula} {self.temperature:g} K",
        )
