"""Build the alchemical graph of a batch of replicas: nodes, edges, and the part that is constant while atoms move.

The rules are those of :mod:`alchemflows.alchemy.graph`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph, MergedGraph, Slots, zeros
from alchemflows.alchemy.neighbours import both_directions
from alchemflows.alchemy.system import AlchemicalSystem


class Nodes:
    """The M nodes of one replica of a system, in the order of the atoms.

    Parameters
    ----------
    system
        The system.
    present
        Which of the C channels have nodes, shape (C,), bool. Channels with a weight of exactly zero can be omitted if
        ∂E/∂w is not requested.

    Attributes
    ----------
    atom, numbers, weight
        Atom, atomic number and index into ``[1, weights...]`` of each node; shape (M,).
    first, count, group
        First node, number of nodes and group (-1 for an ordinary atom) of each atom; shape (N,).
    """

    def __init__(self, system: AlchemicalSystem, present: np.ndarray) -> None:
        channels: list[list[tuple[int, int]]] = [[(int(z), 0)] for z in system.numbers]
        self.group = np.full(system.n_sites, -1)
        start = 1
        for index, group in enumerate(system.groups):
            here = [n for n in range(len(group.channels)) if present[start - 1 + n]]
            for k, site in enumerate(group.sites):
                channels[site] = [(group.channels[n][k], start + n) for n in here]
                self.group[site] = index
            start += len(group.channels)
        self.count = np.array([len(nodes) for nodes in channels], dtype=int)
        self.first = np.cumsum(self.count) - self.count
        self.atom = np.repeat(np.arange(len(channels)), self.count)
        table = np.array([node for nodes in channels for node in nodes], dtype=int).reshape(-1, 2)
        self.numbers, self.weight = table.T

    def __len__(self) -> int:
        return len(self.atom)


class Edges:
    """The edges of one replica, made from the pairs of its neighbour list.

    Parameters
    ----------
    system, nodes
        The system, and the nodes of this replica.
    pairs
        ``first, second, shifts`` as in :class:`~alchemflows.alchemy.neighbours.NeighbourList`.
    merged
        Whether the backend can merge messages.

    Attributes
    ----------
    first, second, shifts
        Pairs between atoms that have nodes, each in one of its two directions, shapes (P,), (P,), (P, 3).
    pair, is_reverse
        Pair of each edge, and whether the edge has the other direction than the pair; shape (E,).
    sender, receiver
        Nodes of each edge, shape (E,). If messages are merged, rows instead: atom i has row i, and node n has row
        N + n.
    weight
        Index of the weight of each edge into ``[1, weights...]``, shape (E,); not used if messages are merged.
    has_single_ties
        Whether a pair has a single tied edge.
    """

    def __init__(
        self,
        system: AlchemicalSystem,
        nodes: Nodes,
        pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
        merged: bool,
    ) -> None:
        linked = (nodes.count[pairs[0]] > 0) & (nodes.count[pairs[1]] > 0)
        directed, reverse = both_directions(*(values[linked] for values in pairs))
        first, second, shifts = directed
        group = nodes.group[first]
        tied = (group >= 0) & (group == nodes.group[second])
        if system.coupling == "mean-field":
            tied &= first == second
        # A tied pair has one edge per channel. Other pairs have one edge per pair of nodes, or a single one if merged.
        n_receivers = np.where(tied | (not merged), nodes.count[first], 1)
        n_senders = np.where(tied | merged, 1, nodes.count[second])
        n_edges = n_receivers * n_senders
        along = np.repeat(np.arange(len(n_edges)), n_edges)
        rank = np.arange(len(along)) - np.repeat(np.cumsum(n_edges) - n_edges, n_edges)
        receiver_rank, sender_rank = rank // n_senders[along], rank % n_senders[along]
        tied = tied[along]
        receiver = nodes.first[first[along]] + receiver_rank
        sender = nodes.first[second[along]] + np.where(tied, receiver_rank, sender_rank)
        self.weight = np.where(tied, 0, nodes.weight[sender])
        self.has_single_ties = bool((tied & (n_edges[along] == 1)).any())
        self.receiver, self.sender = receiver, sender
        if merged:
            self.receiver = np.where(tied, system.n_sites + receiver, first[along])
            self.sender = np.where(tied, system.n_sites + sender, second[along])
        is_forward = np.arange(len(reverse)) < reverse
        self.first, self.second, self.shifts = first[is_forward], second[is_forward], shifts[is_forward]
        pair = np.cumsum(is_forward) - 1
        self.pair = np.where(is_forward, pair, pair[reverse])[along]
        self.is_reverse = ~is_forward[along]

    def reverse(self) -> np.ndarray:
        """Return the edge in the opposite direction of each edge, shape (E,); messages must not be merged."""
        shifts = (self.shifts[self.pair] * np.where(self.is_reverse, -1, 1)[:, None]).T
        forward = np.lexsort((*shifts, self.sender, self.receiver))
        backward = np.lexsort((*-shifts, self.receiver, self.sender))
        reverse = np.empty_like(forward)
        reverse[forward] = backward
        return reverse


@dataclass(frozen=True)
class _Layout:
    """Nodes of a graph for K sets of weights; `weight` are indices into the flattened ``[1, weights...]``."""

    numbers: torch.Tensor
    elements: tuple[tuple[int, int], ...]
    node_replica: torch.Tensor
    weight: torch.Tensor
    atom: torch.Tensor


@dataclass(frozen=True)
class _PairMessages:
    """Messages along some pairs, sorted by receiver: their pairs, vectors and rows, and the slots of K sets of them.

    The vector of a message is the index into those of the pairs, followed by their reverses. Messages that only fill
    the arrays are not real.
    """

    pair: torch.Tensor
    vector: torch.Tensor
    sender: torch.Tensor
    receiver: torch.Tensor
    weight: torch.Tensor | None
    tied: torch.Tensor
    slots: Slots
    is_real: torch.Tensor | None = None


class Topology:
    """The part of the graph of B replicas that is constant while atoms move, stored on the device.

    Parameters
    ----------
    n_sites, n_weights
        Number of sites, and largest number of weights, of a replica.
    replicas
        Nodes and edges of each of the B replicas.
    merged
        Whether messages are merged.
    device
        Device of the tensors.
    static
        Whether graphs have the same shapes at all positions. They then contain the pairs beyond the cutoff, too, whose
        messages are exactly zero. Numbers of pairs, edges and slots are rounded up, see :func:`padded`, so that new
        neighbour lists rarely change the shapes. Graphs with bonds have no static shapes.
    bonds
        Whether the graphs have bonds.

    Attributes
    ----------
    shares_vectors
        Whether the vectors of the graphs are those of the pairs, and not one for each edge and set of weights.
    merged, static
        Whether messages are merged, and whether shapes are static.
    numbers, elements
        As in :class:`~alchemflows.alchemy.graph.AlchemicalGraph`.
    node_replica, node_weight
        Replica of each node, and index of its λ into the replica's ``[1, weights...]``; shape (B·M,), int64.
    replica, first, second, shifts
        For each pair of atoms in one of its directions: replica, the two atoms as indices into the B·N atoms of the
        batch, and the cell vectors to add; shapes (P,), (P,), (P,), (P, 3). If shapes are static, the first pair is
        repeated at the end, without messages.
    pair, is_reverse, sender, receiver
        Pair of each message, whether it has the other direction than the pair, and its ends; shape (E,).
    """

    def __init__(
        self,
        n_sites: int,
        n_weights: int,
        replicas: Sequence[tuple[Nodes, Edges]],
        merged: bool,
        device: torch.device,
        static: bool = False,
        *,
        bonds: bool = False,
    ) -> None:
        def joined(values: Sequence[np.ndarray], offsets: Sequence[int] | np.ndarray | int = 0) -> torch.Tensor:
            offsets = np.broadcast_to(offsets, len(values))
            array = np.concatenate([v + o for v, o in zip(values, offsets, strict=True)])
            return torch.as_tensor(array, dtype=torch.int64, device=device)

        nodes, edges = [n for n, _ in replicas], [e for _, e in replicas]
        index = np.arange(len(replicas))
        n_nodes = np.array([len(n) for n in nodes])
        n_pairs = np.array([len(e.first) for e in edges])
        first_node = np.cumsum(n_nodes) - n_nodes

        # Nodes are sorted by element, so that the nodes of one element are a slice.
        numbers = np.concatenate([n.numbers for n in nodes])
        order = np.argsort(numbers, kind="stable")
        place = torch.as_tensor(np.argsort(order, kind="stable"), device=device)
        by_element = torch.as_tensor(order, device=device)
        self.numbers = torch.as_tensor(numbers[order], dtype=torch.int64, device=device)
        elements, counts = np.unique(numbers, return_counts=True)
        self.elements = tuple(zip(elements.tolist(), counts.tolist(), strict=True))
        self.node_replica = torch.as_tensor(np.repeat(index, n_nodes)[order], device=device)
        self.node_weight = joined([n.weight for n in nodes])[by_element]

        self.replica = torch.as_tensor(np.repeat(index, n_pairs), device=device)
        self.first = joined([e.first for e in edges], index * n_sites)
        self.second = joined([e.second for e in edges], index * n_sites)
        self.shifts = torch.as_tensor(
            np.concatenate([e.shifts for e in edges]).reshape(-1, 3), dtype=torch.float64, device=device
        )
        self.pair = joined([e.pair for e in edges], np.cumsum(n_pairs) - n_pairs)
        self.merged, self.shares_vectors = merged, merged or bonds
        self.static = static and not bonds
        self._n_listed = len(self.first)
        if self.static:
            names = ("replica", "first", "second", "shifts")
            for name, values in zip(names, _padded(*(getattr(self, name) for name in names)), strict=True):
                setattr(self, name, values)
        self._layouts: dict[int, _Layout] = {}
        self._static_messages: dict[int, _PairMessages] = {}
        self.n_weights = n_weights
        self.atom = joined([n.atom for n in nodes], index * n_sites)[by_element]
        if merged:
            self.n_atoms = len(replicas) * n_sites
            self.has_single_ties = any(e.has_single_ties for e in edges)

            def rows(ends: list[np.ndarray]) -> torch.Tensor:
                """Return rows of the batch; node n has the provisional row N·B + n."""
                atom = joined(ends, index * n_sites)
                node = joined([np.maximum(e - n_sites, 0) for e in ends], first_node)
                tied = joined([e >= n_sites for e in ends]).bool()
                return torch.where(tied, self.n_atoms + place[node], atom)

            sender, receiver = rows([e.sender for e in edges]), rows([e.receiver for e in edges])
            # Tied edges exist in both directions, so the receiving nodes are also the sending ones.
            self.tied = torch.unique(receiver[receiver >= self.n_atoms]) - self.n_atoms
            row = torch.arange(self.n_atoms + len(numbers), device=device)
            row[self.n_atoms + self.tied] = self.n_atoms + torch.arange(len(self.tied), device=device)
            sender, receiver = row[sender], row[receiver]
        else:
            sender, receiver = (
                place[joined([getattr(e, name) for e in edges], first_node)] for name in ("sender", "receiver")
            )
            self.weight = joined([e.weight for e in edges])
        # Sorted by receiver, so that the messages to one receiver are contiguous.
        self.receiver, by_receiver = torch.sort(receiver, stable=True)
        self.sender, self.pair = sender[by_receiver], self.pair[by_receiver]
        self.is_reverse = joined([e.is_reverse for e in edges])[by_receiver]
        if not merged:
            self.weight = self.weight[by_receiver]
        self.reverse: torch.Tensor | None = None
        if bonds:
            n_edges = np.array([len(e.pair) for e in edges])
            reverse = joined([e.reverse() for e in edges], np.cumsum(n_edges) - n_edges)
            self.reverse = torch.argsort(by_receiver)[reverse[by_receiver]]

    def constants(self) -> list[torch.Tensor]:
        """Return all arrays from which graphs with one set of weights are made; shapes must be static."""
        layout, messages = self._layout(1), self._all_messages(1)
        parts = [
            *(self.replica, self.first, self.second, self.shifts),
            *(layout.numbers, layout.node_replica, layout.weight, layout.atom),
            *(messages.pair, messages.vector, messages.sender, messages.receiver, messages.tied),
            *(messages.slots.sender, messages.slots.pair, messages.slots.vector),
        ]
        return [*parts, *(values for values in (messages.weight, messages.is_real) if values is not None)]

    @property
    def sizes(self) -> Hashable:
        """What must be equal for two topologies whose graphs differ only in the values of their arrays."""
        slots, elements = self._all_messages(1).slots, self._layout(1).elements
        return elements, slots.n_rows, slots.n_slots, tuple(tuple(array.shape) for array in self.constants())

    def ends(self, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return both atoms and the replica of each vector of a graph, shape (P',); `inside` as for :meth:`graph`."""
        if self.static:
            return self.first, self.second, self.replica
        kept = inside.nonzero()[:, 0]
        return self.first.index_select(0, kept), self.second.index_select(0, kept), self.replica.index_select(0, kept)

    def graph(self, vectors: torch.Tensor, inside: torch.Tensor, weights: torch.Tensor) -> Graph:
        """Return the graph at the current positions, repeated for K sets of weights.

        Replica b with set k of the weights becomes replica ``b * K + k`` of the graph.

        Parameters
        ----------
        vectors
            Vectors of the pairs within the cutoff, or of all pairs if shapes are static, shape (P', 3), in the dtype of
            the potential; each pair in the direction of this topology.
        inside
            Which of all pairs are within the cutoff, shape (P,), bool.
        weights
            Weights, shape (B, K, C), float64.
        """
        n_sets = weights.shape[1]
        if self.reverse is not None:
            return self._bond_graph(vectors, inside, weights, self.reverse)
        layout = self._layout(n_sets)
        messages = self._all_messages(n_sets) if self.static else self._messages(inside, n_sets)
        slots = messages.slots
        table = with_one(weights)
        node_weights = table.flatten().index_select(0, layout.weight)
        if not self.merged:
            assert messages.weight is not None
            edge_weights = table.to(vectors.dtype)[self.replica[messages.pair], :, messages.weight]
            if self.static:
                assert messages.is_real is not None
                edge_weights = edge_weights * (inside[messages.pair] & messages.is_real)[:, None]
            return EdgeGraph(
                numbers=layout.numbers,
                elements=layout.elements,
                node_replica=layout.node_replica,
                node_weights=node_weights,
                vectors=both_ways(vectors).index_select(0, messages.vector).repeat_interleave(n_sets, dim=0),
                sender=_tiled(messages.sender, n_sets),
                receiver=_tiled(messages.receiver, n_sets),
                edge_weights=edge_weights.flatten(),
                slots=slots,
            )
        if self.static:
            # The slot of a pair beyond the cutoff is empty: no message, and a gradient of exactly zero.
            # Without a pair its path weights are zero, so that its vector need not be removed.
            filled = torch.cat([inside, zeros(1, torch.bool, inside.device)[0]]).index_select(0, slots.pair)
            slots = replace(slots, pair=torch.where(filled, slots.pair, len(inside)))
        return MergedGraph(
            numbers=layout.numbers,
            elements=layout.elements,
            node_replica=layout.node_replica,
            node_weights=node_weights,
            vectors=vectors,
            atom=layout.atom,
            weights=node_weights.to(vectors.dtype),
            n_atom_rows=self.n_atoms * n_sets,
            tied=messages.tied,
            slots=slots,
        )

    def _bond_graph(
        self, vectors: torch.Tensor, inside: torch.Tensor, weights: torch.Tensor, reverse: torch.Tensor
    ) -> BondGraph:
        n_sets = weights.shape[1]
        layout, table = self._layout(n_sets), with_one(weights)
        is_kept = inside[self.pair]
        kept = is_kept.nonzero()[:, 0]
        pair = self.pair.index_select(0, kept)
        place = torch.cumsum(is_kept, 0) - 1
        return BondGraph(
            numbers=layout.numbers,
            elements=layout.elements,
            node_replica=layout.node_replica,
            node_weights=table.flatten().index_select(0, layout.weight),
            vectors=both_ways(vectors),
            sender=_tiled(self.sender.index_select(0, kept), n_sets),
            receiver=_tiled(self.receiver.index_select(0, kept), n_sets),
            edge_weights=table.to(vectors.dtype)[self.replica[pair], :, self.weight.index_select(0, kept)].flatten(),
            vector=self._vector(inside, kept, len(vectors)).repeat_interleave(n_sets),
            reverse=_tiled(place[reverse[kept]], n_sets),
        )

    def _layout(self, n_sets: int) -> _Layout:
        if n_sets not in self._layouts:
            copies = _tiled(self.node_replica, n_sets)
            self._layouts[n_sets] = _Layout(
                numbers=self.numbers.repeat_interleave(n_sets),
                elements=tuple((number, count * n_sets) for number, count in self.elements),
                node_replica=copies,
                weight=copies * (1 + self.n_weights) + self.node_weight.repeat_interleave(n_sets),
                atom=_tiled(self.atom, n_sets),
            )
        return self._layouts[n_sets]

    def _all_messages(self, n_sets: int) -> _PairMessages:
        """Return the messages along all pairs, which are built once."""
        if n_sets not in self._static_messages:
            everywhere = torch.ones(len(self.first), dtype=torch.bool, device=self.first.device)
            self._static_messages[n_sets] = self._messages(everywhere, n_sets)
        return self._static_messages[n_sets]

    def _messages(self, inside: torch.Tensor, n_sets: int) -> _PairMessages:
        """Return the messages along some of the pairs."""
        kept = inside[self.pair].nonzero()[:, 0]
        pair, sender, receiver = (index.index_select(0, kept) for index in (self.pair, self.sender, self.receiver))
        n_pairs = int(inside.count_nonzero())
        vector = self._vector(inside, kept, n_pairs)
        if not self.merged:
            edge = torch.arange(len(sender), device=sender.device)
            n_edges = padded(len(edge)) if self.static else len(edge)
            slots = _slots(len(self.numbers), sender, receiver, edge, n_edges, n_sets, self.static, own_vectors=True)
            weight = self.weight.index_select(0, kept)
            is_real = None
            if self.static:
                pair, vector, sender, receiver, weight = _padded(pair, vector, sender, receiver, weight)
                is_real = torch.arange(len(pair), device=pair.device) < len(kept)
            return _PairMessages(pair, vector, sender, receiver, weight, kept[:0], slots, is_real)
        # Without tied pairs among these, there are as many messages as vectors, unless tied pairs have one channel.
        n_listed = int(inside[: self._n_listed].count_nonzero())
        tied = self.tied if self.has_single_ties or len(sender) > 2 * n_listed else self.tied[:0]
        n_rows = self.n_atoms + len(tied)
        slots = _slots(n_rows, sender, receiver, vector, 2 * n_pairs, n_sets, self.static, own_vectors=False)
        return _PairMessages(pair, vector, sender, receiver, None, _tiled(tied, n_sets), slots)

    def _vector(self, inside: torch.Tensor, kept: torch.Tensor, n_pairs: int) -> torch.Tensor:
        """Return the index of the vector of some messages: those of the P' pairs come first, then their reverses."""
        pair = (torch.cumsum(inside, 0) - 1).index_select(0, self.pair.index_select(0, kept))
        return torch.add(pair, self.is_reverse.index_select(0, kept), alpha=n_pairs)


def _slots(
    n_rows: int,
    sender: torch.Tensor,
    receiver: torch.Tensor,
    vector: torch.Tensor,
    n_vectors: int,
    n_sets: int,
    static: bool,
    *,
    own_vectors: bool,
) -> Slots:
    """Arrange messages that are sorted by receiver in slots, repeated K times with separate or shared vectors."""
    device = receiver.device
    counts = torch.zeros(n_rows, dtype=torch.int64, device=device).index_add(0, receiver, torch.ones_like(receiver))
    n_slots = int(counts.max()) if n_rows else 0
    n_slots = padded(n_slots) if static else n_slots
    rank = torch.arange(len(receiver), device=device) - (torch.cumsum(counts, 0) - counts)[receiver]
    senders = torch.arange(n_rows, device=device)[:, None, None].repeat(1, 1, n_slots)
    senders[receiver, 0, rank] = sender
    vectors = torch.full((n_rows, 1, n_slots), -1, dtype=torch.int64, device=device)
    vectors[receiver, 0, rank] = vector
    copy = torch.arange(n_sets, device=device)[:, None]
    factor, n_vectors = (n_sets, n_vectors * n_sets) if own_vectors else (1, n_vectors)
    copies = vectors * factor + (copy if own_vectors else torch.zeros_like(copy))
    vector = torch.where(vectors < 0, n_vectors, copies).flatten()
    pair = vector
    if not own_vectors:
        n_pairs = n_vectors // 2
        pair = torch.where(vector < n_pairs, vector, vector - n_pairs)
    return Slots(
        n_rows=n_rows * n_sets,
        n_slots=n_slots,
        sender=(senders * n_sets + copy).flatten(),
        vector=vector,
        pair=pair,
    )


def padded(number: int) -> int:
    """Return the next number that has at most four binary digits before its zeros: at most one eighth more."""
    step = 1 << max(0, number.bit_length() - 4)
    return -(-number // step) * step


def _padded(*arrays: torch.Tensor) -> list[torch.Tensor]:
    """Return arrays of equal length, in which the first element is repeated at the end up to the padded number."""
    n = len(arrays[0])
    index = torch.arange(padded(n), device=arrays[0].device)
    index[n:] = 0
    return [values.index_select(0, index) for values in arrays]


def both_ways(vectors: torch.Tensor) -> torch.Tensor:
    """Return vectors, followed by their reverses, shape (2 P, 3)."""
    return torch.cat([vectors, -vectors])


def with_one(weights: torch.Tensor) -> torch.Tensor:
    """Return ``[1, weights...]``, shape (B, K, 1 + C)."""
    return torch.cat([weights.new_ones(*weights.shape[:-1], 1), weights], dim=-1)


def _tiled(index: torch.Tensor, n_sets: int) -> torch.Tensor:
    """Return the indices repeated K times: repetition k of index i is ``i * K + k``."""
    return (index[:, None] * n_sets + torch.arange(n_sets, device=index.device)).flatten()
