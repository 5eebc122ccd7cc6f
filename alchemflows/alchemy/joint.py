"""Evaluate replicas of several alchemical systems of one size in one batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from numpy.typing import ArrayLike

from alchemflows.alchemy.interfaces import Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.topology import Edges, Nodes
from alchemflows.errors import InvalidInputError

#: Number of different batches whose graphs are kept.
_BATCHES_KEPT = 4


@dataclass(frozen=True)
class Request:
    """Replicas of one member of a :class:`JointPotential`.

    Attributes
    ----------
    member
        Index of the member.
    positions, cells, weights
        As for :meth:`AlchemicalPotential.evaluate`, or for :meth:`AlchemicalPotential.energies`.
    """

    member: int
    positions: ArrayLike | torch.Tensor
    cells: ArrayLike | torch.Tensor
    weights: ArrayLike | torch.Tensor


class JointPotential(AlchemicalPotential):
    """Potential of several alchemical systems with the same number of sites, whose replicas share batches.

    Each member keeps its own neighbour lists. Results therefore differ from those of a member alone only by the
    rounding of batched sums. Replicas are evaluated with the methods that take requests.

    Parameters
    ----------
    members
        Potentials of the systems, with the same backend.

    Raises
    ------
    InvalidInputError
        If there is no member, or if numbers of sites or potentials differ.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalPath, AlchemicalPotential, load_potential
    >>> from alchemflows.alchemy.joint import JointPotential, Request
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> backend = load_potential("mace-demo")
    >>> paths = [AlchemicalPath.from_substitution(salt, change) for change in ({"Na": "K"}, {"Cl": "Br"})]
    >>> joint = JointPotential([AlchemicalPotential(path.system, backend) for path in paths])
    >>> x, h = [salt.cart_coords], [salt.lattice.matrix]
    >>> found = joint.evaluate_members([Request(k, x, h, [path.weights(0.5)]) for k, path in enumerate(paths)])
    >>> [evaluation.weight_gradients.shape for evaluation in found]
    [torch.Size([1, 2]), torch.Size([1, 2])]
    """

    def __init__(self, members: Sequence[AlchemicalPotential]) -> None:
        sizes = {member.system.n_sites for member in members}
        if len(sizes) != 1:
            raise InvalidInputError(f"members must have the same number of sites; got {sorted(sizes)}")
        first = members[0]
        if any(member.record != first.record for member in members):
            raise InvalidInputError("members must have the same potential, dtype and device")
        compiled = any(member._compiled is not None for member in members)
        super().__init__(first.system, first._loaded, static_shapes=first._static, compiled=compiled)
        self.members = list(members)
        self._elements = frozenset[int]().union(*(member.system.elements for member in members))
        self._n_weights = max(member.system.n_weights for member in members)
        self._requests: list[Request] = []
        self._counts: list[int] = []
        self._replicas: list[tuple[AlchemicalPotential, int]] = []
        self._batches: dict[tuple[tuple[int, int], ...], tuple[dict, dict]] = {}

    def evaluate_members(
        self, requests: Sequence[Request], *, forces: bool = True, stress: bool = True, weight_gradients: bool = True
    ) -> list[Evaluation]:
        """Evaluate replicas of some members in one batch, see :meth:`AlchemicalPotential.evaluate`.

        Parameters
        ----------
        requests
            Replicas, with weights of shape (B, C); each member at most once.
        forces, stress, weight_gradients
            Derivatives to compute.

        Returns
        -------
        evaluations
            One for each request.

        Raises
        ------
        InvalidInputError, PotentialError
            As for :meth:`AlchemicalPotential.evaluate`.
        """
        together = self.evaluate(
            *self._gathered(requests, ("B", "C")), forces=forces, stress=stress, weight_gradients=weight_gradients
        )

        def part(values: torch.Tensor | None, of: slice) -> torch.Tensor | None:
            return None if values is None else values[of]

        found = []
        for member, of in self._shares():
            gradients = part(together.weight_gradients, of)
            found.append(
                Evaluation(
                    together.energy[of],
                    part(together.forces, of),
                    part(together.stress, of),
                    None if gradients is None else gradients[:, : member.system.n_weights],
                )
            )
        return found

    def energies_of_members(self, requests: Sequence[Request]) -> list[torch.Tensor]:
        """Return the energies of replicas at K sets of weights, see :meth:`AlchemicalPotential.energies`.

        Parameters
        ----------
        requests
            Replicas, with weights of shape (B, K, C) and the same K; each member at most once.

        Returns
        -------
        energies
            Energies (eV), shape (B, K), for each request.

        Raises
        ------
        InvalidInputError, PotentialError
            As for :meth:`AlchemicalPotential.energies`.
        """
        energies = self.energies(*self._gathered(requests, ("B", "K", "C")))
        return [energies[of] for _, of in self._shares()]

    def recall_member(self, member: int, memory: Mapping[str, torch.Tensor]) -> None:
        """Rebuild the neighbour lists of a member, see :meth:`AlchemicalPotential.recall`."""
        self.members[member].recall(memory)
        self._forget_topologies()

    def _gathered(self, requests: Sequence[Request], axes: tuple[str, ...]) -> list[torch.Tensor]:
        """Return positions, cells and weights of the batch of some requests; weights that a member lacks are zero."""
        arrays: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self._requests, self._replicas = list(requests), []
        for request in requests:
            member = self.members[request.member]
            x, h, w = member._tensors(request.positions, request.cells, request.weights, axes)
            self._replicas += [(member, k) for k in range(len(x))]
            arrays.append((x, h, torch.nn.functional.pad(w, (0, self._n_weights - w.shape[-1]))))
        self._counts = [len(x) for x, _, _ in arrays]
        batch = tuple((request.member, n) for request, n in zip(requests, self._counts, strict=True))
        if batch not in self._batches and len(self._batches) >= _BATCHES_KEPT:
            self._batches.clear()
        self._topologies, self._places = self._batches.setdefault(batch, ({}, {}))
        return [torch.cat(values) for values in zip(*arrays, strict=True)]

    def _shares(self) -> Iterator[tuple[AlchemicalPotential, slice]]:
        """Yield the member and the replicas in the batch of each request."""
        start = 0
        for request, n in zip(self._requests, self._counts, strict=True):
            yield self.members[request.member], slice(start, start + n)
            start += n

    def _refresh(self, positions: torch.Tensor, cells: torch.Tensor) -> bool:
        stale = [member._refresh(positions[of], cells[of]) for member, of in self._shares()]
        if any(stale):
            self._forget_topologies()
        return any(stale)

    def _forget_topologies(self) -> None:
        for topologies, _ in self._batches.values():
            topologies.clear()

    def _release(self) -> None:
        for topologies, places in self._batches.values():
            topologies.clear()
            places.clear()

    def _present(self, weights: torch.Tensor, given: ArrayLike | torch.Tensor) -> list[bytes]:
        shares = zip(self._requests, self._shares(), strict=True)
        return [
            channels
            for request, (member, of) in shares
            for channels in member._present(weights[of, : member.system.n_weights], request.weights)
        ]

    def _all_present(self, replicas: slice) -> list[bytes]:
        return [member._all_present(slice(0, 1))[0] for member, _ in self._replicas[replicas]]

    def _n_pairs(self) -> list[int]:
        return [n for member, _ in self._shares() for n in member._n_pairs()]

    def _part(self, replica: int, channels: bytes, merged: bool) -> tuple[Nodes, Edges]:
        member, k = self._replicas[replica]
        return member._part(k, channels, merged)
