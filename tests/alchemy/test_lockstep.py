"""Tasks side by side: the same answers as alone, few batches, and nobody left waiting."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.lockstep import in_lockstep
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SYSTEM = AlchemicalSystem(SALT.get_primitive_structure(), (uniform_group([0], ["Na", "K"]),))


class Counted(AlchemicalPotential):
    """Counts the replicas of each batch."""

    def __init__(self) -> None:
        super().__init__(SYSTEM, load_potential(PotentialSpec(name="mace-demo", dtype="float64", device="cpu")))
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def evaluate(self, positions, cells, weights, **what):
        self.batches.append(len(positions))
        self.threads.add(threading.get_ident())
        return super().evaluate(positions, cells, weights, **what)


def walk(n_steps, share, model):
    """Move along the forces; return energies and, of the end, the derivatives."""
    x, h = SYSTEM.structure.cart_coords + np.array([[0.1, 0, 0], [0, 0, 0]]), SYSTEM.structure.lattice.matrix
    w = np.array([1 - share, share])
    energies = []
    for _ in range(n_steps):
        found = model.evaluate(x[None], h[None], w[None])
        energies.append(float(found.energy[0]))
        assert found.forces.shape == (1, 2, 3) and found.stress.shape == (1, 3, 3)
        assert found.weight_gradients.shape == (1, 2)
        x = x + 0.05 * found.forces[0].numpy()
    return energies, model.second_derivatives(x, h, w).hessian


def test_the_same_as_alone_in_as_many_batches_as_the_longest_has_steps():
    models = []

    def make():
        models.append(Counted())
        return models[-1]

    lengths, shares = (5, 2, 9), (0.0, 0.5, 0.8)
    together = in_lockstep(
        make, [lambda seat, n=n, s=s: walk(n, s, seat) for n, s in zip(lengths, shares, strict=True)]
    )
    for (energies, hessian), n, share in zip(together, lengths, shares, strict=True):
        alone, expected = walk(n, share, Counted())
        np.testing.assert_allclose(energies, alone, atol=1e-10)
        np.testing.assert_allclose(hessian, expected, atol=1e-7)
    assert models[0].batches == [3, 3, 2, 2, 2, 1, 1, 1, 1]
    assert models[0].threads == {threading.get_ident()}


def test_an_error_of_one_ends_all():
    seen = []

    def fails(seat):
        walk(2, 0.3, seat)
        raise ValueError("enough")

    def goes_on(seat):
        try:
            walk(10**6, 0.6, seat)
        except ValueError as error:
            seen.append(str(error))
            raise

    with pytest.raises(ValueError, match="enough"):
        in_lockstep(Counted, [goes_on, fails, goes_on])
    assert seen == ["enough", "enough"]


def test_an_evaluation_that_fails_ends_all():
    def wrong(seat):
        seat.evaluate(np.zeros((1, 3, 3)), np.eye(3)[None], np.ones((1, 2)))

    with pytest.raises(InvalidInputError, match="positions"):
        in_lockstep(Counted, [wrong, wrong])
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        in_lockstep(Interrupted, [lambda seat: walk(10**6, 0.1, seat)] * 2)
    assert threading.active_count() <= before


class Interrupted(Counted):
    """As by a signal, while it evaluates."""

    def evaluate(self, positions, cells, weights, **what):
        if len(self.batches) == 3:
            raise KeyboardInterrupt
        return super().evaluate(positions, cells, weights, **what)
