"""From a disordered crystal to the ordered arrangements of lowest energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow import Flow, Maker
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.backends import resolve
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class OrderingSearchMaker(Maker):
    """Let every site find its element: a descent on site-resolved weights from the disordered crystal.

    Parameters
    ----------
    name
        Name of the flow.
    potential
        A name (``sevennet-0``, ``small``, ...), the path of a model file, or a specification.
    search_maker
        Starts, steps, and how many of the arrangements are relaxed; its potential and relaxation are not used.
    relax_maker
        Relaxes the disordered cell and the arrangements found, atoms and cell.
    round_composition
        Whether to round the composition to the nearest whole numbers of atoms in the supercell; without it a
        composition that is not whole atoms is refused. The document and its verdict say what was rounded.
    category
        FireWorks category of the jobs; None for none.
    """

    name: str = "ordering search"
    potential: PotentialSpec | str = "sevennet-0"
    search_maker: SearchMaker = field(default_factory=SearchMaker)
    relax_maker: AlchemicalRelaxMaker = field(default_factory=lambda: relaxing(0.02, steps=1000))
    round_composition: bool = False
    category: str | None = "gpu"

    @checked
    def make(self, structure: Structure, supercell: Sequence[int] = (1, 1, 1)) -> Flow:
        """Return the flow; its output is an :class:`OrderingSearchDocument`.

        Parameters
        ----------
        structure
            With partial occupancies: they are the composition.
        supercell
            Repeats of it: the cell that is ordered.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or makes no sense, its composition is not whole atoms, a number is wrong, or the
            potential is.
        """
        if min(self.search_maker.n_starts, self.search_maker.n_steps, self.search_maker.n_relaxed) < 1:
            raise InvalidInputError("n_starts, n_steps and n_relaxed must be at least 1")
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        system = AlchemicalSystem(disorder.system.structure, disorder.system.groups, "mean-field")
        potential, backend = resolve(self.potential)
        AlchemicalPotential(system, backend)
        relax = self.relax_maker.make(system, disorder.weights.tolist(), potential)
        relax.name = "relax disordered"
        search = replace(
            self.search_maker,
            potential=potential,
            relax_maker=self.relax_maker,
            round_composition=self.round_composition,
        )
        found = search.make(structure, tuple(supercell), relax.output)
        assign_category([relax, found], self.category)
        formula = system.formula(disorder.weights)
        return failing_onwards(Flow([relax, found], output=found.output, name=f"{self.name} {formula}"))
