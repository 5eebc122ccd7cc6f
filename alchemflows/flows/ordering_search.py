"""The flow that searches for the ordered arrangements of lowest energy of a disordered crystal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.flows.common import PotentialMaker
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing


@dataclass
class OrderingSearchMaker(PotentialMaker):
    """Search for ordered arrangements by gradient descent on site-resolved weights from the disordered crystal.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    search_maker
        Numbers of starts, steps and relaxed arrangements; its potential and relaxation are not used.
    relax_maker
        Maker that relaxes atoms and cell of the disordered crystal and of the arrangements found.
    round_composition
        Whether to round the composition to whole atoms in the supercell; otherwise a composition that does not
        correspond to whole atoms is an error. The document and its verdict state how it was rounded.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import OrderingSearchMaker
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> [job.name for job in OrderingSearchMaker(potential="mace-demo").make(mixed, (2, 1, 1)).jobs]
    ['relax disordered', 'search for order']
    """

    name: str = "ordering search"
    search_maker: SearchMaker = field(default_factory=SearchMaker)
    relax_maker: AlchemicalRelaxMaker = field(default_factory=lambda: relaxing(0.02, steps=1000))
    round_composition: bool = False

    @checked
    def make(self, structure: Structure, supercell: Sequence[int] = (1, 1, 1)) -> Flow:
        """Return the flow; its output is an :class:`OrderingSearchDocument`.

        Parameters
        ----------
        structure
            Structure with partial occupancies, which set the composition.
        supercell
            Repeats of the structure along a, b, c; arrangements are searched for in this supercell.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or invalid, its composition does not give whole atoms, or a number or the
            potential is invalid.
        """
        self.search_maker.check_numbers()
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        system = AlchemicalSystem(disorder.system.structure, disorder.system.groups, "mean-field")
        potential = self.checked_potential(system)
        relax = self.relax_maker.make(system, disorder.weights.tolist(), potential)
        relax.name = "relax disordered"
        search = replace(
            self.search_maker,
            potential=potential,
            relax_maker=self.relax_maker,
            round_composition=self.round_composition,
        )
        found = search.make(structure, tuple(supercell), relax.output)
        jobs = self.categorised([relax, found])
        name = f"{self.name} {system.formula(disorder.weights)}"
        return failing_onwards(Flow(jobs, output=found.output, name=name))
