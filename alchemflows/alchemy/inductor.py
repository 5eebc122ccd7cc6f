"""Compile a function of arrays to C++ with torch's compiler (inductor), for symbolic sizes of some axes.

The private parts of torch that this needs are in this file; seen in torch 2.13.0.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from alchemflows.errors import PotentialError
from alchemflows.settings import Settings

Arrays = list[torch.Tensor]
#: A function of arrays.
Program = Callable[[Arrays], tuple[torch.Tensor, ...]]
#: Tells whether a compiled function holds for the sizes of some arrays.
Holds = Callable[[Arrays], bool]


def cpp_compiler() -> str | None:
    """Return the path of the C++ compiler: the one that the variable CXX names, or g++ or clang++; None without one."""
    named = os.environ.get("CXX")
    found = map(shutil.which, [named] if named else ["g++", "clang++"])
    return next((path for path in found if path), None)


def compile_program(function: Program, arrays: Arrays, symbolic: list[dict[int, int]]) -> tuple[Program, Holds]:
    """Return a function of arrays, compiled by torch, and another one that tells for which arrays it holds.

    It holds for all sizes of the symbolic axes above one, unless the function itself distinguishes them.

    Parameters
    ----------
    function
        The function. It must have run before, since tensors that it caches would otherwise be without values.
    arrays
        Examples of its arguments.
    symbolic
        For each array the axes of symbolic size, with the number of a symbol; axes with the same number have one size.

    Raises
    ------
    PotentialError
        If the function cannot be compiled.
    """
    from torch._dispatch.python import enable_python_dispatcher
    from torch._dynamo.source import ConstantSource
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext

    shapes = ShapeEnv()
    mode = FakeTensorMode(shape_env=shapes, allow_non_fake_inputs=True, static_shapes=False)
    sizes: dict[int, Any] = {}

    def fake(array: torch.Tensor, axes: dict[int, int]) -> torch.Tensor:
        if axes and all(symbol in sizes for symbol in axes.values()):
            shape = [sizes[axes[axis]] if axis in axes else size for axis, size in enumerate(array.shape)]
            with mode:
                return torch.empty(shape, dtype=array.dtype)
        kinds = [DimDynamic.DYNAMIC if axis in axes else DimDynamic.STATIC for axis in range(array.dim())]
        context: Any = StatelessSymbolicContext(dynamic_sizes=kinds)
        made = mode.from_tensor(array, source=ConstantSource(f"array_{len(fakes)}"), symbolic_context=context)
        sizes.update((symbol, made.shape[axis]) for axis, symbol in axes.items())
        return made

    fakes: Arrays = []
    for array, axes in zip(arrays, symbolic, strict=True):
        fakes.append(fake(array, axes))
    try:
        with enable_python_dispatcher(), mode, tracing(TracingContext(mode)):
            recorded = make_fx(function, _allow_non_fake_inputs=True)(fakes)
        constants = _as_arguments(recorded)
        fakes += [mode.from_tensor(constant, static_shapes=True) for constant in constants]
        quiet = config.patch({"compile_threads": 1})
        with _cache_folder(), quiet, torch.no_grad(), tracing(TracingContext(mode)):
            compiled: Any = compile_fx(recorded, fakes)
    except PotentialError:
        raise
    except Exception as error:  # the compiler of torch raises many kinds of errors
        line = next(iter(str(error).strip().splitlines()), "")
        raise PotentialError(
            f"kernels: the compilation failed ({type(error).__name__}: {line}); use built-in kernels"
        ) from error
    conditions = shapes.produce_guards_expression(list(sizes.values())) or "True"
    axes_of_symbols = {symbol: (k, axis) for k, axes in enumerate(symbolic) for axis, symbol in axes.items()}

    @cache
    def holds_for(*numbers: int) -> bool:
        return bool(shapes.evaluate_guards_expression(conditions, numbers))

    def holds(values: Arrays) -> bool:
        return holds_for(*(values[k].shape[axis] for k, axis in (axes_of_symbols[symbol] for symbol in sizes)))

    def program(values: Arrays) -> tuple[torch.Tensor, ...]:
        with torch.no_grad():
            return tuple(compiled(*values, *constants))

    return program, holds


def _as_arguments(recorded: torch.fx.GraphModule) -> Arrays:
    """Make the constants of recorded operations further arguments, and return them.

    Compiled code that is kept on disk then holds for all values of the parameters.
    """
    graph = recorded.graph
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    values: dict[str, torch.Tensor] = {}
    nodes: dict[str, torch.fx.Node] = {}
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        name = str(node.target)
        if name not in nodes:
            values[name] = getattr(recorded, name).detach()
            with graph.inserting_after(last):
                last = nodes[name] = graph.placeholder(f"constant_{len(nodes)}")
        node.replace_all_uses_with(nodes[name])
        graph.erase_node(node)
    recorded.recompile()
    return list(values.values())


@contextmanager
def _cache_folder() -> Iterator[None]:
    """Keep compiled code in a folder for this kind of CPU; code for another CPU can be invalid."""
    name, before = "TORCHINDUCTOR_CACHE_DIR", os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    folder = Settings().compiled / _cpu()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PotentialError(f"kernels: cannot write {folder} (ALCHEMFLOWS_COMPILED): {error.strerror}") from error
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _cpu() -> str:
    """Return a short name of the kind of CPU and its instructions."""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        kinds = sorted({line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))})
        return sha256("\n".join(kinds).encode()).hexdigest()[:16]
    return platform.machine()
