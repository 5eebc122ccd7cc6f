"""The scaled enthalpy: its derivatives, and what it leaves to the potential."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, assert_derivatives, chain, harmonic_path

from alchemflows.alchemy.scaled import ScaledPath, ScaledPotential

SYSTEM = harmonic_path(4).system
MODEL = HarmonicCrystal(
    SYSTEM.structure.frac_coords, [chain(4, (2.0, 3.0)), chain(4, (1.0, 4.0))], [0.4, 0.3], [4000.0, 4100.0]
)


def configurations() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    cells = SYSTEM.structure.lattice.matrix * rng.normal(1, 0.01, (3, 1, 1))
    positions = SYSTEM.structure.frac_coords @ cells + rng.normal(0, 0.2, (3, 4, 3))
    return torch.as_tensor(positions), torch.as_tensor(cells)


def test_forces_stress_and_derivatives_are_those_of_the_scaled_enthalpy():
    weights = np.array([[1.0, 0.0, 0.4, 0.01], [0.3, 0.7, 1.0, 0.0], [0.0, 1.0, 0.7, -0.02]])
    assert_derivatives(ScaledPotential(MODEL), *configurations(), weights)


def test_the_energy_is_the_scaled_enthalpy_at_all_sets_of_weights():
    positions, cells = configurations()
    model = ScaledPotential(MODEL)
    weights = np.array([[[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.5, 0.01]]] * 3)
    found = model.energies(positions, cells, weights)
    plain = MODEL.evaluate(positions, cells, torch.tensor([[1.0, 0.0]] * 3, dtype=torch.float64)).energy
    torch.testing.assert_close(found[:, 0], plain)
    torch.testing.assert_close(found[:, 1], 0.5 * (plain + 0.01 * torch.linalg.det(cells)))
    for k in range(2):
        torch.testing.assert_close(found[:, k], model.evaluate(positions, cells, torch.as_tensor(weights[:, k])).energy)


def test_paths_go_from_the_low_to_the_high_end():
    pressure = 0.5 * units.GPa
    path = ScaledPath.over_temperatures(SYSTEM, [1.0, 0.0], 200.0, 800.0, pressure)
    assert path.initial == (1.0, 0.0, 1.0, pressure) and path.final == (1.0, 0.0, 0.25, pressure)
    path = ScaledPath.over_pressures(SYSTEM, [1.0, 0.0], 0.0, pressure)
    assert path.weights(0.5).tolist() == pytest.approx([1.0, 0.0, 1.0, pressure / 2])
    np.testing.assert_array_equal(path.masses(0.5), SYSTEM.masses([1.0, 0.0]))
