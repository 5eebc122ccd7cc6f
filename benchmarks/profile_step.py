"""Profile a step by kind of operation, and compare it with the lower bound of its arithmetic and memory traffic.

    python benchmarks/profile_step.py [--quick] [--threads 1] [--json FILE] [MODEL ...]

The step is that of ``step.py``: E, F, σ and dE/dλ at λ = ½ of CsPbI3 with 40 and 135 atoms, in float32. MODEL is one of
`mace-demo`, `mace` (the random 89-element MACE), `sevennet-0` and `chgnet`; by default all that are installed.

- *Kinds.* torch's profiler gives the time of each operation without those that it calls. Operations with the same name
  and shapes are taken to need the shortest time of any of them, since other programs may interrupt the others. Shares
  are those of the sum of all operations, which is also given. The rest of a step is spent in Python and autograd.
- *Arithmetic.* The floating-point operations of all matrix products, as torch counts them; no other operations.
- *Memory.* At least, each tensor that exists before the step (parameters, indices, positions) is read once; the results
  are much smaller. As executed, each operation reads its inputs and writes its outputs.
- *Peaks.* The rate of a product of two large matrices, and that of a copy of a large array; the best of several.
- *Lower bound.* The larger of arithmetic ÷ peak rate and least memory traffic ÷ bandwidth.

Times of steps are CPU times of the process, which other programs change less than the time of a clock.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import Report, reason
from step import FULL_RUN, QUICK_RUN, alchemical_step
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from workloads import perovskite, potential, random_mace

from alchemflows.errors import AlchemflowsError

MODELS = ("mace-demo", "mace", "sevennet-0", "chgnet")
#: Kinds of operations, by the beginning of their names without the namespace, in the order of the search.
KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "matmul", "linear", "einsum"),
    "gather and scatter": ("index", "_index", "gather", "scatter", "embedding", "_unsafe_index"),
    "copies, joins and fills": ("copy", "cat", "_cat", "stack", "fill", "zero", "clone", "contiguous", "repeat"),
    "sums": ("sum", "cumsum", "mean", "norm", "linalg"),
    "pointwise": (
        *("mul", "add", "sub", "rsub", "div", "neg", "pow", "sqrt", "exp", "log", "sin", "cos", "abs", "sign"),
        *("silu", "sigmoid", "tanh", "softplus", "elu", "relu", "reciprocal", "clamp", "where", "lt", "gt", "le", "ge"),
        *("eq", "ne", "bitwise", "logical", "threshold", "acos", "arccos", "square", "masked_fill", "layer_norm"),
        *("native_layer_norm",),
    ),
}


def kind(operation: str) -> str:
    """Return the kind of an operation, such as `aten::index_select`."""
    name = operation.removeprefix("aten::")
    whole = name.rstrip("_").removesuffix("_backward")
    for each, names in KINDS.items():
        if whole in names:
            return each
    for each, names in KINDS.items():
        if any(name.startswith(beginning + "_") for beginning in names):
            return each
    return "others"


class Counted(TorchDispatchMode):
    """Counter of arithmetic and memory traffic within a with block.

    Attributes
    ----------
    n_flops
        Floating-point operations of matrix products.
    read
        Bytes of each tensor that is read and was not made within the block, by its place in memory.
    executed
        Bytes that all operations read and write.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_flops = 0
        self.executed = 0
        self.read: dict[tuple[int, int], int] = {}
        self._made: dict[int, torch.Tensor] = {}  # kept, since memory that is freed may be used again

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if function.is_view:
            return result
        if (count := flop_registry.get(function.overloadpacket)) is not None:
            self.n_flops += count(*args, **kwargs, out_val=result)
        inputs, outputs = list(_tensors([args, kwargs])), list(_tensors(result))
        self.executed += sum(map(_bytes, inputs + outputs))
        for tensor in inputs:
            if (place := tensor.untyped_storage().data_ptr()) not in self._made:
                key = place, tensor.data_ptr()
                self.read[key] = max(self.read.get(key, 0), _bytes(tensor))
        before = {tensor.untyped_storage().data_ptr() for tensor in inputs}
        self._made |= {
            place: tensor for tensor in outputs if (place := tensor.untyped_storage().data_ptr()) not in before
        }
        return result

    @property
    def least(self) -> int:
        """Bytes that are moved at least: every tensor from before is read once."""
        return sum(self.read.values())


def _tensors(values: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from _tensors(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)


def _bytes(tensor: torch.Tensor) -> int:
    """Return the bytes of the distinct elements of a tensor, which may be expanded."""
    sizes = [n for n, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride]
    return int(np.prod(sizes, dtype=int)) * tensor.element_size() if tensor.numel() else 0


def count(step: Callable[[], Any]) -> Counted:
    """Count the arithmetic and the memory traffic of a step."""
    with Counted() as counted:
        step()
    return counted


def cpu_times_s(work: Callable[[], Any], rounds: int, warmup: int) -> np.ndarray:
    """Return the CPU time of each of several calls (s)."""
    times = []
    for _ in range(warmup + rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return np.array(times[warmup:])


def times_of_kinds_s(step: Callable[[], Any], n_steps: int) -> dict[str, float]:
    """Return the time (s) that the operations of each kind take in a step."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        for _ in range(n_steps):
            step()
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in profiled.events():
        if event.name.startswith("aten::"):
            times[event.name, str(event.input_shapes)].append(event.self_cpu_time_total)
    spent: dict[str, float] = defaultdict(float)
    for (name, _), values in times.items():
        spent[kind(name)] += 1e-6 * len(values) * min(values) / n_steps
    return {each: spent[each] for each in (*KINDS, "others")}


@dataclass(frozen=True)
class Peaks:
    """Highest rates of this machine: of matrix products (1/s) and of memory (bytes/s)."""

    flops_per_s: float
    bytes_per_s: float


def peaks(threads: int, *, quick: bool) -> Peaks:
    """Measure the highest rates with these threads; copies are much larger than caches, unless it is quick."""
    n, length = (128, 2**18) if quick else (1536, 2**25)
    a, b, product = (torch.rand(n, n) for _ in range(3))
    source, copy = torch.rand(length), torch.empty(length)
    multiplied = cpu_times_s(lambda: torch.mm(a, b, out=product), 8, 2)
    copied = cpu_times_s(lambda: copy.copy_(source), 8, 2)
    # CPU times are the sum over threads.
    return Peaks(2 * n**3 / multiplied.min() * threads, 2 * 4 * length / copied.min() * threads)


@dataclass(frozen=True)
class Bench:
    """Report, peaks, and numbers of measured steps."""

    report: Report
    peaks: Peaks
    rounds: int
    warmup: int
    threads: int

    def measure(self, label: str, model: str, repeats: int) -> None:
        """Profile the step of a model for repeats³ cubic cells, and report it.

        Raises
        ------
        AlchemflowsError
            If the model cannot be loaded.
        """
        path = perovskite(repeats)
        name = f"{label}, {path.system.n_sites} atoms"
        contender = alchemical_step(potential(model, path), path)
        times_s = cpu_times_s(contender, self.rounds, self.warmup) / self.threads
        counted = count(contender)
        arithmetic_s = counted.n_flops / self.peaks.flops_per_s
        memory_s = counted.least / self.peaks.bytes_per_s
        bound_s = max(arithmetic_s, memory_s)
        report = self.report
        report.times(f"step, {name}", times_s)
        report.measure(f"arithmetic of matrix products, {name}", counted.n_flops / 1e6, "MFLOP")
        report.measure(f"least memory traffic, {name}", counted.least / 1e6, "MB")
        report.measure(f"memory traffic of all operations, {name}", counted.executed / 1e6, "MB")
        report.measure(f"lower bound by arithmetic, {name}", 1e3 * arithmetic_s)
        report.measure(f"lower bound by memory, {name}", 1e3 * memory_s)
        kinds = times_of_kinds_s(contender, max(2, self.rounds // 4))
        report.measure(f"all operations, {name}", 1e3 * sum(kinds.values()))
        for each, time_s in kinds.items():
            share = np.array([time_s / sum(kinds.values())])
            report.target(8, f"{each}, share of the time of operations, {name}", share, None, unit="share")
        report.target(8, f"step ÷ lower bound, {name}", times_s / bound_s, None)


def main() -> None:
    """Profile the chosen models and report them."""
    parser = argparse.ArgumentParser(description="What a step consists of, and its lower bound.")
    parser.add_argument("models", nargs="*", metavar="MODEL", default=list(MODELS), help=f"one of {', '.join(MODELS)}")
    parser.add_argument("--threads", type=int, default=1, help="number of torch threads (default: 1)")
    parser.add_argument("--quick", action="store_true", help="small model and cells, few rounds: to test the script")
    parser.add_argument("--json", type=Path, help="write the report to this file")
    chosen = parser.parse_args()
    if unknown := sorted(set(chosen.models) - set(MODELS)):
        parser.error(f"no model {', '.join(unknown)}; choose from {', '.join(MODELS)}")
    warnings.filterwarnings("ignore")
    torch.set_num_threads(chosen.threads)
    run = QUICK_RUN if chosen.quick else replace(FULL_RUN, rounds=20, warmup=6)
    settings = {"quick": chosen.quick, "threads": chosen.threads, "rounds": run.rounds, "warmup": run.warmup}
    report = Report("The parts of a step and its lower bound", "benchmarks/profile_step.py", settings)
    measured = peaks(chosen.threads, quick=chosen.quick)
    report.measure("rate of a large matrix product", measured.flops_per_s / 1e9, "GFLOP/s")
    report.measure("rate of a large copy, reading and writing", measured.bytes_per_s / 1e9, "GB/s")
    bench = Bench(report, measured, run.rounds, run.warmup, chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        for model in chosen.models:
            is_random = model == "mace"
            label = run.shape.label if is_random else model
            try:
                file = str(random_mace(Path(folder) / "random.model", run.shape)) if is_random else model
                for repeats in run.sizes:
                    bench.measure(label, file, repeats)
            except AlchemflowsError as error:
                report.missing(8, f"step ÷ lower bound, {label}", None, reason(error))
    report.finish(chosen.json)


if __name__ == "__main__":
    main()
