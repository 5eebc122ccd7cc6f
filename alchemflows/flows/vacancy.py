"""The free energy of a vacancy, by two routes from one call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jobflow import Flow, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.jobs.vacancy import RemovalMaker, VacancyComparisonMaker


@dataclass
class VacancyFreeEnergyMaker(Maker):
    """G_v = G(N−1, vacancy) − (N−1)/N G(N): from two Frenkel–Ladd runs, and from the removal of an atom.

    Parameters
    ----------
    name
        Name of the flow.
    frenkel_ladd_maker
        Potential, conditions and lengths of the absolute free energies; the removal has the same. Its pressure must
        not be None.
    """

    name: str = "vacancy"
    frenkel_ladd_maker: FrenkelLaddMaker = field(default_factory=FrenkelLaddMaker)

    @checked
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
        if self.frenkel_ladd_maker.pressure_GPa is None:
            raise InvalidInputError("the free energy of a vacancy needs a pressure: the crystal shrinks around it")
        potential, _ = resolve(self.frenkel_ladd_maker.potential)
        system, _ = AlchemicalSystem.from_structure(structure)
        points = symmetry_of(system).n_primitive_cells
        with_vacancy = structure.copy()
        with_vacancy.remove_sites([site])
        defective_system, _ = AlchemicalSystem.from_structure(with_vacancy)
        # All three runs have the freedom of the crystal with the vacancy, whose symmetry is the lower one.
        absolute = replace(self.frenkel_ladd_maker, potential=potential).in_crystal(defective_system)
        perfect = absolute.make(structure)
        # The vacancy keeps its place: its crystal may be shifted by a lattice vector of the perfect one no more.
        defective = absolute.make(with_vacancy, n_primitive_cells=points)
        settings = absolute.switching_settings()
        seed = absolute.seed_of(structure, "removal", str(site))
        removal = RemovalMaker(potential=potential, settings=settings, seed=seed).make(perfect.output, site)
        absolute.categorised([removal])
        comparison = VacancyComparisonMaker().make(perfect.output, defective.output, removal.output)
        formula = structure.composition.reduced_formula
        return Flow(
            [perfect, defective, removal, comparison],
            output=comparison.output,
            name=f"{self.name} {structure[site].specie} in {formula} {absolute.temperature:g} K",
        )
