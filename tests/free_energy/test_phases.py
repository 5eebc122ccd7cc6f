"""Transition temperatures, mixing, and the limit of large cells."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.phases import PhaseIsobar, boundary, ideal_mixing_eV, transition, transition_of_curves
from alchemflows.free_energy.size import extrapolate


def test_a_line_crosses_where_it_should():
    found = transition([300.0, 400.0], [0.002, -0.002], [1e-5, 1e-5])
    assert found.temperature_K == pytest.approx(350.0)
    assert found.slope_eV_per_K == pytest.approx(-4e-5)
    # σ of the zero of a line between two equal errors: σ / (√2 |slope|)
    assert found.error_K == pytest.approx(1e-5 / np.sqrt(2) / 4e-5, rel=0.1)
    assert found.probability == 1.0


def test_the_slope_is_that_at_the_zero_that_is_reported():
    temperatures = np.array([240.0, 300.0, 400.0, 460.0])
    values = -(temperatures - 250.0) * (temperatures - 450.0) * 1e-6
    found = transition(temperatures.tolist(), values, np.full(4, 1e-7))
    assert found.temperature_K in (pytest.approx(250.0, abs=0.1), pytest.approx(450.0, abs=0.1))
    assert found.slope_eV_per_K == pytest.approx(2e-4 if found.temperature_K < 300 else -2e-4, rel=1e-3)


def test_errors_of_a_transition_are_honest():
    rng = np.random.default_rng(1)
    temperatures, sigma = np.array([300.0, 350.0, 400.0, 450.0]), 2e-5
    z = []
    for _ in range(100):
        noisy = -2e-5 * (temperatures - 370.0) + sigma * rng.normal(size=4)
        found = transition(temperatures.tolist(), noisy, np.full(4, sigma))
        z.append((found.temperature_K - 370.0) / found.error_K)
    assert 0.55 <= np.mean(np.abs(z) < np.float64(1)) <= 0.80
    assert np.mean(np.abs(z) < np.float64(2)) >= 0.88


def test_no_transition_is_said():
    found = transition([300.0, 400.0], [0.1, 0.2], [1e-3, 1e-3])
    assert (found.temperature_K, found.error_K, found.probability) == (None, None, 0.0)


@pytest.mark.parametrize(("temperatures", "errors"), [([300.0], [1e-3]), ([300.0, 400.0], [1e-3, 0.0])])
def test_bad_input_of_a_transition(temperatures, errors):
    with pytest.raises(InvalidInputError):
        transition(temperatures, [0.1] * len(temperatures), errors)


T = np.linspace(300.0, 500.0, 21)
ENTROPY, VOLUME = 2e-5, 0.1  # eV/K, Å³


def isobar(
    shift_K: float = 0.0, second: bool = True, shares: np.ndarray | None = None, n_shared: int = 0
) -> PhaseIsobar:
    """Return a phase with G = 0, or the one that is more stable above 400 K, or above another temperature."""
    factor = 1.0 if second else 0.0
    values = factor * np.stack([ENTROPY * (400.0 + shift_K - T), np.full(21, ENTROPY), np.full(21, VOLUME)])
    return PhaseIsobar(T, values, np.zeros((1, 3, 21)) if shares is None else shares, n_shared)


def common_error(error_eV: float) -> np.ndarray:
    """Return an error of G that is the same at all temperatures."""
    return np.stack([np.full(21, error_eV), np.zeros(21), np.zeros(21)])[None]


def test_curves_cross_where_they_should():
    found = transition_of_curves(isobar(second=False), isobar(shift_K=3.0, shares=common_error(1e-4)))
    assert found.temperature_K == pytest.approx(403.0) and found.second_above
    # All draws are shifted as a whole: σ / ΔS, and ΔS itself has no error.
    assert found.error_K == pytest.approx(1e-4 / ENTROPY, rel=0.06)
    assert found.entropy_eV_per_K == (pytest.approx(ENTROPY), pytest.approx(0.0, abs=1e-12))
    assert found.latent_heat_eV == (pytest.approx(403.0 * ENTROPY), pytest.approx(1e-4, rel=0.06))
    assert found.volume_A3[0] == pytest.approx(VOLUME)
    assert found.boundary_K_per_GPa[0] == pytest.approx(VOLUME / ENTROPY * units.GPa)
    assert found.probability == 1.0
    reverse = transition_of_curves(isobar(shift_K=3.0), isobar(second=False))
    assert reverse.temperature_K == pytest.approx(403.0) and not reverse.second_above
    assert reverse.entropy_eV_per_K[0] == pytest.approx(-ENTROPY)
    assert reverse.boundary_K_per_GPa[0] == pytest.approx(found.boundary_K_per_GPa[0])


def test_a_crossing_at_the_end_of_the_curves_has_its_whole_error():
    """Draws that cross beyond the end are continued; half of them make the transition as probable as its absence."""
    found = transition_of_curves(isobar(second=False), isobar(shift_K=99.9, shares=common_error(1e-4)))
    assert found.error_K == pytest.approx(1e-4 / ENTROPY, rel=0.06)
    assert found.probability == pytest.approx(0.5, abs=0.05)
    far = transition_of_curves(isobar(second=False), isobar(shares=common_error(0.1)))
    assert far.error_K == pytest.approx(0.1 / ENTROPY, rel=0.06) and far.probability < 0.1


def test_curves_that_do_not_cross():
    found = transition_of_curves(isobar(second=False), isobar(shift_K=200.0, shares=common_error(1e-4)))
    assert (found.temperature_K, found.latent_heat_eV, found.slope_eV_per_K) == (None, None, None)
    assert found.probability == 0.0 and found.second_above


def test_the_common_anchor_does_not_enter_deviations_of_a_boundary():
    slope = VOLUME / ENTROPY * units.GPa
    pairs = [
        (isobar(second=False), isobar(shift_K=10.0 + slope * p, shares=common_error(1e-4), n_shared=1))
        for p in (0.0, 1.0, 2.0)
    ]
    found = boundary([0.0, 1.0, 2.0], pairs)
    for k, each in enumerate(found.transitions):
        assert each.temperature_K == pytest.approx(410.0 + slope * k) and each.error_K == pytest.approx(5.0, rel=0.06)
    for value, error in found.deviations_K:
        assert value == pytest.approx(0.0, abs=1e-6) and error < 0.01
    apart = boundary([0.0, 1.0], [(one, PhaseIsobar(T, two.values, two.shares)) for one, two in pairs[:2]])
    assert apart.deviations_K[0][1] == pytest.approx(np.sqrt(2) * 5.0, rel=0.06)
    beyond = boundary([0.0, 9.0], [pairs[0], (isobar(second=False), isobar(shift_K=300.0))])
    assert beyond.transitions[1].temperature_K is None and beyond.deviations_K == [None]


def test_curves_at_different_temperatures_are_refused():
    other = PhaseIsobar(T + 1, np.zeros((3, 21)), np.zeros((1, 3, 21)))
    with pytest.raises(InvalidInputError, match="temperatures_K"):
        transition_of_curves(isobar(), other)


def test_ideal_mixing():
    kT = units.kB * 500.0
    assert ideal_mixing_eV([[0.5, 0.5]], [8], 500.0) == pytest.approx(-8 * kT * np.log(2))
    assert ideal_mixing_eV([[1.0, 0.0], [0.25]], [8, 4], 500.0) == pytest.approx(
        4 * kT * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    )


def test_the_limit_of_large_cells_and_its_error():
    n = [16, 54, 128, 250]
    logarithms = -0.5 * units.kB * 300.0 * np.log(n) / n
    exact = np.array([-8.0 + 0.3 / size for size in n]) + logarithms
    assert extrapolate(n, exact.tolist(), [1e-4] * 4, 300.0).limit == pytest.approx(-8.0)
    rng = np.random.default_rng(0)
    z = []
    for _ in range(200):
        found = extrapolate(n, (exact + 1e-4 * rng.normal(size=4)).tolist(), [1e-4] * 4, 300.0)
        z.append((found.limit + 8.0) / found.error)
    assert np.std(z) == pytest.approx(1.0, abs=0.15)


def test_one_size_has_no_limit():
    with pytest.raises(InvalidInputError, match="16, 16"):
        extrapolate([16, 16], [-8.0, -8.1], [1e-3, 1e-3], 300.0)
    with pytest.raises(InvalidInputError, match="errors"):
        extrapolate([16, 54], [-8.0, -8.1], [1e-3, 0.0], 300.0)
