"""Gradient descent on the weights of site groups, constrained to their simplices and to bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from monty.json import MSONable
from scipy.optimize import brentq

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError

#: Update of the weights: along the projected gradient, multiplied by exp(−η ∂J/∂w), or as a softmax of free variables.
Descent = Literal["projected", "exponentiated", "softmax"]

#: Smallest weight at the start of multiplicative updates, since these cannot increase a weight of zero.
SEED_SHARE = 1e-3
#: Largest change of a weight in one step.
MAX_CHANGE = 0.2
#: Number of times that a step is halved before the descent ends.
MAX_HALVINGS = 12
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Domain(MSONable):
    """Allowed weights: each weight is within its bounds, and the weights of each group have a fixed sum.

    Parameters
    ----------
    group_of_weight
        Index of the group of each weight, shape (C,).
    lower, upper
        Bounds of each weight, shape (C,).
    totals
        Sum of the weights of each group: 1, or less if the group has vacancies.

    Raises
    ------
    InvalidInputError
        If a bound is outside [0, 1], a lower bound exceeds the upper one, or the bounds of a group do not allow its
        sum.
    """

    group_of_weight: tuple[int, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    totals: tuple[float, ...]

    def __post_init__(self) -> None:
        low, high = np.array(self.lower), np.array(self.upper)
        if not len(low) == len(high) == len(self.group_of_weight):
            raise InvalidInputError(
                f"lower and upper need {len(self.group_of_weight)} bounds each; got {len(low)} and {len(high)}"
            )
        if not ((low >= 0) & (low <= high) & (high <= 1)).all():
            raise InvalidInputError(f"bounds must satisfy 0 ≤ lower ≤ upper ≤ 1; got {self.lower} and {self.upper}")
        if len(self.totals) != len(set(self.group_of_weight)):
            raise InvalidInputError(f"totals needs {len(set(self.group_of_weight))} sums; got {len(self.totals)}")
        for g, total in enumerate(self.totals):
            least, most = low[self._members(g)].sum(), high[self._members(g)].sum()
            if not (0 < total <= 1 and least - _TOLERANCE <= total <= most + _TOLERANCE):
                raise InvalidInputError(
                    f"the weights of group {g} cannot sum to {total:g}; their bounds allow sums from {least:g} to "
                    f"{min(most, 1):g}"
                )

    def project(self, weights: np.ndarray) -> np.ndarray:
        """Return the closest weights in the domain, shape (C,)."""
        found = np.array(weights, dtype=float)
        for g, total in enumerate(self.totals):
            members = self._members(g)
            values, low, high = found[members], np.array(self.lower)[members], np.array(self.upper)[members]

            def excess(
                shift: float, v: np.ndarray = values, a: np.ndarray = low, b: np.ndarray = high, s: float = total
            ) -> float:
                return float(np.clip(v - shift, a, b).sum() - s)

            # All weights are at their upper bounds for the first shift, and at their lower bounds for the last one.
            first, last = (values - high).min() - 1.0, (values - low).max() + 1.0
            if excess(first) <= 0:
                shift = first
            elif excess(last) >= 0:
                shift = last
            else:
                shift = brentq(excess, first, last, xtol=1e-15)
            found[members] = np.clip(values - shift, low, high)
        return found

    def scaled(self, weights: np.ndarray) -> np.ndarray:
        """Return positive weights scaled to the sum of each group, and then projected into the domain."""
        found = np.array(weights, dtype=float)
        for g, total in enumerate(self.totals):
            members = self._members(g)
            found[members] *= total / found[members].sum()
        return self.project(found)

    def rounded(self, weights: np.ndarray, n_sites: Sequence[int]) -> np.ndarray:
        """Return the closest weights that correspond to whole atoms, by the method of largest remainders.

        Parameters
        ----------
        weights
            Weights, shape (C,).
        n_sites
            Number n of sites of each group; weights become multiples of 1/n. The sum of a group with vacancies is also
            rounded to a multiple of 1/n (halves are rounded up, to fewer vacancies).

        Raises
        ------
        InvalidInputError
            If the domain contains no weights of whole atoms.
        """
        found = np.array(weights, dtype=float)
        for g, (total, n) in enumerate(zip(self.totals, n_sites, strict=True)):
            members = self._members(g)
            counts = np.ceil(n * np.array(self.lower)[members] - _TOLERANCE)
            most = np.floor(n * np.array(self.upper)[members] + _TOLERANCE)
            n_atoms = int(np.floor(n * total + 0.5 + _TOLERANCE))
            if n_atoms < 1 or (counts > most).any() or not counts.sum() <= n_atoms <= most.sum():
                raise InvalidInputError(
                    f"the {n} sites of group {g} cannot hold {n_atoms} whole atoms within the bounds; use a larger "
                    "supercell or wider bounds"
                )
            # The sum of squares is convex in each count, so adding atoms one by one finds the optimum.
            for _ in range(n_atoms - int(counts.sum())):
                missing = np.where(counts < most, n * found[members] - counts, -np.inf)
                counts[missing.round(9).argmax()] += 1
            found[members] = counts / n
        return found

    def tangent(self, weights: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the direction of steepest descent within the domain, shape (C,)."""
        step = 1e-6 / max(1.0, float(np.abs(gradient).max()))
        return (self.project(weights - step * gradient) - weights) / step

    def _members(self, group: int) -> np.ndarray:
        return np.flatnonzero(np.array(self.group_of_weight) == group)


@dataclass(frozen=True)
class Step:
    """One step of a descent.

    Attributes
    ----------
    weights
        Weights, shape (C,).
    objective
        Objective J.
    gradient
        Gradient dJ/dw, shape (C,).
    """

    weights: np.ndarray
    objective: float
    gradient: np.ndarray


def descend(
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: Sequence[float] | np.ndarray,
    domain: Domain,
    *,
    method: Descent = "projected",
    least: float | None = 0.0,
    tolerance: float = 1e-8,
    max_steps: int = 50,
    rate: float = 1.0,
) -> list[Step]:
    """Minimise an objective by gradient descent within a domain, until its smallest value or a local minimum.

    If the smallest possible value is known (0 for a sum of squares), the step length is chosen so that the value is
    reached if the square root of the objective is linear; for one target this is Newton's method. A step that raises
    the objective is halved.

    Parameters
    ----------
    evaluate
        Function that returns J and dJ/dw, shape (C,), for weights of shape (C,).
    start
        Initial weights, shape (C,); they are projected into the domain.
    domain
        Allowed weights.
    method
        Update of the weights.
    least
        Smallest possible value of J. If None (unknown), a step is `rate` times the gradient.
    tolerance
        Tolerance of J above its smallest value, or of its first-order decrease.
    max_steps
        Maximum number of steps.
    rate
        Step length if the smallest value is unknown, in units of weights² per J.

    Returns
    -------
    trace
        The start and all accepted steps.

    Raises
    ------
    InvalidInputError
        If the method is unknown.
    """
    check_method(method)
    weights = domain.project(np.array(start, dtype=float))
    if method != "projected":
        weights = domain.scaled(np.maximum(weights, SEED_SHARE))
    trace = [Step(weights, *evaluate(weights))]
    while len(trace) <= max_steps:
        here = trace[-1]
        if least is not None and here.objective - least <= tolerance:
            break
        direction = _direction(method, domain, here)
        gain = -float(here.gradient @ direction)
        if gain <= tolerance * (1.0 if least is None else 1e-3):
            break
        length = rate if least is None else 2 * (here.objective - least) / gain
        length = min(length, MAX_CHANGE / max(float(np.abs(direction).max()), 1e-12))
        for _ in range(MAX_HALVINGS):
            weights = _after_step(method, domain, here, direction, length)
            found = Step(weights, *evaluate(weights))
            if found.objective < here.objective:
                break
            length /= 2
        else:
            break
        trace.append(found)
    return trace


def check_method(method: Descent) -> None:
    """Check the name of a method.

    Raises
    ------
    InvalidInputError
        If the name is unknown; the message lists the known ones.
    """
    check_choice("method", method, get_args(Descent))


def _direction(method: Descent, domain: Domain, here: Step) -> np.ndarray:
    """Return the direction of a step, dw/dη at η = 0."""
    if method == "projected":
        return domain.tangent(here.weights, here.gradient)
    slopes = np.empty_like(here.gradient)
    for g, total in enumerate(domain.totals):
        members = np.flatnonzero(np.array(domain.group_of_weight) == g)
        w, slope = here.weights[members], here.gradient[members]
        rate = slope - w @ slope / total
        if method == "softmax":  # the chain rule through the softmax applies twice
            rate = w * rate
            rate = rate - w @ rate / total
        slopes[members] = -w * rate
    return slopes


def _after_step(method: Descent, domain: Domain, here: Step, direction: np.ndarray, length: float) -> np.ndarray:
    """Return the weights after a step of a given length along a direction."""
    if method == "projected":
        return domain.project(here.weights + length * direction)
    # Both methods multiply by exp(η dw/w); they differ in the direction dw.
    growth = np.divide(direction, here.weights, out=np.zeros_like(direction), where=here.weights > 0)
    return domain.scaled(here.weights * np.exp(np.clip(length * growth, -30, 30)))
