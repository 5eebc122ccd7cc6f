"""The pair energy of the reference liquid beside a potential."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import assert_derivatives
from liquids import Nothing, cubic_liquid, lennard_jones

from alchemflows.alchemy.reference_liquid import ReferenceLiquidPath, ReferenceLiquidPotential, UhlenbeckFord
from alchemflows.errors import InvalidInputError

LIQUID = UhlenbeckFord(sigma_A=1.5, temperature_K=800.0)
CELL = np.array([[4.0, 0.1, 0.0], [0.3, 5.0, -0.2], [0.0, 0.4, 4.5]])


def replicas(n: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    cells = CELL + rng.normal(scale=0.1, size=(n, 3, 3))
    sites = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.5], [0.8, 0.9, 0.1], [0.6, 0.1, 0.7]])
    return torch.tensor(sites @ cells + rng.normal(scale=0.2, size=(n, 4, 3))), torch.tensor(cells)


def test_the_energy_is_that_of_all_pairs_with_their_images():
    x, h = replicas()
    weights = torch.tensor([[0.0, 1.0]] * 3, dtype=torch.float64)
    found = ReferenceLiquidPotential(Nothing(), LIQUID).evaluate(x, h, weights).energy
    steps = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for energy, positions, cell in zip(found.tolist(), x.numpy(), h.numpy(), strict=True):
        vectors = positions[None, :, None] - positions[:, None, None] + steps @ cell
        squares = (vectors**2).sum(axis=-1)
        squares = squares[squares > 1e-9]
        expected = -0.5 * 50 * units.kB * 800 * np.log1p(-np.exp(-squares / 1.5**2)).sum()
        assert energy == pytest.approx(expected, rel=1e-6)


def test_forces_stress_and_weight_gradients_are_derivatives():
    weights = torch.tensor([[1.0, 0.0], [0.4, 0.6], [0.0, 1.0]], dtype=torch.float64)
    assert_derivatives(ReferenceLiquidPotential(lennard_jones(0.01, 1.8, 1.9), LIQUID), *replicas(), weights)


def test_lists_of_pairs_are_restored_bit_for_bit():
    x, h = replicas()
    weights = torch.tensor([[0.3, 0.7]] * 3, dtype=torch.float64)
    first, second = (ReferenceLiquidPotential(lennard_jones(0.01, 1.8, 1.9), LIQUID) for _ in range(2))
    first.evaluate(x, h, weights)
    moved = x + 0.01
    expected = first.evaluate(moved, h, weights)
    second.recall(first.memory())
    found = second.evaluate(moved, h, weights)
    assert torch.equal(found.energy, expected.energy) and torch.equal(found.forces, expected.forces)


def test_the_path_leads_to_the_reference():
    path = ReferenceLiquidPath.from_liquid(cubic_liquid(1, 20.0), [])
    assert path.weights([0.0, 1.0]).tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("name", ["sigma_A", "temperature_K", "p"])
def test_numbers_must_be_positive(name):
    with pytest.raises(InvalidInputError, match=name):
        UhlenbeckFord(**{"sigma_A": 1.0, "temperature_K": 300.0, name: 0.0})
