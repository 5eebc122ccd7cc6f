"""What a descent lowers: a sum of targets, a function of the user's own, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from importlib import import_module
from math import isfinite

import numpy as np
import torch

from alchemflows.errors import InvalidInputError
from alchemflows.optimize.elasticity import BULK_MODULUS, WITHOUT_STRESS
from alchemflows.optimize.quantities import Quantity
from alchemflows.schemas.optimization import Target

#: A function of the quantities, each a float64 tensor without dimensions, that returns another such tensor.
Function = Callable[[Mapping[str, torch.Tensor]], torch.Tensor]


@dataclass(frozen=True)
class Aim:
    """What is wanted: targets, a function or both, and from when on it is reached.

    Parameters
    ----------
    targets
        What is wanted of single quantities.
    function
        Of all quantities; it is added.
    least
        The least value of the function, if it is known.
    tolerance
        Share of a target's scale; of a function, its root.
    """

    targets: list[Target]
    function: Function | None
    least: float | None
    tolerance: float

    @property
    def least_sum(self) -> float | None:
        """The least value of all together, if it is known."""
        if any(target.extremum is not None for target in self.targets):
            return None
        return 0.0 if self.function is None else self.least

    @property
    def smallest(self) -> float:
        """Objectives that differ by no more are the same."""
        return self.tolerance**2 * min([target.factor for target in self.targets], default=1.0)

    def objective(self, found: Mapping[str, Quantity]) -> tuple[float, np.ndarray]:
        """Return J and its gradient in what the quantities' gradients are in.

        Raises
        ------
        InvalidInputError
            As :func:`of_targets` and :func:`of_function`.
        """
        total, slope = of_targets(self.targets, found)
        if self.function is None:
            return total, slope
        own, of_own = of_function(self.function, found)
        return total + own, slope + of_own

    def missed(self, values: Mapping[str, float], objective: float) -> list[str]:
        """Say what has not been reached."""
        wanted = [(target, target.value) for target in self.targets if target.value is not None]
        missed = [
            f"{target.quantity} is {values[target.quantity]:.6g}, not {value:.6g}"
            for target, value in wanted
            if abs(values[target.quantity] - value) > self.tolerance * target.scale
        ]
        # With targets that are all reached the sum may be above its least value by that of their tolerances.
        allowed = self.tolerance**2 * sum(target.factor for target in self.targets) + self.tolerance**2
        if self.function is not None and self.least_sum is not None and objective - self.least_sum > allowed:
            missed.append(f"the objective is {objective:.6g}, not {self.least_sum:.6g}")
        return missed


def of_targets(targets: Sequence[Target], found: Mapping[str, Quantity]) -> tuple[float, np.ndarray]:
    """Return the weighted sum of the targets, and its gradient in what the quantities' gradients are in.

    Raises
    ------
    InvalidInputError
        If a target is not a quantity.
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
    """Return the value of a function of the quantities, and its gradient in what theirs are in.

    Its derivatives in the quantities come from torch, and the chain rule does the rest.

    Raises
    ------
    InvalidInputError
        If it reads what is not a quantity, returns something else than a finite scalar tensor, or one that depends on
        no quantity.
    """
    read = _Readings(found)
    value = _called(function, read)
    if not isfinite(value.item()):
        there = ", ".join(f"{name} = {x.item():.6g}" for name, x in read.leaves.items())
        raise InvalidInputError(f"the objective {name_of(function)} is {value.item()} at {there}")
    if not value.requires_grad:
        raise InvalidInputError(
            f"the objective {name_of(function)} depends on no quantity in a way that torch can differentiate"
        )
    slopes = torch.autograd.grad(value, list(read.leaves.values()), allow_unused=True)
    total = np.zeros_like(next(iter(found.values())).gradient)
    for name, slope in zip(read.leaves, slopes, strict=True):
        if slope is not None:
            total += slope.item() * found[name].gradient
    if not np.isfinite(total).all():
        raise InvalidInputError(f"the objective {name_of(function)} has no finite gradient where it is {value.item()}")
    return value.item(), total


def check_function(function: Function, names: Iterable[str]) -> None:
    """Refuse a function that workers could not import, that reads what is not a quantity, or that returns no scalar.

    It is called once, with ones for all quantities. As these are made up, it may fail there, or give a number that is
    not finite, for reasons that say nothing: then only what it has read before is checked.

    Raises
    ------
    InvalidInputError
        Saying which of these it is.
    """
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    try:
        found = reduce(getattr, path.split("."), import_module(module or ""))
    except (ImportError, AttributeError, ValueError):
        found = None
    if found is not function or module == "__main__":
        raise InvalidInputError(
            f"the objective {path or function!r} must be a function that workers can import by its name: defined at "
            "the top of a module, not in a function, a notebook or the script that runs, and no lambda"
        )
    try:
        _called(function, _Readings({name: Quantity(1.0, np.zeros(0)) for name in names}))
    except InvalidInputError:
        raise
    except Exception:  # whatever the function may raise at numbers that mean nothing
        return


def name_of(function: Function) -> str:
    """Return the name under which a function is imported."""
    return f"{function.__module__}.{function.__qualname__}"


def unknown(name: object, known: Iterable[str]) -> InvalidInputError:
    """Return the error for what is not a quantity, or not of this crystal."""
    if name == BULK_MODULUS:
        return InvalidInputError(f"{name} is that of a crystal without stress: relax {', '.join(WITHOUT_STRESS)}")
    return InvalidInputError(f"{name!r} is not a quantity: there are {', '.join(known)}")


class _Readings(Mapping[str, torch.Tensor]):
    """Quantities as tensors to differentiate by, made when they are read."""

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


def _called(function: Function, read: _Readings) -> torch.Tensor:
    """Call a function and check what it returns but for its value."""
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
