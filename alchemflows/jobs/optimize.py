"""The job that optimizes the composition of a crystal for target properties."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jobflow import Maker, job
from pymatgen.core import Composition, Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.jobs.cost import JobCost
from alchemflows.jobs.inputs import started_from
from alchemflows.optimize.response import CellRelaxation
from alchemflows.optimize.simplex import Descent, Domain, descend
from alchemflows.schemas.optimization import (
    OptimizationDocument,
    OptimizationRun,
    OptimizationStep,
    RoundedComposition,
    Target,
)
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict

if TYPE_CHECKING:
    from alchemflows.alchemy.lockstep import Seat
    from alchemflows.optimize.crystal import RelaxedCrystal
    from alchemflows.optimize.objective import Aim, Function


@dataclass
class OptimizeMaker(Maker):
    """Optimize the weights of a crystal by gradient descent from several starts, relaxing the crystal at each step.

    Parameters
    ----------
    name
        Name of the job.
    potential
        Potential; it is always evaluated in float64.
    relaxation
        Cell degrees of freedom that are relaxed with the positions: ``none``, ``isotropic``, ``axes``, ``c`` (for a
        film on a substrate) or ``full``.
    method
        Method of gradient descent on the weights: ``projected``, ``exponentiated`` or ``softmax``.
    tolerance
        Tolerance of a target value, as a fraction of the target's scale.
    max_steps
        Maximum number of accepted steps from each start.
    rate
        Factor of the gradient that gives a step, if a quantity is minimised or maximised.
    fmax_eV_per_A
        Maximum force at which a relaxation has converged (eV/Å).
    round_to
        Number of cells of the supercell in which the best composition is rounded to whole atoms; by default it is not
        rounded.

    Examples
    --------
    >>> from alchemflows import CompositionOptimizationMaker, OptimizeMaker
    >>> maker = CompositionOptimizationMaker(optimize_maker=OptimizeMaker(relaxation="isotropic", round_to=8))
    >>> maker.optimize_maker.round_to
    8
    """

    name: str = "composition optimization"
    potential: PotentialSpec = field(default_factory=lambda: PotentialSpec(name="sevennet-0"))
    relaxation: CellRelaxation = "full"
    method: Descent = "projected"
    tolerance: float = 1e-3
    max_steps: int = 50
    rate: float = 1.0
    fmax_eV_per_A: float = 1e-3
    round_to: int | None = None

    def cost(
        self,
        system: AlchemicalSystem,
        targets: Sequence[Target],
        starts: Sequence[Sequence[float]],
        *_: object,
        **__: object,
    ) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`: a relaxation at each step of the descents."""
        n = len(starts) * (self.max_steps + 1) + (self.round_to is not None)
        return JobCost("relaxation", n_relaxations=n)

    @job(output_schema=OptimizationDocument)
    def make(
        self,
        system: AlchemicalSystem,
        targets: Sequence[Target],
        starts: Sequence[Sequence[float]],
        domain: Domain,
        structure: Structure | None = None,
        objective: Function | None = None,
        least: float | None = None,
    ) -> OptimizationDocument:
        """Optimize the composition.

        Parameters
        ----------
        system
            The crystal.
        targets
            Targets of the optimization.
        starts
            Weights to start from, shape (number of starts, C).
        domain
            Allowed region of the weights.
        structure
            Positions and cell to start from; those of the system if not given.
        objective
            A function of the quantities, to which the targets are added.
        least
            Minimum value of `objective`, at which a descent ends; None if it is not known.

        Raises
        ------
        InvalidInputError
            If a target is not a quantity of the crystal, the function is invalid, or no composition in whole atoms is
            within the bounds.
        AlchemflowsError
            If a relaxation does not converge.
        """
        from alchemflows.alchemy.backends import load_potential
        from alchemflows.alchemy.lockstep import in_lockstep
        from alchemflows.alchemy.potential import AlchemicalPotential
        from alchemflows.optimize.objective import Aim, name_of

        began = time.perf_counter()
        system = started_from(system, structure)
        self.check_rounding(system, domain)
        aim = Aim(list(targets), objective, least, self.tolerance)
        backend = load_potential(self.potential.model_copy(update={"dtype": "float64"}))
        runs = in_lockstep(
            partial(AlchemicalPotential, system, backend),
            [partial(self._run, system, aim, np.array(start), domain) for start in starts],
        )
        best = int(np.argmin([run.steps[-1].objective for run in runs]))
        last = runs[best].steps[-1]
        rounded = self._rounded(system, aim, domain, runs[best])
        against = [] if rounded is None or rounded.verdict is None else rounded.verdict.reasons
        return OptimizationDocument(
            targets=aim.targets,
            function=None if objective is None else name_of(objective),
            least=least,
            weight_labels=list(system.weight_labels),
            coupling=system.coupling,
            n_sites=system.n_sites,
            relaxation=self.relaxation,
            runs=runs,
            best=best,
            rounded=rounded,
            verdict=Verdict.of(
                aim.missed(last.quantities, last.objective),
                [f"whole atoms miss a target: {reason}" for reason in against],
            ),
            provenance=Provenance(potential=backend.record, wall_time_s=time.perf_counter() - began),
        )

    def check_rounding(self, system: AlchemicalSystem, domain: Domain) -> None:
        """Check that compositions can be rounded to whole atoms.

        Raises
        ------
        InvalidInputError
            If `round_to` is not positive, or no composition in whole atoms is within the bounds.
        """
        if self.round_to is not None:
            if self.round_to < 1:
                raise InvalidInputError(f"round_to must be at least 1; got {self.round_to}")
            domain.rounded(np.array(domain.lower), _n_sites(system, self.round_to))

    def _rounded(
        self, system: AlchemicalSystem, aim: Aim, domain: Domain, run: OptimizationRun
    ) -> RoundedComposition | None:
        if self.round_to is None:
            return None
        weights = domain.rounded(np.array(run.steps[-1].weights), _n_sites(system, self.round_to))
        crystal = self._crystal(system.with_structure(run.structure))
        found = crystal.at(weights)
        total, _ = aim.objective(found)
        values = {name: quantity.value for name, quantity in found.items()}
        atoms = {symbol: round(self.round_to * amount) for symbol, amount in system.amounts(weights).items()}
        return RoundedComposition(
            n_repeats=self.round_to,
            weights=weights.tolist(),
            formula=Composition(atoms).formula.replace(" ", ""),
            objective=total,
            quantities=values,
            structure=crystal.structure,
            verdict=Verdict.of(aim.missed(values, total)),
        )

    def _crystal(self, system: AlchemicalSystem, seat: Seat | None = None) -> RelaxedCrystal:
        from alchemflows.optimize.crystal import RelaxedCrystal

        return RelaxedCrystal(system, self.potential, self.relaxation, fmax_eV_per_A=self.fmax_eV_per_A, seat=seat)

    def _run(
        self, system: AlchemicalSystem, aim: Aim, start: np.ndarray, domain: Domain, seat: Seat
    ) -> OptimizationRun:
        crystal = self._crystal(system, seat)
        seen: dict[bytes, tuple[dict[str, float], Structure]] = {}

        def evaluate(weights: np.ndarray) -> tuple[float, np.ndarray]:
            found = crystal.at(weights)
            total = aim.objective(found)
            values = {name: quantity.value for name, quantity in found.items()}
            seen[weights.tobytes()] = values, crystal.structure
            return total

        trace = descend(
            evaluate,
            start,
            domain,
            method=self.method,
            least=aim.least_sum,
            tolerance=aim.smallest,
            max_steps=self.max_steps,
            rate=self.rate,
        )
        last = trace[-1].weights
        steps = [
            OptimizationStep(
                weights=step.weights.tolist(),
                objective=step.objective,
                gradient=step.gradient.tolist(),
                quantities=seen[step.weights.tobytes()][0],
            )
            for step in trace
        ]
        return OptimizationRun(
            steps=steps,
            start_formula=system.formula(trace[0].weights),
            formula=system.formula(last),
            structure=seen[last.tobytes()][1],
            n_evaluations=crystal.n_evaluations,
            n_second_derivatives=crystal.n_second_derivatives,
            reached=not aim.missed(steps[-1].quantities, steps[-1].objective),
        )


def _n_sites(system: AlchemicalSystem, n_repeats: int) -> list[int]:
    """Return the number of sites of each group that choose their element independently, in a number of cells.

    The sites of a group whose channels are patterns of several elements choose together.
    """
    return [
        n_repeats * (len(group.sites) if all(len(set(channel)) == 1 for channel in group.channels) else 1)
        for group in system.groups
    ]
