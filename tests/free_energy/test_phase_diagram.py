"""Redlich–Kister fits, their phase diagrams, and coexistence in a finite cell, against analytic results."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from scipy.optimize import brentq
from scipy.special import logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.coexistence import coexistence
from alchemflows.free_energy.mixing import MixingCurves, log_arrangements
from alchemflows.free_energy.redlich_kister import RedlichKister, fit_excess

W_EV = 0.12
CONSOLUTE_K = W_EV / (2 * units.kB)
REGULAR = RedlichKister(np.array([W_EV]), np.array([0.0]))
SUBREGULAR = RedlichKister(np.array([0.10, 0.03]), np.array([2e-5, -1e-5]))


def curves_of(values: RedlichKister, temperatures_K: list[float], noise_eV: float, n_sites: int = 20) -> MixingCurves:
    """Return curves of a finite cell with independent noise at each composition, from 40 blocks."""
    rng = np.random.default_rng(0)
    x = np.arange(n_sites + 1) / n_sites
    thermal = units.kB * np.array(temperatures_K)[:, None]
    exact = np.stack([values.excess_eV(x, t) for t in temperatures_K]) * n_sites / thermal - log_arrangements(n_sites)
    blocks = rng.normal(size=(40, *exact.shape)) * noise_eV * n_sites / thermal / np.sqrt(40)
    blocks[..., [0, -1]] = 0
    shape = exact.shape
    return MixingCurves(
        n_sites, np.array(temperatures_K), exact + blocks.sum(axis=0), np.ones(shape, dtype=int), blocks,
        np.zeros(1), np.zeros((40, 1)), np.zeros(shape), np.eye(1), np.zeros(1, dtype=int), 1.0, np.array([10]),
    )  # fmt: skip


def test_regular_solution():
    temperature_K, fraction = REGULAR.consolute()
    assert temperature_K == pytest.approx(CONSOLUTE_K, rel=1e-5) and fraction == 0.5
    reduced = units.kB * 500 / W_EV
    left, right = REGULAR.spinodal(500.0)
    assert left == pytest.approx(0.5 - np.sqrt(0.25 - reduced / 2), abs=1e-5) and right == pytest.approx(1 - left)
    for temperature in (100.0, 500.0, 690.0):
        reduced = units.kB * temperature / W_EV
        exact = brentq(lambda x, r=reduced: r * np.log((1 - x) / x) - (1 - 2 * x), 1e-9, 0.499 - 0.5 * reduced**4)
        left, right = REGULAR.binodal(temperature)
        assert left == pytest.approx(exact, rel=1e-6) and right == pytest.approx(1 - left)


def test_no_gap():
    for temperature in (CONSOLUTE_K + 1, 2000.0):
        assert np.isnan([*REGULAR.binodal(temperature), *REGULAR.spinodal(temperature)]).all()
    ordering = RedlichKister(np.array([-0.1]), np.array([0.0]))
    assert np.isnan(ordering.consolute()).all() and np.isnan(ordering.binodal(300.0)).all()


@pytest.mark.parametrize("temperature", [250.0, 400.0])
def test_common_tangent_of_a_subregular_solution(temperature):
    left, right = SUBREGULAR.binodal(temperature)
    x = np.linspace(0, 1, 20001)
    g = SUBREGULAR.mixing_eV(x, temperature)
    ends = SUBREGULAR.mixing_eV(np.array([left, right]), temperature)
    tangent = ends[0] + (x - left) * (ends[1] - ends[0]) / (right - left)
    assert (g - tangent).min() > -1e-9  # it touches the curve and is nowhere above it
    assert left < SUBREGULAR.spinodal(temperature)[0] < SUBREGULAR.spinodal(temperature)[1] < right
    steps = np.gradient(np.gradient(g, x), x)
    assert np.interp(SUBREGULAR.spinodal(temperature)[0], x, steps) == pytest.approx(0, abs=2e-3)


def test_sets_of_coefficients_are_treated_alike():
    sets = RedlichKister(np.array([[0.10, 0.03], [0.12, 0.0], [-0.1, 0.0]]), np.zeros((3, 2)))
    for quantity in ("binodal", "spinodal"):
        together = np.array(getattr(sets, quantity)(400.0))
        for k in range(3):
            alone = RedlichKister(sets.enthalpies_eV[k], sets.entropies_eV_per_K[k])
            np.testing.assert_allclose(together[:, k], np.array(getattr(alone, quantity)(400.0)), rtol=1e-8)
    np.testing.assert_allclose(sets.consolute()[0][1], CONSOLUTE_K, rtol=1e-5)


def test_fit_recovers_coefficients():
    curves = curves_of(SUBREGULAR, [300.0, 400.0, 500.0], 5e-4)
    fit = fit_excess(curves)
    assert fit.n_terms == 2 and 0.5 < fit.mean_squared_deviation < 1.6
    for name in ("enthalpies_eV", "entropies_eV_per_K"):
        value, exact, error = (getattr(each, name) for each in (fit.values, SUBREGULAR, fit.errors))
        assert (np.abs(value - exact) < 3 * error).all()
        np.testing.assert_allclose(getattr(fit.draws(2000), name).std(axis=0), error, rtol=0.15)
    spread = fit.draws(500).consolute()[0].std()
    assert abs(fit.values.consolute()[0] - SUBREGULAR.consolute()[0]) < 3 * spread < 60


def test_one_temperature_has_no_entropy():
    fit = fit_excess(curves_of(REGULAR, [600.0], 5e-4))
    assert fit.n_terms == 1 and fit.values.entropies_eV_per_K.tolist() == [0.0]
    assert fit.values.enthalpies_eV[0] == pytest.approx(W_EV, abs=3 * fit.errors.enthalpies_eV[0])
    bad = fit_excess(curves_of(SUBREGULAR, [300.0], 1e-4), n_terms=1)
    assert bad.mean_squared_deviation > 10
    with pytest.raises(InvalidInputError, match="19"):
        fit_excess(curves_of(REGULAR, [600.0], 5e-4), n_terms=30)


@pytest.mark.parametrize("n_sites", [24, 25])
def test_peaks_of_equal_weight(n_sites):
    """Against the distribution of a mean-field mixture with an additional Δμ."""
    n = np.arange(n_sites + 1)
    beta = 1 / (units.kB * 400)
    free = beta * W_EV * n * (n_sites - n) / n_sites - log_arrangements(n_sites)
    peaks = coexistence(free + 0.7 * n)
    assert peaks.delta_mu == pytest.approx(0.7, abs=1e-4)
    assert peaks.left + peaks.right == pytest.approx(1, abs=1e-3)
    lower = n < n_sites / 2
    lower &= n != n_sites // 2 if n_sites % 2 == 0 else True
    weights = np.exp(-free[lower])
    assert peaks.left == pytest.approx(weights @ n[lower] / weights.sum() / n_sites, abs=2e-3)
    assert peaks.barrier == pytest.approx(free[n_sites // 2] - free.min(), abs=2e-3)


def test_peaks_approach_the_binodal_of_a_large_crystal():
    deviations = []
    for n_sites in (20, 80, 320):
        n = np.arange(n_sites + 1)
        free = W_EV * n * (n_sites - n) / n_sites / (units.kB * 400) - log_arrangements(n_sites)
        deviations.append(coexistence(free).left - REGULAR.binodal(400.0)[0])
    assert 0 < deviations[2] < deviations[1] / 3 < deviations[0] / 9


def test_peaks_of_unequal_width():
    """Weights of both sides are equal, not heights."""
    free = np.array([0.0, -3.0, 0.0, 5.0, 5.5, 5.0, 0.2, -2.0, -2.4, -2.0, 0.2])
    peaks = coexistence(free)
    weights = -free + peaks.delta_mu * np.arange(11)
    top = int(weights[2:7].argmin()) + 2
    assert logsumexp(weights[:top]) == pytest.approx(logsumexp(weights[top + 1 :]))
    assert peaks.left == pytest.approx(0.1, abs=0.02) and peaks.right == pytest.approx(0.8, abs=0.02)


def test_convex_free_energies_have_no_peaks():
    assert coexistence(-log_arrangements(12)) is None
    missing = -log_arrangements(12)
    missing[[0, 1, 12]] = np.nan
    assert coexistence(missing) is None
    assert coexistence(np.full(4, np.nan)) is None


def test_compositions_without_samples_between_peaks():
    free = np.array([0.0, -1.0, np.nan, np.nan, np.nan, -1.0, 0.0])
    peaks = coexistence(free)
    assert (
        np.isinf(peaks.barrier) and peaks.delta_mu == pytest.approx(0) and peaks.left + peaks.right == pytest.approx(1)
    )
