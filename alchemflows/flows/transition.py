"""The flow that finds the temperature of a transition between order and disorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.arrangements import SampledArrangementsMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.transition import TransitionMaker
from alchemflows.sampling.seeds import derived_seeds

#: Smallest number of temperatures: a maximum lies between others.
MIN_TEMPERATURES = 3


@dataclass
class OrderDisorderTransitionMaker(SampledArrangementsMaker):
    """Find the temperature of a transition between order and disorder by Monte Carlo at several temperatures.

    Arrangements are sampled in one or several supercells (:class:`MonteCarloMaker`), and replicas at neighbouring
    temperatures are exchanged. With two or more supercells, the transition is at the crossing of the cumulants of their
    order parameter; with one, at the largest heat capacity. See :class:`SampledArrangementsMaker` for the other
    parameters.

    Parameters
    ----------
    n_replicas
        Number of replicas at each temperature; an even number.

        Half of them start from random arrangements, the others from arrangements of low energy.
    n_production_sweeps
        Number of sweeps with a sample each.
    replica_exchange
        Whether neighbouring temperatures exchange replicas after each sweep.
    round_composition
        Whether to round the composition to whole atoms in the supercell; otherwise a composition that does not
        correspond to whole atoms is an error.

        Document and verdict state how it was rounded.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import OrderDisorderTransitionMaker
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> maker = OrderDisorderTransitionMaker(potential="mace-demo", relax_maker=None)
    >>> flow = maker.make(mixed, [(1, 1, 1), (2, 1, 1)], [100.0, 200.0, 300.0])
    >>> [job.name for job in flow.jobs]
    ['Monte Carlo 1×1×1', 'Monte Carlo 2×1×1', 'transition']
    """

    name: str = "transition"
    n_replicas: int = 4
    n_production_sweeps: int = 400
    round_composition: bool = False

    @checked
    def make(
        self,
        structure: Structure,
        supercells: Sequence[Sequence[int]],
        temperatures: Sequence[float],
        *,
        waves: Sequence[Sequence[float]] = (),
    ) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.transition.TransitionDocument`.

        Parameters
        ----------
        structure
            Structure with partial occupancies, which set the composition.
        supercells
            Repeats of the structure along a, b, c of each supercell; the larger ones contain the same waves as the
            smallest if their repeats are multiples of it.
        temperatures
            Temperatures (K), at least three, on both sides of the transition.
        waves
            Wave vectors of the order parameter, in units of the reciprocal lattice vectors of `structure`. Without them
            the strongest order at the lowest temperature is used, with all waves that are equivalent by symmetry.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or invalid, its composition does not give whole atoms in a supercell, supercells
            have equal sizes, a wave does not fit, or a number or the potential is invalid.
        """
        if len(set(temperatures)) < MIN_TEMPERATURES:
            raise InvalidInputError(
                f"temperatures: at least {MIN_TEMPERATURES} are needed, on both sides of the transition; got "
                f"{list(temperatures)}"
            )
        disorders = [Disorder(structure, supercell, rounded=self.round_composition) for supercell in supercells]
        sizes = sorted(disorder.counts.sites for disorder in disorders)
        if not sizes or len(set(sizes)) < len(sizes):
            raise InvalidInputError(
                f"supercells: give at least one, each with another number of sites; got {list(map(tuple, supercells))}"
            )
        shared = {each.name: getattr(self, each.name) for each in fields(SampledArrangementsMaker)}
        flows = []
        for supercell in supercells:
            size = "×".join(map(str, supercell))
            maker = MonteCarloMaker(
                **shared
                | {
                    "name": f"Monte Carlo {size}",
                    "seed": derived_seeds(self.seed, f"supercell {size}", 1)[0],
                    "n_replicas": self.n_replicas,
                    "round_composition": self.round_composition,
                }
            )
            flow = maker.make(structure, supercell, temperatures, waves=waves)
            flow.name = maker.name
            flows.append(flow)
        analysis = tolerant(
            TransitionMaker().make(
                disorders,
                [flow.output for flow in flows],
                [list(wave) for wave in waves],
                [flow.output.uuid for flow in flows],
            )
        )
        name = f"{self.name} {disorders[-1].system.formula(disorders[-1].weights)}"
        return Flow([*flows, analysis], output=analysis.output, name=name)
