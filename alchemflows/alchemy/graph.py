"""The alchemical graph: one node per atom and channel, with edge weights.

Rules (Nam et al., Nat. Commun. 16, 4350, 2025, extended to several groups): an ordinary atom is one node of weight 1.
An alchemical atom has one node for each channel of its group, with the weight λ of that channel. The message along the
edge sender → receiver is multiplied by

======================  ===============================================================================
sender → receiver       edge weight
======================  ===============================================================================
ordinary → any          1
alchemical → ordinary   λ of the sender
same group, paired      1 between nodes of the same channel, no edge between others
same group, mean-field  λ of the sender; an atom and its own periodic image: 1 within a channel, else no edge
different groups        λ of the sender
======================  ===============================================================================

All messages can be computed edge by edge. If the messages of a potential are linear in the features of the sender and
do not depend on the elements at the ends, messages with equal values are computed only once (*merged*): an atom sends
Σ_f λ_jf h_jf along one edge to each neighbouring atom, and all nodes of that atom receive the sum of its incoming
messages. Only tied messages (same group and channel, weight 1) are still sent from node to node.

In other potentials, the two edges between two nodes are one *bond* with features of its own, which both ends update.
The features depend on both nodes, so that there is one bond for each pair of nodes, not of atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import isqrt

import torch


@dataclass(frozen=True)
class AlchemicalGraph:
    """Graph of B replicas with M nodes each, the input of a backend.

    Attributes
    ----------
    numbers
        Atomic number of each node, ascending, shape (B·M,), int64.
    elements
        Pairs of atomic number and number of nodes, ascending.
    node_replica
        Replica of each node, shape (B·M,), int64.
    node_weights
        λ of each node, shape (B·M,), float64.
    vectors
        Vectors from sender to receiver (Å), in the dtype of the potential, shape (P, 3). Those that are longer than the
        cutoff have no message: their edges have the weight 0, or no slot refers to them. If messages are merged, these
        are vectors of pairs: of the two directions of a pair only one has a vector.
    """

    numbers: torch.Tensor
    elements: tuple[tuple[int, int], ...]
    node_replica: torch.Tensor
    node_weights: torch.Tensor
    vectors: torch.Tensor


@dataclass(frozen=True)
class Slots:
    """Messages as a padded table: one row per receiver, with as many slots as the largest number of messages.

    Attributes
    ----------
    n_rows, n_slots
        Number of rows R and of slots per row S.
    sender
        Row that sends the message in each slot, shape (R·S,), int64. The sender of an empty slot is its own row, so
        that a NaN does not spread to other replicas.
    pair
        Index into the graph's `vectors` for the message in each slot, shape (R·S,), int64; an empty slot has the number
        of vectors as its index.
    vector
        The same if each message has a vector of its own. Otherwise, index into the vectors followed by their reverses.
        It may point to a vector although `pair` says that the slot is empty.
    """

    n_rows: int
    n_slots: int
    sender: torch.Tensor
    pair: torch.Tensor
    vector: torch.Tensor

    def fill(self, values: torch.Tensor) -> torch.Tensor:
        """Return functions of the lengths of the vectors, shape (P, d), in the slots, shape (R·S, d).

        Empty slots are zero.
        """
        return torch.cat([values, zeros(values.shape[1], values.dtype, values.device)]).index_select(0, self.pair)

    def fill_harmonics(self, values: torch.Tensor) -> torch.Tensor:
        """Return spherical harmonics up to degree L of the vectors, shape (P, (L + 1)²), in the slots.

        Those of a reversed vector have the factor (−1)^l. Empty slots are zero.
        """
        if self.vector is self.pair:
            return self.fill(values)
        reversed_values = values * _parities(values.shape[1], values.dtype, values.device)
        empty = zeros(values.shape[1], values.dtype, values.device)
        return torch.cat([values, reversed_values, empty]).index_select(0, self.vector)


@cache
def zeros(n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return zeros that are not changed, shape (1, n)."""
    with torch.inference_mode(False):  # other evaluations may need gradients
        return torch.zeros(1, n, dtype=dtype, device=device)


@cache
def _parities(n_harmonics: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return (−1)^l of each spherical harmonic, in ascending order of l, shape ((L + 1)²,)."""
    with torch.inference_mode(False):
        return torch.tensor([(-1.0) ** isqrt(k) for k in range(n_harmonics)], dtype=dtype, device=device)


@dataclass(frozen=True)
class EdgeGraph(AlchemicalGraph):
    """A graph whose messages are computed edge by edge, from node to node; each edge has a separate vector.

    Attributes
    ----------
    sender, receiver
        Nodes of each edge, shape (P,), int64.
    edge_weights
        Weight of each edge, shape (P,), in the dtype of the potential.
    slots
        The same edges arranged by receiver; the rows are the nodes.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    edge_weights: torch.Tensor
    slots: Slots

    def send(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features unchanged: each node sends its features."""
        return features

    def receive(self, messages: torch.Tensor) -> torch.Tensor:
        """Return the messages unchanged: each node receives its messages."""
        return messages


@dataclass(frozen=True)
class MergedGraph(AlchemicalGraph):
    """A graph with merged messages between rows: one row for each atom, then one for each node with tied messages.

    Attributes
    ----------
    atom
        Row of the atom of each node, shape (B·M,), int64.
    weights
        `node_weights` in the dtype of the potential, shape (B·M,).
    n_atom_rows
        Number of rows for atoms.
    tied
        Nodes with tied messages, in the order of their rows, shape (T,), int64.
    slots
        The messages.
    """

    atom: torch.Tensor
    weights: torch.Tensor
    n_atom_rows: int
    tied: torch.Tensor
    slots: Slots

    def send(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features that each row sends, shape (R, d), from those of the nodes, shape (B·M, d)."""
        atoms = features.new_zeros(self.n_atom_rows, features.shape[1])
        atoms = atoms.index_add(0, self.atom, features * self.weights[:, None])
        return torch.cat([atoms, features.index_select(0, self.tied)]) if len(self.tied) else atoms

    def receive(self, messages: torch.Tensor) -> torch.Tensor:
        """Return the messages that each node receives, shape (B·M, d), from those of the rows, shape (R, d)."""
        received = messages.index_select(0, self.atom)
        return received.index_add(0, self.tied, messages[self.n_atom_rows :]) if len(self.tied) else received


@dataclass(frozen=True)
class BondGraph(AlchemicalGraph):
    """A graph of E edges between nodes, in which an edge and its reverse are one bond.

    Attributes
    ----------
    sender, receiver
        Nodes of each edge, shape (E,), int64.
    edge_weights
        Weight of each edge, shape (E,), in the dtype of the potential.
    vector
        Index into `vectors` for each edge, shape (E,), int64. Edges between the same two atoms share a vector.
    reverse
        The edge in the opposite direction, between the same nodes, shape (E,), int64.
    """

    sender: torch.Tensor
    receiver: torch.Tensor
    edge_weights: torch.Tensor
    vector: torch.Tensor
    reverse: torch.Tensor


#: Input of a backend; its attributes `merges_messages` and `has_bonds` determine which of these it gets.
Graph = EdgeGraph | MergedGraph | BondGraph
