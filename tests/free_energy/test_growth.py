"""Growth of a solid or its liquid in contact: rates, their errors, and the temperature at which they are zero."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from harmonic import assert_honest

from alchemflows.free_energy.growth import (
    Growth,
    growths,
    melting_of_rates,
    n_measured,
    section_means,
    solid_fraction,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
rows = importlib.import_module("growth_rows")


def test_the_melting_point_of_random_walks_has_an_honest_error():
    rng = np.random.default_rng(0)
    found = [melting_of_rates(rows.TEMPERATURES_K, growths(rows.walks(rng, 400), 1.0)) for _ in range(200)]
    known = [each for each in found if each.temperature_K is not None]
    assert len(known) > 190
    assert_honest([each.temperature_K for each in known], [each.error_K for each in known], rows.MELTING_K)


def test_rates_that_do_not_fall_give_no_melting_point():
    rng = np.random.default_rng(0)
    found = [melting_of_rates(rows.TEMPERATURES_K, growths(rows.walks(rng, 400, 0.0), 1.0)) for _ in range(60)]
    assert sum(each.temperature_K is not None for each in found) <= 6


def test_a_replica_is_measured_until_one_phase_fills_the_cell():
    fractions = np.array([[0.4, 0.6, 0.9, 0.99], [0.4, 0.4, 0.5, 0.6], [0.3, 0.1, 0.0, 0.4]])
    assert n_measured(fractions).tolist() == [3, 4, 2]
    (one, two) = growths([fractions[:2], fractions[2:]], 0.5)
    assert one.rate_per_ps == pytest.approx((0.2 + 0.3 + 0.0 + 0.1 + 0.1) / 5 / 0.5)
    assert two.rate_per_ps == pytest.approx(-0.2 / 0.5) and two.phase == "liquid"
    assert two.error_per_ps == pytest.approx(one.error_per_ps * np.sqrt(5))


def test_a_phase_that_fills_the_cell_at_once_grows_without_a_rate():
    full = np.full((2, 4), 0.95)
    (solid, between) = growths([full, np.array([[0.5, 0.51, 0.49, 0.5]])], 1.0)
    assert solid == Growth(None, None, "solid") and between.phase == "undecided"
    assert growths([full, 0 * full], 1.0) == [Growth(None, None, "solid"), Growth(None, None, "liquid")]
    assert melting_of_rates([700.0, 800.0], [solid, between]).temperature_K is None


def test_the_zero_of_two_rates():
    found = melting_of_rates([700.0, 800.0], [Growth(0.03, 0.01, "solid"), Growth(-0.01, 0.01, "undecided")])
    assert found.temperature_K == pytest.approx(775.0) and found.chi_squared_per_degree is None
    # dT = Σ (∂T/∂rate)² error²: the slope is −4e-4 per K, and the weights of both rates are 1/4 and 3/4.
    assert found.error_K == pytest.approx(0.01 / 4e-4 * np.hypot(0.25, 0.75))
    rising = [Growth(-0.03, 0.01, "liquid"), Growth(0.03, 0.01, "solid")]
    beyond = [Growth(0.09, 0.01, "solid"), Growth(0.03, 0.01, "solid")]
    for each in (rising, beyond):
        assert melting_of_rates([700.0, 800.0], each).temperature_K is None


def test_a_curve_that_is_not_straight_has_a_larger_error():
    rates = [Growth(r, 0.001, "undecided") for r in (0.03, 0.012, 0.01, -0.03)]
    found = melting_of_rates([700.0, 720.0, 740.0, 760.0], rates)
    assert found.chi_squared_per_degree > 10
    exact = [Growth(r, 0.001, "undecided") for r in (0.03, 0.01, -0.01, -0.03)]
    straight = melting_of_rates([700.0, 720.0, 740.0, 760.0], exact)
    assert straight.temperature_K == pytest.approx(730.0) and straight.chi_squared_per_degree == pytest.approx(0.0)
    assert found.error_K > 3 * straight.error_K


def test_shares_and_sections():
    assert solid_fraction(np.array([-5.0, -6.0, -5.5]), -6.0, -5.0).tolist() == [0.0, 1.0, 0.5]
    means, times = section_means(np.arange(22.0).reshape(11, 2), 5)
    assert means.tolist() == [[3.0, 7.0, 11.0, 15.0, 19.0], [4.0, 8.0, 12.0, 16.0, 20.0]]
    assert times.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0]
    assert section_means(np.zeros((3, 1)), 20)[0].shape == (1, 3)
