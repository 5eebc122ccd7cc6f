"""From a grid of compositions to energies, volumes and lattice parameters over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jobflow import Flow, Job

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.arguments import checked
from alchemflows.flows.common import PotentialMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.jobs.sweep import SweepMaker
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.relax import RelaxDocument


def tight_relaxation() -> AlchemicalRelaxMaker:
    """Return what relaxes atoms and cell to forces below 0.05 meV/Å."""
    return relaxing(5e-5, steps=1000, optimizer="BFGS")


@dataclass
class CompositionSweepMaker(PotentialMaker):
    """Relax atoms and cell at each composition of a grid, one job for each, started from its neighbour.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    relax_maker
        Relaxes one point; by default to forces below 0.05 meV/Å, which the lattice parameters of soft crystals need to
        be right to 1e-3 Å: along the chains' stacking in BiSCl, 0.5 meV/Å still left 0.03 Å.
    both_starts
        Whether each point is also relaxed from the structure given, and the lower end kept. A crystal with several
        minima can follow its neighbours into the wrong one; where it has but one, this doubles the work for nothing.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CompositionGrid, CompositionSweepMaker
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> grid = CompositionGrid.line(salt, {"Na": "K"}, [0.0, 0.5, 1.0])
    >>> [job.name for job in CompositionSweepMaker(potential="mace-demo").make(grid).jobs]
    ['relax KNaCl2', 'relax NaCl', 'relax KCl', 'composition sweep']
    """

    name: str = "composition sweep"
    relax_maker: AlchemicalRelaxMaker = field(default_factory=tight_relaxation)
    both_starts: bool = True

    @checked
    def make(self, grid: CompositionGrid, *, known: Sequence[RelaxDocument] = ()) -> Flow:
        """Return the flow; its output is a :class:`CompositionSweepDocument`.

        Parameters
        ----------
        grid
            The compositions.
        known
            Relaxations that need not be done again, of a coarser or an unfinished sweep; those that are not of this
            system, model and settings are left aside.

        Raises
        ------
        PotentialError, InvalidInputError
            If the potential cannot be loaded, or does not know an element.
        """
        potential = self.checked_potential(grid.system)
        keys = self._keys(grid, potential)
        by_key = {document.key: document for document in known}
        have = {k: by_key[key] for k, key in enumerate(keys) if key in by_key}
        jobs: dict[int, Job] = {}
        for k, parent in grid.tree(list(have)):
            start = None
            if parent is not None:
                start = have[parent].structure if parent in have else jobs[parent].output.structure
            starts = [start, None] if self.both_starts else start
            jobs[k] = self.relax_maker.make(grid.system, list(grid.weights[k]), potential, starts)
            jobs[k].name = f"relax {grid.system.formula(grid.weights[k])}"
            tolerant(jobs[k])  # where its neighbour has failed a point starts from the structure given
        outputs = [have[k] if k in have else jobs[k].output for k in range(len(keys))]
        sweep = tolerant(SweepMaker().make(grid, keys, outputs, n_known=len(have)))
        formulas = " to ".join(grid.system.formula(grid.weights[k]) for k in (0, -1))
        return Flow([*self.categorised(jobs.values()), sweep], output=sweep.output, name=f"{self.name} {formulas}")

    def keys(self, grid: CompositionGrid) -> list[str]:
        """Return the keys of the relaxations of a grid, with which stored ones can be found.

        Raises
        ------
        PotentialError, InvalidInputError
            If the potential cannot be loaded, or does not know an element.
        """
        return self._keys(grid, self.checked_potential(grid.system))

    def _keys(self, grid: CompositionGrid, potential: PotentialSpec) -> list[str]:
        return [self.relax_maker.key(grid.system, weights, potential) for weights in grid.weights]
