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
from alchemflows.schemas.dynamics import DynamicsSettings
from alchemflows.schemas.samples import WindowSeries

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
    """Values and errors, by the trapezoid rule and by Gauss–Legendre."""
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
        assert result.ti[0] == pytest.approx(fitted.delta_f_.iloc[0, -1] / beta, rel=tolerance)
        assert result.ti[1] == pytest.approx(fitted.d_delta_f_.iloc[0, -1] / beta, rel=tolerance)


def test_discretisation_of_the_trapezoid_rule():
    """A parabola is known to the spline, so the whole error of the trapezoid rule is found: f''/12 h²."""
    grid = ladder(5).grid
    result = analyse_ladder(grid, series_of(grid, lambda x: 3 * x**2), T)
    assert result.ti[0] - 1.0 == pytest.approx(6 / 12 * 0.25**2)
    assert result.ti_discretisation_eV == pytest.approx(6 / 12 * 0.25**2)
    assert analyse_ladder([0.0, 1.0], series_of([0.0, 1.0], lambda x: 0.1), T).ti_discretisation_eV == float("inf")


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
        ({"n_windows": 1}, "at least 2"),
        ({"n_windows": 0, "spacing": "gauss-legendre"}, "at least 1"),
        ({"n_windows": 3, "spacing": "odd"}, "even or gauss-legendre"),
        ({"n_windows": 3, "spacing": "gauss-legendre", "lambdas": [0, 1]}, "cannot be spaced"),
        ({"n_windows": 3, "lambdas": [0, 0.5]}, "increase from 0 to 1"),
    ],
)
def test_bad_ladders(arguments, reason):
    with pytest.raises(InvalidInputError, match=reason):
        ladder(**arguments)


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
