"""Descent on the weights of site groups, which stay on their simplices and within bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from monty.json import MSONable
from scipy.optimize import brentq

from alchemflows.errors import InvalidInputError

#: How weights move: along the projected gradient; multiplied by exp(−η ∂J/∂w); or as a softmax of free variables.
Descent = Literal["projected", "exponentiated", "softmax"]

#: Weights that are zero cannot grow where they are multiplied: they begin with this share instead.
SEED_SHARE = 1e-3
#: No weight changes by more in one step.
MAX_CHANGE = 0.2
#: A step is halved so often before there is none that goes down.
MAX_HALVINGS = 12
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Domain(MSONable):
    """Where weights may be: each between its bounds, those of each group with a fixed sum.

    Parameters
    ----------
    group_of_weight
        Index of the group of each weight, shape (C,).
    lower, upper
        Bounds, shape (C,).
    totals
        Sum of the weights of each group: 1, or less where there are vacancies.

    Raises
    ------
    InvalidInputError
        If bounds leave [0, 1] or cross, or a group's sum does not lie between those of its bounds.
    """

    group_of_weight: tuple[int, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    totals: tuple[float, ...]

    def __post_init__(self) -> None:
        low, high = np.array(self.lower), np.array(self.upper)
        if not len(low) == len(high) == len(self.group_of_weight):
            raise InvalidInputError(f"{len(self.group_of_weight)} bounds are needed below and above")
        if not ((low >= 0) & (low <= high) & (high <= 1)).all():
            raise InvalidInputError(f"bounds must satisfy 0 ≤ lower ≤ upper ≤ 1; got {self.lower} and {self.upper}")
        if len(self.totals) != len(set(self.group_of_weight)):
            raise InvalidInputError(f"{len(set(self.group_of_weight))} sums are needed; got {len(self.totals)}")
        for g, total in enumerate(self.totals):
            least, most = low[self._members(g)].sum(), high[self._members(g)].sum()
            if not (0 < total <= 1 and least - _TOLERANCE <= total <= most + _TOLERANCE):
                raise InvalidInputError(
                    f"the weights of group {g} cannot sum to {total:g}: their bounds allow {least:g} to "
                    f"{min(most, 1):g}"
                )

    def project(self, weights: np.ndarray) -> np.ndarray:
        """Return the nearest weights in the domain, shape (C,)."""
        found = np.array(weights, dtype=float)
        for g, total in enumerate(self.totals):
            members = self._members(g)
            values, low, high = found[members], np.array(self.lower)[members], np.array(self.upper)[members]

            def excess(
                shift: float, v: np.ndarray = values, a: np.ndarray = low, b: np.ndarray = high, s: float = total
            ) -> float:
                return float(np.clip(v - shift, a, b).sum() - s)

            # At these shifts all are at their upper, and at their lower bounds.
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
        """Return positive weights multiplied so that each group has its sum, then put within their bounds."""
        found = np.array(weights, dtype=float)
        for g, total in enumerate(self.totals):
            members = self._members(g)
            found[members] *= total / found[members].sum()
        return self.project(found)

    def rounded(self, weights: np.ndarray, n_sites: Sequence[int]) -> np.ndarray:
        """Return the nearest weights that whole atoms can have, by largest remainders within the bounds.

        Parameters
        ----------
        weights
            Shape (C,).
        n_sites
            Sites of each group: weights become multiples of one over their number. The sum of a group does too, which
            changes it where there are vacancies and they do not fit (halves are rounded up: fewer vacancies).

        Raises
        ------
        InvalidInputError
            If no such weights are in the domain.
        """
        found = np.array(weights, dtype=float)
        for g, (total, n) in enumerate(zip(self.totals, n_sites, strict=True)):
            members = self._members(g)
            counts = np.ceil(n * np.array(self.lower)[members] - _TOLERANCE)
            most = np.floor(n * np.array(self.upper)[members] + _TOLERANCE)
            n_atoms = int(np.floor(n * total + 0.5 + _TOLERANCE))
            if n_atoms < 1 or (counts > most).any() or not counts.sum() <= n_atoms <= most.sum():
                raise InvalidInputError(
                    f"{n} sites of group {g} cannot have {n_atoms} atoms in whole numbers within the bounds: take "
                    "more repeats of the cell, or wider bounds"
                )
            # The sum of squares is convex in each count, so that atoms, one by one, find their best places.
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
        Shape (C,).
    objective
        J.
    gradient
        dJ/dw, shape (C,).
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
    """Descend from a start until the objective is at its least value, or no step within the domain lowers it.

    Where a least value is known (a sum of squares has 0), a step is as long as the gradient needs to reach it if the
    square root of the objective is linear: for one target that is Newton's method. A step that raises the objective is
    halved.

    Parameters
    ----------
    evaluate
        Returns J and dJ/dw, shape (C,), at weights of shape (C,).
    start
        Shape (C,); put into the domain first.
    domain
        Where weights may be.
    method
        How weights move.
    least
        Smallest possible value of J; None if it is not known: steps then have the length of `rate` times the gradient.
    tolerance
        Of J above its least value, or of its first-order decrease.
    max_steps
        At most so many steps.
    rate
        Step length where no least value is known, in units of weights² per J.

    Returns
    -------
    trace
        The accepted steps, the start first.

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
            weights = _moved(method, domain, here, direction, length)
            found = Step(weights, *evaluate(weights))
            if found.objective < here.objective:
                break
            length /= 2
        else:
            break
        trace.append(found)
    return trace


def check_method(method: Descent) -> None:
    """Refuse an unknown method.

    Raises
    ------
    InvalidInputError
        Naming those that there are.
    """
    if method not in get_args(Descent):
        raise InvalidInputError(f"the method must be one of {', '.join(get_args(Descent))}; got {method!r}")


def _direction(method: Descent, domain: Domain, here: Step) -> np.ndarray:
    """Return dw/dη at the beginning of a step."""
    if method == "projected":
        return domain.tangent(here.weights, here.gradient)
    slopes = np.empty_like(here.gradient)
    for g, total in enumerate(domain.totals):
        members = np.flatnonzero(np.array(domain.group_of_weight) == g)
        w, slope = here.weights[members], here.gradient[members]
        rate = slope - w @ slope / total
        if method == "softmax":  # by the chain rule, once more
            rate = w * rate
            rate = rate - w @ rate / total
        slopes[members] = -w * rate
    return slopes


def _moved(method: Descent, domain: Domain, here: Step, direction: np.ndarray, length: float) -> np.ndarray:
    if method == "projected":
        return domain.project(here.weights + length * direction)
    # Multiplying by exp(η dw/w) is what both do: their rates of growth differ.
    growth = np.divide(direction, here.weights, out=np.zeros_like(direction), where=here.weights > 0)
    return domain.scaled(here.weights * np.exp(np.clip(length * growth, -30, 30)))
