"""Replicas of several systems in one batch: the same results as alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alchemical import assert_same, system_for
from models import interior, perovskite_system

from alchemflows.alchemy.joint import JointPotential, Request
from alchemflows.alchemy.lockstep import systems_in_lockstep
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.errors import InvalidInputError


def requests(systems, n_replicas, scale=1.0):
    """Return a request of each system with moved atoms, for the same atoms in each call."""
    rng = np.random.default_rng(3)
    found = []
    for member, (system, n) in enumerate(zip(systems, n_replicas, strict=True)):
        x = system.structure.cart_coords + rng.normal(0, 0.03 * scale, (n, system.n_sites, 3))
        h = np.repeat(system.structure.lattice.matrix[None], n, axis=0)
        w = interior(system, seed=member, n=n)
        w[0] = np.arange(system.n_weights) % 2 == 0  # channels without a weight have no nodes
        found.append(Request(member, *(torch.as_tensor(values) for values in (x, h, w))))
    return found


@pytest.mark.parametrize(
    ("model", "static"),
    [
        ("scalars", False),
        ("scalars", True),
        *(pytest.param(*kind, marks=pytest.mark.slow) for kind in (("agnostic-product", False), ("chgnet", False))),
    ],
)
def test_systems_in_one_batch_give_the_results_of_each_alone(backend, model, static):
    kinds = [("one group", "paired"), ("several groups", "mean-field"), ("site resolved", "paired")]
    systems = [system_for(model, *kind) for kind in kinds]
    alone = [AlchemicalPotential(system, backend(model), static_shapes=static) for system in systems]
    joint = JointPotential([AlchemicalPotential(s, backend(model), static_shapes=static) for s in systems])
    for scale in (1.0, 8.0):  # atoms that moved far have other neighbour lists
        asked = requests(systems, (2, 1, 2), scale)
        for wanted in ({}, {"weight_gradients": False}):
            for some in (asked, asked[1:], asked):
                found = joint.evaluate_members(some, **wanted)
                for request, one in zip(some, found, strict=True):
                    own = alone[request.member]
                    expected = own.evaluate(request.positions, request.cells, request.weights, **wanted)
                    assert_same(one, expected, atol=1e-9)
        energies = [
            Request(r.member, r.positions, r.cells, torch.stack([r.weights, 0.5 * r.weights], dim=1)) for r in asked
        ]
        for request, one in zip(energies, joint.energies_of_members(energies), strict=True):
            expected = alone[request.member].energies(request.positions, request.cells, request.weights)
            torch.testing.assert_close(one, expected, rtol=1e-11, atol=1e-9)


def test_members_of_unlike_sizes_are_refused(backend):
    system = perovskite_system()
    unlike = type(system)(system.structure * (1, 1, 2), ())
    with pytest.raises(InvalidInputError, match="10, 20"):
        JointPotential([AlchemicalPotential(each, backend("scalars")) for each in (system, unlike)])


def test_an_error_of_one_system_does_not_end_the_others(backend):
    systems = [perovskite_system("one group"), perovskite_system("several groups")]
    asked = requests(systems, (1, 2))

    def task(request, n_steps):
        def run(seat):
            for step in range(n_steps):
                found = seat.evaluate(request.positions, request.cells, request.weights, weight_gradients=step % 3 == 0)
            if n_steps == 2:
                raise ValueError("enough")
            return found.energy, seat.energies(request.positions, request.cells, request.weights[:, None])

        return run

    potentials = [AlchemicalPotential(system, backend("scalars")) for system in systems]
    first, second = systems_in_lockstep(potentials, [task(asked[0], 2), task(asked[1], 5)])
    assert isinstance(first, ValueError)
    torch.testing.assert_close(second[0], second[1][:, 0], rtol=1e-11, atol=1e-9)
    # An evaluation that fails ends the tasks that asked for it.
    lost = Request(0, asked[0].positions[:, :3], asked[0].cells, asked[0].weights)
    first, second = systems_in_lockstep(potentials, [task(lost, 3), lambda seat: "unaffected"])
    assert isinstance(first, InvalidInputError) and second == "unaffected"
