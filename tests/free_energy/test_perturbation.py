"""Change of free energy and entropy of a state, and shift of a transition, from exact samples of harmonic crystals.

A crystal of n classical modes with force constants k has G = G₀ + (n/2) k_B T ln k. With other force constants k' and a
constant energy, ΔΔG = c + (n/2) k_B T ln(k'/k), and ΔΔS = −(n/2) k_B ln(k'/k) at any temperature.
"""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.perturbation import StateChange, _entropy, state_change, transition_shift

T = 300.0
KT = units.kB * T
N_SEEDS = 100


def samples(rng: np.random.Generator, n_modes: int, ratio: float, offset_eV: float, n: int, correlation: float = 0.0):
    """Return ΔU and U (eV) of n successive configurations, whose modes are autoregressive."""
    x = np.empty((n, n_modes))
    x[0] = rng.normal(size=n_modes)
    for k in range(1, n):
        x[k] = correlation * x[k - 1] + np.sqrt(1 - correlation**2) * rng.normal(size=n_modes)
    energy = 0.5 * KT * (x**2).sum(axis=1)
    return (ratio - 1) * energy + offset_eV, energy


def exact(n_modes: int, ratio: float, offset_eV: float, temperature_K: float) -> tuple[float, float]:
    """Return ΔΔG (eV) and ΔΔS (eV/K)."""
    entropy = -0.5 * n_modes * units.kB * np.log(ratio)
    return offset_eV - temperature_K * entropy, entropy


def z_scores(results: list[tuple[float, float]], truth: float) -> np.ndarray:
    return np.array([(value - truth) / error for value, error in results])


def assert_honest(z: np.ndarray) -> None:
    """Errors within one and two standard errors as often as those of a normal distribution, within 3 σ of chance."""
    n = len(z)
    for most, share in ((1, 0.683), (2, 0.954)):
        assert abs((np.abs(z) < most).mean() - share) < 3 * np.sqrt(share * (1 - share) / n), (most, z)
    assert abs(z.mean()) < 4 / np.sqrt(n)


def assert_nearly_honest(z: np.ndarray) -> None:
    """Errors of ΔΔS, from the third power of ΔU in their tails, are slightly too small with few configurations."""
    assert (np.abs(z) < 1).mean() > 0.5 and (np.abs(z) < 2).mean() > 0.8 and np.sqrt((z**2).mean()) < 1.6


@pytest.mark.parametrize(
    ("n_modes", "ratio", "n", "correlation"), [(12, 1.2, 200, 0.0), (12, 0.85, 200, 0.5), (40, 1.25, 100, 0.0)]
)
def test_errors_of_a_state(n_modes, ratio, n, correlation):
    """Exact ΔΔG and ΔΔS, at the temperature of the state and extrapolated to another one."""
    gibbs, entropies, there = [], [], []
    for seed in range(N_SEEDS):
        found = state_change(*samples(np.random.default_rng(seed), n_modes, ratio, -3.0, n, correlation), T)
        gibbs.append(found.reweighting.best)
        entropies.append(found.entropy_eV_per_K)
        there.append(found.at(330.0))
    value, entropy = exact(n_modes, ratio, -3.0, T)
    for results, truth in ((gibbs, value), (there, exact(n_modes, ratio, -3.0, 330.0)[0])):
        assert_honest(z_scores(results, truth))
    assert_nearly_honest(z_scores(entropies, entropy))


def test_the_cumulant_is_the_derivative_of_its_free_energy():
    """Small changes of a wide state: the formula of ΔΔS is exact to second order, −(n/2) k [a − a²/2]."""
    rng, n_modes, a = np.random.default_rng(1), 200, 0.2
    differences, energies = samples(rng, n_modes, 1 + a, 0.0, 20000)
    found = state_change(differences[:4000], energies[:4000], T)
    assert found.reweighting.estimator == "exponential"
    x, h = ((each - each.mean()) / KT for each in (differences, energies))
    value, influences = _entropy(x, h, "cumulant")
    error = np.sqrt((influences**2).sum())
    assert abs(value + 0.5 * n_modes * (a - a**2 / 2)) < 4 * error < 2.0


def test_errors_of_a_shift():
    """Two crystals of one composition and different cells: a constant energy per atom shifts nothing."""
    atoms, ratios, modes = (4.0, 8.0), (1.15, 0.92), (12, 24)
    entropy, temperature_K = 0.6 * units.kB, 330.0
    shifts = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        low, high = (
            state_change(*samples(rng, m, ratio, -2.0 * n, 200), T)
            for m, ratio, n in zip(modes, ratios, atoms, strict=True)
        )
        shifts.append(transition_shift(low, high, atoms, temperature_K, (entropy, 0.0)))
    (g_low, s_low), (g_high, s_high) = (
        tuple(each / n for each in exact(m, ratio, 0.0, temperature_K))
        for m, ratio, n in zip(modes, ratios, atoms, strict=True)
    )
    assert_honest(z_scores([shift.shift_K for shift in shifts], (g_high - g_low) / entropy))
    assert_nearly_honest(z_scores([shift.entropy_eV_per_K for shift in shifts], s_high - s_low))
    exact_next = (g_high - g_low) / (entropy + s_high - s_low)
    assert np.median([shift.next_K for shift in shifts]) == pytest.approx(exact_next, rel=0.1)


def test_the_error_contains_that_of_the_entropy():
    change = state_change(*samples(np.random.default_rng(0), 12, 1.1, 0.0, 100), T)
    same = StateChange(T, change.reweighting, (0.0, 0.0), 0 * change.influences_eV_per_K, 0.0)
    certain = transition_shift(same, change, (4.0, 4.0), T, (1e-4, 0.0))
    found = transition_shift(same, change, (4.0, 4.0), T, (1e-4, 2e-5))
    assert found.shift_K[0] == certain.shift_K[0] == pytest.approx(0.0, abs=1e-9)
    moved = transition_shift(change, change, (4.0, 8.0), T, (1e-4, 2e-5))
    plain = transition_shift(change, change, (4.0, 8.0), T, (1e-4, 0.0))
    assert moved.shift_K[1] == pytest.approx(np.hypot(plain.shift_K[1], 0.2 * plain.shift_K[0]))


def test_invalid_input():
    differences, energies = samples(np.random.default_rng(0), 12, 1.1, 0.0, 100)
    for bad in (energies[:-1], np.where(np.arange(100) == 3, np.nan, energies)):
        with pytest.raises(InvalidInputError, match="enthalpies_eV"):
            state_change(differences, bad, T)
    change = state_change(differences, energies, T)
    with pytest.raises(InvalidInputError, match="entropy"):
        transition_shift(change, change, (4.0, 4.0), T, (0.0, 0.1))
