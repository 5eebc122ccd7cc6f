"""Compute the alchemical energy of a batch of replicas and its derivatives, with any backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import Any

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from alchemflows.alchemy.compiled import CompiledEnergy
from alchemflows.alchemy.graph import Graph
from alchemflows.alchemy.interfaces import VOIGT, Backend, Evaluation, SecondDerivatives, float64_tensor
from alchemflows.alchemy.memory import MemoryLimit, Result, second_replica_bytes
from alchemflows.alchemy.neighbours import NeighbourList
from alchemflows.alchemy.recording import recordings_on
from alchemflows.alchemy.slopes import forces_of_pairs, stress_of_pairs
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.topology import Edges, Nodes, Topology
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialRecord


def check_supported(system: AlchemicalSystem, backend: Backend) -> None:
    """Check that a potential supports all elements of a system.

    Raises
    ------
    InvalidInputError
        If it does not support an element.
    """
    unknown = sorted(system.elements - backend.numbers)
    if unknown:
        names = ", ".join(chemical_symbols[z] for z in unknown)
        raise InvalidInputError(f"the potential {backend.record.name} does not support {names}; use another potential")


class AlchemicalPotential:
    """Potential of one alchemical system: energy, forces, stress and ∂E/∂w of a batch of replicas.

    The energy is E = Σ_(i,e) λ_ie (E0_e + ε_ie), where messages are multiplied by edge weights (see
    :mod:`alchemflows.alchemy.graph`). All derivatives come from one backward pass.

    Parameters
    ----------
    system
        The alchemical system; replicas differ in positions, cell and weights.
    backend
        Loaded potential, see :func:`alchemflows.alchemy.backends.load_potential`.
    skin_A
        Skin of the neighbour list (Å).
    static_shapes
        Whether all arrays keep their shapes until the neighbour list is rebuilt, so that the host never waits for the
        device to learn how many pairs are within the cutoff. Pairs in the skin are then part of the graph, with
        messages of exactly zero, so that energies differ by rounding only. By default True on a GPU, where the host
        limits the speed of small systems, and False on a CPU, where fewer pairs take less time. Weights that are given
        as a tensor are then read again only if it is another tensor, or was changed by a function of torch.
    cuda_graphs
        Whether evaluations with forces on a GPU are repeated as CUDA graphs, see :mod:`alchemflows.alchemy.recording`;
        by default the setting of this name.
    compiled
        Whether evaluations with forces on a CPU are compiled, see :mod:`alchemflows.alchemy.compiled`. They are then
        those of one replica after the other.

    Notes
    -----
    Not thread-safe.

    Raises
    ------
    InvalidInputError
        If the potential does not support an element of the system, or the skin is negative.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPath, AlchemicalPotential, load_potential
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> path = AlchemicalPath.from_substitution(salt, {"Na": "K"})
    >>> potential = AlchemicalPotential(path.system, load_potential("mace-demo"))
    >>> evaluation = potential.evaluate([salt.cart_coords], [salt.lattice.matrix], [path.weights(0.5)])
    >>> evaluation.forces.shape, evaluation.weight_gradients.shape
    (torch.Size([1, 8, 3]), torch.Size([1, 2]))
    """

    def __init__(
        self,
        system: AlchemicalSystem,
        backend: Backend,
        skin_A: float = 0.5,
        *,
        static_shapes: bool | None = None,
        cuda_graphs: bool | None = None,
        compiled: bool = False,
    ) -> None:
        if not skin_A >= 0:
            raise InvalidInputError(f"skin_A must not be negative; got {skin_A}")
        self.system = system
        check_supported(system, backend)
        self._elements = system.elements
        self._n_weights = system.n_weights
        self._loaded = backend
        self._static = self.device.type == "cuda" if static_shapes is None else static_shapes
        self._pairs = NeighbourList(backend.cutoff_A, skin_A)
        self._nodes: dict[bytes, Nodes] = {}
        self._edges: dict[tuple[int, bytes], Edges] = {}
        self._topologies: dict[tuple[int, tuple[bytes, ...]], Topology] = {}
        self._places: dict[int, _Place] = {}
        self._read: tuple[torch.Tensor, int, list[bytes]] | None = None
        self._memory_limit = MemoryLimit(self.device)
        self._recordings = recordings_on(self.device, cuda_graphs)
        self._compiled = CompiledEnergy() if compiled else None

    @cached_property
    def backend(self) -> Backend:
        """Backend, optimized for the elements of the system at the first evaluation.

        Raises
        ------
        PotentialError
            As for :meth:`Backend.specialised`.
        """
        # The first evaluation may be without gradients, which the comparison needs.
        with torch.enable_grad():
            return self._loaded.specialised(self._elements)

    @property
    def record(self) -> PotentialRecord:
        """Name, SHA-256, dtype and device of the potential."""
        return self._loaded.record

    @property
    def device(self) -> torch.device:
        """Device of the potential."""
        return self._loaded.device

    def evaluate(
        self,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation:
        """Evaluate B replicas in one batch.

        A batch for which a GPU has too little memory is split. The memory of a replica is estimated once, at the first
        batch (:mod:`alchemflows.alchemy.memory`). If memory runs out nevertheless, a warning is logged, and this and
        later batches are split into smaller parts.

        Parameters
        ----------
        positions
            Positions (Å), shape (B, N, 3); atoms may lie outside the cell.
        cells
            Lattice vectors as rows (Å), shape (B, 3, 3).
        weights
            Weights, shape (B, C). They are not checked, since sweeps and optimizers may leave the simplex.
        forces, stress, weight_gradients
            Derivatives to compute. Without `weight_gradients`, nodes of weight zero are omitted.

        Raises
        ------
        InvalidInputError
            If the shapes do not match the system or each other.
        PotentialError
            If the device has too little memory for a single replica.
        """
        given = weights
        positions, cells, weights = self._tensors(positions, cells, weights, ("B", "C"))
        self._refresh(positions, cells)
        compiled = self._compiled is not None and (forces or stress)
        everywhere = weight_gradients or compiled  # code is compiled for a number of nodes
        present = self._all_present(slice(0, len(weights))) if everywhere else self._present(weights, given)
        self._fit_device(positions, cells, weights)

        def part(b: slice, _n_sets: int) -> Evaluation:
            wanted = forces, stress, weight_gradients
            return self._evaluate(b, present[b], positions[b], cells[b], weights[b], *wanted)

        if compiled:
            parts = [part(slice(b, b + 1), 1) for b in range(len(positions))]
        else:
            parts = self._in_memory(len(positions), 1, part)
        if len(parts) == 1:
            return parts[0]
        return Evaluation(
            torch.cat([p.energy for p in parts]),
            _joined([p.forces for p in parts]),
            _joined([p.stress for p in parts]),
            _joined([p.weight_gradients for p in parts]),
        )

    def energies(
        self,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
    ) -> torch.Tensor:
        """Return the energies of each replica at K sets of weights, as needed for u_nk.

        Parameters
        ----------
        positions, cells
            As for :meth:`evaluate`.
        weights
            Weights, shape (B, K, C).

        Returns
        -------
        energies
            Energies (eV), shape (B, K), float64.

        Raises
        ------
        InvalidInputError, PotentialError
            As for :meth:`evaluate`.
        """
        positions, cells, weights = self._tensors(positions, cells, weights, ("B", "K", "C"))
        self._refresh(positions, cells)
        self._fit_device(positions, cells, weights[:, 0])

        def part(b: slice, n_sets: int) -> torch.Tensor:
            with torch.no_grad():
                topology = self._topology(b, self._all_present(b))
                place = self._place(b.start, topology, positions[b], cells[b], kept=weights.shape[1] == 1)
                energies = []
                for w in weights[b].split(n_sets, dim=1):
                    graph = topology.graph(place.vectors, place.inside, w)
                    energies.append(self._energy(graph, self._geometry(place, graph), w.shape[:2]))
                return torch.cat(energies, dim=1)

        return torch.cat(self._in_memory(len(positions), weights.shape[1], part))

    def features(self, positions: ArrayLike | torch.Tensor, cells: ArrayLike | torch.Tensor) -> torch.Tensor:
        """Return the features of each atom from which the potential computes its energy, as a descriptor.

        They do not change if the crystal is rotated. For MACE they are the invariant features of all layers, for
        SevenNet and CHGNet all features after the last layer.

        Parameters
        ----------
        positions, cells
            As for :meth:`evaluate`.

        Returns
        -------
        features
            Features, without a unit, shape (B, N, F), float64.

        Raises
        ------
        InvalidInputError
            If the system has alchemical sites, or the shapes do not match the system or each other.
        PotentialError
            As for :meth:`evaluate`.
        """
        if self._n_weights:
            raise InvalidInputError("features are those of atoms; the system has alchemical sites")
        given = float64_tensor(positions, self.device)
        x, h, w = self._tensors(given, cells, given.new_zeros(*given.shape[:1], 0), ("B", "C"))
        self._refresh(x, h)
        self._fit_device(x, h, w)

        def part(b: slice, _n_sets: int) -> torch.Tensor:
            with torch.no_grad():
                topology = self._topology(b, self._all_present(b))
                place = self._place(b.start, topology, x[b], h[b], kept=False)
                graph = topology.graph(place.vectors, place.inside, w[b, None])
                features = self.backend.node_features(graph, self._geometry(place, graph)).to(torch.float64)
                return torch.empty_like(features).index_copy(0, topology.atom, features).reshape(*x[b].shape[:2], -1)

        return torch.cat(self._in_memory(len(x), 1, part))

    def second_derivatives(self, positions: ArrayLike, cell: ArrayLike, weights: ArrayLike) -> SecondDerivatives:
        """Return first and second derivatives of the energy at one configuration, by automatic differentiation.

        Parameters
        ----------
        positions, cell
            Positions and cell (Å), shapes (N, 3) and (3, 3).
        weights
            Weights, shape (C,).

        Raises
        ------
        InvalidInputError
            If the shapes do not match the system, or the potential is in float32, which is not precise enough.
        PotentialError
            If the energy has no second derivatives at these positions, as that of CHGNet at straight angles.
        """
        if self.backend.dtype != torch.float64:
            raise InvalidInputError("second derivatives require a potential with dtype float64")
        x, h, w = self._tensors(
            np.asarray(positions)[None], np.asarray(cell)[None], np.asarray(weights)[None], ("B", "C")
        )
        self._refresh(x, h)
        topology = self._topology(slice(0, 1), self._all_present(slice(0, 1)))
        vectors, inside = self._vectors(topology, x, h)
        first, second, _ = topology.ends(inside)
        moves = torch.zeros(self.system.n_sites, 3, dtype=torch.float64, device=self.device, requires_grad=True)
        strains = torch.zeros(6, dtype=torch.float64, device=self.device, requires_grad=True)
        w.requires_grad_()
        z = [moves, strains, w]
        with torch.enable_grad():
            strain = strains.new_zeros(3, 3)
            for k, (i, j) in enumerate(VOIGT):
                unit = torch.zeros_like(strain)
                unit[i, j] = unit[j, i] = 1.0
                strain = strain + strains[k] * unit
            moved = vectors + moves[first] - moves[second]
            graph = topology.graph(moved + moved @ strain, inside, w[:, None])
            self.backend.check_second_derivatives(graph)
            energy = self._energy(graph, self.backend.geometry(graph), (1, 1)).sum()
            gradient = _flat(torch.autograd.grad(energy, z, create_graph=True), z)
            rows = [
                _flat(torch.autograd.grad(slope, z, retain_graph=True, allow_unused=True), z).detach()
                for slope in gradient
            ]
        hessian = torch.stack(rows).cpu().numpy()
        return SecondDerivatives(energy.item(), gradient.detach().cpu().numpy(), (hessian + hessian.T) / 2)

    def replica_bytes(self, positions: ArrayLike, cell: ArrayLike, weights: ArrayLike) -> int:
        """Estimate the memory (bytes) that each replica of a batch needs, see :mod:`alchemflows.alchemy.memory`.

        Parameters
        ----------
        positions, cell
            Positions and cell (Å), shapes (N, 3) and (3, 3).
        weights
            Weights, shape (C,).

        Raises
        ------
        InvalidInputError
            If the shapes do not match the system.
        """
        first, second, third = (np.stack([np.asarray(values)] * 2) for values in (positions, cell, weights))
        x, h, w = self._tensors(first, second, third, ("B", "C"))
        self._refresh(x, h)
        return self._second_replica_bytes(x, h, w)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return the positions and cells of the current neighbour lists, whose order affects rounding."""
        positions, cells = self._pairs.made_at
        return {"list_positions": positions, "list_cells": cells}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Rebuild the neighbour lists for the positions and cells that :meth:`memory` returned."""
        self._pairs.forget()
        self._refresh(memory["list_positions"].to(self.device), memory["list_cells"].to(self.device))

    def _tensors(
        self,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        axes: tuple[str, ...],
    ) -> list[torch.Tensor]:
        """Check the shapes and return float64 tensors on the device; `axes` are the axes of the weights."""
        x, h, w = (float64_tensor(values, self.device).detach() for values in (positions, cells, weights))
        n = len(x) if x.dim() else 0
        sizes = {"B": n, "K": w.shape[1] if w.dim() == 3 else 0, "C": self._n_weights}
        for name, values, shape in (
            ("positions", x, (n, self.system.n_sites, 3)),
            ("cells", h, (n, 3, 3)),
            ("weights", w, tuple(sizes[axis] for axis in axes)),
        ):
            if tuple(values.shape) != shape:
                raise InvalidInputError(f"{name} must have shape {shape}; got {tuple(values.shape)}")
        if n == 0 or ("K" in axes and sizes["K"] == 0):
            raise InvalidInputError("positions and weights must contain at least one replica and one set of weights")
        return [x, h, w]

    def _second_replica_bytes(self, positions: torch.Tensor, cells: torch.Tensor, weights: torch.Tensor) -> int:
        """Estimate the memory (bytes) of the second replica of a batch, whose neighbour lists are current."""

        def evaluate(n: int) -> None:
            b = slice(0, n)
            self._evaluate(b, self._all_present(b), positions[b], cells[b], weights[b], True, True, True)

        return second_replica_bytes(evaluate)

    def _fit_device(self, positions: torch.Tensor, cells: torch.Tensor, weights: torch.Tensor) -> None:
        """Limit the size of batches by the memory of the device, at the first batch of more than one replica."""
        if len(positions) > 1:
            self._memory_limit.fit(lambda: self._second_replica_bytes(positions, cells, weights), self._n_pairs()[1])

    def _in_memory(self, n_replicas: int, n_sets: int, compute: Callable[[slice, int], Result]) -> list[Result]:
        """Compute all replicas in as few parts as memory allows; `compute` gets replicas and a number of sets."""
        n_vectors = max(self._n_pairs())
        return self._memory_limit.compute(n_replicas, n_sets, n_vectors, compute, self._release)

    def _release(self) -> None:
        """Free the memory of caches."""
        self._places.clear()
        self._topologies.clear()
        if self._recordings is not None:
            self._recordings.forget()

    def _all_present(self, replicas: slice) -> list[bytes]:
        """Return for some replicas that all their channels have nodes; the start and the end of the slice are given."""
        return [np.ones(self._n_weights, dtype=bool).tobytes()] * (replicas.stop - replicas.start)

    def _n_pairs(self) -> list[int]:
        """Return the number of pairs in the neighbour list of each replica."""
        return [len(first) for first, _, _ in self._pairs.pairs]

    def _refresh(self, positions: torch.Tensor, cells: torch.Tensor) -> bool:
        """Rebuild neighbour lists that are out of date, and return whether there were any."""
        stale = set(self._pairs.update(positions, cells))
        if stale:
            self._topologies.clear()
            self._edges = {key: edges for key, edges in self._edges.items() if key[0] not in stale}
        return bool(stale)

    def _topology(self, replicas: slice, present: list[bytes]) -> Topology:
        """Return the topology of some replicas; `present` tells which channels of each replica have nodes."""
        key = (replicas.start, tuple(present))
        if key not in self._topologies:
            # Evaluations with and without ∂E/∂w may alternate; a limit keeps changing weights from filling the memory.
            if len(self._topologies) >= 4 * len(self._n_pairs()) + 4:
                self._topologies.clear()
            merged, bonds = self.backend.merges_messages, self.backend.has_bonds
            parts = [self._part(b, channels, merged) for b, channels in enumerate(present, replicas.start)]
            sizes = self.system.n_sites, self._n_weights
            self._topologies[key] = Topology(*sizes, parts, merged, self.device, self._static, bonds=bonds)
        return self._topologies[key]

    def _part(self, replica: int, channels: bytes, merged: bool) -> tuple[Nodes, Edges]:
        """Return nodes and edges of a replica, of which only some channels may have nodes."""
        for cache in (self._nodes, self._edges):
            if len(cache) >= 4 * len(self._pairs.pairs) + 4:
                cache.clear()
        if channels not in self._nodes:
            self._nodes[channels] = Nodes(self.system, np.frombuffer(channels, dtype=bool))
        nodes = self._nodes[channels]
        if (replica, channels) not in self._edges:
            self._edges[replica, channels] = Edges(self.system, nodes, self._pairs.pairs[replica], merged)
        return nodes, self._edges[replica, channels]

    def _present(self, weights: torch.Tensor, given: ArrayLike | torch.Tensor) -> list[bytes]:
        """Return which channels of each replica have nodes: those with a weight, or all if no channel has one."""
        if self._read is not None and self._read[0] is given and self._read[1] == self._read[0]._version:
            return self._read[2]
        # A replica keeps all its nodes if it has no weight, since the backend needs at least one node.
        (everything,) = self._all_present(slice(0, 1))
        present = [row.tobytes() if row.any() else everything for row in (weights != 0).cpu().numpy()]
        if self._static and isinstance(given, torch.Tensor) and not given.is_inference():
            # The number of changes in place is private to torch; seen in torch 2.13.0.
            self._read = given, given._version, present
        return present

    def _evaluate(
        self,
        replicas: slice,
        present: list[bytes],
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
        forces: bool,
        stress: bool,
        weight_gradients: bool,
    ) -> Evaluation:
        topology = self._topology(replicas, present)
        wanted = forces, stress, weight_gradients
        compute = partial(self._compute, replicas.start, wanted)
        if self._recordings is None or not topology.static or not (forces or stress):
            return compute(topology, positions, cells, weights)
        dtype = self.backend.dtype
        return self._recordings.evaluate(wanted, dtype, compute, topology, positions, cells, weights)

    def _compute(
        self,
        start: int,
        results: tuple[bool, bool, bool],
        topology: Topology,
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
    ) -> Evaluation:
        """Evaluate replicas, the first of which has the index `start`; `results` are the derivatives to compute."""
        forces, stress, weight_gradients = results
        if weight_gradients:
            weights = weights.clone().requires_grad_()
        geometric = forces or stress
        if geometric:
            self._places.clear()  # atoms will move, and memory is needed
        kept = weight_gradients and not geometric
        place = self._place(start, topology, positions, cells, kept=kept)
        vectors, inside = place.vectors.requires_grad_(geometric), place.inside
        wanted = ([vectors] if geometric else []) + ([weights] if weight_gradients else [])
        with torch.set_grad_enabled(bool(wanted)):
            graph = topology.graph(vectors, inside, weights[:, None])
            if geometric and self._compiled is not None:
                energy, gradients = self._compiled.gradients(self.backend, graph, wanted)
            else:
                energy = self._energy(graph, self._geometry(place, graph), (len(weights), 1))[:, 0]
                gradients = list(torch.autograd.grad(energy.sum(), wanted)) if wanted else []
        if not wanted:
            return Evaluation(energy)
        slope = gradients[0].to(torch.float64)
        first, second, replica = topology.ends(inside)
        return Evaluation(
            energy.detach(),
            forces_of_pairs(slope, first, second, positions.shape) if forces else None,
            stress_of_pairs(slope, vectors.detach().to(torch.float64), replica, cells) if stress else None,
            gradients[-1] if weight_gradients else None,
        )

    def _vectors(
        self, topology: Topology, positions: torch.Tensor, cells: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the vectors from sender to receiver (Å) of a graph, and which pairs are within the cutoff."""
        flat = positions.reshape(-1, 3)
        images = torch.einsum("pi,pij->pj", topology.shifts, cells[topology.replica])
        vectors = flat[topology.first] - flat[topology.second] - images
        # Pairs in the skin are excluded, since some potentials do not vanish beyond their cutoff.
        inside = torch.linalg.vector_norm(vectors, dim=-1) < self.backend.cutoff_A
        return (vectors if topology.static else vectors[inside]).to(self.backend.dtype), inside

    def _place(
        self, start: int, topology: Topology, positions: torch.Tensor, cells: torch.Tensor, *, kept: bool
    ) -> _Place:
        """Return the vectors of some replicas; if they are kept, those of the last evaluation at the same positions."""
        known = self._places.get(start)
        if kept and known is not None and known.is_at(topology, positions, cells):
            return known
        if kept:  # copies, since the caller may change its arrays
            positions, cells = positions.clone(), cells.clone()
        place = _Place(topology, positions, cells, *self._vectors(topology, positions, cells))
        if kept:
            self._places[start] = place
        return place

    def _geometry(self, place: _Place, graph: Graph) -> Any:
        """Return the geometry of a graph with the vectors of a place."""
        if not place.topology.shares_vectors:
            return self.backend.geometry(graph)
        if place.geometry is None:
            place.geometry = self.backend.geometry(graph)
        return place.geometry

    def _energy(self, graph: Graph, geometry: Any, shape: tuple[int, ...]) -> torch.Tensor:
        """Return the energies (eV) of B replicas at K sets of weights each, of this shape (B, K)."""
        node_energies = self.backend.node_energies(graph, geometry).to(torch.float64) * graph.node_weights
        energy = torch.zeros(prod(shape), dtype=torch.float64, device=self.device)
        return energy.index_add(0, graph.node_replica, node_energies).reshape(shape)


@dataclass
class _Place:
    """Replicas at some positions: the vectors of their pairs, and what the backend computes from them."""

    topology: Topology
    positions: torch.Tensor
    cells: torch.Tensor
    vectors: torch.Tensor
    inside: torch.Tensor
    geometry: Any = None

    def is_at(self, topology: Topology, positions: torch.Tensor, cells: torch.Tensor) -> bool:
        """Return whether the topology, positions and cells are these."""
        return topology is self.topology and torch.equal(positions, self.positions) and torch.equal(cells, self.cells)


def _flat(parts: Sequence[torch.Tensor | None], like: Sequence[torch.Tensor]) -> torch.Tensor:
    """Join derivatives to one vector; derivatives that are None become zeros."""
    known = [torch.zeros_like(of) if part is None else part for part, of in zip(parts, like, strict=True)]
    return torch.cat([part.flatten() for part in known])


def _joined(parts: list[torch.Tensor | None]) -> torch.Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None
