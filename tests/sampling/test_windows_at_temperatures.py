"""Windows at several temperatures that exchange replicas: exact averages, also where a plain ladder is trapped."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from harmonic import HarmonicCrystal, HarmonicWells, harmonic_path
from mobile_wells import assert_mean
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.combination import StateSamples, ThermalState, combine
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.windows import WindowsRun, _Exchange, run_windows
from alchemflows.schemas.dynamics import DynamicsSettings

LAMBDAS = [0.0, 1.0]
TEMPERATURES_K = [300.0, 650.0, 1400.0]
PLACES = [(index, temperature_K) for temperature_K in TEMPERATURES_K for index in range(2)]
N_SAMPLES = 500


class DoubleWells(EnergyModel):
    """U_c = Σ_i [B ((x_i/a)² − 1)² + t_c x_i/a + ½ k (y_i² + z_i²)], two wells along x for each of N atoms."""

    device = torch.device("cpu")
    barrier_eV, width_A, stiffness = 0.25, 0.5, 2.0
    tilts_eV = torch.tensor([0.0, -0.06], dtype=torch.float64)

    def __init__(self, centres: np.ndarray) -> None:
        self.centres = torch.as_tensor(centres, dtype=torch.float64)

    def evaluate(self, positions, cells, weights, *, forces=True, stress=True, weight_gradients=True):
        u = positions - self.centres
        x = u[..., 0] / self.width_A
        tilt = torch.as_tensor(weights, dtype=torch.float64) @ self.tilts_eV
        slope = 4 * self.barrier_eV * x * (x**2 - 1) + tilt[:, None]
        pull = torch.cat([slope[..., None] / self.width_A, self.stiffness * u[..., 1:]], dim=2)
        common = (self.barrier_eV * (x**2 - 1) ** 2 + 0.5 * self.stiffness * (u[..., 1:] ** 2).sum(dim=2)).sum(dim=1)
        per_channel = common[:, None] + self.tilts_eV * x.sum(dim=1)[:, None]
        return Evaluation(common + tilt * x.sum(dim=1), -pull, None, per_channel if weight_gradients else None)

    def energies(self, positions, cells, weights):
        per_channel = self.evaluate(positions, cells, torch.zeros(len(positions), 2)).weight_gradients
        return (torch.as_tensor(np.array(weights), dtype=torch.float64) * per_channel[:, None, :]).sum(dim=2)

    def exact(self, value: float, temperature_K: float) -> tuple[float, float]:
        """Return −k_B T ln ∫ exp(−βU) dx of one atom (eV), and ⟨x/a⟩."""
        x, thermal = np.linspace(-3, 3, 20001), units.kB * temperature_K
        density = np.exp(-(self.barrier_eV * (x**2 - 1) ** 2 + value * float(self.tilts_eV[1]) * x) / thermal)
        return -thermal * np.log(density.sum()), float(density @ x / density.sum())


def settings(**changes) -> DynamicsSettings:
    values = {
        "temperature_K": 300.0,
        "timestep_fs": 4.0,
        "friction_per_ps": 10.0,
        "n_equilibration_steps": 600,
        "n_production_steps": 5 * N_SAMPLES,
        "sample_interval_steps": 5,
    }
    return DynamicsSettings(**(values | changes))


def run(seed: int, *, temperatures: bool, **changes) -> WindowsRun:
    """Sample all windows at all temperatures, from either well in turn, or at the lowest one, from the left wells."""
    light = Structure(Lattice.cubic(10.0), ["Li"], [[0.5, 0.5, 0.5]])
    path = AlchemicalPath.from_substitution(light, {"Li": "Na"})
    model = DoubleWells(light.cart_coords)
    places = PLACES if temperatures else PLACES[:2]
    n = len(places)
    sides = np.where(np.arange(n) % 4 < 2, -1.0, 1.0) if temperatures else -np.ones(n)
    start = (
        path.system.structure.cart_coords + model.width_A * sides[:, None, None] * np.array([1.0, 0.0, 0.0]),
        np.tile(path.system.structure.lattice.matrix, (n, 1, 1)),
    )
    return run_windows(
        model,
        path,
        LAMBDAS,
        [index for index, _ in places],
        settings(**changes),
        [100 * seed + k for k in range(n)],
        temperatures_K=[temperature_K for _, temperature_K in places] if temperatures else None,
        start=start,
        exchange_seed=seed,
    )


@pytest.fixture(scope="module")
def runs() -> list[WindowsRun]:
    """Exchange over λ and over the temperature."""
    return [run(seed, temperatures=True, replica_exchange=True) for seed in range(6)]


@pytest.mark.slow
def test_averages_are_exact_where_a_plain_ladder_is_trapped(runs):
    model = DoubleWells(np.zeros((1, 3)))
    tilt = float(model.tilts_eV[1])
    for k, (index, temperature_K) in enumerate(PLACES):
        expected = tilt * model.exact(LAMBDAS[index], temperature_K)[1]
        assert_mean([each.series[k].dudl_eV.mean() for each in runs], expected, error=0.015)
        assert_mean([each.series[k].temperature_K.mean() for each in runs], temperature_K, error=0.1 * temperature_K)
    plain = run(0, temperatures=False)
    # From the left wells, where x/a = −1: nothing crosses the barrier of 10 k_B T.
    assert plain.series[0].dudl_eV.mean() > 0.8 * abs(tilt)


@pytest.mark.slow
def test_rates_and_round_trips_are_counted(runs):
    for each in runs:
        rates = each.exchange
        assert sorted(map(tuple, rates.pairs)) == [(0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5)]
        assert (rates.tried == N_SAMPLES // 2).all() and (rates.accepted <= rates.tried).all()
        assert (rates.accepted > 0.1 * rates.tried).all()
        assert rates.round_trips.sum() > 8
        assert sorted(each.origins) == list(range(6))


@pytest.mark.slow
def test_ladders_that_were_exchanged_are_combined(runs):
    """ΔF at all temperatures from MBAR over (λ, T), with errors that contain the exchange."""
    model = DoubleWells(np.zeros((1, 3)))
    exact = [model.exact(1.0, t)[0] - model.exact(0.0, t)[0] for t in TEMPERATURES_K]
    for each in runs[:3]:
        states = [
            StateSamples(index, temperature_K, None, s.energies_eV, s.volume_A3, 0)
            for (index, temperature_K), s in zip(PLACES, each.series, strict=True)
        ]
        found = combine(states, [ThermalState(t) for t in TEMPERATURES_K])
        assert (np.abs(found.values[:, 0] - exact) < 4 * found.errors[:, 0]).all()
        assert (found.errors[:, 0] < 0.25).all()


def test_acceptance_is_that_of_both_temperatures_and_of_the_volumes():
    """ln ratio = (β_i − β_j) (H_a − H_b) with H = U + pV."""
    pressure, cold, hot = 2.0, 300.0, 600.0
    energies, volumes = np.array([[0.005], [0.0]]), np.array([10.0, 12.0])
    work = pressure * units.GPa * (volumes[0] - volumes[1])
    ratio = (1 / cold - 1 / hot) / units.kB * (energies[0, 0] - energies[1, 0] + work)
    assert -1.5 < ratio < -0.2
    n, accepted = 4000, 0
    for seed in range(n):
        decide = _Exchange([0, 0], [cold, hot], seed, along_lambda=False, pressure_GPa=pressure)
        accepted += decide.attempt(energies, volumes) is not None
    assert accepted / n == pytest.approx(np.exp(ratio), abs=4 * np.sqrt(0.25 / n))


def test_an_exchange_of_temperatures_scales_velocities_and_needs_no_evaluation():
    path = harmonic_path(2)
    structure, weights = path.system.structure, path.weights([0.5, 0.5])
    model = HarmonicWells(structure.cart_coords, (2.0, 6.0))
    start = np.tile(structure.cart_coords, (2, 1, 1)), np.tile(structure.lattice.matrix, (2, 1, 1))
    langevin = Langevin.under(
        settings(), model, start, weights, path.masses([0.5, 0.5]), [0, 1], temperatures_K=[300.0, 1200.0]
    )
    for _ in range(20):
        langevin.step()
    before, evaluation = langevin.state, langevin.evaluation
    langevin.exchange([1, 0])
    torch.testing.assert_close(langevin.velocities[0], 2 * before.velocities[0])
    torch.testing.assert_close(langevin.velocities[1], before.velocities[1] / 2)
    assert langevin.evaluation is evaluation
    temperatures = []
    for _ in range(2000):
        langevin.step()
        temperatures.append(langevin.kinetic_temperatures().numpy())
    assert np.mean(temperatures, axis=0) == pytest.approx([1200.0, 300.0], rel=0.2)


@pytest.mark.slow
def test_volumes_are_exact_at_constant_pressure():
    """⟨V⟩ of ρ(V) ∝ exp[−β(U + PV)] at each temperature and λ."""
    path = harmonic_path(2)
    structure, pressure, temperatures = path.system.structure, 0.02, [300.0, 380.0]
    volume, thermal = structure.volume, units.kB * 300.0
    bulk, volumes = [thermal * b / volume for b in (1200.0, 800.0)], [volume, 1.04 * volume]
    springs = [np.diag([2.0, 3.0]), np.diag([3.0, 4.0])]
    model = HarmonicCrystal(structure.frac_coords, springs, bulk, volumes)
    places = [(index, temperature_K) for temperature_K in temperatures for index in (0, 1)]
    asked = settings(pressure_GPa=pressure, barostat_time_ps=0.1, friction_per_ps=20.0)
    found = [
        run_windows(
            model, path, LAMBDAS, [index for index, _ in places], asked, range(4 * seed, 4 * seed + 4),
            temperatures_K=[temperature_K for _, temperature_K in places], exchange_seed=seed,
        )
        for seed in range(6)
    ]  # fmt: skip
    for k, (index, temperature_K) in enumerate(places):
        v, density = model.volume_density((1 - LAMBDAS[index], LAMBDAS[index]), temperature_K, pressure)
        mean = density @ v / density.sum()
        assert_mean([each.series[k].volume_A3.mean() for each in found], mean, error=0.01 * volume)
    assert all((each.exchange.accepted > 50).all() for each in found)


def test_bad_temperatures():
    path = harmonic_path(1)
    model = HarmonicWells(path.system.structure.cart_coords, (2.0, 3.0))
    for indices, temperatures in (([0, 1], [300.0]), ([0, 0], [300.0, 300.0])):
        with pytest.raises(InvalidInputError, match="temperatures_K"):
            run_windows(model, path, LAMBDAS, indices, settings(), range(len(indices)), temperatures_K=temperatures)
