"""The flow that relaxes a crystal at its composition."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.arguments import checked
from alchemflows.flows.common import PotentialMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker


@dataclass
class RelaxationMaker(PotentialMaker):
    """Relax atoms and cell of a crystal; sites with partial occupancies are alchemical.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    coupling
        Interaction between the alchemical sites of a group: ``paired`` or ``mean-field``.

        See :class:`AlchemicalSystem`.
    relax_maker
        Maker of the relaxation.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import RelaxationMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> flow = RelaxationMaker(potential="mace-demo").make(salt)
    >>> flow.name, [job.name for job in flow.jobs]
    ('relaxation NaCl', ['alchemical relax'])
    """

    name: str = "relaxation"
    coupling: Coupling = "paired"
    relax_maker: AlchemicalRelaxMaker = field(default_factory=AlchemicalRelaxMaker)

    @checked
    def make(self, structure: Structure) -> Flow:
        """Return the flow; its output is a :class:`RelaxDocument`.

        Parameters
        ----------
        structure
            Ordered structure, or one with partial occupancies.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure or the potential is invalid.
        """
        system, weights = AlchemicalSystem.from_structure(structure, coupling=self.coupling)
        potential = self.checked_potential(system)
        relax = self.relax_maker.make(system, weights.tolist(), potential)
        return Flow(self.categorised([relax]), output=relax.output, name=f"{self.name} {system.formula(weights)}")
