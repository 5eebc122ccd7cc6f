"""MBAR over λ, temperature and pressure: exact results, pymbar's own estimates, and limits."""

from __future__ import annotations

import numpy as np
import pytest
from anharmonic import exact, states
from ase import units
from pymbar import MBAR

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.combination import StateSamples, ThermalState, combine, thinned

CONDITIONS = [ThermalState(300.0, 0.0), ThermalState(350.0, 0.0), ThermalState(350.0, 0.5), ThermalState(420.0, 1.2)]


@pytest.fixture(scope="module")
def samples() -> list[StateSamples]:
    return states((300.0, 400.0), (0.0, 1.0), 300, 0.0, np.random.default_rng(1))


@pytest.fixture(scope="module")
def independent(samples):
    return combine(samples, CONDITIONS, inefficiency=1.0)


def test_results_are_exact_within_their_errors(independent):
    known = np.array([exact(each.temperature_K, each.pressure_GPa) for each in CONDITIONS])
    assert independent.sampled.all()
    assert (np.abs(independent.values - known) < 3.5 * independent.errors).all()
    # The errors are small compared with the results.
    assert (independent.errors < 0.4 * np.abs(known)).all()


def test_values_and_errors_are_those_of_pymbar(samples, independent):
    """pymbar gives free energies and averages at other states, with errors for independent samples."""
    energies = np.concatenate([each.energies_eV for each in samples])
    volumes = np.concatenate([each.volume_A3 for each in samples])

    def reduced(column: int, at) -> np.ndarray:
        return (energies[:, column] + at.pressure_eV_per_A3 * volumes) / (units.kB * at.temperature_K)

    solved = MBAR(np.stack([reduced(s.column, s) for s in samples]), [len(s) for s in samples])
    for k, at in enumerate(CONDITIONS):
        ends = np.stack([reduced(0, at), reduced(-1, at)])
        thermal = units.kB * at.temperature_K
        free = solved.compute_perturbed_free_energies(ends)
        assert independent.values[k, 0] == pytest.approx(thermal * free["Delta_f"][0, 1], abs=1e-9)
        # Blocks of four samples scatter a little; pymbar's error is asymptotic.
        assert independent.errors[k, 0] == pytest.approx(thermal * free["dDelta_f"][0, 1], rel=0.15)
        enthalpy = solved.compute_expectations(thermal * ends, ends, state_dependent=True, output="differences")
        assert independent.values[k, 1] == pytest.approx(enthalpy["mu"][0, 1], abs=1e-9)
        assert independent.errors[k, 1] == pytest.approx(enthalpy["sigma"][0, 1], rel=0.15)
        both = solved.compute_expectations(np.stack([volumes] * 2), ends, state_dependent=True, output="differences")
        assert independent.values[k, 4] == pytest.approx(both["mu"][0, 1], abs=1e-9)
        assert independent.errors[k, 4] == pytest.approx(both["sigma"][0, 1], rel=0.15)


def test_derivatives_are_those_of_the_estimate(samples):
    """ΔS, ΔV and ΔC are differences of ΔG and ΔH at neighbouring conditions, of the same samples."""
    step_K, step_GPa = 0.5, 0.01
    at = [ThermalState(t, p) for t, p in ((350, 0.5), (350 - step_K, 0.5), (350 + step_K, 0.5))]
    at += [ThermalState(350.0, 0.5 - step_GPa), ThermalState(350.0, 0.5 + step_GPa)]
    found = combine(samples, at, inefficiency=1.0)
    g, h = found.values[:, 0], found.values[:, 1]
    _, _, entropy, heat, volume = found.values[0]
    assert -(g[2] - g[1]) / (2 * step_K) == pytest.approx(entropy, rel=1e-4)
    assert (g[4] - g[3]) / (2 * step_GPa * units.GPa) == pytest.approx(volume, rel=1e-4)
    # The heat capacity is corrected for the variance of the mean, by less than its error.
    assert (h[2] - h[1]) / (2 * step_K) == pytest.approx(heat, abs=0.1 * found.errors[0, 3])


def test_covariance_contains_the_errors_and_correlations(independent):
    covariance = independent.covariance_eV2
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariance)), independent.errors[:, 0])
    correlation = covariance / np.outer(independent.errors[:, 0], independent.errors[:, 0])
    # Neighbouring conditions share samples.
    assert correlation[0, 1] > 0.5 and correlation[0, 3] < correlation[0, 1]
    assert (np.linalg.eigvalsh(covariance) > -1e-12).all()


def test_one_temperature_extrapolates_within_the_overlap(samples):
    cold = [each for each in samples if each.temperature_K == 300 and each.pressure_GPa == 0]
    found = combine(cold, [ThermalState(t, 0.0) for t in (300.0, 330.0, 1500.0)], inefficiency=1.0)
    assert found.sampled.tolist() == [True, True, False]
    assert found.end_overlaps[0] == pytest.approx(0.5) and (found.coverage[0] >= 1).all()
    assert found.n_effective[0] > found.n_effective[1] > found.n_effective[2]
    assert abs(found.values[1, 0] - exact(330.0, 0.0)[0]) < 4 * found.errors[1, 0]


def harmonic_ladders(n_modes: int, temperatures_K: tuple[float, ...]) -> list[StateSamples]:
    """Return ladders of harmonic modes whose stiffness rises by 10 %."""
    rng, stiffness, found = np.random.default_rng(0), np.array([1.0, 1.05, 1.1]), []
    for temperature_K in temperatures_K:
        for column in range(3):
            squares = rng.chisquare(n_modes, size=300) * units.kB * temperature_K / stiffness[column]
            energies = squares[:, None] / 2 * stiffness
            found.append(StateSamples(column, temperature_K, None, energies, np.ones(300), len(found)))
    return found


def test_ladders_without_overlap_keep_their_own_ranges():
    """With 400 modes, two ladders 300 K apart have nothing in common; each gives the results near it."""
    n_modes, at = 400, np.array([300.0, 310.0, 450.0, 600.0])
    found = combine(harmonic_ladders(n_modes, (300.0, 600.0)), [ThermalState(t) for t in at.tolist()])
    assert found.sampled.tolist() == [True, True, False, True]
    assert found.component.tolist() == [0, 0, 0, 1, 1, 1]
    known, near = n_modes / 2 * units.kB * at * np.log(1.1), found.sampled
    assert (np.abs(found.values[:, 0] - known)[near] < 4 * found.errors[near, 0]).all()
    assert (found.errors[near, 0] < 0.02).all()


@pytest.mark.parametrize(
    ("n_atoms", "distance", "overlap"), [(40, 0.5, True), (40, 1.2, False), (320, 0.2, True), (320, 0.4, False)]
)
def test_how_far_ladders_of_a_harmonic_crystal_may_be_apart(n_atoms, distance, overlap):
    """The page of combined ladders has these numbers."""
    between = ThermalState(300 * (1 + distance / 2))
    found = combine(harmonic_ladders(3 * n_atoms, (300.0, 300.0 * (1 + distance))), [between], inefficiency=1.0)
    assert (found.component.max() == 0) == overlap
    assert found.sampled[0] or not overlap


def test_windows_that_do_not_overlap_along_the_path_are_noticed(samples):
    """With the ends only and a stiff path, λ = 0 and 1 are not connected."""
    rng = np.random.default_rng(0)
    stiffness = np.array([1.0, 1000.0])

    def window(column):
        squares = rng.chisquare(20, size=200) * units.kB * 300 / stiffness[column]
        return StateSamples(column, 300.0, None, squares[:, None] / 2 * stiffness, np.ones(200), column)

    found = combine([window(0), window(1)], [ThermalState(300.0)])
    assert not found.connected.any() and not found.sampled.any() and found.end_overlaps.min() > 0.4


def test_replica_exchange_keeps_correlations_between_states():
    """States that repeat one another at the same times have the error of one of them."""
    one = states((300.0,), (None,), 200, 0.0, np.random.default_rng(0))
    apart = combine([*one, *(StateSamples(*[*vars(s).values()][:-1], 9 + s.chain) for s in one)], [ThermalState(300.0)])
    chain = [StateSamples(*[*vars(s).values()][:-1], 0) for s in one]
    together = combine([*chain, *chain], [ThermalState(300.0)], inefficiency=1.0)
    assert together.values[0, 0] == pytest.approx(apart.values[0, 0], abs=1e-9)
    assert together.errors[0, 0] > 1.2 * apart.errors[0, 0]


def test_thinning_keeps_the_same_share_of_all_states():
    """States with other apparent correlations would otherwise have another weight in MBAR than their errors assume."""
    slow = states((300.0,), (None,), 400, 10.0, np.random.default_rng(0))
    assert len({len(each) for each in thinned(slow)}) == 1 and len(thinned(slow)[0]) < 200
    fast = states((300.0,), (None,), 400, 0.0, np.random.default_rng(0))
    assert [len(each) for each in thinned([*slow, *fast])] == [400] * 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energies_eV": np.zeros((3, 5))}, "4 samples"),
        ({"energies_eV": np.full((300, 5), np.nan)}, "finite"),
        ({"temperature_K": 0.0}, "temperature_K"),
        ({"pressure_GPa": None}, "pressure_GPa"),
    ],
)
def test_bad_input(samples, changed, message):
    wrong = StateSamples(**(vars(samples[0]) | changed))
    with pytest.raises(InvalidInputError, match=message):
        combine([*samples[1:], wrong], [ThermalState(300.0, 0.0)])


def test_no_states():
    with pytest.raises(InvalidInputError, match="at least one"):
        combine([], [ThermalState(300.0)])
