"""ΔF from works with distributions that are known: Gaussians that obey Crooks' theorem."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from pymbar import bar_overlap

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.work import MIN_WORK_OVERLAP, WorkResult, analyse_work

T = 300.0
KT = units.kB * T
DELTA_F = 0.3


def gaussian_works(dissipation_kT: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Works whose variance is 2 k_B T times what they dissipate, as Crooks' theorem wants it of Gaussians."""
    rng = np.random.default_rng(seed)
    lost, width = dissipation_kT * KT, np.sqrt(2 * dissipation_kT) * KT
    return rng.normal(DELTA_F + lost, width, n), rng.normal(-DELTA_F + lost, width, n)


@pytest.mark.parametrize("dissipation_kT", [0.1, 1.0])
def test_errors_are_honest(dissipation_kT):
    results = [analyse_work(*gaussian_works(dissipation_kT, 16, seed), T) for seed in range(50)]
    lost = np.mean([r.dissipation_eV for r in results]) / KT
    assert lost == pytest.approx(dissipation_kT, abs=4 * np.sqrt(2 * dissipation_kT / (2 * 16 * 50)))
    for method in ("bar", "mean", "best"):
        values, errors = np.array([getattr(r, method) for r in results]).T
        z = (values - DELTA_F) / errors
        assert 0.55 <= (np.abs(z) < 1).mean() <= 0.80, method
        assert 0.88 <= (np.abs(z) < 2).mean() <= 0.99, method
    assert not any(r.warnings for r in results)


def test_unequal_dissipation_of_both_directions_biases_the_mean_but_not_bar():
    """Exponential work forward, W = −ln u; Crooks' theorem gives what is then backward."""
    rng = np.random.default_rng(1)
    n, a = 4000, 3.0  # P(W) ∝ e^(−aW), W > 0; P(−W_b) ∝ e^(−(a + 1) W), in k_B T
    forward, backward = rng.exponential(1 / a, n), -rng.exponential(1 / (a + 1), n)
    exact = -np.log(a / (a + 1)) * KT
    result = analyse_work(forward * KT, backward * KT, T)
    assert abs(result.bar[0] - exact) < 4 * result.bar[1]
    one_way = -np.log(np.mean(np.exp(-forward))) * KT
    assert one_way == pytest.approx(exact, abs=0.05 * KT)
    assert result.mean[0] == pytest.approx((1 / a + 1 / (a + 1)) / 2 * KT, rel=0.05)
    assert abs(result.mean[0] - exact) < abs(result.dissipation_eV)


def test_overlap_goes_from_one_to_none():
    works = gaussian_works(0.5, 400)
    assert analyse_work(works[0], works[1][:100], T).overlap == pytest.approx(
        bar_overlap(works[0] / KT, works[1][:100] / KT), rel=1e-4
    )
    overlaps = [analyse_work(*gaussian_works(d, 400), T).overlap for d in (0.001, 0.5, 3.0, 10.0)]
    assert overlaps[0] == pytest.approx(1.0, abs=0.02)
    assert overlaps == sorted(overlaps, reverse=True) and overlaps[-1] < MIN_WORK_OVERLAP


@pytest.mark.parametrize("dissipation_kT", [15.0, 300.0])
def test_works_that_do_not_overlap_are_warned_of(dissipation_kT):
    result = analyse_work(*gaussian_works(dissipation_kT, 8), T)
    assert result.overlap < MIN_WORK_OVERLAP
    assert len(result.warnings) == 1 and f"{result.overlap:.3f}" in result.warnings[0]
    value, error = result.best
    assert value == result.mean[0]
    assert error >= result.dissipation_eV > 0.5 * dissipation_kT * KT
    assert abs(value - DELTA_F) < error


def test_switches_that_gain_energy_are_warned_of():
    """Against the second law, which noise alone breaks rarely, however few the switches."""
    forward, backward = gaussian_works(0.5, 8)
    (reason,) = analyse_work(forward - 3 * KT, backward, T).warnings
    assert "dissipation" in reason and "-" in reason
    for n in (2, 4, 16):
        warned = [analyse_work(*gaussian_works(0.02, n, seed), T).warnings for seed in range(40)]
        assert sum(any("dissipation is -" in warning for warning in each) for each in warned) <= 1


def test_equal_works_have_no_error_and_no_dissipation():
    result = analyse_work([DELTA_F] * 4, [-DELTA_F] * 4, T)
    assert result.mean == pytest.approx((DELTA_F, 0.0))
    assert result.bar == pytest.approx((DELTA_F, 0.0), abs=1e-9)
    assert result.dissipation_eV == pytest.approx(0.0)
    assert not result.warnings


def test_the_same_works_give_the_same_result():
    works = gaussian_works(1.0, 10)
    assert analyse_work(*works, T) == analyse_work(*works, T)


def test_without_bar_there_is_the_mean():
    assert WorkResult((1.0, 0.1), None, -0.2, 0.0, []).best == (1.0, 0.2)


@pytest.mark.parametrize(
    ("forward", "backward", "reason"),
    [
        ([1.0], [1.0, 2.0], "1 forward and 2 backward"),
        ([1.0, 2.0], [], "2 forward and 0 backward"),
        ([1.0, np.nan], [1.0, 2.0], "finite"),
    ],
)
def test_works_that_say_nothing_are_refused(forward, backward, reason):
    with pytest.raises(InvalidInputError, match=reason):
        analyse_work(forward, backward, T)
