"""The same numbers on a GPU, where there is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from alchemical import FOUNDATION_MODELS
from models import interior, perovskite_system

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.sampling.windows import sample_windows
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.potential import PotentialSpec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("model", ["zbl-agnesi-density", "heads-zbl-non-linear", "sevennet", "chgnet"])
def test_evaluations_equal_those_of_the_cpu(model, mace_file):
    system = perovskite_system("several groups", "mean-field", 6.0 if model in FOUNDATION_MODELS else 3.9)
    names = {"sevennet": "sevennet-0", "chgnet": "chgnet"}
    name = names[model] if model in names else str(mace_file(model))
    head = "other" if model.startswith("heads") else None
    arguments = (
        np.repeat(system.structure.cart_coords[None], 3, axis=0),
        np.repeat(system.structure.lattice.matrix[None], 3, axis=0),
        interior(system, n=3),
    )
    results = [
        AlchemicalPotential(
            system, load_potential(PotentialSpec(name=name, dtype="float64", device=device, head=head))
        ).evaluate(*arguments)
        for device in ("cpu", "cuda")
    ]
    for field in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(*(getattr(r, field).cpu() for r in results), rtol=0, atol=1e-8)


def test_windows_are_sampled(gentle_model, perovskite):
    path = AlchemicalPath.from_substitution(perovskite, {"Pb": "Sn"})
    model = AlchemicalPotential(path.system, load_potential(PotentialSpec(name=str(gentle_model), device="cuda")))
    dynamics = DynamicsSettings(temperature_K=200, n_equilibration_steps=10, n_production_steps=50)
    for k, series in enumerate(sample_windows(model, path, [0.0, 0.5, 1.0], [0, 1, 2], dynamics)):
        assert len(series) == 5
        np.testing.assert_allclose(series.energies_eV[:, k], series.energy_eV, atol=1e-4)


@pytest.mark.parametrize("model", ["zbl-agnesi-density", "sevennet"])
def test_cuda_graphs_give_the_same_evaluations(model, mace_file, caplog):
    system = perovskite_system("several groups", "mean-field", 6.0 if model in FOUNDATION_MODELS else 3.9)
    name = "sevennet-0" if model == "sevennet" else str(mace_file(model))
    backend = load_potential(PotentialSpec(name=name, dtype="float64", device="cuda"))
    graphs, usual = (AlchemicalPotential(system, backend, cuda_graphs=wanted) for wanted in (True, False))
    positions = np.repeat(system.structure.cart_coords[None], 3, axis=0)
    cells = np.repeat(system.structure.lattice.matrix[None], 3, axis=0)
    generator = np.random.default_rng(1)
    for step in range(30):
        positions = positions + 0.003 * generator.normal(size=positions.shape)
        results = [each.evaluate(positions, cells, interior(system, seed=step, n=3)) for each in (graphs, usual)]
        for field in ("energy", "forces", "stress", "weight_gradients"):
            torch.testing.assert_close(*(getattr(r, field) for r in results), rtol=0, atol=1e-8)
    assert graphs._recordings is not None and graphs._recordings._recordings
    assert "CUDA graph" not in caplog.text
