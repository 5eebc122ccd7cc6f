"""Compile the evaluation of a potential on a CPU to C++, so that few operations start and few arrays are stored.

The operations of the energy and of its backward pass are recorded once, for symbolic numbers of vectors and slots, and
compiled together (:mod:`alchemflows.alchemy.inductor`). Compiled code is kept on disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph, MergedGraph, Slots
from alchemflows.alchemy.inductor import Arrays, Holds, Program, compile_program, cpp_compiler
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.recording import is_close
from alchemflows.errors import PotentialError

logger = logging.getLogger(__name__)

#: Number of atoms times steps of all replicas from which compilation takes less time than it saves. It takes 0.5 to 3
#: minutes, and seconds in later processes; a step saves 0.1 (mace-demo) to 0.5 ms (SevenNet-0) for each atom.
MIN_ATOM_STEPS = 200_000
#: Compiled programs that are kept for one potential.
N_KEPT = 8

#: Compiles a function of arrays; some of their axes have symbolic sizes, see :func:`compile_program`.
Compiler = Callable[[Program, Arrays, list[dict[int, int]]], tuple[Program, Holds]]


def is_worth_compiling(n_atom_steps: int) -> bool:
    """Return whether a run is long enough: the number of steps of all its replicas, times the number of atoms."""
    return n_atom_steps >= MIN_ATOM_STEPS


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
        self._programs: dict[Hashable, list[tuple[Program, Holds]]] = {}

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

    def _compiled(self, backend: Backend, flat: _Flat, arrays: Arrays) -> tuple[Program, Holds]:
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
            if not is_close(value, wanted, backend.dtype):
                raise PotentialError(
                    f"{backend.record.name}: results of compiled and built-in kernels differ; use built-in kernels"
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
