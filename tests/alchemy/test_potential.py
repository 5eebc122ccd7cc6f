"""What a potential makes of a batch: which nodes it keeps, how it splits, what it refuses."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from alchemical import system_for
from comparison import RELATIVE, AsItIs, assert_same, batch
from models import GROUPS, interior, perovskite_system, vertices

from alchemflows.alchemy import memory as memory_module
from alchemflows.alchemy.graph import EdgeGraph
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.memory import PEAK_PER_SAVED, SHARE_OF_DEVICE, saved_bytes
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, PotentialError


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("model", ["residual", "zbl-agnesi-density", "sevennet", "chgnet"])
def test_nodes_of_zero_weight_are_left_out(model, groups, backend):
    system = system_for(model, groups, "mean-field")
    corners = vertices(system)
    weights = np.vstack([corners[:: max(1, len(corners) // 4)], interior(system)])
    arguments = [
        np.tile(a, (len(weights), 1, 1)) for a in (system.structure.cart_coords, system.structure.lattice.matrix)
    ]
    potential = AlchemicalPotential(system, backend(model))
    everything = potential.evaluate(*arguments, weights)
    less = potential.evaluate(*arguments, weights, weight_gradients=False)
    sizes = {len(topology.numbers) for topology in potential._topologies.values()}
    assert len(sizes) == 2
    for name in ("energy", "forces", "stress"):
        torch.testing.assert_close(getattr(less, name), getattr(everything, name), rtol=RELATIVE, atol=1e-10)


@pytest.mark.parametrize("model", ["residual", "density", "zbl", "sevennet"])
def test_energies_at_several_weights_at_once(model, backend):
    system = system_for(model, "several groups", "paired")
    positions, cells, _ = batch(system, 2)
    weights = interior(system, seed=3, n=10).reshape(2, 5, -1)
    spy = Small(backend(model).specialised(system.elements), 10**6, *OUT_OF_MEMORY[0])
    potential = AlchemicalPotential(system, spy)
    potential.evaluate(positions, cells, weights[:, 0])
    n_vectors = max(len(first) for first, _, _ in potential._pairs.pairs)
    n_nodes = spy.sizes[0] // 2
    results = []
    for at_once, sizes in (
        (1, [1] * 10),
        (2 * n_vectors, [2] * 5),
        (int(2.5 * n_vectors), [2] * 5),
        (4 * n_vectors, [4, 4, 2]),  # both replicas at 2, 2 and 1 sets of weights
        (10**7, [10]),
    ):
        potential._memory_limit.vectors_at_once = at_once
        spy.sizes.clear()
        results.append(potential.energies(positions, cells, weights))
        assert spy.sizes == [n * n_nodes for n in sizes]
    for k in range(5):
        torch.testing.assert_close(
            results[0][:, k], potential.evaluate(positions, cells, weights[:, k]).energy, rtol=RELATIVE, atol=0
        )
    for result in results:
        torch.testing.assert_close(result, results[0], rtol=RELATIVE, atol=0)
    assert (results[0].std(dim=1) > 1e-3).all()


@pytest.mark.parametrize("model", ["residual", "density", "zbl-agnesi-density", "sevennet", "chgnet"])
@pytest.mark.parametrize("broken", [0, 2])
def test_a_broken_replica_does_not_touch_the_others(model, broken, backend):
    system = system_for(model, "one group", "paired")
    positions, cells, weights = batch(system)
    potential = AlchemicalPotential(system, backend(model))
    expected = potential.evaluate(positions, cells, weights)
    positions[broken, 3] = positions[broken, 4]  # atoms on top of each other
    result = AlchemicalPotential(system, backend(model)).evaluate(positions, cells, weights)
    assert not result.forces[broken].isfinite().all()
    others = [b for b in range(3) if b != broken]
    for name in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(getattr(result, name)[others], getattr(expected, name)[others], rtol=1e-9, atol=1e-9)


def test_replicas_in_which_nothing_is_left(backend):
    """All atoms alchemical, all weights zero, in one replica or in all."""
    structure = perovskite_system("one group").structure
    groups = (SiteGroup(tuple(range(10)), (tuple(int(z) for z in structure.atomic_numbers),)),)
    potential = AlchemicalPotential(AlchemicalSystem(structure, groups), backend("residual"))
    arguments = [np.tile(array, (2, 1, 1)) for array in (structure.cart_coords, structure.lattice.matrix)]
    for weights in ([[0.0], [1.0]], [[0.0], [0.0]]):
        result = potential.evaluate(*arguments, weights, weight_gradients=False)
        assert result.energy[0] == 0
        assert (result.forces[0] == 0).all()


def test_caches_do_not_grow_with_ever_new_patterns_of_weights(backend):
    system = perovskite_system("site resolved")
    potential = AlchemicalPotential(system, backend("residual"))
    positions, cells, _ = batch(system, 1)
    energies = []
    for _ in range(2):
        for corner in vertices(system)[:20]:
            result = potential.evaluate(positions, cells, corner[None], weight_gradients=False)
            energies.append(float(result.energy))
            assert max(len(c) for c in (potential._topologies, potential._edges, potential._nodes)) <= 8
    assert energies[:20] == energies[20:]


def test_shapes_that_do_not_fit_are_refused(backend):
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, backend("residual"))
    x, h, w = batch(system)
    for arguments, text in (
        ((x, h, w[:1]), "weights"),
        ((x, h[:1], w), "cells"),
        ((x[:, :-1], h, w), "positions"),
        ((x, h, np.hstack([w, w])), "weights"),
        ((x[0], h[0], w[0]), "positions"),
        ((x, h, w[:, None]), "weights"),
        ((x[:0], h[:0], w[:0]), "replica"),
    ):
        with pytest.raises(InvalidInputError, match=text):
            potential.evaluate(*arguments)
    for weights, text in ((w, "weights"), (w[:, None][:, :0], "weights")):
        with pytest.raises(InvalidInputError, match=text):
            potential.energies(x, h, weights)
    with pytest.raises(InvalidInputError, match="skin_A"):
        AlchemicalPotential(system, backend("residual"), skin_A=-0.1)
    with torch.no_grad():
        assert_same(potential.evaluate(x, h, w), potential.evaluate(x, h, w))


# Memory


class Small:
    """A backend on a device that holds only so many nodes."""

    def __init__(self, backend: Backend, n_nodes: int, error: type[Exception], text: str) -> None:
        self._backend, self._n_nodes, self._error, self._text = backend, n_nodes, error, text
        self.sizes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def specialised(self, _numbers: frozenset[int]) -> Small:
        return self

    def node_energies(self, graph: EdgeGraph, geometry: object) -> torch.Tensor:
        self.sizes.append(len(graph.numbers))
        if len(graph.numbers) > self._n_nodes:
            raise self._error(self._text)
        return self._backend.node_energies(graph, geometry)


OUT_OF_MEMORY: list[tuple[type[Exception], str]] = [
    (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB"),
    (RuntimeError, "The following operation failed in the TorchScript interpreter.\nRuntimeError: CUDA out of memory"),
    (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    (RuntimeError, "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to"),
]


@pytest.mark.parametrize(("error", "text"), OUT_OF_MEMORY)
def test_a_device_out_of_memory_halves_the_batch(error, text, backend, caplog, monkeypatch):
    monkeypatch.setitem(memory_module.VECTORS_AT_ONCE, "cpu", 10**6)
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    arguments = batch(system, 7)
    expected = AlchemicalPotential(system, AsItIs(loaded)).evaluate(*arguments)
    small = Small(loaded, 24, error, text)  # a replica has 12
    potential = AlchemicalPotential(system, small)
    with caplog.at_level(logging.WARNING):
        result = potential.evaluate(*arguments)
    assert small.sizes == [84, 36, 12, 12, 12, 12, 12, 12, 12]
    assert "out of memory with 7 replicas at once; trying half" in caplog.text
    assert_same(result, expected)
    small.sizes.clear()
    potential.evaluate(*arguments)
    assert small.sizes == [12] * 7
    weights = interior(system, n=14).reshape(7, 2, -1)
    torch.testing.assert_close(
        potential.energies(*arguments[:2], weights),
        AlchemicalPotential(system, AsItIs(loaded)).energies(*arguments[:2], weights),
        rtol=RELATIVE,
        atol=0,
    )


def test_a_device_out_of_memory_halves_the_sets_of_weights(backend):
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    positions, cells, _ = batch(system, 1)
    weights = interior(system, n=9)[None]
    small = Small(loaded, 36, *OUT_OF_MEMORY[0])  # three sets for a replica of 12 nodes
    potential = AlchemicalPotential(system, small)
    potential._memory_limit.vectors_at_once = 10**7
    expected = AlchemicalPotential(system, loaded).energies(positions, cells, weights)
    torch.testing.assert_close(potential.energies(positions, cells, weights), expected, rtol=RELATIVE, atol=0)
    assert max(small.sizes[-4:]) <= 36


@pytest.mark.parametrize("model", ["residual", pytest.param("zbl-agnesi-density", marks=pytest.mark.slow)])
def test_memory_is_proportional_to_the_number_of_replicas(model, backend):
    """What torch saves for the backward pass; the estimate is that of one replica, with the gradients."""
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, backend(model), static_shapes=True)
    positions, cells, weights = (np.repeat(values[:1], 5, axis=0) for values in batch(system, 1))
    estimate = potential.replica_bytes(positions[0], cells[0], weights[0])
    potential._memory_limit.vectors_at_once = 10**9
    sizes = [saved_bytes(lambda n=n: potential.evaluate(positions[:n], cells[:n], weights[:n])) for n in (1, 2, 5)]
    # numbers of pairs are rounded up by at most one eighth
    assert sizes[2] - sizes[1] == pytest.approx(3 * (sizes[1] - sizes[0]), rel=1 / 8)
    assert estimate == pytest.approx(PEAK_PER_SAVED * (sizes[1] - sizes[0]), rel=0.01)
    assert estimate > 8 * len(potential._pairs.pairs[0][0]) * 3


def test_batches_are_fitted_to_the_memory_of_the_device(backend, monkeypatch):
    """A device with memory for two replicas, by the estimate, gets at most two at once, and nothing fails."""
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    arguments = batch(system, 5)
    plain = AlchemicalPotential(system, loaded, static_shapes=True)
    expected = plain.evaluate(*arguments)
    estimate = plain.replica_bytes(*(values[1] for values in arguments))
    monkeypatch.setitem(memory_module.VECTORS_AT_ONCE, "cpu", 10**9)
    monkeypatch.setattr(memory_module, "device_bytes", lambda _device: int(2.5 * estimate / SHARE_OF_DEVICE))
    spy = Small(loaded, 10**6, *OUT_OF_MEMORY[0])
    potential = AlchemicalPotential(system, spy, static_shapes=True)
    assert_same(potential.evaluate(*arguments), expected)
    assert spy.sizes == [12, 12, 24, 24, 24, 12]  # one replica and two are counted, then all are evaluated
    potential.evaluate(*arguments)
    assert spy.sizes[6:] == [24, 24, 12]
    # If not even the count succeeds, the batch is halved as before.
    small = Small(loaded, 12, *OUT_OF_MEMORY[0])
    assert_same(AlchemicalPotential(system, small, static_shapes=True).evaluate(*arguments), expected)


def test_large_batches_are_split(backend, monkeypatch):
    system = perovskite_system("one group")
    loaded = backend("residual").specialised(system.elements)
    expected = AlchemicalPotential(system, loaded).evaluate(*batch(system, 5))
    spy = Small(loaded, 10**6, *OUT_OF_MEMORY[0])
    probe = AlchemicalPotential(system, loaded)
    probe.evaluate(*batch(system, 5))
    n_vectors = max(len(first) for first, _, _ in probe._pairs.pairs)
    monkeypatch.setitem(memory_module.VECTORS_AT_ONCE, "cpu", int(2.5 * n_vectors))
    potential = AlchemicalPotential(system, spy)
    assert_same(potential.evaluate(*batch(system, 5)), expected)
    assert spy.sizes == [24, 24, 12]


def test_too_little_memory_for_one_replica_is_said(backend):
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, Small(backend("residual"), 5, *OUT_OF_MEMORY[0]))
    with pytest.raises(PotentialError, match="memory"):
        potential.evaluate(*batch(system, 2))


def test_other_errors_are_not_taken_for_a_lack_of_memory(backend):
    system = perovskite_system("one group")
    small = Small(backend("residual"), 5, RuntimeError, "expected scalar type Double")
    with pytest.raises(RuntimeError, match="scalar type"):
        AlchemicalPotential(system, small).evaluate(*batch(system, 2))
    assert len(small.sizes) == 1


class Counting(Small):
    """A backend that counts how often it computes the geometry."""

    n_geometries = 0

    def geometry(self, graph: EdgeGraph) -> object:
        self.n_geometries += 1
        return self._backend.geometry(graph)


@pytest.mark.parametrize("model", ["residual", "density", "sevennet", "chgnet"])
def test_the_geometry_is_reused_while_atoms_stay(model, backend):
    """Results are bit for bit those of a potential that has evaluated nothing before."""
    system = system_for(model, "several groups", "mean-field")
    positions, cells, weights = batch(system, 2)
    special = backend(model).specialised(system.elements)
    shares_vectors = special.merges_messages or special.has_bonds
    spy = Counting(backend(model).specialised(system.elements), 10**6, *OUT_OF_MEMORY[0])
    potential = AlchemicalPotential(system, spy)

    def compare(n_geometries: int) -> None:
        spy.n_geometries = 0
        fresh = AlchemicalPotential(system, AsItIs(spy._backend))
        for w in (weights, weights[::-1].copy()):
            found, expected = (
                each.evaluate(positions, cells, w, forces=False, stress=False) for each in (potential, fresh)
            )
            assert torch.equal(found.energy, expected.energy)
            assert torch.equal(found.weight_gradients, expected.weight_gradients)
            energies = [each.energies(positions, cells, w[:, None]) for each in (potential, fresh)]
            assert torch.equal(*energies)
        assert spy.n_geometries == (n_geometries if shares_vectors else 4)

    compare(1)
    compare(0)
    positions[0, 0] += 0.01  # in place
    compare(1)
    cells *= 1.001
    compare(1)
    moving = potential.evaluate(positions, cells, weights)
    assert_same(moving, AlchemicalPotential(system, AsItIs(spy._backend)).evaluate(positions, cells, weights))
    compare(1)
