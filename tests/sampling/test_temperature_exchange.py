"""Exchange of configurations between temperatures and chemical potentials: exact averages, and exact acceptance."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import units
from lattices import everything, ising, places, random_mixture
from mobile_wells import assert_mean, of_composition, pairs_of_wells

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.ensembles import Canonical, SemiGrand
from alchemflows.sampling.exchange import ExchangeStatistics
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.monte_carlo import MonteCarlo
from alchemflows.sampling.sweeps import run_sweeps
from alchemflows.schemas.monte_carlo import MonteCarloSettings

TEMPERATURES_K = [300.0, 450.0, 700.0, 1100.0]


def settings(**changes) -> MonteCarloSettings:
    values = {
        "temperature_K": 600.0,
        "n_equilibration_sweeps": 10,
        "n_production_sweeps": 120,
        "attempts_per_sweep": 2,
        "replica_exchange": True,
    }
    return MonteCarloSettings(**(values | changes))


def energies_of(model, arrangements, labels) -> np.ndarray:
    return model.energies(None, None, arrangements.weights(labels)[:, None])[:, 0].numpy()


def distribution(energy: np.ndarray, temperature_K: float) -> np.ndarray:
    weights = np.exp(-(energy - energy.min()) / (units.kB * temperature_K))
    return weights / weights.sum()


@pytest.mark.parametrize("kind", ["temperatures", "chemical potentials"])
def test_averages_are_exact_in_every_replica(kind):
    arrangements, model = ising(2, 3, 0.012)
    labels = everything(arrangements)
    mu = np.zeros((4, 1, 2))
    temperatures = TEMPERATURES_K
    if kind == "temperatures":
        mu[:, 0, 1] = 0.03
    else:
        mu[:, 0, 1], temperatures = [-0.06, -0.02, 0.02, 0.06], [600.0] * 4
    runs = [
        run_sweeps(
            model,
            SemiGrand(arrangements, mu),
            places(arrangements, 4),
            arrangements.random([[3, 3]], range(4)),
            settings(),
            seeds=range(10 * k, 10 * k + 4),
            temperatures_K=temperatures,
            exchange_seed=k,
        )
        for k in range(8)
    ]
    energy, share = energies_of(model, arrangements, labels), labels.mean(axis=1)
    for b in range(4):
        exact = distribution(energy - labels.sum(axis=1) * mu[b, 0, 1], temperatures[b])
        assert_mean([run.series[b].energy_eV.mean() for run in runs], exact @ energy)
        assert_mean([run.series[b].labels.mean() for run in runs], exact @ share, error=0.04)
    for run in runs:
        assert (run.exchange.acceptance > 0.1).all()
        assert all(len(set(series.walker)) == 4 for series in run.series)
        walkers = np.array([series.walker for series in run.series])
        assert (np.sort(walkers, axis=0) == np.arange(4)[:, None]).all()
    assert np.sum([run.exchange.round_trips for run in runs]) > 8


def test_exchanges_of_two_replicas_are_accepted_as_often_as_expected():
    """Without memory of the moves, configurations at two temperatures are independent."""
    arrangements, model = ising(2, 3, 0.02)
    labels = everything(arrangements)
    energy = energies_of(model, arrangements, labels)
    low, high = 400.0, 800.0
    both = distribution(energy, low)[:, None] * distribution(energy, high)
    gain = (1 / low - 1 / high) / units.kB * (energy[:, None] - energy)
    expected = (both * np.exp(np.minimum(gain, 0.0))).sum()
    assert 0.3 < expected < 0.7
    acceptance = [
        run_sweeps(
            model,
            SemiGrand(arrangements, {"Na": 0.0, "K": 0.0}),
            places(arrangements, 2),
            arrangements.random([[3, 3]], range(2)),
            settings(attempts_per_sweep=3, n_production_sweeps=120),
            seeds=[2 * k, 2 * k + 1],
            temperatures_K=[low, high],
            exchange_seed=k,
        ).exchange.acceptance
        for k in range(8)
    ]
    assert_mean(acceptance, [expected], error=0.04)


def test_exchange_needs_no_evaluation():
    arrangements, model = ising(2, 3, 0.02)
    run_sweeps(
        model,
        Canonical(arrangements),
        places(arrangements, 4),
        arrangements.random([[3, 3]], range(4)),
        settings(n_production_sweeps=20),
        seeds=range(4),
        temperatures_K=TEMPERATURES_K,
    )
    assert model.n_evaluations == 1 + 30 * 2


def test_volume_enters_the_ratio():
    """β (E + Φ + PV) of each replica with the configuration of another."""
    model = pairs_of_wells(4, shift_A=0.1, bulk_modulus_eV_per_A3=0.5)
    arrangements = model.arrangements
    ensemble = SemiGrand(arrangements, np.array([[[0.0, 0.1]], [[0.0, -0.2]], [[0.0, 0.3]]]))
    positions, cells = places(arrangements, 3)
    cells *= np.array([1.0, 1.01, 0.98])[:, None, None]
    labels = arrangements.random([[1, 3]], range(3))
    temperatures = np.array([300.0, 500.0, 900.0])
    chains = MonteCarlo(model, ensemble, positions, cells, labels, temperature_K=temperatures, seeds=range(3))
    volume, energy = np.linalg.det(cells), chains.current.energy_eV
    found = chains.reduced_energies([2, 0, 1], 0.02)
    for b, other in enumerate([2, 0, 1]):
        potential = -[0.1, -0.2, 0.3][b] * labels[other].sum()
        expected = (energy[other] + potential + 0.02 * volume[other]) / (units.kB * temperatures[b])
        assert found[b] == pytest.approx(expected)
    chains.permute([2, 0, 1])
    assert np.array_equal(chains.current.labels, labels[[2, 0, 1]])
    assert np.array_equal(chains.current.cells_A, cells[[2, 0, 1]])
    assert np.array_equal(chains.current.energy_eV, energy[[2, 0, 1]])


@pytest.mark.slow
def test_averages_are_exact_at_constant_pressure():
    """Labels, energies and volumes at each temperature; the volume enters the exchanges."""
    model = pairs_of_wells(
        4, shift_A=0.15, stiffness_eV_per_A2=(2.0, 4.0), bulk_modulus_eV_per_A3=0.5, expansion_A3=(0.0, 3.0)
    )
    arrangements, pressure_GPa, temperatures = model.arrangements, 8.0, [500.0, 750.0, 1100.0]
    pressure = pressure_GPa * units.GPa
    run_settings = settings(
        pressure_GPa=pressure_GPa,
        n_md_steps=5,
        timestep_fs=20.0,
        friction_per_ps=40.0,
        barostat_time_ps=0.2,
        n_production_sweeps=120,
        n_equilibration_sweeps=20,
        attempts_per_sweep=3,
    )
    runs = [
        run_sweeps(
            model,
            SemiGrand(arrangements, {"Na": 0.0, "K": 0.12}),
            places(arrangements, 3),
            arrangements.random([[2, 2]], range(3)),
            run_settings,
            seeds=range(10 * k, 10 * k + 3),
            temperatures_K=temperatures,
            exchange_seed=k,
        )
        for k in range(24)
    ]
    labels = everything(arrangements)
    for b, temperature_K in enumerate(temperatures):
        exact = model.probabilities(labels, temperature_K, pressure_GPa, (0.0, 0.12))
        assert_mean([run.series[b].labels.mean(axis=0) for run in runs], exact @ labels, error=0.03)
        volume = model.volume + 3.0 * (exact @ labels).sum() - pressure * model.volume / 0.5
        assert_mean([run.series[b].volume_A3.mean() for run in runs], volume, error=0.5)
    assert (np.mean([run.exchange.acceptance for run in runs], axis=0) > 0.2).all()


def test_configurations_move_with_scaled_velocities():
    model = pairs_of_wells(4)
    arrangements = model.arrangements
    labels = of_composition(arrangements, 2)[:3]
    weights = arrangements.weights(labels)
    temperatures = torch.tensor([300.0, 450.0, 700.0], dtype=torch.float64)
    langevin = Langevin(
        model,
        *places(arrangements, 3),
        weights,
        arrangements.system.masses(weights),
        temperature_K=temperatures.numpy(),
        timestep_fs=1.0,
        friction_per_ps=5.0,
        seeds=range(3),
    )
    langevin.step()
    before, ratio = langevin.state, langevin.kinetic_temperatures() / temperatures
    n_evaluations = model.n_evaluations
    forces, order = langevin.evaluation.forces, [2, 0, 1]
    langevin.permute(order)
    np.testing.assert_allclose(langevin.kinetic_temperatures() / temperatures, ratio[order])
    assert torch.equal(langevin.positions, before.positions[order])
    assert torch.equal(langevin.weights, torch.as_tensor(weights)[order])
    assert torch.equal(langevin.evaluation.forces, forces[order])
    assert model.n_evaluations == n_evaluations


def test_statistics_of_known_walks():
    walkers = np.array([[0, 1, 2], [1, 0, 2], [1, 2, 0], [2, 1, 0], [2, 0, 1], [0, 2, 1]])
    statistics = ExchangeStatistics.of(walkers, [[0, 1, 2]])
    assert statistics.acceptance.tolist() == [1.0, 1.0]
    assert statistics.round_trips.tolist() == [1, 0, 0]
    still = ExchangeStatistics.of(np.tile([0, 1, 2], (5, 1)), [[0, 1, 2]], n_before=1)
    assert still.acceptance.tolist() == [0.0, 0.0] and still.round_trips.tolist() == [0, 0, 0]
    # Two ladders, 0 to 2 and 1 to 3; only the first has exchanges.
    two = ExchangeStatistics.of(np.array([[0, 1, 2, 3], [2, 1, 0, 3], [2, 1, 0, 3], [0, 1, 2, 3]]), [[0, 2], [1, 3]])
    assert two.acceptance.tolist() == [0.5] and two.round_trips.tolist() == [1, 0, 1, 0]


def test_ladders_do_not_mix():
    arrangements, model = ising(2, 3, 0.02)
    run = run_sweeps(
        model,
        Canonical(arrangements),
        places(arrangements, 4),
        arrangements.random([[3, 3]], range(4)),
        settings(n_production_sweeps=40),
        seeds=range(4),
        temperatures_K=[300.0, 300.0, 600.0, 600.0],
        ladders=[[0, 2], [1, 3]],
    )
    walkers = np.array([series.walker for series in run.series])
    assert {frozenset(walkers[[0, 2]].ravel()), frozenset(walkers[[1, 3]].ravel())} == {
        frozenset({0, 2}),
        frozenset({1, 3}),
    }
    assert 0 < run.exchange.acceptance[0] < 1 and (run.exchange.round_trips > 0).all()


@pytest.mark.parametrize("ladders", [[[0], [1, 2]], [[0, 1]], [[0, 1, 2, 2]]])
def test_wrong_ladders_are_refused(ladders):
    arrangements, model = ising(2, 3, 0.02)
    with pytest.raises(InvalidInputError, match="ladders"):
        run_sweeps(
            model,
            Canonical(arrangements),
            places(arrangements, 3),
            arrangements.random([[3, 3]], range(3)),
            settings(),
            seeds=range(3),
            ladders=ladders,
        )


@pytest.mark.parametrize("what", ["positions", "cells", "compositions"])
def test_replicas_that_differ_in_what_is_constant_are_refused(what):
    arrangements, model = random_mixture() if what == "compositions" else ising(2, 3, 0.02)
    positions, cells = places(arrangements, 2)
    labels = (
        arrangements.random([[3, 3]], range(2)) if what != "compositions" else [[0, 0, 1, 2, 2, 3], [0, 1, 1, 2, 2, 3]]
    )
    if what == "positions":
        positions[1, 0, 0] += 0.1
    if what == "cells":
        cells[1] *= 1.01
    with pytest.raises(InvalidInputError, match=what):
        run_sweeps(model, Canonical(arrangements), (positions, cells), labels, settings(), seeds=[0, 1])
