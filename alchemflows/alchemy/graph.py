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
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from alchemflows.alchemy.neighbours import NeighbourList
from alchemflows.alchemy.system import AlchemicalSystem


@dataclass(frozen=True)
class AlchemicalGraph:
    """What a backend evaluates: M nodes per replica, B replicas one after the other.

    Attributes
    ----------
    numbers
        Atomic number of each node, shape (B·M,), int64.
    node_replica
        Replica of each node, shape (B·M,), int64.
    sender, receiver
        Nodes of each edge, shape (E,), int64. Edges are shorter than the cutoff.
    vectors
        From the sender to the receiver, Å, shape (E, 3), in the model's dtype.
    edge_weights
        Shape (E,), in the model's dtype.
    """

    numbers: torch.Tensor
    node_replica: torch.Tensor
    sender: torch.Tensor
    receiver: torch.Tensor
    vectors: torch.Tensor
    edge_weights: torch.Tensor


class Nodes:
    """The nodes of one replica of a system: M of them, in the order of the atoms.

    Attributes
    ----------
    atom, numbers, weight, group
        Atom, atomic number, index into ``[1, weights...]`` and group (-1: ordinary) of each node; shape (M,).
    first, count
        First node and number of nodes of each atom; shape (N,).
    """

    def __init__(self, system: AlchemicalSystem) -> None:
        channels: list[list[tuple[int, int, int]]] = [[(int(z), 0, -1)] for z in system.numbers]
        start = 1
        for index, group in enumerate(system.groups):
            for k, site in enumerate(group.sites):
                channels[site] = [(c[k], start + n, index) for n, c in enumerate(group.channels)]
            start += len(group.channels)
        self.count = np.array([len(nodes) for nodes in channels])
        self.first = np.concatenate([[0], np.cumsum(self.count)[:-1]])
        self.atom = np.repeat(np.arange(len(channels)), self.count)
        self.numbers, self.weight, self.group = np.array([node for nodes in channels for node in nodes]).T

    def __len__(self) -> int:
        return len(self.atom)


class GraphTopology:
    """Edges of the alchemical graph over the pairs of a neighbour list, ready on the device.

    Attributes
    ----------
    pair
        Pair of the neighbour list that each edge lies on, shape (E,).
    sender, receiver
        Nodes, shape (E,).
    weight
        Index of the edge's weight into the flattened (B, 1 + C) array ``[1, weights...]``, shape (E,).
    """

    def __init__(self, system: AlchemicalSystem, nodes: Nodes, pairs: NeighbourList, device: torch.device) -> None:
        receiver_atom, sender_atom, replica = pairs.first, pairs.second, pairs.replica
        n_edges = nodes.count[receiver_atom] * nodes.count[sender_atom]
        pair = np.repeat(np.arange(len(replica)), n_edges)
        rank = np.arange(len(pair)) - np.repeat(np.cumsum(n_edges) - n_edges, n_edges)
        n_senders = nodes.count[sender_atom][pair]
        receiver = nodes.first[receiver_atom][pair] + rank // n_senders
        sender = nodes.first[sender_atom][pair] + rank % n_senders

        alchemical = (nodes.group[sender] >= 0) & (nodes.group[receiver] >= 0)
        same_group = alchemical & (nodes.group[sender] == nodes.group[receiver])
        tied = same_group
        if system.coupling == "mean-field":
            tied = same_group & (nodes.atom[sender] == nodes.atom[receiver])
        same_channel = nodes.weight[sender] == nodes.weight[receiver]
        kept = ~tied | same_channel
        weight = np.where(tied, 0, nodes.weight[sender])

        offset = replica[pair] * len(nodes)
        weight = weight + replica[pair] * (1 + system.n_weights)

        def on_device(values: np.ndarray) -> torch.Tensor:
            return torch.as_tensor(values[kept], dtype=torch.int64, device=device)

        self.pair = on_device(pair)
        self.sender = on_device(sender + offset)
        self.receiver = on_device(receiver + offset)
        self.weight = on_device(weight)
