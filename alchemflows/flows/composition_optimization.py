"""The flow that optimizes the composition of a crystal for target properties."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from jobflow import Flow
from pymatgen.core import Element, Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import PotentialMaker
from alchemflows.jobs.optimize import OptimizeMaker
from alchemflows.optimize.names import names_of, unknown
from alchemflows.optimize.response import check_cell
from alchemflows.optimize.simplex import Domain, check_method
from alchemflows.schemas.optimization import Target

if TYPE_CHECKING:
    from alchemflows.optimize.objective import Function
else:  # its annotation names tensors; arguments are checked without it
    Function = Callable

#: Bounds of shares, by the element of the sites and the element that occupies them.
Bounds = Mapping[str, Mapping[str, tuple[float, float]]]


@dataclass
class CompositionOptimizationMaker(PotentialMaker):
    """Optimize the composition by gradient descent, relaxing positions and cell degrees of freedom at each step.

    The gradient includes the response of the relaxed crystal, by the implicit function theorem with second derivatives
    from automatic differentiation (:mod:`alchemflows.optimize.response`).

    See :class:`PotentialMaker` for the other parameters.

    Parameters
    ----------
    coupling
        Interaction between the alchemical sites of a group: ``paired`` (all sites change together) or ``mean-field``
        (sites mix independently, as in a random solid solution).

        See :class:`AlchemicalSystem`.
    optimize_maker
        Relaxed cell degrees of freedom, method of the descent, tolerances and rounding; its potential is not used.
    n_starts
        Number of starting compositions: the first is the middle of the bounds, the others are random.
    seed
        Seed of the random starting compositions.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CompositionOptimizationMaker, OptimizeMaker, Target
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> descent = OptimizeMaker(relaxation="none")
    >>> maker = CompositionOptimizationMaker(potential="mace-demo", optimize_maker=descent)
    >>> flow = maker.make(salt, {"Na": ["Na", "K"]}, [Target(quantity="pressure_GPa", value=0.0)])
    >>> [job.name for job in flow.jobs]
    ['composition optimization']
    """

    name: str = "composition optimization"
    coupling: Coupling = "paired"
    optimize_maker: OptimizeMaker = field(default_factory=OptimizeMaker)
    n_starts: int = 1
    seed: int = 0

    @checked
    def make(
        self,
        structure: Structure,
        choices: Mapping[str, Sequence[str]],
        targets: Sequence[Target] = (),
        *,
        objective: Function | None = None,
        least: float | None = None,
        bounds: Bounds | None = None,
        totals: Mapping[str, float] | None = None,
    ) -> Flow:
        """Return the flow; its output is an :class:`OptimizationDocument`.

        Parameters
        ----------
        structure
            Structure from which relaxations start; cell parameters that are not relaxed keep its values.
        choices
            Elements allowed on the sites of an element, for example ``{"Al": ["Al", "Sc"]}``.
        targets
            Targets of the optimization.
        objective
            A user function, to which the targets are added. It takes a mapping from names of quantities to scalar
            float64 tensors and returns a scalar tensor. Workers import it by its name.
        least
            Minimum value of the function, at which a descent ends; without it, steps are `rate` times the gradient.
        bounds
            Bounds of shares, for example ``{"Al": {"Sc": (0.0, 0.4)}}``.
        totals
            Sums of the shares, for example ``{"Al": 0.95}`` for 5 % of vacancies; 1 if not given.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, the choices, a target, the function, a bound, a sum or the potential is invalid, or no
            composition in whole atoms is within the bounds.
        """
        check_cell(self.optimize_maker.relaxation, structure.lattice.matrix)
        check_method(self.optimize_maker.method)
        if any((target.value is None) == (target.extremum is None) for target in targets):
            raise InvalidInputError("each target needs either a value or an extremum")
        quantities = [target.quantity for target in targets]
        twice = next((name for name in quantities if quantities.count(name) > 1), None)
        if twice is not None:
            raise InvalidInputError(f"{twice} has two targets; give one for each quantity")
        if not targets and objective is None:
            raise InvalidInputError("at least one target or an objective is needed")
        if least is not None and (objective is None or not np.isfinite(least)):
            raise InvalidInputError(f"least must be finite, and needs an objective whose minimum it is; got {least}")
        if least is not None and any(target.extremum for target in targets):
            raise InvalidInputError(
                "least cannot be used with a target that is an extremum, since the minimum of their sum is not known"
            )
        if self.n_starts < 1 or self.seed < 0:
            raise InvalidInputError(
                f"n_starts must be at least 1 and seed at least 0; got {self.n_starts} and {self.seed}"
            )
        system = CompositionGrid.simplex(structure, choices, 1, coupling=self.coupling).system
        names = names_of(system, self.optimize_maker.relaxation)
        for target in targets:
            if target.quantity not in names:
                raise unknown(target.quantity, names)
        if objective is not None:
            from alchemflows.optimize.objective import check_function

            check_function(objective, names)
        domain = _domain(system, choices, bounds or {}, totals or {})
        self.optimize_maker.check_rounding(system, domain)
        potential = self.checked_potential(system)
        rng = np.random.default_rng(self.seed)
        middle = (np.array(domain.lower) + np.array(domain.upper)) / 2
        starts = [domain.project(middle)]
        for _ in range(self.n_starts - 1):
            shares = [rng.dirichlet(np.ones(len(group.channels))) for group in system.groups]
            starts.append(domain.project(np.concatenate(shares)))
        job = replace(self.optimize_maker, potential=potential).make(
            system,
            list(targets),
            [start.tolist() for start in starts],
            domain,
            objective=objective,
            least=least,
        )
        return Flow(
            self.categorised([job]), output=job.output, name=f"{self.name} {structure.composition.reduced_formula}"
        )


def _domain(
    system: AlchemicalSystem, choices: Mapping[str, Sequence[str]], bounds: Bounds, totals: Mapping[str, float]
) -> Domain:
    for name, given in (("bounds", bounds), ("totals", totals)):
        unknown = sorted(set(given) - set(choices))
        if unknown:
            raise InvalidInputError(f"{name} are given for {', '.join(unknown)}, for which there are no choices")
    lower, upper = [], []
    for (element, symbols), group in zip(choices.items(), system.groups, strict=True):
        limits = bounds.get(element, {})
        if set(limits) - set(symbols):
            raise InvalidInputError(
                f"bounds for {element} name {', '.join(sorted(set(limits) - set(symbols)))}; its choices are "
                f"{', '.join(symbols)}"
            )
        for channel in group.channels:
            low, high = limits.get(Element.from_Z(channel[0]).symbol, (0.0, 1.0))
            lower.append(float(low))
            upper.append(float(high))
    sums = tuple(float(totals.get(element, 1.0)) for element in choices)
    return Domain(tuple(system.group_of_weight.tolist()), tuple(lower), tuple(upper), sums)
