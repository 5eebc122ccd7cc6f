"""Free energies of mixing against enumeration and analytic results, with samples of real runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ase import units
from mixtures import drawn, exact_mixing_eV_per_site, mean_field, random_pairs, sample

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.mixing import (
    MixingSamples,
    constrained_bias_eV,
    log_arrangements,
    mixing_curves,
    semi_grand_bias_eV,
)
from alchemflows.sampling.ensembles import Constrained

MU_EV = np.linspace(-0.3, 0.3, 5)


def coverage(deviations: list[np.ndarray]) -> tuple[float, float]:
    """Return the shares of deviations (in standard errors) within one and two errors."""
    known = np.abs(np.concatenate([each[np.isfinite(each)] for each in deviations]))
    return float(np.mean(known < 1)), float(np.mean(known < 2))


def test_enumerated_arrangements():
    """Errors of 50 runs with random interactions at two temperatures are honest."""
    arrangements, model = random_pairs(6, 0.02)
    temperatures = [600.0, 900.0]
    exact = np.stack([exact_mixing_eV_per_site(arrangements, model, t) for t in temperatures])
    ideal = -units.kB * 600 * log_arrangements(6) / 6
    assert np.abs(exact[0] - ideal).max() > 0.005
    deviations, fractions = [], []
    for run in sample(arrangements, model, temperatures, MU_EV, n_runs=50, n_sweeps=60):
        curves = mixing_curves(run)
        assert curves.component.max() == 0 and curves.visited.all()
        deviations.append((curves.mixing_eV_per_site - exact)[:, 1:-1] / curves.mixing_errors_eV_per_site[:, 1:-1])
        fractions.append(curves.fractions)
    within_one, within_two = coverage(deviations)
    assert 0.6 < within_one < 0.8 and 0.92 < within_two < 0.99
    assert np.abs(np.mean(deviations, axis=0)).max() < 0.5
    assert (np.diff(np.mean(fractions, axis=0)[:5]) > 0).all()


def test_ideal_mixing():
    arrangements, model = mean_field(6, 0.0)
    (run,) = sample(arrangements, model, [700.0], MU_EV, n_runs=1, n_sweeps=200, seed=3)
    curves = mixing_curves(run)
    np.testing.assert_allclose(curves.ideal_eV_per_site[0], -units.kB * 700 * log_arrangements(6) / 6)
    assert (np.abs(curves.excess_eV_per_site) <= 3 * curves.mixing_errors_eV_per_site + 1e-12).all()
    assert curves.mixing_errors_eV_per_site.max() < 0.004
    assert curves.mixing_errors_eV_per_site[0, [0, -1]] == pytest.approx([0, 0], abs=1e-12)
    exact = 1 / (1 + np.exp(-MU_EV / (units.kB * 700)))
    assert (np.abs(curves.fractions - exact) < 4 * curves.fraction_errors).all()


@pytest.mark.parametrize("exchanged", [False, True])
@pytest.mark.parametrize("kind", ["semi-grand", "constrained"])
def test_errors_of_correlated_samples(kind, exchanged):
    """Samples that are correlated in time, along states or along walkers that move between states."""
    n_sites = 8
    n = np.arange(n_sites + 1)
    energy = 0.05 * n * (n_sites - n) / n_sites
    if kind == "constrained":
        states = [(500.0, constrained_bias_eV(x, 0.1, n_sites)) for x in np.linspace(-0.1, 1.1, 6)]
    else:
        states = [(500.0, semi_grand_bias_eV(mu, n_sites)) for mu in (-0.2, -0.08, 0.0, 0.08, 0.2)]
    x = n / n_sites
    deviations, inefficiencies, fractions = [], [], []
    exact_fractions = []
    for temperature_K, bias in states:
        weights = np.exp(log_arrangements(n_sites) - (energy + bias) / (units.kB * temperature_K))
        exact_fractions.append(weights @ x / weights.sum())
    for seed in range(60):
        curves = mixing_curves(drawn(energy, states, 150, seed, kept=0.6, exchanged=exchanged))
        exact = 0.05 * x * (1 - x) + curves.ideal_eV_per_site[0]
        deviations.append((curves.mixing_eV_per_site[0] - exact)[1:-1] / curves.mixing_errors_eV_per_site[0, 1:-1])
        fractions.append((curves.fractions - exact_fractions)[1:-1] / curves.fraction_errors[1:-1])
        inefficiencies.append(curves.inefficiency)
    assert 1.8 < np.median(inefficiencies) < 8  # along walkers (1 + 0.6) / (1 − 0.6) = 4
    for each in (deviations, fractions):
        within_one, within_two = coverage(each)
        assert 0.55 < within_one < 0.8 and 0.88 < within_two < 0.995


def test_correlations_in_time_raise_errors():
    n = np.arange(9)
    states = [(500.0, semi_grand_bias_eV(mu, 8)) for mu in (-0.2, -0.08, 0.0, 0.08, 0.2)]
    errors = [
        np.median(
            [mixing_curves(drawn(0.0 * n, states, 150, s, kept=kept)).mixing_errors_eV_per_site[0, 4] for s in range(5)]
        )
        for kept in (0.0, 0.6)
    ]
    assert 1.5 < errors[1] / errors[0] < 2.7  # √4


def test_compositions_without_samples_are_gaps():
    n = np.arange(9)
    energy = 0.05 * n * (8 - n) / 8
    states = [(500.0, semi_grand_bias_eV(mu, 8)) for mu in (-0.08, 0.0, 0.08)]
    samples = drawn(energy, states, 200, 0)
    without = []
    for each in samples:
        kept = (each.n_second > 0) & (each.n_second != 4)
        without.append(replace(each, enthalpy_eV=each.enthalpy_eV[kept], n_second=each.n_second[kept]))
    curves = mixing_curves(without)
    assert np.flatnonzero(~curves.visited[0]).tolist() == [0, 4]
    assert np.flatnonzero(np.isnan(curves.free_energies[0])).tolist() == [0, 4]
    assert np.isnan(curves.mixing_eV_per_site).all()


def test_states_that_do_not_overlap_are_separate():
    n = np.arange(9)
    states = [(500.0, constrained_bias_eV(x, 0.3, 8)) for x in (0.0, 0.125, 0.875, 1.0)]
    curves = mixing_curves(drawn(0.0 * n, states, 100, 0))
    assert curves.component.tolist() == [0, 0, 1, 1]
    assert curves.pair_overlaps[0, 0] == pytest.approx(0.5)


def test_bias_is_that_of_the_ensemble():
    arrangements, _ = mean_field(4, 0.0)
    labels = np.array([[0, 0, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
    ensemble = Constrained(arrangements, {"Na": 0.7, "K": 0.3}, 0.2)
    bias = constrained_bias_eV(0.3, 0.2, 4)
    np.testing.assert_allclose(ensemble.composition_energy_eV(labels), bias[labels.sum(axis=1)])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"temperature_K": 0.0}, "state 1"),
        ({"bias_eV": np.zeros(4)}, "state 1"),
        ({"n_second": np.full(20, 9)}, "8"),
        ({"enthalpy_eV": np.full(20, np.nan)}, "state 1"),
        ({"walker": np.zeros(20, dtype=int)}, "walkers"),
        ({"n_second": np.zeros(3, dtype=int), "enthalpy_eV": np.zeros(3)}, "4"),
    ],
)
def test_invalid_samples_are_refused(change, named):
    fine = MixingSamples(300.0, np.zeros(9), np.zeros(20), np.arange(20) % 9)
    with pytest.raises(InvalidInputError, match=named):
        mixing_curves([fine, replace(fine, **change)])
    with pytest.raises(InvalidInputError, match="states"):
        mixing_curves([])
