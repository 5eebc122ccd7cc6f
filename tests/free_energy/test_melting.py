"""Melting points from curves of known phases."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from harmonic import assert_honest

from alchemflows.free_energy.isolines import Series
from alchemflows.free_energy.melting import PerAtomCurve, common_range_K, melting_point

#: H and S at 1000 K, and C_p (k_B), per atom, of a solid and of its liquid, which melts at 1000 K.
MELTING_K = 1000.0
SOLID, LIQUID = (-1.0, 6.0, 3.1), (-1.0 + 1.2 * units.kB * MELTING_K, 7.2, 3.6)


def curve(phase, temperatures, error_eV=0.0, rng=None, shift=0.0) -> PerAtomCurve:
    """Return a curve whose G is wrong by one random number times T, as that of an anchor is."""
    h0, s0, c = phase
    t = np.asarray(temperatures, dtype=float)
    h = h0 + shift + units.kB * c * (t - MELTING_K)
    s = units.kB * (s0 + c * np.log(t / MELTING_K))
    wrong = 0.0 if rng is None else rng.normal(0, error_eV)
    zero = np.zeros_like(t)
    return PerAtomCurve(
        t,
        Series(h - t * s + wrong * t / MELTING_K, error_eV * t / MELTING_K + zero),
        Series(h, 0.002 + zero),
        Series((18.0 if phase is SOLID else 20.0) + 1e-3 * (t - MELTING_K), 0.03 + zero),
    )


def test_where_the_curves_cross():
    solid, liquid = curve(SOLID, [700, 800, 1000, 1150]), curve(LIQUID, np.linspace(820, 1300, 6))
    assert common_range_K(solid, liquid) == (820.0, 1150.0)
    found = melting_point(solid, liquid)
    assert found.temperature_K == pytest.approx((MELTING_K, 0.0), abs=0.05)
    assert found.latent_heat_eV == pytest.approx((1.2 * units.kB * MELTING_K, 0.002 * np.sqrt(2)), rel=1e-3)
    assert found.volume_change_A3 == pytest.approx((2.0, 0.03 * np.sqrt(2)))


def test_curves_that_do_not_cross():
    assert melting_point(curve(SOLID, [700, 800, 900]), curve(LIQUID, [700, 800, 950])) is None
    assert melting_point(curve(SOLID, [700, 750, 800]), curve(LIQUID, [900, 1000, 1200])) is None
    # The solid would melt on cooling: no melting point.
    assert melting_point(curve(LIQUID, [900, 1000, 1100]), curve(SOLID, [900, 1000, 1100])) is None


def test_errors_over_200_seeds():
    rng, t = np.random.default_rng(0), np.linspace(850, 1150, 9)
    found = [melting_point(curve(SOLID, t, 0.001, rng), curve(LIQUID, t, 0.002, rng)) for _ in range(200)]
    values, errors = np.array([each.temperature_K for each in found]).T
    assert_honest(values, errors, MELTING_K)
    assert errors.mean() == pytest.approx(np.hypot(0.001, 0.002) / (1.2 * units.kB), rel=0.1)
