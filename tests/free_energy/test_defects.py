"""Thermodynamics of dilute defects against direct sums, and its error bars against random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from harmonic import assert_honest
from scipy.optimize import brentq

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.defects import ln_frenkel_pairs, ln_schottky_units, ln_site_fraction, thermal_fit

KT = units.kB * 1000.0


@pytest.mark.parametrize("degeneracy", [1.0, 2.0, 6.0])
@pytest.mark.parametrize("formation_eV", [-0.1, 0.0, 0.05, 1.5])
def test_a_site_fraction_is_that_of_the_grand_canonical_sum(formation_eV, degeneracy):
    weight = degeneracy * np.exp(-formation_eV / KT)
    ln_c, error = ln_site_fraction(formation_eV, 0.01, 1000.0, degeneracy)
    assert ln_c == pytest.approx(np.log(weight / (1 + weight)))
    slope = (ln_site_fraction(formation_eV + 1e-6, 0, 1000.0, degeneracy)[0] - ln_c) / 1e-6
    assert error == pytest.approx(-slope * 0.01, rel=1e-4)


def test_a_concentration_too_small_for_a_number_has_its_logarithm():
    ln_c, error = ln_site_fraction(5.0, 0.01, 50.0)
    assert ln_c == pytest.approx(-5.0 / (units.kB * 50)) and error == pytest.approx(0.01 / (units.kB * 50))


@pytest.mark.parametrize("counts", [(1, 1), (1, 2), (2, 3)])
def test_schottky_defects_are_those_of_neutral_vacancies_in_equilibrium(counts):
    """The potentials of the elements that make vacancies stoichiometric give the law of mass action."""
    removal, sites, g = np.array([4.0, 5.0]), np.array([counts[0], 2.0 * counts[1]]), np.array([1.0, 3.0])
    bulk = -(np.dot(counts, removal) - 1.4)  # G of a formula unit, so that G_S is 1.4 eV

    def vacancies(first):
        potentials = np.array([first, (bulk - counts[0] * first) / counts[1]])
        return sites * g * np.exp(-(removal + potentials) / KT)

    balance = brentq(lambda mu: np.log(vacancies(mu)[0] / counts[0]) - np.log(vacancies(mu)[1] / counts[1]), -20, 20)
    ln_s, error = ln_schottky_units(1.4, 0.02, 1000.0, counts, sites, g)
    assert ln_s == pytest.approx(np.log(vacancies(balance)[0] / counts[0]))
    assert error == pytest.approx(0.02 / KT / sum(counts))


def test_frenkel_pairs_obey_the_law_of_mass_action():
    ln_v, error = ln_frenkel_pairs(2.0, 0.03, 1000.0, interstitials_per_site=0.5, degeneracy=4.0)
    c_v, c_i = np.exp(ln_v), np.exp(ln_v) / 0.5
    assert c_v * c_i == pytest.approx(4.0 * np.exp(-2.0 / KT))
    assert error == pytest.approx(0.03 / (2 * KT))


@pytest.mark.parametrize(("n", "degree"), [(2, 1), (3, 1), (4, 2), (6, 2)])
def test_entropy_and_enthalpy_of_a_polynomial_are_exact(n, degree):
    t = np.linspace(200, 800, n)
    a, b, c = 1.6, -2e-4, -1e-7 if degree == 2 else 0.0
    fit = thermal_fit(t, a + b * t + c * t**2, np.linspace(0.01, 0.03, n))
    assert fit.degree == degree
    np.testing.assert_allclose(fit.entropy_eV_per_K, -(b + 2 * c * t), rtol=1e-8)
    np.testing.assert_allclose(fit.enthalpy_eV, a - c * t**2, rtol=1e-8)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_errors_of_entropy_and_enthalpy_are_honest(n):
    t, rng = np.linspace(200, 800, n), np.random.default_rng(n)
    sigma = rng.uniform(0.005, 0.02, n)
    fits = [thermal_fit(t, 1.6 - 2e-4 * t + sigma * rng.normal(size=n), sigma) for _ in range(400)]
    for k in range(n):
        assert_honest([f.entropy_eV_per_K[k] for f in fits], [f.entropy_error_eV_per_K[k] for f in fits], 2e-4)
        assert_honest([f.enthalpy_eV[k] for f in fits], [f.enthalpy_error_eV[k] for f in fits], 1.6)


def test_one_temperature_has_no_entropy():
    with pytest.raises(InvalidInputError, match="300"):
        thermal_fit([300.0, 300.0], [1.0, 1.0], [0.1, 0.1])
    with pytest.raises(InvalidInputError, match="errors_eV"):
        thermal_fit([300.0, 400.0], [1.0, 1.0], [0.1, 0.0])
