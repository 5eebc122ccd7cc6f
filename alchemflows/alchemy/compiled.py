"""Compile the evaluation of a potential on a CPU to C++, so that few operations start and few arrays are stored.

The operations of the energy and of its backward pass are recorded once, for symbolic numbers of vectors and slots, and
compiled by torch's compiler (inductor). Compiled code is kept on disk. The private parts of torch that this needs are
in this file; seen in torch 2.13.0.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph, MergedGraph, Slots
from alchemflows.alchemy.interfaces import Backend
from alchemflows.errors import PotentialError
from alchemflows.settings import Settings

logger = logging.getLogger(__name__)

#: Number of atoms times steps of all replicas from which compilation takes less time than it saves. It takes 0.5 to 2
#: minutes, and seconds in later processes; a step saves 0.1 (mace-demo) to 0.5 ms (SevenNet-0) for each atom.
MIN_ATOM_STEPS = 200_000
#: Largest difference between a compiled and a usual evaluation, relative to the largest value of the result.
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-9}
#: Compiled programs that are kept for one potential.
N_KEPT = 8

Arrays = list[torch.Tensor]
#: Returns the energy (eV), and its derivatives with respect to the arrays that can be differentiated.
Program = Callable[[Arrays], tuple[torch.Tensor, ...]]
#: Compiles a function of arrays; some of their axes have symbolic sizes, numbered alike where they are equal.
#: Returns the compiled function, and whether it holds for the sizes of some arrays.
Compiler = Callable[[Program, Arrays, list[dict[int, int]]], tuple[Program, Callable[[Arrays], bool]]]


def is_worth_compiling(n_atom_steps: int) -> bool:
    """Return whether a run is long enough: the number of steps of all its replicas, times the number of atoms."""
    return n_atom_steps >= MIN_ATOM_STEPS


def cpp_compiler() -> str | None:
    """Return the path of the C++ compiler: the one that the variable CXX names, or g++ or clang++; None without one."""
    named = os.environ.get("CXX")
    found = map(shutil.which, [named] if named else ["g++", "clang++"])
    return next((path for path in found if path), None)


class CompiledEnergy:
    """Energy of a graph of one replica, and its derivatives, by compiled code.

    Parameters
    ----------
    compiler
        Compiler; by default that of torch.

    Raises
    ------
    PotentialError
        If there is no C++ compiler.
    """

    def __init__(self, compiler: Compiler | None = None) -> None:
        if compiler is None and cpp_compiler() is None:
            raise PotentialError(
                "kernels: compiled kernels need a C++ compiler; install g++, set CXX, or use built-in kernels"
            )
        self._compile = compiler or compile_program
        self._programs: dict[Hashable, list[tuple[Program, Callable[[Arrays], bool]]]] = {}

    def gradients(self, backend: Backend, graph: Graph, inputs: Arrays) -> tuple[torch.Tensor, Arrays]:
        """Return the energy (eV), shape (1,), float64, and its derivatives with respect to the inputs of the graph.

        Parameters
        ----------
        backend
            The potential.
        graph
            The graph of one replica with one set of weights.
        inputs
            Tensors from which the graph was made, of which derivatives are wanted.

        Raises
        ------
        PotentialError
            If the graph has bonds, compilation fails, or the results differ from those of the usual evaluation.
        """
        flat = _Flat.of(graph)
        arrays = flat.arrays(graph)
        energy, *slopes = self._program(backend, flat, arrays)([array.detach() for array in arrays])
        ends = [(array, slope) for array, slope in zip(arrays, slopes, strict=False) if array.requires_grad]
        outputs, upstream = zip(*ends, strict=True)
        return energy[None], list(torch.autograd.grad(outputs, inputs, upstream))

    def _program(self, backend: Backend, flat: _Flat, arrays: Arrays) -> Program:
        key = flat, tuple(_shape(array, axes) for array, axes in zip(arrays, flat.symbolic, strict=True))
        known = self._programs.get(key, [])
        for program, holds in known:
            if holds(arrays):
                return program
        if key not in self._programs and len(self._programs) >= N_KEPT:
            self._programs.pop(next(iter(self._programs)))
        self._programs[key] = [self._compiled(backend, flat, [array.detach() for array in arrays]), *known]
        return self._programs[key][0][0]

    def _compiled(self, backend: Backend, flat: _Flat, arrays: Arrays) -> tuple[Program, Callable[[Arrays], bool]]:
        """Return the program for graphs of this form, compared with the usual evaluation, and when it holds."""

        def usual(values: Arrays) -> tuple[torch.Tensor, ...]:
            leaves = [value.detach().requires_grad_(k < flat.n_slopes) for k, value in enumerate(values)]
            with torch.enable_grad():
                graph = flat.graph(leaves)
                energies = backend.node_energies(graph, backend.geometry(graph)).to(torch.float64)
                energy = (energies * graph.node_weights).sum()
                return energy.detach(), *torch.autograd.grad(energy, leaves[: flat.n_slopes], materialize_grads=True)

        expected = usual(arrays)
        if any(size < 2 for array, axes in zip(arrays, flat.symbolic, strict=True) for size in _sizes(array, axes)):
            return usual, lambda _: True  # no neighbours: nothing to compile
        begun = time.perf_counter()
        program, holds = self._compile(usual, arrays, flat.symbolic)
        for value, wanted in zip(program(arrays), expected, strict=True):
            scale = float(wanted.abs().amax()) if wanted.numel() else 0.0
            if not torch.allclose(value, wanted, rtol=0, atol=TOLERANCES[backend.dtype] * max(scale, 1e-3)):
                raise PotentialError(
                    f"{backend.record.name}: compiled kernels give other results than built-in ones; use these"
                )
        logger.info("%s was compiled in %.0f s", backend.record.name, time.perf_counter() - begun)
        return program, holds


@dataclass(frozen=True)
class _Flat:
    """The form of a graph: everything but its arrays. The arrays that can be differentiated come first."""

    merged: bool
    elements: tuple[tuple[int, int], ...]
    n_atom_rows: int
    n_slopes: int

    @classmethod
    def of(cls, graph: Graph) -> _Flat:
        if isinstance(graph, BondGraph):
            raise PotentialError("kernels: potentials with angles between bonds cannot be compiled")
        if isinstance(graph, MergedGraph):
            return cls(True, graph.elements, graph.n_atom_rows, n_slopes=2)
        return cls(False, graph.elements, 0, n_slopes=3)

    @property
    def symbolic(self) -> list[dict[int, int]]:
        """Number of the symbol of each axis of symbolic size, for each array: 0 for vectors, 1 for slots."""
        if self.merged:
            return [{0: 0}, {}, {}, {}, {}, {2: 1}]
        return [{0: 0}, {}, {0: 0}, {}, {0: 0}, {0: 0}, {2: 1}]

    def arrays(self, graph: Graph) -> Arrays:
        assert not isinstance(graph, BondGraph)
        slots = graph.slots
        table = torch.stack([slots.sender, slots.pair, slots.vector]).reshape(3, slots.n_rows, slots.n_slots)
        if isinstance(graph, MergedGraph):
            return [graph.vectors, graph.node_weights, graph.numbers, graph.atom, graph.tied, table]
        return [
            *(graph.vectors, graph.node_weights, graph.edge_weights),
            *(graph.numbers, graph.sender, graph.receiver, table),
        ]

    def graph(self, arrays: Arrays) -> Graph:
        """Return the graph of some arrays."""
        vectors, node_weights, *others, table = arrays
        _, n_rows, n_slots = table.shape
        sender, pair, vector = (part.flatten() for part in table.unbind())
        slots = Slots(n_rows, n_slots, sender, pair, vector if self.merged else pair)
        if self.merged:
            numbers, atom, tied = others
            return MergedGraph(
                numbers=numbers,
                elements=self.elements,
                node_replica=torch.zeros_like(numbers),
                node_weights=node_weights,
                vectors=vectors,
                atom=atom,
                weights=node_weights.to(vectors.dtype),
                n_atom_rows=self.n_atom_rows,
                tied=tied,
                slots=slots,
            )
        edge_weights, numbers, sender, receiver = others
        return EdgeGraph(
            numbers=numbers,
            elements=self.elements,
            node_replica=torch.zeros_like(numbers),
            node_weights=node_weights,
            vectors=vectors,
            sender=sender,
            receiver=receiver,
            edge_weights=edge_weights,
            slots=slots,
        )


def _sizes(array: torch.Tensor, axes: dict[int, int]) -> list[int]:
    """Return the sizes of the symbolic axes."""
    return [array.shape[axis] for axis in axes]


def _shape(array: torch.Tensor, axes: dict[int, int]) -> tuple[int, ...]:
    """Return the shape, in which a symbolic size is −1, or itself if it is below 2."""
    return tuple(-1 if axis in axes and size > 1 else size for axis, size in enumerate(array.shape))


def compile_program(
    function: Program, arrays: Arrays, symbolic: list[dict[int, int]]
) -> tuple[Program, Callable[[Arrays], bool]]:
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
        raise PotentialError(
            f"kernels: the compilation failed ({type(error).__name__}: {str(error).strip().splitlines()[0]}); "
            "use built-in kernels"
        ) from error
    guards = shapes.produce_guards_expression(list(sizes.values())) or "True"
    lengths = [(k, axis) for k, axes in enumerate(symbolic) for axis in axes]
    first = {symbolic[k][axis]: (k, axis) for k, axis in reversed(lengths)}
    places = [first[symbol] for symbol in sizes]

    @cache
    def holds_for(lengths: tuple[int, ...]) -> bool:
        return bool(shapes.evaluate_guards_expression(guards, lengths))

    def holds(values: Arrays) -> bool:
        return holds_for(tuple(values[k].shape[axis] for k, axis in places))

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
