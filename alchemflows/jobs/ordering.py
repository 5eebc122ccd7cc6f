"""The job that searches for ordered arrangements."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.jobflow_parts import run_in_this_job
from alchemflows.jobs.relax import AlchemicalRelaxMaker
from alchemflows.schemas.ordering import Arrangement, OrderingSearchDocument
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.relax import RelaxDocument
from alchemflows.schemas.verdict import Verdict
from alchemflows.structures.sublattices import SYMPREC_A

if TYPE_CHECKING:
    from alchemflows.alchemy.interfaces import Backend
    from alchemflows.optimize.ordering import DescentEnd

#: Mean largest weight above which sites count as occupied by whole atoms.
SHARP = 0.95


@dataclass
class SearchMaker(Maker):
    """Find ordered arrangements by gradient descent in one batch, and relax those of lowest energy.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential of the descent; relaxations use it in float64.
    relax_maker
        Maker that relaxes atoms and cell of the arrangements of lowest energy.
    n_starts
        Number of random starts of the search for ordered arrangements.
    n_steps
        Number of descent steps from each start.
    seed
        Seed of the random starts.
    n_relaxed
        Number of distinct arrangements to relax, chosen by their energy at the end of the descent.
    round_composition
        Whether to round a composition that does not correspond to whole atoms.

    Examples
    --------
    >>> from alchemflows import OrderingSearchMaker, SearchMaker
    >>> OrderingSearchMaker(search_maker=SearchMaker(n_starts=4, n_relaxed=2)).search_maker.n_starts
    4
    """

    name: str = "search for order"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    relax_maker: AlchemicalRelaxMaker = field(default_factory=AlchemicalRelaxMaker)
    n_starts: int = 16
    n_steps: int = 60
    seed: int = 0
    n_relaxed: int = 5
    round_composition: bool = False

    def check_numbers(self) -> None:
        """Raise an error if a number is too small.

        Raises
        ------
        InvalidInputError
            Naming the numbers that must be at least 1.
        """
        if min(self.n_starts, self.n_steps, self.n_relaxed) < 1:
            raise InvalidInputError("n_starts, n_steps and n_relaxed must be at least 1")

    def cost(self, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`: descents, then relaxations of the best."""
        return JobCost("relaxation", n_relaxations=self.n_relaxed, n_evaluations=self.n_starts * self.n_steps)

    @job(output_schema=OrderingSearchDocument)
    def make(
        self, structure: Structure, supercell: Sequence[int], disordered: RelaxDocument | dict | None
    ) -> OrderingSearchDocument:
        """Search for ordered arrangements.

        Parameters
        ----------
        structure
            Structure with partial occupancies.
        supercell
            Repeats of the structure along a, b, c.
        disordered
            The relaxed alchemical supercell.

        Raises
        ------
        AlchemflowsError
            If that relaxation failed.
        """
        from alchemflows.alchemy.backends import load_potential
        from alchemflows.optimize.ordering import search

        began = time.perf_counter()
        known = RelaxDocument.read(disordered)
        if known is None:
            raise AlchemflowsError("the relaxation of the disordered crystal failed; see the error of that job")
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        backend = load_potential(self.potential)
        ends = search(disorder, known.structure, backend, n_starts=self.n_starts, n_steps=self.n_steps, seed=self.seed)
        different: dict[bytes, list[tuple[float, DescentEnd]]] = {}
        for end in ends:
            here = different.setdefault(disorder.same_by_symmetry(end.labels), [])
            here.append((_energy(end.structure, backend), end))
        # The arrangements to relax are chosen by their energy at the end of the descent.
        best = sorted(((*min(here, key=_first), len(here)) for here in different.values()), key=_first)
        relax = replace(self.relax_maker, require_convergence=False)
        arrangements = []
        for _, end, n_starts in best[: self.n_relaxed]:
            relaxed = run_in_this_job(relax, AlchemicalSystem(end.structure), [], self.potential)
            name = f"order {end.structure.get_space_group_info(SYMPREC_A)[0]}"
            arrangements.append(Arrangement.of(name, "ordered", relaxed, n_starts=n_starts))
        arrangements.sort(key=lambda arrangement: arrangement.energy_eV)
        sharpness = float(np.mean([end.sharpness for end in ends]))
        reasons = [Reason.NOT_RELAXED.because(name=each.name) for each in arrangements if not each.converged]
        if sharpness < SHARP:
            reasons.append(Reason.MIXED_WEIGHTS.because(sharpness=sharpness))
        return OrderingSearchDocument(
            formula=disorder.system.formula(disorder.weights),
            counts=disorder.counts,
            arrangements=arrangements,
            n_starts=self.n_starts,
            n_distinct=len(different),
            n_arrangements=disorder.n_arrangements,
            sharpness=sharpness,
            disordered_energy_eV=known.energy_eV,
            rounding=disorder.rounding,
            verdict=Verdict.of(reasons, [disorder.rounding] if disorder.rounding else []),
            provenance=Provenance(potential=backend.record, seed=self.seed, wall_time_s=time.perf_counter() - began),
        )


def _energy(structure: Structure, backend: Backend) -> float:
    from alchemflows.alchemy.potential import AlchemicalPotential

    potential = AlchemicalPotential(AlchemicalSystem(structure), backend)
    positions, cells = structure.cart_coords[None], structure.lattice.matrix[None]
    return float(potential.energies(positions, cells, np.zeros((1, 1, 0)))[0, 0])


def _first(parts: tuple) -> float:
    return parts[0]
