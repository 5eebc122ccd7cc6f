"""Graphs with bonds: the same edges as graphs without, each with its reverse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alchemical import COUPLINGS
from models import GROUPS, interior, perovskite_system

from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph
from alchemflows.alchemy.neighbours import NeighbourList
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.topology import Edges, Nodes, Topology

CUTOFF_A = 4.5
N_REPLICAS, N_SETS = 2, 3


def graph_of(system: AlchemicalSystem, *, bonds: bool) -> Graph:
    """Return the graph of replicas with different cells and present channels, at several sets of weights."""
    strains = np.stack([np.eye(3), np.diag([1.0, 0.93, 1.1])])
    positions, cells = (
        torch.as_tensor(array @ strains)
        for array in (system.structure.cart_coords, np.array(system.structure.lattice.matrix))
    )
    lists = NeighbourList(CUTOFF_A, 0.5)
    lists.update(positions, cells)
    present = np.ones((N_REPLICAS, system.n_weights), dtype=bool)
    present[1, 0] = False
    replicas = []
    for pairs, channels in zip(lists.pairs, present, strict=True):
        nodes = Nodes(system, channels)
        replicas.append((nodes, Edges(system, nodes, pairs, merged=False)))
    topology = Topology(system.n_sites, system.n_weights, replicas, False, torch.device("cpu"), bonds=bonds)
    flat = positions.reshape(-1, 3)
    images = torch.einsum("pi,pij->pj", topology.shifts, cells[topology.replica])
    vectors = flat[topology.first] - flat[topology.second] - images
    inside = vectors.norm(dim=1) < CUTOFF_A
    weights = torch.as_tensor(interior(system, n=N_REPLICAS * N_SETS).reshape(N_REPLICAS, N_SETS, -1))
    return topology.graph(vectors[inside], inside, weights)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("groups", GROUPS)
def test_bonds_join_each_edge_with_its_reverse(groups, coupling):
    system = perovskite_system(groups, coupling)
    graph, edges = graph_of(system, bonds=True), graph_of(system, bonds=False)
    assert isinstance(graph, BondGraph)
    assert isinstance(edges, EdgeGraph)
    for name in ("numbers", "node_replica", "sender", "receiver", "edge_weights"):
        assert torch.equal(getattr(graph, name), getattr(edges, name)), name
    assert torch.equal(graph.vectors[graph.vector], edges.vectors)

    reverse = graph.reverse
    own = torch.arange(len(reverse))
    assert torch.equal(reverse[reverse], own)
    assert (reverse != own).all()
    assert torch.equal(graph.sender[reverse], graph.receiver)
    torch.testing.assert_close(graph.vectors[graph.vector[reverse]], -graph.vectors[graph.vector], rtol=0, atol=1e-12)


def test_a_pair_at_the_cutoff_has_both_directions_or_none():
    """Both directions of a pair have the same vector, so that rounding does not put one of them beyond the cutoff."""
    system = perovskite_system("several groups", "mean-field")
    nodes = Nodes(system, np.ones(system.n_weights, dtype=bool))
    lists = NeighbourList(CUTOFF_A, 0.0)
    lists.update(
        torch.as_tensor(system.structure.cart_coords)[None],
        torch.as_tensor(np.array(system.structure.lattice.matrix))[None],
    )
    edges = Edges(system, nodes, lists.pairs[0], merged=False)
    topology = Topology(system.n_sites, system.n_weights, [(nodes, edges)], False, torch.device("cpu"), bonds=True)
    inside = torch.ones(len(topology.first), dtype=torch.bool)
    inside[7] = False
    weights = torch.as_tensor(interior(system)[None, None])
    graph = topology.graph(torch.zeros(int(inside.sum()), 3), inside, weights)
    assert isinstance(graph, BondGraph)
    n_lost = int((topology.pair == 7).sum())
    assert n_lost >= 2 and n_lost % 2 == 0
    assert len(graph.sender) == len(topology.sender) - n_lost
    assert torch.equal(graph.sender[graph.reverse], graph.receiver)
