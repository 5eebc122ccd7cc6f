"""Absolute free energies of harmonic crystals: formulas by determinants, and the same sampled by switching."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import units
from ase.data import atomic_masses, atomic_numbers
from harmonic import HarmonicCrystal, chain, fixed_free_energy_eV
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.tether import Springs, TetheredPath, TetheredPotential
from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.einstein import (
    HBAR,
    centre_of_mass_term_eV,
    classical_harmonic_free_energy_eV,
    einstein_free_energy_eV,
    spring_constants_eV_per_A2,
)
from alchemflows.free_energy.estimators import analyse_ladder
from alchemflows.free_energy.quantum import quantum_correction_eV
from alchemflows.free_energy.work import analyse_work
from alchemflows.sampling.switching import draw_einstein_crystal, equilibrate_ends, joined, switch
from alchemflows.sampling.windows import sample_windows
from alchemflows.schemas.dynamics import DynamicsSettings, SwitchingSettings

T = 300.0
KT = units.kB * T
FREE_VOLUME = 45.0
STIFFNESS = np.array([1.5, 4.0, 2.0, 3.0])  # of the Einstein crystal; no two atoms are alike


def frequencies(springs: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Return ω of the 3N − 3 modes of a crystal that may move as a whole, from its dynamical matrix."""
    squares = np.linalg.eigvalsh(springs / np.sqrt(np.outer(masses, masses)))
    assert abs(squares[0]) < 1e-12 < squares[1]
    return np.repeat(np.sqrt(squares[1:]), 3)


def harmonic_free_energy(springs: np.ndarray, masses: np.ndarray) -> float:
    return classical_harmonic_free_energy_eV(frequencies(springs, masses), masses, FREE_VOLUME, T)


# Identities


@pytest.mark.parametrize("masses", [[23.0, 35.5, 23.0, 35.5], [1.0, 200.0, 12.0, 90.0]])
@pytest.mark.parametrize("couplings", [(1.0, 1.0), (5.0, 0.7)])
def test_frenkel_ladd_is_an_identity(masses, couplings):
    """F_Einstein + ΔF_fixed + centre of mass = F of the modes, whatever the springs of the Einstein crystal."""
    masses, crystal = np.array(masses), chain(4, couplings)
    for stiffness in (STIFFNESS, np.full(4, 0.3)):
        delta = fixed_free_energy_eV(crystal, masses, T) - fixed_free_energy_eV(np.diag(stiffness), masses, T)
        total = (
            einstein_free_energy_eV(stiffness, masses, T)
            + delta
            + centre_of_mass_term_eV(stiffness, masses, FREE_VOLUME, T)
        )
        assert total == pytest.approx(harmonic_free_energy(crystal, masses), abs=1e-9)


def test_a_vanishing_atom_held_by_a_spring():
    """G_(N−1) = G_N + ΔF − F_Einstein(1 atom) + 3 k_B T ln(M/M′): what is left moves against the held atom."""
    masses = np.array([12.0, 90.0, 23.0, 35.0, 60.0])
    for gone in range(5):
        rest = np.delete(np.arange(5), gone)
        left = chain(4, (2.0, 3.0))
        held = np.zeros((5, 5))
        held[np.ix_(rest, rest)] = left
        held[gone, gone] = 1.7
        crystal = chain(5, (5.0, 0.7))
        path = fixed_free_energy_eV(held, masses, T) - fixed_free_energy_eV(crystal, masses, T)
        total = (
            harmonic_free_energy(crystal, masses)
            + path
            - einstein_free_energy_eV([1.7], masses[[gone]], T)
            + 3 * KT * np.log(masses.sum() / masses[rest].sum())
        )
        assert total == pytest.approx(harmonic_free_energy(left, masses[rest]), abs=1e-9)


def test_known_oscillators():
    """The classical partition function of one oscillator, by integration over its phase space."""
    k, m = 2.5, 28.0
    x, p = np.linspace(-2, 2, 4001), np.linspace(-20, 20, 4001)
    integral = np.trapezoid(np.exp(-k * x**2 / (2 * KT)), x) * np.trapezoid(np.exp(-(p**2) / (2 * m * KT)), p)
    exact = -3 * KT * np.log(integral / (2 * np.pi * HBAR))
    assert einstein_free_energy_eV([k], [m], T) == pytest.approx(exact, rel=1e-6)
    assert einstein_free_energy_eV([k, k], [m, m], T) == pytest.approx(2 * exact, rel=1e-6)
    # ħω of 1 THz is h × 10¹² / s = 4.1357 meV
    assert HBAR * 2 * np.pi * 1e-3 / units.fs == pytest.approx(4.135667e-3, rel=1e-5)


def test_a_single_atom_in_its_cell_is_an_ideal_gas_of_one():
    """No mode is left: F = −k_B T ln(v / Λ³), and the springs of the Einstein crystal cancel."""
    mass = np.array([39.948])
    wavelength_A = 1e10 * units._hplanck / np.sqrt(2 * np.pi * mass[0] * units._amu * units._k * T)
    exact = -KT * np.log(FREE_VOLUME / wavelength_A**3)
    assert classical_harmonic_free_energy_eV([], mass, FREE_VOLUME, T) == pytest.approx(exact, rel=1e-6)
    for k in (0.5, 5.0):
        total = einstein_free_energy_eV([k], mass, T) + centre_of_mass_term_eV([k], mass, FREE_VOLUME, T)
        assert total == pytest.approx(exact, rel=1e-6)


def test_quantum_correction_has_its_limits():
    omegas = np.sqrt([0.05, 0.1, 0.3])
    energies = HBAR * omegas
    cold, hot = 5.0, 3000.0
    kT = units.kB * cold
    # Cold: zero point, less the classical free energy
    assert quantum_correction_eV(omegas, cold) == pytest.approx((energies / 2 - kT * np.log(energies / kT)).sum())
    assert quantum_correction_eV(omegas, 1e-3) == pytest.approx(energies.sum() / 2, rel=1e-3)
    # Hot: (ħω)² / 24 k_B T, which vanishes
    assert quantum_correction_eV(omegas, hot) == pytest.approx((energies**2).sum() / (24 * units.kB * hot), rel=1e-3)
    assert 0 < quantum_correction_eV(omegas, 1e6) < 1e-6
    # Between: the levels of an oscillator, summed
    x = energies / KT
    levels = -KT * sum(np.log(np.exp(-v * (np.arange(400) + 0.5)).sum()) for v in x)
    assert quantum_correction_eV(omegas, T) == pytest.approx(levels - KT * np.log(x).sum(), rel=1e-9)


def test_unstable_modes_are_refused():
    for values, n in (([0.1, 0.0, 0.2], 1), ([np.nan, -0.1], 2)):
        with pytest.raises(InvalidInputError, match=f"omegas: {n} modes"):
            quantum_correction_eV(values, T)
        with pytest.raises(InvalidInputError, match=f"omegas: {n} modes"):
            classical_harmonic_free_energy_eV(values, [1.0, 1.0], 1.0, T)


def test_springs_from_displacements():
    """Equivalent atoms share one spring, of their mean displacement."""
    found = spring_constants_eV_per_A2([0.02, 0.04, 0.1, 0.1], [7, 7, 3, 5], T)
    np.testing.assert_allclose(found, [3 * KT / 0.03] * 2 + [3 * KT / 0.1] * 2)
    with pytest.raises(InvalidInputError, match="atom 1 "):
        spring_constants_eV_per_A2([0.02, 0.0], [0, 1], T)


# Sampled

N = 4
SITES = [[(i + 0.5) / N, 0.5, 0.5] for i in range(N)]
COUPLINGS = (4.0, 2.0)
N_REPEATS, N_SWITCHES = 50, 12


@pytest.fixture(scope="module")
def system() -> AlchemicalSystem:
    """A ring of Na and Cl; one weight, which stays 1."""
    structure = Structure(Lattice.orthorhombic(16.0, 8.0, 8.0), ["Na", "Cl"] * 2, SITES)
    return AlchemicalSystem(structure, (SiteGroup((0,), ((11,),)),))


@pytest.fixture(scope="module")
def model() -> TetheredPotential:
    return TetheredPotential(HarmonicCrystal(SITES, [chain(N, COUPLINGS)]), Springs(SITES, STIFFNESS.tolist()))


def absolute(delta: float, masses: np.ndarray) -> float:
    """F from ΔF of the path that ends at the Einstein crystal."""
    centre = centre_of_mass_term_eV(STIFFNESS, masses, FREE_VOLUME, T)
    return einstein_free_energy_eV(STIFFNESS, masses, T) - delta + centre


@pytest.mark.slow
def test_frenkel_ladd_by_switching_is_honest(system, model):
    """Over many repeats the exact F lies within the error bars as often as it should."""
    path = TetheredPath.to_einstein_crystal(system, [1.0])
    settings = SwitchingSettings(
        temperature_K=T, timestep_fs=4.0, friction_per_ps=20.0, n_equilibration_steps=100, n_switching_steps=250
    )
    masses, n = system.masses([1.0]), N_REPEATS * N_SWITCHES
    ends = equilibrate_ends(model, path, settings, range(2 * n), fix_centre_of_mass=True)
    drawn = draw_einstein_crystal(model.springs, system.structure.lattice.matrix, masses, T, range(10**6, 10**6 + n))
    start = joined(ends.select(range(n)), drawn)
    found = switch(model, path, settings, start, range(2 * n), fix_centre_of_mass=True)
    exact = harmonic_free_energy(chain(N, COUPLINGS), masses)
    results = [
        analyse_work(forward, backward, T)
        for forward, backward in zip(
            found.forward_work_eV.reshape(N_REPEATS, -1), found.backward_work_eV.reshape(N_REPEATS, -1), strict=True
        )
    ]
    values, errors = np.array([r.best for r in results]).T
    z = (absolute(values, masses) - exact) / errors
    assert 0.55 <= (np.abs(z) < 1).mean() <= 0.80
    assert 0.88 <= (np.abs(z) < 2).mean() <= 0.99
    together = analyse_work(found.forward_work_eV, found.backward_work_eV, T).best
    assert abs(absolute(together[0], masses) - exact) < 4 * together[1] < 0.12 * KT
    # That is enough to see the centre of mass; the parts are of very different size.
    assert abs(centre_of_mass_term_eV(STIFFNESS, masses, FREE_VOLUME, T)) > 40 * together[1]


def test_springs_may_be_tied_off_the_sites(system, model):
    """Noise of the mean positions, to which the springs are tied, does not bias F: every place is exact."""
    masses, n = system.masses([1.0]), 300
    lattice = system.structure.lattice.matrix
    noise = 0.05 * np.random.default_rng(5).normal(size=(N, 3))
    noise -= masses @ noise / masses.sum()  # the centre of mass is that of the dynamics
    off = Springs(tuple(map(tuple, np.array(SITES) + noise @ np.linalg.inv(lattice))), tuple(STIFFNESS.tolist()))
    tied = TetheredPotential(model.model, off)
    path = TetheredPath.to_einstein_crystal(system, [1.0])
    settings = SwitchingSettings(
        temperature_K=T, timestep_fs=4.0, friction_per_ps=20.0, n_equilibration_steps=100, n_switching_steps=250
    )
    ends = equilibrate_ends(tied, path, settings, range(2 * n), fix_centre_of_mass=True)
    drawn = draw_einstein_crystal(off, lattice, masses, T, range(10**6, 10**6 + n))
    found = switch(tied, path, settings, joined(ends.select(range(n)), drawn), range(2 * n), fix_centre_of_mass=True)
    delta, error = analyse_work(found.forward_work_eV, found.backward_work_eV, T).best
    exact = harmonic_free_energy(chain(N, COUPLINGS), masses)
    assert abs(absolute(delta, masses) - exact) < 4 * error < 0.2 * KT


@pytest.mark.slow
def test_frenkel_ladd_by_windows(system, model):
    path = TetheredPath.to_einstein_crystal(system, [1.0])
    dynamics = DynamicsSettings(
        temperature_K=T, timestep_fs=4.0, friction_per_ps=20.0, n_equilibration_steps=200, n_production_steps=6000
    )
    lambdas = [0.0, 0.25, 0.5, 0.75, 1.0]
    series = sample_windows(model, path, lambdas, range(5), dynamics, fix_centre_of_mass=True)
    result = analyse_ladder(lambdas, series, T)
    masses = system.masses([1.0])
    for value, error in (result.mbar, result.bar):
        assert abs(absolute(value, masses) - harmonic_free_energy(chain(N, COUPLINGS), masses)) < 4 * error < KT


class VanishingAtom(HarmonicCrystal):
    """One weight, of the atom that goes: U = w U_N + (1 − w) U_(N−1)."""

    def evaluate(self, positions, cells, weights, **options):
        both = super().evaluate(positions, cells, torch.cat([weights, 1 - weights], dim=1), **options)
        if both.weight_gradients is None:
            return both
        return replace(both, weight_gradients=both.weight_gradients[:, :1] - both.weight_gradients[:, 1:])


@pytest.mark.slow
def test_a_vacancy_by_switching(system):
    """An atom turns into nothing while its spring grows; F of what is left is that of its modes."""
    path = AlchemicalPath.from_substitution(system.structure, {"Na": None}, sites=[2])
    left = np.zeros((N, N))
    rest = [0, 1, 3]
    left[np.ix_(rest, rest)] = chain(3, (3.0, 2.0))
    bonds = chain(N, COUPLINGS)

    springs = Springs(SITES, (0.0, 0.0, 1.5, 0.0))
    model = TetheredPotential(VanishingAtom(SITES, [bonds, left]), springs)
    settings = SwitchingSettings(
        temperature_K=T, timestep_fs=4.0, friction_per_ps=20.0, n_equilibration_steps=200, n_switching_steps=400
    )
    growing = TetheredPath.with_growing_springs(path)
    start = equilibrate_ends(model, growing, settings, range(800), fix_centre_of_mass=True)
    found = switch(model, growing, settings, start, range(800, 1600), fix_centre_of_mass=True)
    delta, error = analyse_work(found.forward_work_eV, found.backward_work_eV, T).best
    masses = np.array([atomic_masses[atomic_numbers[s]] for s in ("Na", "Cl", "Na", "Cl")])
    total = (
        harmonic_free_energy(bonds, masses)
        + delta
        - einstein_free_energy_eV([1.5], [masses[2]], T)
        + 3 * KT * np.log(masses.sum() / masses[rest].sum())
    )
    exact = harmonic_free_energy(left[np.ix_(rest, rest)], masses[rest])
    assert abs(total - exact) < 4 * error < 0.3 * KT
