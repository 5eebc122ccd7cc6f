"""Count the operations that torch dispatches in an MD step, and those for which the host waits for the device.

    python benchmarks/dispatched.py [--filtered] [--places] [MODEL ...]

A GPU runs operations one after the other while the host prepares the next ones. With small systems the host is slower,
so that the number of operations limits the speed. If the host needs a value from the device, it waits until the device
has finished all earlier operations. Both numbers are the same on every machine, so this script needs no GPU.

The system is CsPbI3 with 40 atoms, λ = ½, as in ``step.py``, at constant volume and at constant pressure; MODEL is
`mace-demo` and `sevennet-0` by default. The step is one without rebuilt neighbour lists. The flag that tells whether a
list is out of date is read in every step, and is counted apart. Shapes are static, as on a GPU; ``--filtered`` counts
with those of a CPU. ``--places`` also lists the lines of the package in which operations are dispatched.
"""

from __future__ import annotations

import argparse
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from workloads import perovskite, replicas

import alchemflows
from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.sampling.barostat import Barostat
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.dynamics import CellFreedom, Conditions
from alchemflows.schemas.potential import PotentialSpec

MODELS = ("mace-demo", "sevennet-0")
TEMPERATURE_K = 400.0
#: Steps before the counted one, in which TorchScript compiles.
WARMUP = 8
#: Operations whose result, or its shape, the host reads. The last two read norms and error codes within the library.
WAITING = frozenset(
    {
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "nonzero",
        "masked_select",
        "equal",
        "unique_dim",
        "_unique2",
        "linalg_matrix_exp",
        "linalg_inv",
    }
)
#: Operations with indices, which wait if an index is a mask.
INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
#: Operations that dispatch no work: like views, but not declared as such.
FREE = frozenset({"_unsafe_view"})
#: Functions that copy between host and device. On a CPU they dispatch nothing.
COPIES = frozenset({"cpu", "numpy", "tolist", "tensor", "as_tensor", "from_numpy", "__array__"})
PACKAGE = Path(alchemflows.__file__).parent
#: The file with the line that reads whether a neighbour list is out of date.
REBUILD_CHECK = "neighbours.py"


class Dispatched(TorchDispatchMode):
    """Counter of operations within a with block.

    Attributes
    ----------
    n_operations
        Number of dispatched operations that are not views.
    places
        Number of these by the line of the package that called them; those of the backward pass count at its call.
    waits
        Number of operations and copies for which the host waits, by operation and line.
    n_rebuild_checks
        Number of waits for the flag that tells whether a neighbour list is out of date; not part of `waits`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_operations = 0
        self.n_rebuild_checks = 0
        self.places: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()
        self._copies = _Copies(self._wait)

    def __enter__(self) -> Dispatched:
        super().__enter__()
        self._copies.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._copies.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = function.overloadpacket.__name__
        if not function.is_view and name not in FREE:
            self.n_operations += 1
            self.places[_place()] += 1
        masked = name in INDEXING and any(i is not None and i.dtype == torch.bool for i in args[1])
        if masked or name in WAITING:
            self._wait(name)
        return function(*args, **(kwargs or {}))

    def _wait(self, name: str) -> None:
        place = _place()
        if place.startswith(REBUILD_CHECK):
            self.n_rebuild_checks += 1
        else:
            self.waits[f"{name} in {place}"] += 1


class _Copies(TorchFunctionMode):
    """Calls of functions that copy between host and device."""

    def __init__(self, on_copy: Callable[[str], None]) -> None:
        super().__init__()
        self._on_copy = on_copy

    def __torch_function__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        # as_tensor of a tensor stays on its device.
        if name in COPIES and not (name == "as_tensor" and isinstance(args[0], torch.Tensor)):
            self._on_copy(name)
        return function(*args, **(kwargs or {}))


def _place() -> str:
    """Return the innermost line of the package on the stack."""
    frame = inspect.currentframe()
    while frame is not None:
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGE):
            return f"{file.name}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


@cache
def loaded(model: str) -> Backend:
    """Return a potential in float32."""
    return load_potential(PotentialSpec(name=model, device="cpu"))


def dynamics(model: str, freedom: CellFreedom | None, *, static_shapes: bool = True) -> Langevin:
    """Return dynamics of one replica after some steps; the volume is constant unless a cell freedom is given."""
    path = perovskite(2)
    positions, cells = replicas(path, 1)
    weights = path.weights([0.5])
    conditions = Conditions(temperature_K=TEMPERATURE_K, pressure_GPa=0.0, cell_freedom=freedom or "isotropic")
    langevin = Langevin(
        AlchemicalPotential(path.system, loaded(model), static_shapes=static_shapes),
        positions,
        cells,
        weights,
        path.system.masses(weights),
        temperature_K=TEMPERATURE_K,
        timestep_fs=conditions.timestep_fs,
        friction_per_ps=conditions.friction_per_ps,
        seeds=[1],
        barostat=None if freedom is None else Barostat(conditions),
    )
    for _ in range(WARMUP):
        langevin.step(check=False)
    # New lists, so that none is rebuilt in the next steps.
    langevin.model.recall(
        langevin.model.memory() | {"list_positions": langevin.positions, "list_cells": langevin.cells}
    )
    langevin.step(check=False)
    return langevin


def count(langevin: Langevin, **options: bool) -> Dispatched:
    """Count one step."""
    with Dispatched() as counted:
        langevin.step(check=False, **options)
    return counted


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help="potentials to count")
    parser.add_argument("--filtered", action="store_true", help="pairs beyond the cutoff are filtered, as on a CPU")
    parser.add_argument("--places", action="store_true", help="also list the lines with most operations")
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore")
    print("| step | operations | waits | reads of the rebuild flag |\n|---|---|---|---|")
    listed = {}
    for model in chosen.models:
        for freedom in (None, "isotropic"):
            langevin = dynamics(model, freedom, static_shapes=not chosen.filtered)
            for gradients in (False, True):
                counted = count(langevin, weight_gradients=gradients)
                name = f"{model}, constant {'pressure' if freedom else 'volume'}{', with dE/dλ' if gradients else ''}"
                waits = sum(counted.waits.values())
                print(f"| {name} | {counted.n_operations} | {waits} | {counted.n_rebuild_checks} |")
                listed[name] = counted
    for name, counted in listed.items():
        for line in counted.waits:
            print(f"{name} waits for {line}")
        if chosen.places:
            print(name, *(f"  {n:4d} {place}" for place, n in counted.places.most_common(40)), sep="\n")


if __name__ == "__main__":
    main()
