"""Alchemical energy of a batch of replicas, and its derivatives; the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from ase.data import chemical_symbols
from numpy.typing import ArrayLike

from alchemflows.alchemy.graph import AlchemicalGraph, GraphTopology, Nodes
from alchemflows.alchemy.neighbours import NeighbourList
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialRecord


class Backend(Protocol):
    """The few lines in which architectures differ."""

    record: PotentialRecord
    cutoff_A: float
    numbers: frozenset[int]
    dtype: torch.dtype
    device: torch.device

    def node_energies(self, graph: AlchemicalGraph) -> torch.Tensor:
        """Energy of each node (eV), shape (B·M,), reference energies included, not yet times λ."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Results for B replicas; what was not asked for is None.

    Attributes
    ----------
    energy
        eV, shape (B,), float64.
    forces
        eV/Å, shape (B, N, 3), float64.
    stress
        ∂E/∂ε / V, eV/Å³, shape (B, 3, 3), float64; tension positive, as ASE has it.
    weight_gradients
        ∂E/∂w, eV, shape (B, C), float64.
    """

    energy: torch.Tensor
    forces: torch.Tensor | None = None
    stress: torch.Tensor | None = None
    weight_gradients: torch.Tensor | None = None


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

    Raises
    ------
    InvalidInputError
        If the model does not know an element of the system.
    """

    def __init__(self, system: AlchemicalSystem, backend: Backend, skin_A: float = 0.5) -> None:
        unknown = sorted(system.elements - backend.numbers)
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            raise InvalidInputError(f"the potential {backend.record.name} does not know {names}")
        self.system = system
        self.backend = backend
        self._pairs = NeighbourList(backend.cutoff_A, skin_A)
        self._nodes = Nodes(system)

    @property
    def record(self) -> PotentialRecord:
        """What the potential is: name, SHA-256, dtype, device."""
        return self.backend.record

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.backend.device

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

        Parameters
        ----------
        positions
            Å, shape (B, N, 3); atoms need not lie in the cell.
        cells
            Å, shape (B, 3, 3), rows are lattice vectors.
        weights
            Shape (B, C). They are not checked here: sweeps and optimizers may step off the simplex.
        forces, stress, weight_gradients
            What to compute besides the energy.
        """
        positions, cells, weights = self._tensors(positions, cells, weights)
        self._update(positions, cells)
        n_replicas, n_atoms = positions.shape[:2]
        vectors = self._pair_vectors(positions, cells)
        geometric = forces or stress
        if geometric:
            vectors.requires_grad_()
        if weight_gradients:
            weights = weights.clone().requires_grad_()
        with torch.set_grad_enabled(geometric or weight_gradients):
            energy = self._energy(vectors, weights)
        wanted = ([vectors] if geometric else []) + ([weights] if weight_gradients else [])
        if not wanted:
            return Evaluation(energy)
        gradients = torch.autograd.grad(energy.sum(), wanted)
        slope = gradients[0]
        return Evaluation(
            energy.detach(),
            self._forces(slope, n_replicas, n_atoms) if forces else None,
            self._stress(slope, vectors.detach(), cells) if stress else None,
            gradients[-1] if weight_gradients else None,
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
        """
        positions, cells, weights = self._tensors(positions, cells, weights)
        self._update(positions, cells)
        with torch.no_grad():
            vectors = self._pair_vectors(positions, cells)
            return torch.stack([self._energy(vectors, w) for w in weights.unbind(1)], dim=1)

    def _tensors(self, *values: ArrayLike | torch.Tensor) -> list[torch.Tensor]:
        return [torch.as_tensor(v, dtype=torch.float64, device=self.device).detach() for v in values]

    def _update(self, positions: torch.Tensor, cells: torch.Tensor) -> None:
        if self._pairs.update(positions.cpu().numpy(), cells.cpu().numpy()):
            self._topology = GraphTopology(self.system, self._nodes, self._pairs, self.device)
            self._replica, self._first, self._second = (
                torch.as_tensor(v, dtype=torch.int64, device=self.device)
                for v in (self._pairs.replica, self._pairs.first, self._pairs.second)
            )
            self._shifts = torch.as_tensor(self._pairs.shifts, dtype=torch.float64, device=self.device)
            replicas = torch.arange(len(positions), device=self.device).repeat_interleave(len(self._nodes))
            self._node_replica = replicas
            self._node_numbers = torch.as_tensor(self._nodes.numbers, device=self.device).repeat(len(positions))
            node_weight = torch.as_tensor(self._nodes.weight, device=self.device).repeat(len(positions))
            self._node_weight = node_weight + replicas * (1 + self.system.n_weights)

    def _pair_vectors(self, positions: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """Vectors from the sender (second atom of a pair) to the receiver (first), Å, shape (P, 3)."""
        apart = positions[self._replica, self._first] - positions[self._replica, self._second]
        return apart - torch.einsum("pi,pij->pj", self._shifts, cells[self._replica])

    def _energy(self, pair_vectors: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        dtype = self.backend.dtype
        topology = self._topology
        # Pairs in the skin must not enter: some models are not zero beyond their cutoff.
        inside = (torch.linalg.vector_norm(pair_vectors.detach(), dim=-1) < self.backend.cutoff_A)[topology.pair]
        table = torch.cat([weights.new_ones(len(weights), 1), weights], dim=1).reshape(-1)
        graph = AlchemicalGraph(
            numbers=self._node_numbers,
            node_replica=self._node_replica,
            sender=topology.sender[inside],
            receiver=topology.receiver[inside],
            vectors=pair_vectors[topology.pair[inside]].to(dtype),
            edge_weights=table[topology.weight[inside]].to(dtype),
        )
        node_energies = self.backend.node_energies(graph).to(torch.float64) * table[self._node_weight]
        energy = torch.zeros(len(weights), dtype=torch.float64, device=self.device)
        return energy.index_add(0, self._node_replica, node_energies)

    def _forces(self, slope: torch.Tensor, n_replicas: int, n_atoms: int) -> torch.Tensor:
        forces = torch.zeros((n_replicas * n_atoms, 3), dtype=torch.float64, device=self.device)
        forces.index_add_(0, self._replica * n_atoms + self._first, -slope)
        forces.index_add_(0, self._replica * n_atoms + self._second, slope)
        return forces.reshape(n_replicas, n_atoms, 3)

    def _stress(self, slope: torch.Tensor, vectors: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        virial = torch.zeros((len(cells), 3, 3), dtype=torch.float64, device=self.device)
        virial.index_add_(0, self._replica, vectors[:, :, None] * slope[:, None, :])
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
