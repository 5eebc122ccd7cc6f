"""Corrections for quantum nuclei: where the expansion in ħ holds for atoms that vibrate alone."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.quantum import (
    correction_over_volumes,
    quantum_correction_eV,
    wigner_kirkwood,
    wigner_kirkwood_over_pressure,
)

#: Frequencies (√(eV/Å²/amu)) of a heavy and of a light kind of atom, and the number of atoms.
OMEGAS, COUNTS = np.array([0.2, 1.0]), np.array([5, 3])
MODES = np.repeat(OMEGAS, 3 * COUNTS)


def expansion(temperatures, kinds, omegas=None):
    """Return the expansion from exact means of the squares of the scaled forces, Σ |F_s|²/m = 3n k_B T_d² ω² / T."""
    path = np.geomspace(temperatures[0], temperatures[-1], 31)
    middle = np.sqrt(path[1:] * path[:-1])
    exact = units.kB * path[0] ** 2 / middle[:, None] * 3 * COUNTS[kinds] * OMEGAS[kinds] ** 2
    squares = np.broadcast_to(exact, (4, *exact.shape))
    return wigner_kirkwood((squares, squares), COUNTS[kinds], path, temperatures, omegas)


def test_the_expansion_holds_from_the_temperature_where_it_is_within_a_tenth():
    t = np.linspace(20.0, 300.0, 57)
    found = expansion(t, [0])
    exact = np.array([quantum_correction_eV(MODES[:15], each) for each in t])
    np.testing.assert_allclose(found.values, 15 * (HBAR * OMEGAS[0]) ** 2 / (24 * units.kB * t))
    np.testing.assert_allclose(found.next_terms, (HBAR * OMEGAS[0] / (units.kB * t)) ** 2 / 120)
    start = found.holds_from_K(t)
    assert t[0] < start < t[-1]
    np.testing.assert_array_equal(found.values / exact - 1 < 0.1, t >= start)


def test_each_kind_of_atom_has_its_own_frequency():
    t = np.linspace(100.0, 300.0, 5)
    found, with_phonons = expansion(t, [0, 1]), expansion(t, [0, 1], MODES)
    np.testing.assert_allclose(found.next_terms, with_phonons.next_terms)
    assert found.next_terms == pytest.approx((HBAR / (units.kB * t)) ** 2 * (MODES**4).sum() / (120 * (MODES**2).sum()))


def test_the_expansion_holds_nowhere_at_low_temperatures():
    t = np.linspace(20.0, 30.0, 5)
    assert expansion(t, [1]).holds_from_K(t) is None
    assert expansion(10 * t, [0]).holds_from_K(10 * t) == 200.0


def squeezed(pressures, temperature, kinds, omegas=None):
    """Return the expansion from exact means of the squares of the forces; ω² grows linearly with the pressure."""
    path = np.linspace(pressures[0], pressures[-1], 31)
    middle = (path[1:] + path[:-1]) / 2
    squares = (1 + 0.1 * middle[:, None]) * 3 * COUNTS[kinds] * OMEGAS[kinds] ** 2 * units.kB * temperature
    both = 2 * (np.broadcast_to(squares, (4, *squares.shape)),)
    return wigner_kirkwood_over_pressure(both, COUNTS[kinds], path, pressures, temperature, omegas)


def test_the_expansion_over_the_pressure_is_that_of_the_frequencies_there():
    p, temperature = np.linspace(-2.0, 8.0, 6), 60.0
    omegas = np.sqrt(1 + 0.1 * p)
    found = squeezed(p, temperature, [0])
    np.testing.assert_allclose(found.values, 15 * (HBAR * OMEGAS[0] * omegas) ** 2 / (24 * units.kB * temperature))
    np.testing.assert_allclose(found.next_terms, (HBAR * OMEGAS[0] * omegas / (units.kB * temperature)) ** 2 / 120)
    # with phonons at 0 GPa, all of which change by the same factor
    at_zero, both = MODES.copy(), squeezed(p, temperature, [0, 1], MODES)
    share = (at_zero**4).sum() / (at_zero**2).sum()
    np.testing.assert_allclose(both.next_terms, (HBAR * omegas / (units.kB * temperature)) ** 2 * share / 120)


@pytest.mark.parametrize(("temperature", "holds"), [(100.0, 8.0), (50.0, 2.0), (30.0, None)])
def test_the_expansion_holds_up_to_a_pressure(temperature, holds):
    p = np.linspace(-2.0, 8.0, 6)
    found = squeezed(p, temperature, [0]).holds_to_GPa(p)
    assert found is None if holds is None else found == pytest.approx(holds)


@pytest.mark.parametrize("temperature", [5.0, 60.0, 300.0])
def test_the_harmonic_correction_between_three_volumes_is_that_of_the_frequencies_there(temperature):
    """Modes with Grüneisen parameters of 1 and 3, over 20 % of the volume."""
    gammas = np.repeat([1.0, 3.0], 3 * COUNTS)

    def exact(volume):
        return quantum_correction_eV(MODES * (volume / 100) ** -gammas, temperature)

    known, volumes = [100.0, 90.0, 80.0], np.linspace(102.0, 79.0, 12)
    found = correction_over_volumes(known, [exact(v) for v in known], volumes)
    values = [exact(v) for v in volumes]
    assert values[-1] > 1.2 * values[0]
    np.testing.assert_allclose(found, values, rtol=3e-3)
    np.testing.assert_allclose(
        correction_over_volumes(known, [exact(v) for v in known], known), [exact(v) for v in known]
    )


def test_the_harmonic_correction_of_modes_that_change_alike_is_exact_in_the_classical_limit():
    volumes = np.linspace(110.0, 70.0, 9)
    exact = np.array([quantum_correction_eV(0.01 * (v / 100) ** -2 * np.ones(3), 1000.0) for v in volumes])
    known = [3, 6]
    np.testing.assert_allclose(correction_over_volumes(volumes[known], exact[known], volumes), exact, rtol=1e-5)
    assert exact[-1] / exact[0] == pytest.approx((70 / 110) ** -4, rel=1e-5)
