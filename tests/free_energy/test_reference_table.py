"""The free energy of the reference liquid: published values, virial series, and an own integration."""

from __future__ import annotations

import json
from importlib.resources import files

import numpy as np
import pytest
from ase import units
from liquids import Nothing, cubic_liquid

from alchemflows.alchemy.reference_liquid import ReferenceLiquidPotential, UhlenbeckFord
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import HBAR
from alchemflows.free_energy.reference_liquid import (
    TABLE_ERROR_KT,
    excess_free_energy,
    ideal_gas_free_energy_eV,
    reduced_density,
    second_virial,
    sigma_A,
)
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.seeds import derived_seeds

#: Virial coefficients B_2, B_3, ... in units of powers of b, for p = 1 (SklogWiki, after the paper).
VIRIAL_P1 = (1.0, 0.256600119639833673, -0.125459957055044678)


def test_published_values_are_reproduced():
    table = json.loads((files("alchemflows") / "data" / "uhlenbeck-ford.json").read_text())
    x = np.array(table["reduced_densities"])
    for p, values in table["excess_free_energies"].items():
        np.testing.assert_allclose(excess_free_energy(x, float(p)), values, atol=1e-9)
    # Published values that are not in the table, for p = 50.
    between = {0.0025: 0.01853068, 0.0125: 0.09467068, 0.0475: 0.38790648, 0.0975: 0.88984555}
    np.testing.assert_allclose(excess_free_energy(list(between)), list(between.values()), atol=TABLE_ERROR_KT)


def test_second_virial_coefficients():
    found = [second_virial(p) for p in (1, 2, 10)]
    np.testing.assert_allclose(found, [1.0, 2 - 2**-1.5, 4.0143839754], rtol=1e-9)


@pytest.mark.parametrize("x", [0.02, 0.1, 0.3])
def test_virial_series_at_low_density(x):
    """F = Σ B_(n+1) xⁿ / n; the next coefficient is −0.01."""
    series = sum(b * x**n / n for n, b in enumerate(VIRIAL_P1, 1))
    assert excess_free_energy(x, 1) == pytest.approx(series, abs=2e-4)


def test_densities_and_lengths():
    assert sigma_A(reduced_density(1.7, 0.04), 0.04) == pytest.approx(1.7)
    for x, p, named in ((4.1, 50, "4.1"), (-0.1, 50, "-0.1"), (0.5, 30, "1, 25, 50, 75, 100"), (np.nan, 50, "nan")):
        with pytest.raises(InvalidInputError, match=named):
            excess_free_energy(x, p)


def test_ideal_gases_mix_and_have_the_wavelength_of_an_oscillator():
    """One atom in a box: its partition function is that of an oscillator, with the Gaussian volume replaced by V."""
    kT, mass, volume, k = units.kB * 500, 40.0, 1e4, 2.0
    oscillator = 3 * kT * np.log(HBAR * np.sqrt(k / mass) / kT)
    gaussian = (2 * np.pi * kT / k) ** 1.5
    (one,) = [ideal_gas_free_energy_eV([mass], [0], volume, 500)]
    assert one == pytest.approx(oscillator - kT * np.log(volume / gaussian) - kT)
    alike = ideal_gas_free_energy_eV([mass] * 8, [0] * 8, volume, 500)
    mixed = ideal_gas_free_energy_eV([mass] * 8, [0] * 4 + [1] * 4, volume, 500)
    assert mixed - alike == pytest.approx(-8 * kT * np.log(2))


@pytest.mark.slow
def test_own_integration_over_the_strength_of_the_pairs():
    """F = ∫ ⟨U⟩ dκ from an ideal gas (κ = 0) to p = 50 (κ = 1), at x = 0.6, by κ = t⁴ and Gauss–Legendre points t.

    32 atoms have a lower excess free energy than many, by a share of the order 1/N.
    """
    kT, x, temperature, n_points = units.kB * 1000, 0.6, 1000.0, 8
    system = cubic_liquid(2, 20.0)
    reference = UhlenbeckFord(sigma_A(x, 1 / 20.0), temperature)
    nodes, shares = np.polynomial.legendre.leggauss(n_points)
    t, shares = (nodes + 1) / 2, shares / 2
    weights = np.column_stack([np.zeros(n_points), t**4])
    n = system.n_sites
    langevin = Langevin(
        ReferenceLiquidPotential(Nothing(), reference),
        np.broadcast_to(system.structure.cart_coords, (n_points, n, 3)),
        np.broadcast_to(system.structure.lattice.matrix, (n_points, 3, 3)),
        weights,
        np.broadcast_to(system.masses([]), (n_points, n)),
        temperature_K=temperature,
        timestep_fs=8.0,
        friction_per_ps=5.0,
        seeds=derived_seeds(1, "integration", n_points),
    )
    samples = []
    for step in range(1, 901):
        langevin.step()
        if step > 100 and step % 5 == 0:
            samples.append(langevin.model.added(langevin.positions, langevin.cells)[0].numpy() / n / kT)
    blocks = np.array(samples).reshape(10, -1, n_points).mean(axis=1) @ (shares * 4 * t**3)
    value, error = blocks.mean(), blocks.std(ddof=1) / np.sqrt(len(blocks))
    print(f"F_ex/NkT = {value:.4f} ± {error:.4f}, table {float(excess_free_energy(x)):.4f}")
    assert error < 0.06
    assert abs(value - excess_free_energy(x)) < 3 * error
