"""Windows of a ladder: what is sampled, and what is kept when a trajectory explodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harmonic import HarmonicWells, harmonic_path

from alchemflows.sampling.windows import WindowsStoppedError, sample_windows, window_seed
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.samples import PackedSeries

LAMBDAS = [0.0, 0.25, 1.0]
DYNAMICS = DynamicsSettings(
    temperature_K=300, n_equilibration_steps=20, n_production_steps=105, sample_interval_steps=10
)


def run(indices, dynamics=DYNAMICS, model=None, **options):
    path = harmonic_path(3)
    model = model or HarmonicWells(path.system.structure.cart_coords, (1.0, 3.0), (0.0, 0.7))
    return sample_windows(model, path, LAMBDAS, indices, dynamics, seed=3, **options)


def test_samples_are_consistent():
    for index, series in enumerate(run([0, 1, 2])):
        assert len(series) == DYNAMICS.n_samples == 10
        assert series.time_fs.tolist() == [20.0 * (k + 1) for k in range(10)]
        assert series.energies_eV.shape == (10, 3)
        np.testing.assert_allclose(series.energies_eV[:, index], series.energy_eV, atol=1e-12)
        # U is linear in λ here, so dU/dλ is the difference of the ends
        np.testing.assert_allclose(series.dudl_eV, series.energies_eV[:, 2] - series.energies_eV[:, 0], atol=1e-12)
        assert series.temperature_K.std() > 0


def test_a_window_does_not_depend_on_the_others():
    together, alone = run([0, 1, 2])[1], run([1])[0]
    np.testing.assert_allclose(together.energy_eV, alone.energy_eV, atol=1e-12)
    assert len({window_seed(seed, index) for seed in range(30) for index in range(30)}) == 900


def test_progress_counts_all_steps():
    seen = []
    run([0, 2], on_progress=seen.append)
    assert [(p.phase, p.step) for p in seen[:3]] == [
        ("equilibration", 10),
        ("equilibration", 20),
        ("production", 30),
    ]
    assert seen[-1].step == seen[-1].n_steps == 120
    assert len(seen[0].temperatures_K) == 2


def test_an_explosion_keeps_the_samples_and_names_the_window():
    path = harmonic_path(3)

    class Breaks(HarmonicWells):
        calls = 0

        def evaluate(self, *args, **options):
            self.calls += 1
            result = super().evaluate(*args, **options)
            if self.calls == 77:  # the start, 20 + 51 steps, and 5 times the energies at all windows
                result.forces[1, 2] = torch.nan
            return result

    model = Breaks(path.system.structure.cart_coords, (1.0, 3.0))
    with pytest.raises(WindowsStoppedError, match=r"replica 1 .*step 71.*force.*atom 2.*1: λ = 1") as caught:
        run([0, 2], model=model)
    assert [len(series) for series in caught.value.series] == [5, 5]
    assert caught.value.series[0].energies_eV.shape == (5, 3)


def test_an_explosion_at_the_start_keeps_empty_series():
    path = harmonic_path(3)
    model = HarmonicWells(path.system.structure.cart_coords + 1e6, (1.0, 3.0))
    with pytest.raises(WindowsStoppedError, match="step 0") as caught:
        run([0, 1], model=model)
    assert [series.energies_eV.shape for series in caught.value.series] == [(0, 3), (0, 3)]


def test_packing_is_exact_but_for_the_fluctuations_of_energies():
    series = run([1])[0]
    packed = PackedSeries.model_validate_json(PackedSeries.pack(series).model_dump_json())
    back = packed.unpack()
    for name, values in vars(series).items():
        if name != "energies_eV":  # see tests/schemas/test_samples.py
            assert np.array_equal(getattr(back, name), values), name
    np.testing.assert_allclose(back.energies_eV, series.energies_eV, rtol=0, atol=1e-7)


def test_settings_that_would_sample_nothing_are_refused():
    with pytest.raises(ValueError, match="n_production_steps"):
        DynamicsSettings(temperature_K=300, n_production_steps=5, sample_interval_steps=10)
    with pytest.raises(ValueError, match="temperature_K"):
        DynamicsSettings(temperature_K=-1)


@pytest.mark.parametrize("quantity", ["dU/dλ", "the energy at a window"])
def test_samples_that_are_not_finite_are_not_stored(quantity):
    path = harmonic_path(3)

    class Breaks(HarmonicWells):
        def evaluate(self, positions, cells, weights, **options):
            result = super().evaluate(positions, cells, weights, **options)
            if quantity == "dU/dλ" and result.weight_gradients is not None and weights.sum() > 0:
                result.weight_gradients[1, 0] = torch.nan
            return result

        def energies(self, positions, cells, weights):
            energies = super().energies(positions, cells, weights)
            if quantity != "dU/dλ":
                energies[1, 2] = torch.inf
            return energies

    with pytest.raises(WindowsStoppedError, match=f"replica 1 .*step 30.*{quantity}"):
        run([0, 2], model=Breaks(path.system.structure.cart_coords, (1.0, 3.0)))


def test_any_failure_keeps_the_samples():
    """A device out of memory, say."""
    path = harmonic_path(3)

    class Breaks(HarmonicWells):
        calls = 0

        def energies(self, positions, cells, weights):
            self.calls += 1
            if self.calls == 4:
                raise RuntimeError("CUDA out of memory")
            return super().energies(positions, cells, weights)

    with pytest.raises(WindowsStoppedError, match="CUDA out of memory") as caught:
        run([0, 1, 2], model=Breaks(path.system.structure.cart_coords, (1.0, 3.0)))
    assert [len(series) for series in caught.value.series] == [3, 3, 3]


def test_progress_that_cannot_be_written_stops_nothing(tmp_path):
    from alchemflows.schemas.progress import ProgressFile

    series = run([0], on_progress=ProgressFile(tmp_path / "no such folder"))
    assert len(series[0]) == 10
