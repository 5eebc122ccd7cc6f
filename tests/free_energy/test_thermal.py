"""Averages between temperatures and transition temperatures, against lattices whose distributions are known exactly."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.thermal import ThermalCurves, ThermalSamples, thermal_curves
from alchemflows.free_energy.transition import cumulant_crossing, heat_capacity_peak, steepest_order

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
exact = importlib.import_module("transition_rows")

RNG_SEED = 5


@pytest.fixture(scope="module")
def curves() -> ThermalCurves:
    return exact.sampled_curves(24, 2000, 0.5, np.random.default_rng(RNG_SEED))


def test_curves_between_temperatures_are_exact(curves):
    """At all temperatures, also between the sampled ones, within a few errors that are small."""
    known = exact.exact_curves(24)
    drawn, at = curves.draws(200), [int(np.argmin(abs(known.temperatures_K - t))) for t in curves.temperatures_K]
    for (name, values), (_, wanted), (_, draws) in zip(
        curves.quantities.items(), known.quantities.items(), drawn.items(), strict=True
    ):
        error = draws.std(axis=0)
        assert (abs(values - wanted[at]) < 4 * error).all(), name
        assert error.mean() < 0.1 * np.ptp(wanted), name


def test_the_heat_capacity_is_the_slope_of_the_energy(curves):
    found = curves.quantities
    slope = np.gradient(found.energy_eV, curves.temperatures_K)[1:-1]
    assert found.heat_capacity_eV_per_K[1:-1] == pytest.approx(slope, rel=2e-3)
    slope = np.gradient(found.order, curves.temperatures_K)[1:-1]
    assert found.order_slope_per_K[1:-1] == pytest.approx(slope, rel=2e-3)


def test_cumulants_of_order_and_disorder():
    """An ordered crystal at low temperature, and a random one without interaction."""
    rng = np.random.default_rng(0)
    eta = rng.normal(size=(3, 4000)) / 10
    energy = rng.normal(size=eta.shape)
    random = thermal_curves(
        [ThermalSamples(t, e, s**2) for t, e, s in zip((1e7, 1.1e7, 1.2e7), energy, eta, strict=True)], n_temperatures=3
    )
    assert random.quantities.order_cumulant == pytest.approx(0, abs=0.1)
    assert random.quantities.energy_cumulant == pytest.approx(0, abs=0.1)
    ordered = thermal_curves(
        [ThermalSamples(t, e, np.ones(4000)) for t, e in zip((1e7, 1.1e7), energy, strict=False)], n_temperatures=3
    )
    assert ordered.quantities.order_cumulant == pytest.approx(2 / 3)
    two_peaks = np.sign(rng.normal(size=(2, 4000)))
    peaks = thermal_curves(
        [ThermalSamples(t, e, np.ones(4000)) for t, e in zip((1e7, 1.1e7), two_peaks, strict=True)], n_temperatures=3
    )
    assert peaks.quantities.energy_cumulant == pytest.approx(2 / 3, abs=0.01)


def test_transitions_that_are_not_between_the_temperatures():
    """Three temperatures in the disordered crystal: the heat capacity only decreases, and cumulants do not cross."""
    small, large = (exact.exact_curves(size) for size in exact.SIZES)
    hot = [
        ThermalCurves(
            each.temperatures_K[600:],
            each.sampled_K[-2:],
            each.centres_eV[600:],
            each.moments[600:],
            each.deviations[:, 600:],
            each.overlaps,
            1.0,
        )
        for each in (small, large)
    ]
    assert heat_capacity_peak(large).temperature_K is not None
    for found in (heat_capacity_peak(hot[1]), steepest_order(hot[1]), cumulant_crossing(*hot)):
        assert found.temperature_K is None and found.error_K is None


def test_replicas_that_were_exchanged():
    """Errors do not depend on how the samples of independent chains are spread over the temperatures."""
    rng = np.random.default_rng(1)
    energy, order, ways = exact.levels(24)
    n, temperatures = 1000, exact.TEMPERATURES_K
    walkers = np.array([rng.permutation(len(temperatures)) for _ in range(n)]).T
    replicas = []
    for temperature_K, walker in zip(temperatures, walkers, strict=True):
        log_weight = ways - energy / (units.kB * temperature_K)
        weight = np.exp(log_weight - log_weight.max())
        chosen = rng.choice(len(energy), size=n, p=weight / weight.sum())
        replicas.append(ThermalSamples(temperature_K, energy[chosen], order[chosen], walker))
    exchanged = thermal_curves(replicas)
    fixed = thermal_curves([replace(each, walker=None) for each in replicas])
    np.testing.assert_allclose(exchanged.moments, fixed.moments)
    errors = [each.draws(400).energy_eV.std(axis=0) for each in (exchanged, fixed)]
    assert errors[0] == pytest.approx(errors[1], rel=0.3)


def test_wrong_samples_are_refused():
    good = [ThermalSamples(t, np.arange(5.0), np.ones(5)) for t in (300.0, 400.0)]
    for wrong, named in (
        (good[:1], "temperature_K"),
        ([replace(good[0], temperature_K=-1.0), good[1]], "temperature_K"),
        ([replace(good[0], order=np.ones(4)), good[1]], "replica 0"),
        ([good[0], replace(good[1], enthalpy_eV=np.full(5, np.nan))], "replica 1"),
        ([good[0], replace(good[1], walker=np.zeros(5, dtype=int))], "walkers"),
        ([replace(each, walker=np.zeros(3, dtype=int)) for each in good], "walkers"),
    ):
        with pytest.raises(InvalidInputError, match=named):
            thermal_curves(wrong)
