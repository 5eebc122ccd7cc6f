"""Ladders of λ and their quadratures."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from alchemlyb.estimators import TI, TI_GQ
from ase import units
from harmonic import HarmonicWells, assert_honest, harmonic_path, repeated_ladders
from pymbar.timeseries import subsample_correlated_data

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.free_energy.ladders import MAX_GRID, Ladder, ladder
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.samples import WindowSeries

CELL = Counts(atoms=8, sites=8, formula_units=4)
T = 300.0


def series_of(lambdas, gradient, n=20, noise=0.0) -> list[WindowSeries]:
    """Windows whose dU/dλ is a function of λ; energies by the midpoint rule, which TI does not see."""
    rng = np.random.default_rng(0)
    windows = []
    for k, value in enumerate(lambdas):
        dudl = gradient(value) + noise * rng.normal(size=n)
        energies = dudl[:, None] * (np.asarray(lambdas) - lambdas[k])
        windows.append(
            WindowSeries(np.arange(1.0, n + 1), np.zeros(n), dudl, np.full(n, T), energies, np.full(n, 100.0))
        )
    return windows


@pytest.mark.parametrize("n_nodes", [1, 2, 3, 5])
def test_gauss_legendre_is_exact_for_polynomials(n_nodes):
    """Up to degree 2 n − 1, and not beyond."""
    planned = ladder(n_nodes, "gauss-legendre")
    assert len(planned.grid) == n_nodes + 2 and planned.windows == tuple(range(n_nodes + 2))
    for degree in range(2 * n_nodes + 1):
        polynomial = np.polynomial.Polynomial(np.arange(1.0, degree + 2) / 10)
        exact = polynomial.integ()(1.0) - polynomial.integ()(0.0)
        result = analyse_ladder(planned.grid, series_of(planned.grid, polynomial), T, quadrature=planned.quadrature)
        assert (abs(result.ti[0] - exact) < 1e-12) == (degree < 2 * n_nodes)
        assert result.ti_discretisation_eV == 0


def test_ti_is_that_of_alchemlyb():
    """Values and errors, by the trapezoid rule without the slopes and by Gauss–Legendre."""
    beta = 1 / (units.kB * T)
    for planned, estimator in ((ladder(5), TI()), (ladder(4, "gauss-legendre"), TI_GQ())):
        nodes = [k for k in planned.windows if planned.quadrature is None or planned.quadrature[k]]
        series = series_of(planned.grid, lambda x: 0.3 - x + 2 * x**2, n=400, noise=0.01)
        result = analyse_ladder(planned.grid, series, T, quadrature=planned.quadrature)
        assert (result.inefficiency[nodes] < 1.6).all()
        # uncorrelated by construction, so all samples would do; what was kept follows from g
        frames = []
        for k in nodes:
            kept = subsample_correlated_data(series[k].dudl_eV, g=result.inefficiency[k])
            index = pd.MultiIndex.from_arrays(
                [series[k].time_fs[kept], np.full(len(kept), planned.grid[k])], names=["time", "fep-lambda"]
            )
            frames.append(pd.DataFrame({"fep": beta * series[k].dudl_eV[kept]}, index=index))
        joined = pd.concat(frames)
        joined.attrs = {"energy_unit": "kT", "temperature": T}
        fitted = estimator.fit(joined)
        tolerance = 1e-10 if planned.quadrature is None else 2e-4  # alchemlyb tabulates five digits
        by_means = result.ti_weights @ result.mean_dudl_eV
        assert by_means == pytest.approx(fitted.delta_f_.iloc[0, -1] / beta, rel=tolerance)
        if planned.quadrature is not None:
            assert result.ti[0] == by_means
        # Correlations that are looked for and not there change it a little.
        assert result.ti_statistical_eV == pytest.approx(fitted.d_delta_f_.iloc[0, -1] / beta, rel=0.1)


def curved_series(lambdas, gradient: np.polynomial.Polynomial) -> list[WindowSeries]:
    """Windows without noise whose U(λ) is the integral of a polynomial."""
    energies, ones = gradient.integ()(np.asarray(lambdas)), np.ones(20)
    return [
        WindowSeries(np.arange(1.0, 21), ones, gradient(x) * ones, T * ones, np.tile(energies, (20, 1)), 100 * ones)
        for x in lambdas
    ]


@pytest.mark.parametrize("lambdas", [[0.0, 0.5, 1.0], [0.0, 0.1, 0.4, 1.0], [0.0, 0.25, 0.5, 0.75, 1.0]])
def test_the_corrected_trapezoid_rule_knows_curvature(lambdas):
    """U of third degree, for which differences at one or two neighbours give the exact slopes: no error is left."""
    parabola = np.polynomial.Polynomial([0.2, -1.0, 3.0])
    result = analyse_ladder(lambdas, curved_series(lambdas, parabola), T)
    assert result.ti[0] == pytest.approx(parabola.integ()(1.0), abs=1e-9)
    assert result.ti_discretisation_eV == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(result.slope_dudl_eV, parabola.deriv()(np.array(lambdas)), atol=1e-8)


def test_the_error_of_ti_contains_that_of_its_rule():
    """A bend that the windows resolve poorly: the estimate of the rule's error is near the true one."""
    lambdas = np.linspace(0, 1, 6).tolist()
    bend = np.polynomial.Polynomial([0, 0, 0, 0, 0.0, 0.3])
    result = analyse_ladder(lambdas, curved_series(lambdas, bend), T)
    off = abs(result.ti[0] - 0.05)
    assert 1e-5 < off < result.ti_discretisation_eV < 10 * off
    assert result.ti[1] == pytest.approx(np.hypot(result.ti_statistical_eV, result.ti_discretisation_eV))
    two = analyse_ladder([0.0, 1.0], curved_series([0.0, 1.0], bend), T)
    assert two.ti_discretisation_eV == two.ti[1] == float("inf") and Estimate.of(*two.ti, CELL).error_eV is None


def test_a_grid_for_refinement_keeps_the_windows():
    for planned in (ladder(3), ladder(11), ladder(40), ladder(4, "gauss-legendre"), ladder(0, lambdas=[0, 0.1, 1])):
        finer = planned.refinable()
        assert [finer.grid[k] for k in finer.windows] == list(planned.grid)
        assert (np.diff(finer.grid) > 0).all() and (np.diff(finer.windows) >= 2).all()
        assert len(finer.grid) <= max(MAX_GRID, 2 * len(planned.grid) - 1)
        assert finer.quadrature == planned.quadrature
    assert ladder(3).refinable() == Ladder(tuple(np.linspace(0, 1, 17)), (0, 8, 16))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"n_windows": 1}, "n_windows.*2; got 1"),
        ({"n_windows": 0, "spacing": "gauss-legendre"}, "n_windows.*1; got 0"),
        ({"n_windows": 3, "spacing": "odd"}, "odd"),
        ({"n_windows": 3, "spacing": "gauss-legendre", "lambdas": [0, 1]}, "gauss-legendre"),
        ({"n_windows": 3, "lambdas": [0, 0.5]}, "0.5"),
    ],
)
def test_bad_ladders(arguments, reason):
    with pytest.raises(InvalidInputError, match=reason):
        ladder(**arguments)


@pytest.mark.slow
def test_errors_of_gauss_legendre_are_honest():
    """Over many repeats the analytic ΔF lies within the error bars as often as it should, by TI and by MBAR."""
    path, planned = harmonic_path(2), ladder(3, "gauss-legendre")
    wells = HarmonicWells(path.system.structure.cart_coords, (8.0, 24.0), (0.0, 0.05))
    dynamics = DynamicsSettings(
        temperature_K=T,
        timestep_fs=5.0,
        friction_per_ps=40.0,
        n_equilibration_steps=100,
        n_production_steps=6000,
        sample_interval_steps=20,
    )
    exact = wells.delta_f_eV(T)
    ladders = repeated_ladders(wells, path, planned.grid, planned.windows, dynamics, 100)
    results = [analyse_ladder(planned.grid, series, T, quadrature=planned.quadrature) for series in ladders]
    for method in ("ti", "mbar"):
        values, errors = np.array([getattr(r, method) for r in results]).T
        assert_honest(values, errors, exact)
    # the trapezoid rule over as many windows would be off by more than that
    k = np.array([8.0, 16.0, 24.0])
    trapezoid = 3 * units.kB * T * 16.0 * np.trapezoid(1 / k, [0, 0.5, 1]) + 0.05
    assert abs(np.mean([r.ti[0] for r in results]) - exact) < 0.5 * abs(trapezoid - exact)
