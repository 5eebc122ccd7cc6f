"""A step does not wait for the device, and dispatches few operations; ``benchmarks/dispatched.py`` counts both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from harmonic import HarmonicWells, harmonic_path

from alchemflows.sampling.switching import equilibrate_ends, switch
from alchemflows.schemas.dynamics import SwitchingSettings

#: Operations of a step at constant pressure with ∂E/∂λ; more need a reason.
MAX_OPERATIONS = {"mace-demo": 495, "sevennet-0": 1169}


@pytest.fixture
def dispatched(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    import dispatched

    return dispatched


@pytest.mark.parametrize("model", ["mace-demo", pytest.param("sevennet-0", marks=pytest.mark.slow)])
def test_a_step_waits_for_nothing_but_the_flag_of_the_list(model, dispatched):
    if model == "sevennet-0":
        pytest.importorskip("sevenn")
    for freedom in (None, "isotropic", "axes", "full"):
        langevin = dispatched.dynamics(model, freedom)
        for gradients in (False, True):
            counted = dispatched.count(langevin, weight_gradients=gradients)
            assert not counted.waits
            assert counted.n_rebuild_checks == 1
            if freedom == "isotropic":
                assert counted.n_operations <= MAX_OPERATIONS[model]
                again = dispatched.count(langevin, weight_gradients=gradients)
                assert again.n_operations == counted.n_operations


def test_what_is_counted(dispatched):
    """Views are free; reading a value, its shape or a mask waits, and so does a copy from or to the host."""
    x = torch.arange(6.0)
    mask = x > 2
    with dispatched.Dispatched() as counted:
        _ = (x[1:].reshape(5, 1) * 2 + 1).T
    assert (counted.n_operations, counted.waits) == (2, {})
    for wait in (
        lambda: bool(mask.any()),
        lambda: x[mask],
        lambda: x.masked_select(mask),
        lambda: mask.nonzero(),
        lambda: x.sum().item(),
        lambda: torch.equal(x, x),
        lambda: x.cpu(),
        lambda: x.numpy(),
        lambda: x.tolist(),
        lambda: torch.as_tensor(np.ones(3)),
    ):
        with dispatched.Dispatched() as counted:
            wait()
        assert counted.waits.total() >= 1
    filtered = dispatched.count(dispatched.dynamics("mace-demo", None, static_shapes=False))
    assert filtered.waits.total() >= 3


def test_switches_wait_only_at_the_end_of_a_block(dispatched):
    path = harmonic_path(2)
    model = HarmonicWells(path.system.structure.cart_coords, (2.0, 6.0))
    n_waits = []
    for n_steps in (20, 40, 60):
        settings = SwitchingSettings(
            temperature_K=300, n_equilibration_steps=20, n_switching_steps=n_steps, n_repeats=2
        )
        ends = equilibrate_ends(model, path, settings, [1, 2, 3, 4])
        with dispatched.Dispatched() as counted:
            switch(model, path, settings, ends, [5, 6, 7, 8])
        n_waits.append(counted.waits.total())
    assert n_waits[1] - n_waits[0] == n_waits[2] - n_waits[1] == 1  # the check for explosions
