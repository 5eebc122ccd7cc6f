"""Evaluate the objective of an optimisation: a sum of targets, a user-defined function, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from math import isfinite

import numpy as np
import torch

from alchemflows.errors import InvalidInputError
from alchemflows.optimize.names import unknown
from alchemflows.optimize.quantities import Quantity
from alchemflows.schemas.optimization import Target
from alchemflows.schemas.reasons import Reason

#: A function of the quantities, which are scalar float64 tensors, that returns a scalar tensor.
Function = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Aim:
    """Targets, a user-defined function or both, and the tolerance within which they count as reached.

    Parameters
    ----------
    targets
        Targets for single quantities.
    function
        Function of all quantities that is added to the sum of targets.
    least
        Smallest possible value of the function; None if unknown.
    tolerance
        Tolerance of a target as a fraction of its scale; the tolerance of the function is its square.
    """

    targets: list[Target]
    function: Function | None
    least: float | None
    tolerance: float

    @property
    def least_sum(self) -> float | None:
        """Smallest possible value of the objective; None if unknown."""
        if any(target.extremum is not None for target in self.targets):
            return None
        return 0.0 if self.function is None else self.least

    @property
    def smallest(self) -> float:
        """Largest difference of two values of the objective that count as equal."""
        return self.tolerance**2 * min([target.factor for target in self.targets], default=1.0)

    def objective(self, found: Mapping[str, Quantity]) -> tuple[float, np.ndarray]:
        """Return the objective J and its gradient, in the coordinates of the gradients of the quantities.

        Raises
        ------
        InvalidInputError
            For the same reasons as in :func:`of_targets` and :func:`of_function`.
        """
        total, slope = of_targets(self.targets, found)
        if self.function is None:
            return total, slope
        own, of_own = of_function(self.function, found)
        return total + own, slope + of_own

    def missed(self, values: Mapping[str, float], objective: float) -> list[str]:
        """Return a description of each target that is not reached."""
        wanted = [(target, target.value) for target in self.targets if target.value is not None]
        missed = [
            Reason.TARGET.because(quantity=target.quantity, value=values[target.quantity], target=value)
            for target, value in wanted
            if abs(values[target.quantity] - value) > self.tolerance * target.scale
        ]
        # Even if all targets are reached, the sum can exceed its smallest value by the sum of their tolerances.
        allowed = self.tolerance**2 * sum(target.factor for target in self.targets) + self.tolerance**2
        if self.function is not None and self.least_sum is not None and objective - self.least_sum > allowed:
            missed.append(Reason.OBJECTIVE.because(value=objective, least=self.least_sum))
        return missed


def of_targets(targets: Sequence[Target], found: Mapping[str, Quantity]) -> tuple[float, np.ndarray]:
    """Return the weighted sum of the targets and its gradient, in the coordinates of the gradients of the quantities.

    Raises
    ------
    InvalidInputError
        If a target names an unknown quantity.
    """
    total, slope = 0.0, np.zeros_like(next(iter(found.values())).gradient)
    for target in targets:
        try:
            y = found[target.quantity]
        except KeyError as error:
            raise unknown(target.quantity, found) from error
        if target.value is not None:
            away = (y.value - target.value) / target.scale
            total += target.factor * away**2
            slope += target.factor * 2 * away * y.gradient / target.scale
        else:
            sign = 1.0 if target.extremum == "least" else -1.0
            total += target.factor * sign * y.value / target.scale
            slope += target.factor * sign * y.gradient / target.scale
    return total, slope


def of_function(function: Function, found: Mapping[str, Quantity]) -> tuple[float, np.ndarray]:
    """Return the value of a user-defined function and its gradient.

    torch differentiates the function with respect to the quantities; the chain rule gives the gradient, in the
    coordinates of the gradients of the quantities.

    Raises
    ------
    InvalidInputError
        If the function reads an unknown quantity, or does not return a finite scalar tensor that depends on a quantity.
    """
    read = _QuantityTensors(found)
    value = _checked_value(function, read)
    if not isfinite(value.item()):
        there = ", ".join(f"{name} = {x.item():.6g}" for name, x in read.leaves.items())
        raise InvalidInputError(f"the objective {name_of(function)} is {value.item()} at {there}")
    if not value.requires_grad:
        raise InvalidInputError(
            f"the objective {name_of(function)} must depend on a quantity in a way that torch can differentiate"
        )
    slopes = torch.autograd.grad(value, list(read.leaves.values()), allow_unused=True)
    total = np.zeros_like(next(iter(found.values())).gradient)
    for name, slope in zip(read.leaves, slopes, strict=True):
        if slope is not None:
            total += slope.item() * found[name].gradient
    if not np.isfinite(total).all():
        raise InvalidInputError(
            f"the gradient of the objective {name_of(function)} is not finite where its value is {value.item()}"
        )
    return value.item(), total


def check_function(function: Function, names: Iterable[str]) -> None:
    """Check that workers can import a function, that it reads known quantities only, and that it returns a scalar.

    The function is called once with the value 1 for all quantities. Since these values are artificial, an exception or
    a result that is not finite is not an error. Then only the quantities that were read before are checked.

    Raises
    ------
    InvalidInputError
        If one of the checks fails.
    """
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    try:
        found = reduce(getattr, path.split("."), import_module(module or ""))
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not function or module == "__main__":
        raise InvalidInputError(
            f"workers cannot import the objective {path or function!r}; define it as a function at the top level of a "
            "module, not as a lambda, nor in a function, a notebook or the script itself"
        )
    try:
        _checked_value(function, _QuantityTensors({name: Quantity(1.0, np.zeros(0)) for name in names}))
    except InvalidInputError:
        raise
    except Exception:  # at artificial values the function may raise any exception
        return


def name_of(function: Function) -> str:
    """Return the name under which a function is imported."""
    return f"{function.__module__}.{function.__qualname__}"


class _QuantityTensors(Mapping[str, torch.Tensor]):
    """Quantities as differentiable tensors, which are created when they are read."""

    def __init__(self, found: Mapping[str, Quantity]) -> None:
        self.found = found
        self.leaves: dict[str, torch.Tensor] = {}
        self.missed: list[str] = []

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self.leaves:
            try:
                value = self.found[name].value
            except KeyError:
                self.missed.append(name)
                raise
            self.leaves[name] = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        return self.leaves[name]

    def __contains__(self, name: object) -> bool:
        return name in self.found

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def _checked_value(function: Function, read: _QuantityTensors) -> torch.Tensor:
    """Call a function and check that it returns a scalar tensor."""
    try:
        with torch.enable_grad():
            value = function(read)
    except KeyError as error:
        if error.args and error.args[0] in read.missed:
            raise unknown(error.args[0], read.found) from error
        raise
    if not isinstance(value, torch.Tensor) or value.dim() or not value.is_floating_point():
        kind = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise InvalidInputError(f"the objective {name_of(function)} must return a scalar torch tensor; got {kind}")
    return value
