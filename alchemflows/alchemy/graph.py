"""The alchemical graph: one node per atom and element, edges with weights.

The rules (Nam et al., Nat. Commun. 16, 4350, 2025, extended to several groups): an ordinary atom is one node
of weight 1; an alchemical atom has one node for each channel of its group, with that channel's weight λ.
The message on the edge sender → receiver is multiplied by

======================  ===============================================================================
sender → receiver       edge weight
======================  ===============================================================================
ordinary → any          1
alchemical → ordinary   λ of the sender
same group, paired      1 between nodes of the same channel, no edge between others
same group, mean-field  λ of the sender; an atom and its own periodic image: 1 within a channel, else no edge
different groups        λ of the sender
======================  ===============================================================================

All these messages can be computed edge by edge. Where a model's messages are linear in the sender's features
and do not ask for the elements at the ends, most of them are the same and are computed once (*merged*): an atom
sends Σ_f λ_jf h_jf along one edge to each neighbouring atom, all of whose nodes receive the sum of what comes
in; only tied messages (same group and channel, weight 1) still go from node to node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from alchemflows.alchemy.system import AlchemicalSystem


@dataclass(frozen=True)
class Rows:
    """Where merged messages start and end: one row for each atom, then one for each node if any are tied.

    Attributes
    ----------
    count
        Number of rows R of the batch.
    atom
        Row of each node's atom, shape (B·M,), int64.
    node
        Row of each node itself, shape (B·M,), int64; None if no message is tied.
    weights
        λ of each node, shape (B·M,), in the model's dtype.
    """

    count: int
    atom: torch.Tensor
    node: torch.Tensor | None
    weights: torch.Tensor

    def send(self, features: torch.Tensor) -> torch.Tensor:
        """Return what each row sends, shape (R, d), from the features of the nodes, shape (B·M, d)."""
        rows = features.new_zeros(self.count, features.shape[1])
        rows = rows.index_add(0, self.atom, features * self.weights[:, None])
        return rows if self.node is None else rows.index_add(0, self.node, features)

    def receive(self, messages: torch.Tensor) -> torch.Tensor:
        """Return what each node receives, shape (B·M, d), from what came in at the rows, shape (R, d)."""
        received = messages.index_select(0, self.atom)
        return received if self.node is None else received + messages.index_select(0, self.node)


@dataclass(frozen=True)
class AlchemicalGraph:
    """What a backend evaluates: M nodes per replica, B replicas.

    Attributes
    ----------
    numbers
        Atomic number of each node, ascending, shape (B·M,), int64.
    elements
        The elements among them, ascending, each with its number of nodes.
    node_replica
        Replica of each node, shape (B·M,), int64.
    vectors
        From the sender to the receiver, Å, in the model's dtype, shape (P, 3); all are shorter than the cutoff.
    pair
        Which of the `vectors` each edge lies on, shape (E,), int64; None if edges and vectors are the same.
    sender, receiver
        Nodes of each edge, or its rows if messages are merged; shape (E,), int64.
    edge_weights
        Shape (E,), in the model's dtype; None if messages are merged.
    rows
        Of merged messages, else None.
    """

    numbers: torch.Tensor
    elements: tuple[tuple[int, int], ...]
    node_replica: torch.Tensor
    vectors: torch.Tensor
    pair: torch.Tensor | None
    sender: torch.Tensor
    receiver: torch.Tensor
    edge_weights: torch.Tensor | None
    rows: Rows | None


class Nodes:
    """The nodes of one replica of a system: M of them, in the order of the atoms.

    Parameters
    ----------
    system
        The system.
    present
        Which of the C channels have nodes, shape (C,), bool; those whose weight is exactly zero may be left out
        where no ∂E/∂w is asked for. All by default.

    Attributes
    ----------
    atom, numbers, weight
        Atom, atomic number and index into ``[1, weights...]`` of each node; shape (M,).
    first, count, group
        First node, number of nodes and group (-1: ordinary) of each atom; shape (N,).
    """

    def __init__(self, system: AlchemicalSystem, present: np.ndarray | None = None) -> None:
        channels: list[list[tuple[int, int]]] = [[(int(z), 0)] for z in system.numbers]
        self.group = np.full(system.n_atoms, -1)
        start = 1
        for index, group in enumerate(system.groups):
            here = [n for n in range(len(group.channels)) if present is None or present[start - 1 + n]]
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
    """Edges of one replica over the pairs of its neighbour list.

    Parameters
    ----------
    system, nodes
        The system, and the nodes that this replica has.
    pairs
        ``first, second, shifts`` as in :class:`~alchemflows.alchemy.neighbours.NeighbourList`.
    merged
        Whether the backend can merge messages.

    Attributes
    ----------
    first, second, shifts
        Pairs between atoms that have nodes, shapes (P,), (P,), (P, 3).
    pair
        Pair of each edge, shape (E,).
    sender, receiver
        Nodes of each edge, shape (E,). If messages are merged: rows; the row of atom i is i, that of node n
        is N + n.
    weight
        Index of each edge's weight into ``[1, weights...]``, shape (E,); of no meaning if messages are merged.
    """

    def __init__(
        self,
        system: AlchemicalSystem,
        nodes: Nodes,
        pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
        merged: bool,
    ) -> None:
        linked = (nodes.count[pairs[0]] > 0) & (nodes.count[pairs[1]] > 0)
        self.first, self.second, self.shifts = (values[linked] for values in pairs)
        group = nodes.group[self.first]
        tied = (group >= 0) & (group == nodes.group[self.second])
        if system.coupling == "mean-field":
            tied &= self.first == self.second
        # Tied pairs have an edge for each channel. All others have one edge for each two nodes, or one if merged.
        n_receivers = np.where(tied | (not merged), nodes.count[self.first], 1)
        n_senders = np.where(tied | merged, 1, nodes.count[self.second])
        n_edges = n_receivers * n_senders
        self.pair = np.repeat(np.arange(len(n_edges)), n_edges)
        rank = np.arange(len(self.pair)) - np.repeat(np.cumsum(n_edges) - n_edges, n_edges)
        receiver_rank, sender_rank = rank // n_senders[self.pair], rank % n_senders[self.pair]
        tied = tied[self.pair]
        first, second = self.first[self.pair], self.second[self.pair]
        receiver = nodes.first[first] + receiver_rank
        sender = nodes.first[second] + np.where(tied, receiver_rank, sender_rank)
        self.weight = np.where(tied, 0, nodes.weight[sender])
        self.has_tied_rows = merged and bool(tied.any())
        self.receiver, self.sender = receiver, sender
        if merged:
            self.receiver = np.where(tied, system.n_atoms + receiver, first)
            self.sender = np.where(tied, system.n_atoms + sender, second)


class Topology:
    """Everything about the graph of some replicas that stays while they move, ready on the device.

    Parameters
    ----------
    system
        The system.
    replicas
        Nodes and edges of each of the B replicas.
    merged
        Whether messages are merged.
    device
        Where to put it.
    """

    def __init__(
        self, system: AlchemicalSystem, replicas: Sequence[tuple[Nodes, Edges]], merged: bool, device: torch.device
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

        # Nodes in the order of their elements, so that those of one element are a slice.
        numbers = np.concatenate([n.numbers for n in nodes])
        order = np.argsort(numbers, kind="stable")
        place = torch.as_tensor(np.argsort(order, kind="stable"), device=device)
        by_element = torch.as_tensor(order, device=device)
        self.numbers = torch.as_tensor(numbers[order], dtype=torch.int64, device=device)
        elements, counts = np.unique(numbers, return_counts=True)
        self.elements = tuple(zip(elements.tolist(), counts.tolist(), strict=True))
        self.node_replica = torch.as_tensor(np.repeat(index, n_nodes)[order], device=device)
        self.node_weight = joined([n.weight for n in nodes], index * (1 + system.n_weights))[by_element]

        self.replica = torch.as_tensor(np.repeat(index, n_pairs), device=device)
        self.first = joined([e.first for e in edges], index * system.n_atoms)
        self.second = joined([e.second for e in edges], index * system.n_atoms)
        self.shifts = torch.as_tensor(
            np.concatenate([e.shifts for e in edges]).reshape(-1, 3), dtype=torch.float64, device=device
        )
        n_edges = sum(len(e.pair) for e in edges)
        self.pair = None if n_edges == n_pairs.sum() else joined([e.pair for e in edges], np.cumsum(n_pairs) - n_pairs)
        self.merged = merged
        if merged:
            tied = any(e.has_tied_rows for e in edges)
            n_rows = system.n_atoms + (n_nodes if tied else 0 * n_nodes)
            first_row = np.cumsum(n_rows) - n_rows
            self.n_rows = int(n_rows.sum())
            self.atom_row = joined([n.atom for n in nodes], first_row)[by_element]
            self.node_row = (
                joined([np.arange(len(n)) for n in nodes], first_row + system.n_atoms)[by_element] if tied else None
            )
            self.sender = joined([e.sender for e in edges], first_row)
            self.receiver = joined([e.receiver for e in edges], first_row)
        else:
            self.sender = place[joined([e.sender for e in edges], first_node)]
            self.receiver = place[joined([e.receiver for e in edges], first_node)]
            self.weight = joined([e.weight for e in edges], index * (1 + system.n_weights))

    def graph(self, vectors: torch.Tensor, inside: torch.Tensor, weights: torch.Tensor) -> AlchemicalGraph:
        """Return the graph of the moment.

        Parameters
        ----------
        vectors
            Of the pairs inside the cutoff, shape (P', 3), in the model's dtype.
        inside
            Which pairs these are, shape (P,), bool.
        weights
            Of the B replicas, shape (B, C), float64.
        """
        table = with_one(weights).to(vectors.dtype)
        kept, pair = inside, None
        if self.pair is not None:
            kept = inside[self.pair]
            pair = (torch.cumsum(inside, 0) - 1)[self.pair[kept]]
        rows = edge_weights = None
        if self.merged:
            rows = Rows(self.n_rows, self.atom_row, self.node_row, table[self.node_weight])
        else:
            edge_weights = table[self.weight[kept]]
            vectors, pair = vectors if pair is None else vectors[pair], None
        return AlchemicalGraph(
            numbers=self.numbers,
            elements=self.elements,
            node_replica=self.node_replica,
            vectors=vectors,
            pair=pair,
            sender=self.sender[kept],
            receiver=self.receiver[kept],
            edge_weights=edge_weights,
            rows=rows,
        )


def with_one(weights: torch.Tensor) -> torch.Tensor:
    """Return ``[1, weights...]`` of all replicas, flat, shape (B · (1 + C),)."""
    return torch.cat([weights.new_ones(len(weights), 1), weights], dim=1).reshape(-1)
