"""With static shapes, pairs beyond the cutoff are part of the graph, and no result changes but for rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comparison import RELATIVE, AsItIs, assert_same, batch
from models import groups_and_couplings, interior, perovskite_system, variants, vertices

from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.topology import padded

#: So that many pairs are beyond the cutoff, some of them far.
SKIN_A = 1.5


def both(system: AlchemicalSystem, backend: Backend) -> tuple[AlchemicalPotential, AlchemicalPotential]:
    """Return the potential with static shapes and the usual one."""
    static, usual = (AlchemicalPotential(system, backend, SKIN_A, static_shapes=static) for static in (True, False))
    return static, usual


#: Models with unlike terms; the others take longer together, in CI.
CORE = ("residual", "attention", "heads-zbl-non-linear")


def lattice_parameter_A(model: str) -> float:
    return 4.7 if model == "sevennet" else 3.9


@pytest.mark.parametrize("fast", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["fast", "original"])
@pytest.mark.parametrize("model", [*variants(core=CORE), pytest.param("sevennet", marks=pytest.mark.slow)])
def test_results_are_those_of_filtered_pairs(model, fast, backend):
    system = perovskite_system("several groups", "mean-field", lattice_parameter_A(model))
    loaded = backend(model)
    static, usual = both(system, loaded if fast else AsItIs(loaded))
    positions, cells, weights = batch(system)
    assert_same(static.evaluate(positions, cells, weights), usual.evaluate(positions, cells, weights))
    (topology,) = static._topologies.values()
    _, inside = static._vectors(topology, *(torch.as_tensor(values) for values in (positions, cells)))
    assert 0.2 < inside.double().mean() < 0.8
    several = interior(system, seed=3, n=6).reshape(3, 2, -1)
    torch.testing.assert_close(
        *(each.energies(positions, cells, several) for each in (static, usual)), rtol=RELATIVE, atol=0
    )


@pytest.mark.parametrize(("groups", "coupling"), groups_and_couplings())
def test_results_are_those_of_filtered_pairs_for_every_rule(groups, coupling, backend):
    system = perovskite_system(groups, coupling)
    for loaded in (backend("residual"), AsItIs(backend("residual"))):
        static, usual = both(system, loaded)
        for weights in (interior(system, seed=2, n=3), np.resize(vertices(system), (3, system.n_weights))):
            positions, cells, _ = batch(system)
            results = [each.evaluate(positions, cells, weights, weight_gradients=False) for each in (static, usual)]
            for name in ("energy", "forces", "stress"):
                torch.testing.assert_close(*(getattr(r, name) for r in results), rtol=RELATIVE, atol=1e-9)


@pytest.mark.parametrize("model", variants(["density-no-apply-cutoff", "residual"], core=["residual"]))
def test_second_derivatives_are_those_of_filtered_pairs(model, backend):
    system = perovskite_system("one group")
    positions, cells, weights = batch(system, 1)
    static, usual = (
        each.second_derivatives(positions[0], cells[0], weights[0]) for each in both(system, backend(model))
    )
    np.testing.assert_allclose(static.gradient, usual.gradient, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(static.hessian, usual.hessian, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "original"])
@pytest.mark.parametrize("model", ["residual", "no-apply-cutoff", "zbl-agnesi-density", "sevennet"])
def test_a_pair_beyond_the_cutoff_has_no_energy_and_no_slope(model, fast, backend):
    """Two atoms that see only each other: beyond the cutoff exactly nothing is left, also of potentials with a step."""
    from pymatgen.core import Lattice, Structure

    from alchemflows.alchemy.path import AlchemicalPath

    loaded = backend(model) if fast else AsItIs(backend(model))
    apart = backend(model).cutoff_A + 0.2
    structure = Structure(Lattice.cubic(30.0), ["Pb", "I"], [[0, 0, 0], [apart / 30, 0, 0]])
    system = AlchemicalPath.from_substitution(structure, {"Pb": "Sn"}).system
    static, usual = both(system, loaded)
    arguments = structure.cart_coords[None], structure.lattice.matrix[None], np.array([[0.4, 0.6]])
    result, alone = static.evaluate(*arguments), usual.evaluate(*arguments)
    assert len(static._pairs.pairs[0][0]) == 2
    assert (result.forces == 0).all() and (result.stress == 0).all()
    torch.testing.assert_close(result.energy, alone.energy, rtol=1e-13, atol=0)
    torch.testing.assert_close(result.weight_gradients, alone.weight_gradients, rtol=1e-13, atol=0)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "original"])
def test_shapes_have_few_sizes(fast, backend):
    """Numbers of pairs differ from list to list; those of the graph have few values, and no result depends on them."""
    system = perovskite_system("one group")
    loaded = backend("residual") if fast else AsItIs(backend("residual"))
    static, usual = (AlchemicalPotential(system, loaded, 0.5, static_shapes=static) for static in (True, False))
    cell, weights = system.structure.lattice.matrix[None], interior(system, n=1)
    rng, numbers, sizes = np.random.default_rng(0), set(), []
    for _ in range(6):
        positions = system.structure.cart_coords + rng.normal(0, 0.08, (1, system.n_sites, 3))
        result = static.evaluate(positions, cell, weights)
        assert_same(result, usual.evaluate(positions, cell, weights))
        (topology,) = static._topologies.values()
        (messages,) = topology._static_messages.values()
        numbers.add(len(static._pairs.pairs[0][0]))
        sizes.append((len(topology.first), 0 if fast else len(messages.vector), messages.slots.n_slots))
    assert len(numbers) >= 3
    assert all(len(set(values)) <= 2 for values in zip(*sizes, strict=True))
    again = AlchemicalPotential(system, loaded, 0.5, static_shapes=True)
    again.recall(static.memory())
    repeated = again.evaluate(positions, cell, weights)
    for name in ("energy", "forces", "stress", "weight_gradients"):
        assert torch.equal(getattr(repeated, name), getattr(result, name))


def test_padded_numbers():
    numbers = [padded(n) for n in range(3000)]
    assert numbers[:18] == [*range(17), 18]
    assert all(n <= m <= 1.125 * n for n, m in enumerate(numbers))
    assert len(set(numbers[1000:])) == 13


def test_nodes_follow_weights_that_change(backend):
    """Which nodes there are is read once for one tensor; another tensor, or one that torch changed, is read again."""
    system = perovskite_system("one group")
    static, usual = both(system, backend("residual"))
    positions, cells, _ = batch(system, 2)
    weights = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    for change in (lambda: None, lambda: weights.mul_(0.5).add_(0.25), lambda: weights.round_()):
        change()
        energies = [each.evaluate(positions, cells, weights, weight_gradients=False).energy for each in (static, usual)]
        torch.testing.assert_close(*energies, rtol=RELATIVE, atol=0)
    assert len(static._topologies) == 2
