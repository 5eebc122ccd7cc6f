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

from dataclasses import dataclass

import torch


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
    """

    numbers: torch.Tensor
    elements: tuple[tuple[int, int], ...]
    node_replica: torch.Tensor
    vectors: torch.Tensor


@dataclass(frozen=True)
class Slots:
    """Messages side by side: every row has as many slots as that to which most messages are sent.

    Attributes
    ----------
    n_rows, n_slots
        Number of rows R, and of slots S of each row.
    sender
        Row that sends the message in each slot, shape (R·S,), int64. An empty slot is sent by its own row, so that
        a NaN stays in its replica.
    vector
        Which of the graph's `vectors` the message in each slot goes along, shape (R·S,), int64; one past the last
        in an empty slot.
    """

    n_rows: int
    n_slots: int
    sender: torch.Tensor
    vector: torch.Tensor


@dataclass(frozen=True)
class EdgeGraph(AlchemicalGraph):
    """A graph whose messages are computed edge by edge, from node to node; each edge has a vector of its own.

    Attributes
    ----------
    sender, receiver
        Nodes of each edge, shape (P,), int64.
    edge_weights
        Shape (P,), in the model's dtype.
    slots
        The same edges by their receivers; the rows are the nodes.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    edge_weights: torch.Tensor
    slots: Slots

    def send(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features: each node sends its own."""
        return features

    def receive(self, messages: torch.Tensor) -> torch.Tensor:
        """Return the messages: each node receives its own."""
        return messages


@dataclass(frozen=True)
class MergedGraph(AlchemicalGraph):
    """A graph of merged messages, from row to row: one row for each atom, then one for each node that has ties.

    Attributes
    ----------
    atom
        Row of each node's atom, shape (B·M,), int64.
    weights
        λ of each node, shape (B·M,), in the model's dtype.
    n_atom_rows
        Number of rows of atoms.
    tied
        Nodes that have ties, in the order of their rows, shape (T,), int64.
    slots
        The messages.
    """

    atom: torch.Tensor
    weights: torch.Tensor
    n_atom_rows: int
    tied: torch.Tensor
    slots: Slots

    def send(self, features: torch.Tensor) -> torch.Tensor:
        """Return what each row sends, shape (R, d), from the features of the nodes, shape (B·M, d)."""
        atoms = features.new_zeros(self.n_atom_rows, features.shape[1])
        atoms = atoms.index_add(0, self.atom, features * self.weights[:, None])
        return torch.cat([atoms, features.index_select(0, self.tied)]) if len(self.tied) else atoms

    def receive(self, messages: torch.Tensor) -> torch.Tensor:
        """Return what each node receives, shape (B·M, d), from what came in at the rows, shape (R, d)."""
        received = messages.index_select(0, self.atom)
        return received.index_add(0, self.tied, messages[self.n_atom_rows :]) if len(self.tied) else received


#: What a backend gets: merged messages if it can merge them.
Graph = EdgeGraph | MergedGraph
