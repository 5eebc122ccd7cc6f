"""Alchemical energy of a batch of replicas, and its derivatives; the same for every backend."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from alchemflows.alchemy.graph import Graph
from alchemflows.alchemy.interfaces import VOIGT, Backend, Evaluation, SecondDerivatives
from alchemflows.alchemy.neighbours import NeighbourList
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.topology import Edges, Nodes, Topology, with_one
from alchemflows.errors import InvalidInputError, PotentialError
from alchemflows.schemas.potential import PotentialRecord

logger = logging.getLogger(__name__)

#: So many vectors take part in one call of the backend, about: few where caches count, many where thousands of cores
#: are to be fed. What is more is split by replicas and sets of weights (but not below one).
VECTORS_AT_ONCE = {"cpu": 2**12, "cuda": 2**18}
#: How the texts of errors tell a lack of memory: of torch.OutOfMemoryError, of the same within TorchScript (where it is
#: a plain RuntimeError), of cuBLAS, and of the CPU's allocator.
OUT_OF_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory")

Result = TypeVar("Result")


def check_supported(system: AlchemicalSystem, backend: Backend) -> None:
    """Check that a model can evaluate a system, without evaluating it.

    Raises
    ------
    InvalidInputError
        If the model does not know an element of the system.
    """
    unknown = sorted(system.elements - backend.numbers)
    if unknown:
        names = ", ".join(chemical_symbols[z] for z in unknown)
        raise InvalidInputError(f"the potential {backend.record.name} does not know {names}")


class AlchemicalPotential:
    """Energy, forces, stress and ∂E/∂w of replicas of one alchemical system.

    E = Σ_(i,e) λ_ie (E0_e + ε_ie), with messages weighted along the edges (see
    :mod:`alchemflows.alchemy.graph`); all derivatives come from one backward pass.

    Parameters
    ----------
    system
        The alchemical system; replicas differ in positions, cell and weights.
    backend
        A loaded model, see :func:`alchemflows.alchemy.backends.load_potential`.
    skin_A
        Skin of the neighbour list (Å).

    Notes
    -----
    A potential is for one thread at a time.

    Raises
    ------
    InvalidInputError
        If the model does not know an element of the system, or the skin is negative.

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

    def __init__(self, system: AlchemicalSystem, backend: Backend, skin_A: float = 0.5) -> None:
        if not skin_A >= 0:
            raise InvalidInputError(f"skin_A must not be negative; got {skin_A}")
        self.system = system
        check_supported(system, backend)
        self._loaded = backend
        self._pairs = NeighbourList(backend.cutoff_A, skin_A)
        self._nodes: dict[bytes, Nodes] = {}
        self._edges: dict[tuple[int, bytes], Edges] = {}
        self._topologies: dict[tuple[int, tuple[bytes, ...]], Topology] = {}
        self._vectors_at_once = VECTORS_AT_ONCE.get(self.device.type, 2**18)

    @cached_property
    def backend(self) -> Backend:
        """The model, made fast for the elements of the system at the first evaluation.

        Raises
        ------
        PotentialError
            As :meth:`Backend.specialised`.
        """
        return self._loaded.specialised(self.system.elements)

    @property
    def record(self) -> PotentialRecord:
        """What the potential is: name, SHA-256, dtype, device."""
        return self._loaded.record

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
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
        """Evaluate B replicas at once.

        Where the device has too little memory for all, a warning is logged, and they are evaluated in halves, quarters
        and so on, from then on.

        Parameters
        ----------
        positions
            Å, shape (B, N, 3); atoms need not lie in the cell.
        cells
            Å, shape (B, 3, 3), rows are lattice vectors.
        weights
            Shape (B, C). They are not checked here: sweeps and optimizers may step off the simplex.
        forces, stress, weight_gradients
            What to compute besides the energy. Without `weight_gradients`, nodes of weight zero are left out.

        Raises
        ------
        InvalidInputError
            If the shapes do not fit the system or each other.
        PotentialError
            If the device has too little memory for a single replica.
        """
        positions, cells, weights = self._tensors(positions, cells, weights, ("B", "C"))
        self._refresh(positions, cells)

        def part(b: slice, _n_sets: int) -> Evaluation:
            return self._evaluate(b, positions[b], cells[b], weights[b], forces, stress, weight_gradients)

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
        """Energies of each replica at K sets of weights, for u_nk; no derivatives.

        Parameters
        ----------
        positions, cells
            As for :meth:`evaluate`.
        weights
            Shape (B, K, C).

        Returns
        -------
        energies
            eV, shape (B, K), float64.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`evaluate`.
        """
        positions, cells, weights = self._tensors(positions, cells, weights, ("B", "K", "C"))
        self._refresh(positions, cells)

        def part(b: slice, n_sets: int) -> torch.Tensor:
            with torch.no_grad():
                topology = self._topology(b, [self._all_present] * len(positions[b]))
                vectors, inside = self._vectors(topology, positions[b], cells[b])
                energies, geometry = [], None
                for w in weights[b].split(n_sets, dim=1):
                    graph = topology.graph(vectors, inside, w)
                    if geometry is None or not topology.merged:
                        geometry = self.backend.geometry(graph)
                    energies.append(self._energy(topology, graph, geometry, w))
                return torch.cat(energies, dim=1)

        return torch.cat(self._in_memory(len(positions), weights.shape[1], part))

    def second_derivatives(self, positions: ArrayLike, cell: ArrayLike, weights: ArrayLike) -> SecondDerivatives:
        """Differentiate twice at one configuration, all by automatic differentiation.

        Parameters
        ----------
        positions, cell
            Å, shapes (N, 3) and (3, 3).
        weights
            Shape (C,).

        Raises
        ------
        InvalidInputError
            If the shapes do not fit the system, or the model computes in float32, which is too coarse.
        """
        if self.backend.dtype != torch.float64:
            raise InvalidInputError("second derivatives need a potential in float64")
        x, h, w = self._tensors(
            np.asarray(positions)[None], np.asarray(cell)[None], np.asarray(weights)[None], ("B", "C")
        )
        self._refresh(x, h)
        topology = self._topology(slice(0, 1), [self._all_present])
        vectors, inside = self._vectors(topology, x, h)
        first, second = (index[inside] for index in (topology.first, topology.second))
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
            energy = self._energy(topology, graph, self.backend.geometry(graph), w[:, None]).sum()
            gradient = _flat(torch.autograd.grad(energy, z, create_graph=True), z)
            rows = [
                _flat(torch.autograd.grad(slope, z, retain_graph=True, allow_unused=True), z).detach()
                for slope in gradient
            ]
        hessian = torch.stack(rows).cpu().numpy()
        return SecondDerivatives(float(energy), gradient.detach().cpu().numpy(), (hessian + hessian.T) / 2)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return for which positions and cells the neighbour lists were made: sums follow their order."""
        positions, cells = self._pairs.made_at
        return {"list_positions": positions, "list_cells": cells}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Make the neighbour lists that a potential had whose :meth:`memory` this is."""
        self._pairs.forget()
        self._refresh(memory["list_positions"].to(self.device), memory["list_cells"].to(self.device))

    def _tensors(
        self,
        positions: ArrayLike | torch.Tensor,
        cells: ArrayLike | torch.Tensor,
        weights: ArrayLike | torch.Tensor,
        axes: tuple[str, ...],
    ) -> list[torch.Tensor]:
        """Return all on the device, in float64, after a check of their shapes; `axes` are those of the weights."""
        x, h, w = (
            torch.as_tensor(values, dtype=torch.float64, device=self.device).detach()
            for values in (positions, cells, weights)
        )
        n = len(x) if x.dim() else 0
        sizes = {"B": n, "K": w.shape[1] if w.dim() == 3 else 0, "C": self.system.n_weights}
        for name, values, shape in (
            ("positions", x, (n, self.system.n_sites, 3)),
            ("cells", h, (n, 3, 3)),
            ("weights", w, tuple(sizes[axis] for axis in axes)),
        ):
            if tuple(values.shape) != shape:
                raise InvalidInputError(f"{name} must have shape {shape}; got {tuple(values.shape)}")
        if n == 0 or ("K" in axes and sizes["K"] == 0):
            raise InvalidInputError("there is no replica, or no set of weights, to evaluate")
        return [x, h, w]

    def _in_memory(self, n_replicas: int, n_sets: int, compute: Callable[[slice, int], Result]) -> list[Result]:
        """Compute all replicas in as few parts as fit in memory, for a given number of sets of weights at once."""
        parts: list[Result] = []
        done = 0
        per_replica = max(1, *(len(first) for first, _, _ in self._pairs.pairs))
        while done < n_replicas:
            size = min(max(1, self._vectors_at_once // per_replica), n_replicas - done)
            sets = min(max(1, self._vectors_at_once // (per_replica * size)), n_sets)
            try:
                parts.append(compute(slice(done, done + size), sets))
                done += size
                continue
            except RuntimeError as error:
                if not any(text in str(error).lower() for text in OUT_OF_MEMORY):
                    raise
                if size * sets == 1:
                    raise PotentialError(f"{self.device} has too little memory for one replica: {error}") from error
                self._vectors_at_once = per_replica * size * sets // 2
                logger.warning("%s is out of memory with %d replicas at once; trying half", self.device, size * sets)
            # Out of the except clause, where the error would keep what filled the memory.
            self._topologies.clear()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return parts

    @property
    def _all_present(self) -> bytes:
        return np.ones(self.system.n_weights, dtype=bool).tobytes()

    def _refresh(self, positions: torch.Tensor, cells: torch.Tensor) -> None:
        stale = set(self._pairs.update(positions, cells))
        if stale:
            self._topologies.clear()
            self._edges = {key: edges for key, edges in self._edges.items() if key[0] not in stale}

    def _topology(self, replicas: slice, present: list[bytes]) -> Topology:
        """Topology of some replicas, of each of whose channels it is known whether they are present."""
        key = (replicas.start, tuple(present))
        if key not in self._topologies:
            # Two kinds of evaluation (with ∂E/∂w and without) take turns; ever new weights must not fill the memory.
            limit = 4 * len(self._pairs.pairs) + 4
            for cache in (self._nodes, self._edges, self._topologies):
                if len(cache) >= limit:
                    cache.clear()
            merged = self.backend.merges_messages
            parts = []
            for b, channels in enumerate(present, replicas.start):
                if channels not in self._nodes:
                    self._nodes[channels] = Nodes(self.system, np.frombuffer(channels, dtype=bool))
                nodes = self._nodes[channels]
                if (b, channels) not in self._edges:
                    self._edges[b, channels] = Edges(self.system, nodes, self._pairs.pairs[b], merged)
                parts.append((nodes, self._edges[b, channels]))
            self._topologies[key] = Topology(self.system, parts, merged, self.device)
        return self._topologies[key]

    def _evaluate(
        self,
        replicas: slice,
        positions: torch.Tensor,
        cells: torch.Tensor,
        weights: torch.Tensor,
        forces: bool,
        stress: bool,
        weight_gradients: bool,
    ) -> Evaluation:
        if weight_gradients:
            present = [self._all_present] * len(weights)
            weights = weights.clone().requires_grad_()
        else:
            # Of a replica in which nothing is left all is kept: an empty graph is no graph.
            present = [row.tobytes() if row.any() else self._all_present for row in (weights != 0).cpu().numpy()]
        topology = self._topology(replicas, present)
        vectors, inside = self._vectors(topology, positions, cells)
        geometric = forces or stress
        vectors.requires_grad_(geometric)
        with torch.set_grad_enabled(geometric or weight_gradients):
            graph = topology.graph(vectors, inside, weights[:, None])
            energy = self._energy(topology, graph, self.backend.geometry(graph), weights[:, None])[:, 0]
            total = energy.sum()
        wanted = ([vectors] if geometric else []) + ([weights] if weight_gradients else [])
        if not wanted:
            return Evaluation(energy)
        gradients = torch.autograd.grad(total, wanted)
        slope = gradients[0].to(torch.float64)
        first, second, replica = (
            index.index_select(0, inside.nonzero()[:, 0])
            for index in (topology.first, topology.second, topology.replica)
        )
        return Evaluation(
            energy.detach(),
            _forces(slope, first, second, positions.shape) if forces else None,
            _stress(slope, vectors.detach().to(torch.float64), replica, cells) if stress else None,
            gradients[-1] if weight_gradients else None,
        )

    def _vectors(
        self, topology: Topology, positions: torch.Tensor, cells: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors from sender to receiver of the pairs within the cutoff (Å), and which pairs these are."""
        flat = positions.reshape(-1, 3)
        images = torch.einsum("pi,pij->pj", topology.shifts, cells[topology.replica])
        vectors = flat[topology.first] - flat[topology.second] - images
        # Pairs in the skin must not enter: some models are not zero beyond their cutoff.
        inside = torch.linalg.vector_norm(vectors, dim=-1) < self.backend.cutoff_A
        return vectors[inside].to(self.backend.dtype), inside

    def _energy(self, topology: Topology, graph: Graph, geometry: Any, weights: torch.Tensor) -> torch.Tensor:
        """Energies, shape (B, K), at weights of shape (B, K, C)."""
        node_energies = self.backend.node_energies(graph, geometry).to(torch.float64)
        node_energies = node_energies * with_one(weights)[topology.node_replica, :, topology.node_weight].flatten()
        energy = torch.zeros(weights.shape[:2].numel(), dtype=torch.float64, device=self.device)
        return energy.index_add(0, graph.node_replica, node_energies).reshape(weights.shape[:2])


def _flat(parts: Sequence[torch.Tensor | None], like: Sequence[torch.Tensor]) -> torch.Tensor:
    """Join derivatives to one vector, zero where nothing depends on a variable."""
    known = [torch.zeros_like(of) if part is None else part for part, of in zip(parts, like, strict=True)]
    return torch.cat([part.flatten() for part in known])


def _joined(parts: list[torch.Tensor | None]) -> torch.Tensor | None:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None


def _forces(slope: torch.Tensor, first: torch.Tensor, second: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    forces = slope.new_zeros(shape[0] * shape[1], 3)
    return forces.index_add_(0, second, slope).index_add_(0, first, -slope).reshape(shape)


def _stress(slope: torch.Tensor, vectors: torch.Tensor, replica: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    virial = slope.new_zeros(len(cells), 3, 3)
    virial.index_add_(0, replica, vectors[:, :, None] * slope[:, None, :])
    virial = (virial + virial.transpose(1, 2)) / 2
    return virial / torch.linalg.det(cells).abs()[:, None, None]


def single(evaluation: Evaluation) -> dict[str, float | np.ndarray]:
    """Results of a batch of one replica as plain numbers and arrays."""
    results: dict[str, float | np.ndarray] = {"energy": float(evaluation.energy[0])}
    for name in ("forces", "stress", "weight_gradients"):
        value = getattr(evaluation, name)
        if value is not None:
            results[name] = value[0].cpu().numpy()
    return results
