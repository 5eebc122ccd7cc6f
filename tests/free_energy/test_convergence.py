"""Checks of convergence: they must see drift, and must not see it where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.free_energy.consistency import Agreement
from alchemflows.free_energy.convergence import (
    Equilibration,
    convergence,
    drift,
    equilibration,
    least_inefficiency,
    reasons_against,
    steady,
)
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.estimators import estimate
from alchemflows.schemas.samples import WindowSeries

T = 300.0
KT = units.kB * T
LAMBDAS = [0.0, 0.5, 1.0]


def correlated(n: int, tau: float, seed: int) -> np.ndarray:
    """Stationary noise of unit variance whose correlation falls as exp(−t/τ)."""
    rng = np.random.default_rng(seed)
    decay = np.exp(-1 / tau)
    steps = rng.normal(size=n) * np.sqrt(1 - decay**2)
    values = np.empty(n)
    values[0] = rng.normal()
    for k in range(1, n):
        values[k] = decay * values[k - 1] + steps[k]
    return values


def window(k: int, noise: np.ndarray, drift: np.ndarray | float = 0.0, volume: np.ndarray | None = None):
    """Gaussian dU/dλ of spread σ: U(λ) = −σ²λ²/(2 kT) + λ x, so that ⟨dU/dλ⟩ = x has one distribution at each λ."""
    sigma = 2 * KT
    shift = LAMBDAS[k] * sigma**2 / KT  # what sampling at λ does to the mean of x
    x = sigma * noise - shift + sigma * drift
    energies = np.array([value * x + 0.5 * sigma**2 * value**2 / KT for value in LAMBDAS]).T
    n = len(x)
    dudl = x + LAMBDAS[k] * sigma**2 / KT
    return WindowSeries(
        np.arange(1.0, n + 1), energies[:, k], dudl, np.full(n, T), energies, np.ones(n) if volume is None else volume
    )


def analysed(series, target_eV=None):
    windows = [decorrelate(LAMBDAS, k, samples) for k, samples in enumerate(series)]
    result = estimate(LAMBDAS, windows, T)
    compared = [steady(LAMBDAS, k, samples) for k, samples in enumerate(series)]
    curve = convergence(windows, result.free_energies_eV, T)
    halves = convergence(compared, result.free_energies_eV, T, fractions=(0.5,))
    found = [equilibration([samples.dudl_eV], least_inefficiency(result)) for samples in series]
    agreement = Agreement.of(windows, result, T)
    return result, curve, reasons_against(LAMBDAS, result, halves, found, agreement, target_eV=target_eV)


@pytest.mark.slow
def test_stationary_windows_converge():
    """Nothing speaks against most sets of stationary windows; ΔF = 0 by construction."""
    n_refused, z = 0, []
    for seed in range(25):
        series = [window(k, correlated(600, 3.0, 10 * seed + k)) for k in range(3)]
        result, curve, reasons = analysed(series)
        n_refused += bool(reasons)
        z.append(result.mbar[0] / result.mbar[1])
        assert curve.forward[-1] == pytest.approx(curve.backward[-1])
        assert curve.forward[-1][0] == pytest.approx(result.mbar[0], abs=0.02 * KT)
        # The error of the whole has correlations and the number of samples accounted for.
        assert curve.forward[-1][1] == pytest.approx(result.mbar[1], rel=0.4)
    assert n_refused <= 3
    assert np.std(z) < 1.6 and abs(np.mean(z)) < 0.7


def test_the_error_falls_with_the_share():
    series = [window(k, correlated(600, 1.0, k)) for k in range(3)]
    _, curve, _ = analysed(series)
    assert curve.fractions == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    for values in (curve.forward, curve.backward):
        errors = np.array([value[1] for value in values])
        np.testing.assert_allclose(errors * np.sqrt(curve.fractions), errors[-1], rtol=0.35)


def test_drift_is_seen():
    """All windows creep: the halves of the sampling disagree."""
    n_seen = 0
    for seed in range(10):
        series = [window(k, correlated(600, 1.0, 10 * seed + k), np.linspace(-0.6, 0.6, 600)) for k in range(3)]
        _, curve, reasons = analysed(series)
        n_seen += any("drift" in reason for reason in reasons)
        assert curve.halves_sigma > 1.5
    assert n_seen >= 9


def test_late_equilibration_is_seen_and_chance_is_not():
    decay = 4 * np.exp(-np.arange(600) / 150)

    def late(noises, signal):
        return np.mean([equilibration([noise + signal]).is_late() for noise in noises])

    assert late([correlated(600, 3.0, seed) for seed in range(40)], decay) > 0.6
    assert late([correlated(600, 3.0, seed) for seed in range(100)], 0.0) < 0.03
    quick = 4 * np.exp(-np.arange(600) / 5)
    assert late([correlated(600, 3.0, seed) for seed in range(20)], quick) == 0


def test_late_equilibration_is_judged_by_the_ladder():
    """The more windows are looked at, the less any of them may be due to chance."""
    found = equilibration([correlated(600, 3.0, 1) + 1.2 * (np.arange(600) > 300)])
    assert found.is_late(1)
    weaker = Equilibration(0.5, 4.0, 1e-3)
    assert weaker.is_late(1) and not weaker.is_late(50)


@pytest.mark.parametrize("n_replicas", [1, 4])
def test_a_drifting_crystal_is_seen_and_chance_is_not(n_replicas):
    decay = 6 * np.exp(-np.arange(100) / 50)[:, None]

    def replicas(seed):
        return np.array([correlated(100, 3.0, 10 * seed + k) for k in range(n_replicas)]).T

    assert np.mean([bool(drift("it", replicas(seed) + decay)) for seed in range(30)]) > (
        0.6 if n_replicas == 1 else 0.95
    )
    assert np.mean([bool(drift("it", replicas(seed))) for seed in range(60)]) < 0.06
    (reason,) = drift("the volume", replicas(0) + 3 * decay)
    assert reason.startswith("the volume")


def test_constant_series_do_not_drift():
    assert drift("it", np.full((50, 2), 7.0)) == []
    assert drift("it", np.arange(4.0)[:, None]) == []  # too few to tell


def test_the_volume_counts_at_constant_pressure():
    creeping = 100 + correlated(600, 1.0, 5) + 8 * np.exp(-np.arange(600) / 150)
    series = window(0, correlated(600, 1.0, 4), volume=creeping)
    assert not equilibration([series.dudl_eV]).is_late()
    assert equilibration([series.dudl_eV, series.volume_A3]).is_late()
    constant = equilibration([np.zeros(50)])
    assert constant.fraction == 0 and not constant.is_late()


def test_a_missed_target_and_estimators_that_disagree_are_reasons():
    series = [window(k, correlated(600, 1.0, k)) for k in range(3)]
    result, _, reasons = analysed(series, target_eV=1e-5)
    assert len(reasons) == 1 and f"{1e-5:.2g} eV" in reasons[0]
    assert analysed(series, target_eV=1.01 * result.mbar[1])[2] == []
    # dU/dλ that does not belong to the energies: a constant shift, which no discretisation explains
    wrong = [WindowSeries(**(vars(each) | {"dudl_eV": each.dudl_eV + 2 * KT})) for each in series]
    (reason,) = analysed(wrong)[2]
    assert "TI" in reason and "MBAR" in reason


@pytest.mark.slow
def test_windows_that_do_not_overlap_are_a_reason_not_an_error():
    sigma = 0.001
    rng = np.random.default_rng(0)
    series = []
    for k, sign in enumerate((1.0, 0.0, -1.0)):
        dudl = sign * 100 + sigma * rng.normal(size=50)
        energies = dudl[:, None] * (np.array(LAMBDAS) - LAMBDAS[k])
        series.append(WindowSeries(np.arange(50.0), np.zeros(50), dudl, np.full(50, T), energies, np.ones(50)))
    _, _, reasons = analysed(series)
    assert any("overlap" in reason for reason in reasons)


def test_windows_without_spread_overlap():
    """Atoms that do not feel one another have one ΔU: BAR has no solution, but not for want of overlap."""
    series = [
        WindowSeries(
            np.arange(50.0),
            np.zeros(50),
            np.full(50, 0.3),
            np.full(50, T),
            0.3 * np.tile(np.array(LAMBDAS) - LAMBDAS[k], (50, 1)),
            np.ones(50),
        )
        for k in range(3)
    ]
    result, _, reasons = analysed(series)
    assert result.bar is None
    assert not any("do not overlap" in reason for reason in reasons)
    assert any("ΔU" in reason for reason in reasons)
