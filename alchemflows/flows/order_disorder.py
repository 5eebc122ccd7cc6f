"""The flow that computes ordering energies from alchemical cells and from explicit arrangements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jobflow import Flow, Job
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import PotentialMaker, structure_of
from alchemflows.flows.ordering_search import OrderingSearchMaker
from alchemflows.jobs.inputs import failing_onwards, tolerant
from alchemflows.jobs.monte_carlo import ArrangementsMaker
from alchemflows.jobs.order_disorder import COUPLINGS, OrderComparisonMaker, SampledDisorderMaker
from alchemflows.jobs.ordering import SearchMaker
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.jobs.stores import SAMPLES
from alchemflows.schemas.dynamics import settings
from alchemflows.schemas.monte_carlo import MonteCarloSettings
from alchemflows.schemas.ordering import Kind

#: Orderings of the B sites of a double perovskite A2BB'O6, as concentration waves in the cubic cell of five atoms.
PEROVSKITE_ORDERS: dict[str, tuple[float, float, float]] = {
    "rocksalt": (0.5, 0.5, 0.5),
    "layered": (0.0, 0.0, 0.5),
    "columnar": (0.5, 0.5, 0.0),
}


@dataclass
class OrderDisorderMaker(PotentialMaker):
    """Compare the relaxed energies of ordered and disordered arrangements in the same supercell.

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    n_random
        Number of random arrangements, at least 1; their mean energy represents the disordered crystal.
    quasirandom
        Whether to relax a special quasirandom structure too (needs sqsgenerator).
    max_distinct
        Maximum number of ordered arrangements for ``orders="distinct"``.
    sampled_temperature_K
        Temperature (K) at which arrangements are sampled by Monte Carlo and then relaxed, a further model of disorder;
        none for no sampling.

        Moves are informed swaps at the positions of the relaxed mean-field cell (:class:`MonteCarloMaker`).
    n_sampled
        Number of sampled arrangements, each the last one of an independent replica; an even number.
    n_sampling_sweeps
        Number of sweeps of Monte Carlo with a sample each; a quarter as many come before.
    search_maker
        Maker of the search for ``orders="search"``.
    relax_maker
        Maker that relaxes atoms and cell; results that have not converged are used and named in the verdict.
    rattle_A
        Standard deviation (Å) of random displacements of the start structures, the same for all. Without them, a
        symmetric crystal would keep its symmetry even if it is unstable (tilts of octahedra), unlike a random one.
    round_composition
        Whether to round the composition to whole atoms in the supercell; otherwise a composition that does not
        correspond to whole atoms is an error.

        Table, document and verdict state how it was rounded.
    seed
        Seed of the random arrangements and of the random displacements; at least 0.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import OrderDisorderMaker
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> maker = OrderDisorderMaker(potential="mace-demo", n_random=2, quasirandom=False)
    >>> flow = maker.make(mixed, (1, 1, 1), "distinct")
    >>> [job.name for job in flow.jobs]
    ['relax paired', 'relax mean-field', 'relax random 1', 'relax random 2', 'relax order 1 P4/mmm',
     'order against disorder']
    """

    name: str = "order against disorder"
    n_random: int = 5
    quasirandom: bool = True
    max_distinct: int = 100
    sampled_temperature_K: float | None = None
    n_sampled: int = 4
    n_sampling_sweeps: int = 200
    search_maker: SearchMaker = field(default_factory=SearchMaker)
    relax_maker: AlchemicalRelaxMaker = field(default_factory=lambda: relaxing(0.02, steps=1000))
    rattle_A: float = 0.02
    round_composition: bool = False
    seed: int = 0

    @checked
    def make(
        self,
        structure: Structure,
        supercell: Sequence[int],
        orders: Mapping[str, Sequence[float]] | Literal["distinct", "search"] = "search",
    ) -> Flow:
        """Return the flow; its output is an :class:`OrderDisorderDocument`.

        Parameters
        ----------
        structure
            Structure with partial occupancies.
        supercell
            Repeats of the structure along a, b, c.
        orders
            The ordered arrangements: waves by name (see :meth:`Disorder.wave`), for example
            :data:`PEROVSKITE_ORDERS`; ``distinct`` for all that differ by symmetry; ``search`` to search for them.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or invalid, its composition does not give whole atoms in the supercell, a wave
            does not fit, a number or the potential is invalid, or there are too many arrangements.
        """
        if self.n_random < 1 or not self.rattle_A >= 0 or self.seed < 0:
            raise InvalidInputError("n_random must be at least 1; rattle_A and seed must not be negative")
        self.search_maker.check_numbers()
        sampling_settings = self._sampling()
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        ordered = self._ordered(disorder, structure, orders)
        potential = self.checked_potential(disorder.system)
        systems: list[tuple[tuple[str, Kind, int | None], AlchemicalSystem, list[float]]] = []
        for coupling in COUPLINGS:
            system = AlchemicalSystem(disorder.system.structure, disorder.system.groups, coupling)
            systems.append(((coupling, coupling, None), system, disorder.weights.tolist()))
        explicit: list[tuple[str, Kind, int | None, Structure]] = [
            (f"random {k + 1}", "random", None, arrangement)
            for k, arrangement in enumerate(disorder.random(self.n_random, self.seed))
        ]
        if self.quasirandom:
            explicit.append(("quasirandom", "quasirandom", None, disorder.quasirandom(self.seed)))
        explicit += [(name, "ordered", multiplicity, each) for name, each, multiplicity in ordered]
        systems += [((name, kind, n), AlchemicalSystem(each), []) for name, kind, n, each in explicit]

        relax = replace(self.relax_maker, require_convergence=False)
        later_store = None if sampling_settings is None else SAMPLES
        jobs: list[Job | Flow] = []
        outputs = []
        for (name, _, _), system, weights in systems:
            relaxation = relax.make(system, weights, potential, self._rattled(system.structure), later_store)
            relaxation.name = f"relax {name}"
            jobs.append(relaxation)
            outputs.append(relaxation.output)
        searched = None
        if orders == "search":
            search = OrderingSearchMaker(
                potential=potential,
                search_maker=self.search_maker,
                relax_maker=relax,
                round_composition=self.round_composition,
                category=None,
            ).make(structure, supercell)
            jobs.append(search)
            searched = search.output
        names = [each for each, _, _ in systems]
        sampled = None
        if sampling_settings is not None:
            mean_field = jobs[COUPLINGS.index("mean-field")]
            assert isinstance(mean_field, Job)
            sampling = ArrangementsMaker(
                potential=potential,
                settings=sampling_settings,
                temperatures_K=[sampling_settings.temperature_K],
                n_replicas=self.n_sampled,
                seed=self.seed,
            ).make(disorder, [], structure_of(mean_field))
            relaxed = SampledDisorderMaker(potential=potential, relax_maker=relax, n_sampled=self.n_sampled).make(
                sampling.output
            )
            jobs += [failing_onwards(sampling), tolerant(relaxed)]
            sampled = relaxed.output
        comparison = OrderComparisonMaker().make(
            names,
            outputs,
            searched,
            disorder.counts,
            disorder.entropy_kB,
            disorder.rounding,
            sampled,
            self.sampled_temperature_K,
        )
        tolerant(comparison)
        formula = disorder.system.formula(disorder.weights)
        return Flow([*self.categorised(jobs), comparison], output=comparison.output, name=f"{self.name} {formula}")

    def _sampling(self) -> MonteCarloSettings | None:
        """Return the settings of Monte Carlo; None without it."""
        if self.sampled_temperature_K is None:
            return None
        if self.n_sampled < 2 or self.n_sampled % 2:
            raise InvalidInputError(f"n_sampled must be an even number, at least 2; got {self.n_sampled}")
        return settings(
            MonteCarloSettings,
            temperature_K=self.sampled_temperature_K,
            n_equilibration_sweeps=self.n_sampling_sweeps // 4,
            n_production_sweeps=self.n_sampling_sweeps,
        )

    def _rattled(self, structure: Structure) -> Structure:
        moves = np.random.default_rng(self.seed).normal(scale=self.rattle_A, size=(len(structure), 3))
        places = structure.cart_coords + moves - moves.mean(axis=0)
        return Structure(structure.lattice, structure.species, places, coords_are_cartesian=True)

    def _ordered(
        self,
        disorder: Disorder,
        structure: Structure,
        orders: Mapping[str, Sequence[float]] | Literal["distinct", "search"],
    ) -> list[tuple[str, Structure, int | None]]:
        """Return name, structure and multiplicity of the ordered arrangements; none if they are searched for."""
        if isinstance(orders, Mapping):
            if not orders:
                raise InvalidInputError("orders is empty; give at least one wave, distinct or search")
            return [(name, disorder.wave(wave, structure), None) for name, wave in orders.items()]
        if orders == "search":
            return []
        if orders != "distinct":
            raise InvalidInputError(f"orders must be waves by name, distinct or search; got {orders!r}")
        found = disorder.distinct()
        if len(found) > self.max_distinct:
            raise InvalidInputError(
                f"{len(found)} arrangements differ by symmetry, more than max_distinct = {self.max_distinct}; use "
                "orders = search"
            )
        return [(f"order {k + 1} {each.get_space_group_info()[0]}", each, n) for k, (each, n) in enumerate(found)]
