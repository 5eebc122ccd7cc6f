"""ΔF of harmonic wells, sampled by the package's own dynamics, against the analytic result."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from harmonic import HarmonicCrystal, HarmonicWells, assert_honest, harmonic_path, repeated_ladders
from scipy.interpolate import CubicHermiteSpline

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.corrections import mass_term_eV
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.sampling.windows import sample_windows
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.samples import WindowSeries

CELL = Counts(atoms=8, sites=8, formula_units=4)
T = 300.0
LAMBDAS = [0.0, 0.25, 0.5, 0.75, 1.0]
N_REPEATS = 100


def wells(stiffness=(2.0, 3.0)) -> HarmonicWells:
    return HarmonicWells(harmonic_path(2).system.structure.cart_coords, stiffness, (0.0, 0.05))


@pytest.fixture(scope="module")
def repeats():
    """Results of repeats that differ in their seed alone."""
    dynamics = DynamicsSettings(
        temperature_K=T,
        timestep_fs=5.0,
        friction_per_ps=20.0,
        n_equilibration_steps=200,
        n_production_steps=3000,
        sample_interval_steps=10,
    )
    ladders = repeated_ladders(wells(), harmonic_path(2), LAMBDAS, range(5), dynamics, N_REPEATS)
    return [analyse_ladder(LAMBDAS, series, temperature_K=T) for series in ladders]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ti", "bar", "mbar"])
def test_errors_are_honest(repeats, method):
    """Over many repeats the analytic ΔF lies within the error bars as often as it should."""
    exact = wells().delta_f_eV(T)
    values, errors = np.array([getattr(r, method) for r in repeats]).T
    assert_honest(values, errors, exact)
    assert np.median(errors) < 0.1 * abs(exact)


@pytest.fixture(scope="module")
def repeats_at_constant_pressure():
    """ΔG, and repeats of a ladder between two crystals of different stiffness and volume."""
    path = harmonic_path(2)
    volume, pressure, kT = path.system.structure.volume, 0.02, units.kB * T
    bulk, volumes = [kT * b / volume for b in (1200.0, 800.0)], [volume, 1.04 * volume]
    model = HarmonicCrystal(
        path.system.structure.frac_coords, [np.diag([2.0, 3.0]), np.diag([3.0, 4.0])], bulk, volumes
    )
    dynamics = DynamicsSettings(
        temperature_K=T,
        timestep_fs=5.0,
        friction_per_ps=20.0,
        n_equilibration_steps=300,
        n_production_steps=3000,
        sample_interval_steps=10,
        pressure_GPa=pressure,
        barostat_time_ps=0.1,
    )
    ladders = repeated_ladders(model, path, LAMBDAS, range(5), dynamics, N_REPEATS)
    exact = model.delta_g_eV(T, pressure)
    return exact, [analyse_ladder(LAMBDAS, series, T, pressure_GPa=pressure) for series in ladders]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ti", "bar", "mbar"])
def test_errors_are_honest_at_constant_pressure(repeats_at_constant_pressure, method):
    exact, results = repeats_at_constant_pressure
    values, errors = np.array([getattr(r, method) for r in results]).T
    assert_honest(values, errors, exact)


@pytest.mark.slow
def test_mean_gradients_follow_the_exact_curve(repeats):
    """⟨dU/dλ⟩ = ΔE + (3N/2) k_B T Δk / k(λ)."""
    exact = [0.05 + 3 * units.kB * T * 1.0 / (2.0 + value) for value in LAMBDAS]
    for k, value in enumerate(exact):
        means = np.array([r.mean_dudl_eV[k] for r in repeats])
        assert abs(means.mean() - value) < 4 * means.std(ddof=1) / np.sqrt(N_REPEATS)
        claimed = np.mean([r.error_dudl_eV[k] for r in repeats])
        assert 0.7 < claimed / means.std(ddof=1) < 1.4


@pytest.mark.slow
def test_correlated_samples_count_less(repeats):
    result = repeats[0]
    assert (result.inefficiency >= 1).all() and result.inefficiency.mean() > 1.5
    np.testing.assert_allclose(result.n_independent, result.n_samples / result.inefficiency)
    np.testing.assert_allclose(result.overlap.sum(axis=1), 1.0)
    assert result.warnings == []


def gaussian_series(mean: float, lambdas, k: int, n: int = 200, seed: int = 0) -> WindowSeries:
    rng = np.random.default_rng([seed, k])
    dudl = rng.normal(mean, 0.01, n)
    energies = dudl[:, None] * (np.asarray(lambdas) - lambdas[k])
    return WindowSeries(np.arange(1.0, n + 1), np.zeros(n), dudl, np.full(n, T), energies, np.ones(n))


def test_poor_overlap_and_short_windows_are_reported():
    lambdas = [0.0, 1.0]
    far = [gaussian_series(1.0, lambdas, 0), gaussian_series(-1.0, lambdas, 1)]
    result = analyse_ladder(lambdas, far, T)
    assert any("overlap" in warning for warning in result.warnings)
    assert (result.bar is None) == any(warning.startswith("BAR") for warning in result.warnings)
    short = [gaussian_series(0.01, lambdas, k, n=6) for k in (0, 1)]
    assert "independent samples" in " ".join(analyse_ladder(lambdas, short, T).warnings)


def test_a_constant_gradient_has_no_error():
    lambdas = [0.0, 0.5, 1.0]
    n = 50
    series = [
        WindowSeries(
            np.arange(1.0, n + 1), np.zeros(n), np.full(n, 0.3), np.full(n, T),
            np.broadcast_to(0.3 * (np.array(lambdas) - lambdas[k]), (n, 3)).copy(), np.ones(n),
        )
        for k in range(3)
    ]  # fmt: skip
    result = analyse_ladder(lambdas, series, T)
    assert result.ti[0] == pytest.approx(0.3, abs=1e-8)
    assert result.mbar[0] == pytest.approx(0.3, abs=1e-8)


@pytest.mark.parametrize(
    ("lambdas", "n_series", "reason"),
    [([0.0], 1, "1 "), ([0.0, 1.0], 1, "2 λ and 1"), ([0.5, 0.5], 2, r"0\.5, 0\.5")],
)
def test_bad_ladders_are_refused(lambdas, n_series, reason):
    series = [gaussian_series(0.1, lambdas, k) for k in range(n_series)]
    with pytest.raises(InvalidInputError, match=reason):
        analyse_ladder(lambdas, series, T)


def test_samples_at_other_windows_are_refused():
    series = [gaussian_series(0.1, [0.0, 0.5, 1.0], k) for k in (0, 1)]
    with pytest.raises(InvalidInputError, match="2 λ"):
        analyse_ladder([0.0, 1.0], series, T)


def test_mass_term():
    """The ratio of momentum partition functions, (m_1/m_0)^(3/2) for each atom."""
    assert mass_term_eV([207.2] * 8, [118.71] * 8, 400.0) == pytest.approx(
        -units.kB * 400.0 * 8 * np.log((118.71 / 207.2) ** 1.5)
    )
    assert mass_term_eV([12.0, 16.0], [16.0, 12.0], 300.0) == pytest.approx(0.0, abs=1e-12)


def test_no_overlap_has_no_finite_error_and_says_so():
    dynamics = DynamicsSettings(temperature_K=T, timestep_fs=1.0, n_equilibration_steps=50, n_production_steps=1000)
    path = harmonic_path(2)
    model = wells((2.0, 2000.0))
    result = analyse_ladder([0.0, 1.0], sample_windows(model, path, [0.0, 1.0], [0, 1], dynamics), T)
    assert any("overlap" in warning for warning in result.warnings)
    if not np.isfinite(result.mbar[1]):
        assert any("MBAR" in warning for warning in result.warnings)
        assert Estimate.of(*result.mbar, CELL).error_eV is None


def test_samples_that_are_not_finite_are_refused():
    series = [gaussian_series(0.1, [0.0, 1.0], k) for k in (0, 1)]
    series[1].dudl_eV[3] = np.nan
    with pytest.raises(InvalidInputError, match="λ = 1: dudl_eV"):
        analyse_ladder([0.0, 1.0], series, T)


@pytest.mark.slow
def test_ti_is_the_area_under_the_reported_means_and_slopes(repeats):
    """The integral of the cubic Hermite polynomial through both."""
    for result in repeats[:5]:
        curve = CubicHermiteSpline(LAMBDAS, result.mean_dudl_eV, result.slope_dudl_eV)
        assert curve.integrate(0, 1) == pytest.approx(result.ti[0], abs=1e-12)
        weights = result.ti_weights @ result.mean_dudl_eV + result.ti_slope_weights @ result.slope_dudl_eV
        assert weights == pytest.approx(result.ti[0], abs=1e-12)


@pytest.mark.slow
def test_slopes_follow_the_exact_curve(repeats):
    """−3N/2 k_B T (Δk / k(λ))²."""
    for k, value in enumerate(LAMBDAS):
        slopes = np.array([r.slope_dudl_eV[k] for r in repeats])
        exact = -3 * units.kB * T * (1.0 / (2.0 + value)) ** 2
        assert abs(slopes.mean() - exact) < 4 * slopes.std(ddof=1) / np.sqrt(N_REPEATS)
