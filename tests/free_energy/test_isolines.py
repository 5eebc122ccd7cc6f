"""Derivatives that a polynomial describes only roughly: their errors include what the polynomial misses."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.free_energy.curves import WorkCurve, work_curve
from alchemflows.free_energy.isolines import Anchor, isobar, isotherm

LOW, HIGH = 100.0, 600.0
KT = units.kB * LOW
N_SWITCHES, N_SEEDS = 4, 100


def noisy(exact_eV: np.ndarray, noise_eV: float, rng: np.random.Generator) -> WorkCurve:
    """Return the curve of works with independent noise of their increments, and the dissipation of Crooks' theorem."""
    increments = np.diff(exact_eV)

    def works(sign: int) -> np.ndarray:
        moved = sign * increments[::sign] + noise_eV**2 / (2 * KT)
        moved = moved + rng.normal(0, noise_eV, (N_SWITCHES, len(increments)))
        return np.cumsum(np.column_stack([np.zeros(N_SWITCHES), moved]), axis=1)

    return work_curve(works(1), works(-1), LOW)


def sigmas(found: list, name: str, exact: np.ndarray) -> np.ndarray:
    """Return the deviations of a quantity in units of its errors, shape (seeds, k)."""
    series = [getattr(each, name) for each in found]
    return np.abs(np.array([each.values for each in series]) - exact) / np.array([each.errors for each in series])


@pytest.mark.parametrize(("n_levels", "least"), [(0, 0.9), (3, 0.5)], ids=["harmonic", "with levels"])
def test_heat_capacity_with_a_maximum(n_levels, least):
    """Harmonic modes, and sites with two levels, whose heat capacity has a maximum within the range.

    The scatter of the parabola alone contains this heat capacity within two errors in 42 % of the cases at the lowest
    temperature.
    """
    gap, n_modes = 0.05, 30
    path, at = np.geomspace(LOW, HIGH, 31), np.array([LOW, 180.0, 350.0, HIGH])
    log_z = n_modes / 2 * np.log(path) + n_levels * np.log1p(np.exp(-gap / (units.kB * path)))
    excited = 1 / (1 + np.exp(gap / (units.kB * at)))
    enthalpy = n_modes / 2 * units.kB * at + n_levels * gap * excited
    capacity = n_modes / 2 * units.kB + n_levels * gap**2 * excited * (1 - excited) / (units.kB * at**2)
    rng = np.random.default_rng(1)
    volumes_A3 = (np.ones((N_SWITCHES, 30)),) * 2
    found = [
        isobar(noisy(KT * (log_z[0] - log_z), 0.05 * KT, rng), path, volumes_A3, Anchor(LOW, 0.0, 0.0), at, 0, 0)
        for _ in range(N_SEEDS)
    ]
    for name, exact in (("enthalpy_eV", enthalpy), ("heat_capacity_eV_per_K", capacity)):
        assert ((sigmas(found, name, exact) < 2).mean(axis=0) > least).all(), name
    if not n_levels:
        assert ((sigmas(found, "heat_capacity_eV_per_K", capacity) < 1).mean(axis=0) < 0.85).all()


@pytest.mark.parametrize("highest", [0.06, 0.6])
def test_bulk_modulus_that_grows_with_the_pressure(highest):
    """The equation of state of Murnaghan, V = V₀ (1 + B' p / B₀)^(−1 / B'), up to a fifth of B₀ and twice B₀.

    The scatter alone contains B within two errors in 19 to 40 % of the cases up to a fifth of B₀; up to twice B₀, V
    deviates from a polynomial of degree 4 by hundreds of errors.
    """
    modulus, change, volume = 0.3, 4.0, 500.0  # eV/Å³, 1, Å³
    p, at = np.linspace(0.0, highest, 31), np.linspace(0.0, highest, 4)
    compressed = (1 + change * p / modulus) ** (1 - 1 / change)
    gibbs = volume * modulus / (change - 1) * (compressed - 1)
    rng = np.random.default_rng(2)
    found = [isotherm(noisy(gibbs, 0.05 * KT, rng), p, Anchor(0.0, 0.0, 0.0), at) for _ in range(N_SEEDS)]
    volumes = volume * (1 + change * at / modulus) ** (-1 / change)
    v = sigmas(found, "volume_A3", volumes)
    b = sigmas(found, "bulk_modulus_eV_per_A3", modulus + change * at)
    if highest < modulus:
        assert ((v < 2).mean(axis=0) > 0.7).all() and ((b < 2).mean(axis=0) > 0.5).all()
    else:
        assert (v < 3).all() and (b < 3).all() and max(each.degree for each in found) > 4
        assert np.abs(np.mean([each.volume_A3.values for each in found], axis=0) / volumes - 1).max() < 5e-3


def test_shares_of_the_switches_add_up_to_the_errors():
    """Values at neighbouring temperatures are correlated, and G at T₀ has the error of the anchor only."""
    path, at = np.geomspace(LOW, HIGH, 31), np.array([LOW, 200.0, 205.0, HIGH])
    rng = np.random.default_rng(3)
    volumes_A3 = (100 + rng.normal(size=(N_SWITCHES, 30)), 100 + rng.normal(size=(N_SWITCHES, 30)))
    work = noisy(-KT * 15 * np.log(path / LOW), 0.05 * KT, rng)
    found = isobar(work, path, volumes_A3, Anchor(200.0, 0.0, 1e-3), at, 0, 0)
    assert found.shares.shape == (2 * N_SWITCHES + 1, 3, 4)
    errors = [found.gibbs_eV.errors, found.entropy_eV_per_K.errors, found.volume_A3.errors]
    np.testing.assert_allclose(np.sqrt((found.shares**2).sum(axis=0)), errors)
    gibbs = found.shares[:, 0]
    np.testing.assert_allclose(gibbs[:, 1], [0.0] * 2 * N_SWITCHES + [1e-3], atol=1e-12)
    np.testing.assert_allclose(gibbs[-1], 1e-3 * at / 200.0)
    volumes = found.shares[:, 2]
    assert volumes[:, 1] @ volumes[:, 2] > 0.99 * found.volume_A3.errors[1] * found.volume_A3.errors[2]
    p = np.linspace(0.0, 0.06, 31)
    squeezed = isotherm(noisy(500 * p, 0.05 * KT, rng), p, Anchor(0.0, 0.0, 1e-3), p[::10])
    np.testing.assert_allclose(np.sqrt((squeezed.shares**2).sum(axis=0)), squeezed.gibbs_eV.errors)
