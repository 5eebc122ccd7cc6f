"""The flow that relaxes a crystal on a grid of compositions."""

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
    """Return a maker that relaxes atoms and cell to forces below 0.05 meV/Å."""
    return relaxing(5e-5, steps=1000, optimizer="BFGS")


@dataclass
class CompositionSweepMaker(PotentialMaker):
    """Relax atoms and cell at each composition of a grid, one job per composition, each started from a neighbour.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    relax_maker
        Maker that relaxes one point. Its default, forces below 0.05 meV/Å, converges the lattice parameters of soft
        crystals to 1e-3 Å; with 0.5 meV/Å, the error along the stacking direction of the chains in BiSCl was 0.03 Å.
    both_starts
        Whether each point is also relaxed from the given structure, and the result of lower energy kept. This avoids
        following neighbours into a metastable minimum, and doubles the cost.

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
            Relaxations from a coarser or unfinished sweep, which are reused; those with another system, potential or
            other settings are ignored.

        Raises
        ------
        PotentialError, InvalidInputError
            If the potential cannot be loaded, or does not support an element.
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
            tolerant(jobs[k])  # if its neighbour failed, a point starts from the given structure
        outputs = [have[k] if k in have else jobs[k].output for k in range(len(keys))]
        sweep = tolerant(SweepMaker().make(grid, keys, outputs, n_known=len(have)))
        formulas = " to ".join(grid.system.formula(grid.weights[k]) for k in (0, -1))
        return Flow([*self.categorised(jobs.values()), sweep], output=sweep.output, name=f"{self.name} {formulas}")

    def keys(self, grid: CompositionGrid) -> list[str]:
        """Return the keys of the relaxations of a grid, by which stored relaxations can be found.

        Raises
        ------
        PotentialError, InvalidInputError
            If the potential cannot be loaded, or does not know an element.
        """
        return self._keys(grid, self.checked_potential(grid.system))

    def _keys(self, grid: CompositionGrid, potential: PotentialSpec) -> list[str]:
        return [self.relax_maker.key(grid.system, weights, potential) for weights in grid.weights]
