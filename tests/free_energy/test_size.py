"""Size dependence of harmonic crystals, whose free energies are sums over a mesh."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units

from alchemflows.free_energy.einstein import classical_harmonic_free_energy_eV
from alchemflows.free_energy.quantum import quantum_correction_eV
from alchemflows.free_energy.size import extrapolate, logarithmic_term_eV_per_atom

T = 300.0
KT = units.kB * T
MASS, VOLUME_A3 = 55.845, 22.0
#: Springs (eV/Å²) of a simple cubic crystal: along and across the nearest neighbours, and along the next ones.
ALONG, ACROSS, NEXT = 5.0, 1.0, 1.0


def omegas(size: int, dimensions: int = 3) -> np.ndarray:
    """Return the frequencies of the modes of size^d atoms, without the three of the centre of mass."""
    axis = 2 * np.pi * np.arange(size) / size
    q = np.stack(np.meshgrid(*[axis] * dimensions, indexing="ij"), axis=-1).reshape(-1, dimensions)
    dynamical = np.zeros((len(q), dimensions, dimensions))
    for x in range(dimensions):
        along = np.zeros((dimensions, dimensions))
        along[x, x] = 1
        bond = ALONG * along + ACROSS * (np.eye(dimensions) - along)
        dynamical += 2 * (1 - np.cos(q[:, x]))[:, None, None] * bond
        for y in range(x):
            for sign in (1, -1):
                direction = np.zeros(dimensions)
                direction[x], direction[y] = 0.5**0.5, sign * 0.5**0.5
                phase = 2 * (1 - np.cos(q[:, x] + sign * q[:, y]))
                dynamical += NEXT * phase[:, None, None] * np.outer(direction, direction)
    return np.sqrt(np.linalg.eigvalsh(dynamical[1:] / MASS)).ravel()


def free_energy_per_atom(size: int) -> float:
    n = size**3
    return classical_harmonic_free_energy_eV(omegas(size), np.full(n, MASS), VOLUME_A3, T) / n


@pytest.fixture(scope="module")
def exact() -> dict[int, float]:
    return {size: free_energy_per_atom(size) for size in (3, 4, 5, 6, 8, 16, 24)}


@pytest.fixture(scope="module")
def infinite(exact) -> float:
    """From cells so large that nothing but 1/N is left beside the logarithm."""
    return extrapolate([16**3, 24**3], [exact[16], exact[24]], [1.0, 1.0], T).limit


def test_the_logarithmic_term_is_exact(exact, infinite):
    """What is left without it is 1/N, up to a thousandth of k_B T from 512 atoms on; with another factor it is not."""
    n = np.array([8, 16, 24]) ** 3
    left = n * (np.array([exact[8], exact[16], exact[24]]) - infinite - logarithmic_term_eV_per_atom(n, T))
    assert np.ptp(left) < 0.04 * KT
    for factor in (0.0, 2.0, -1.0):
        rest = left + (1 - factor) * n * logarithmic_term_eV_per_atom(n, T)
        assert np.ptp(rest) > KT


def test_the_factor_in_other_dimensions():
    """k_B T ln N of the modes, −(d/2) k_B T ln N of the centre of mass: ½ in one dimension, 0 in two, −½ in three."""
    for dimensions, sizes in ((1, (64, 128, 256)), (2, (16, 32, 64)), (3, (12, 24, 36))):
        n = np.array(sizes) ** dimensions
        values = np.array([np.log(omegas(size, dimensions)).sum() for size in sizes]) - dimensions / 2 * np.log(n)
        # A part in N, a constant, and the logarithm.
        factor = np.linalg.solve(np.stack([n, np.ones(3), np.log(n)], axis=1), values)[2]
        assert factor == pytest.approx(1 - dimensions / 2, abs=0.01)


@pytest.mark.parametrize(("small", "large"), [(4, 6), (4, 8), (5, 6)])
def test_limits_of_cells_from_64_atoms_up(small, large, exact, infinite):
    """A straight line alone is off by 0.05 to 0.09 meV/atom at 300 K; with the logarithm by a fifth of that."""
    n, values = [small**3, large**3], [exact[small], exact[large]]
    line = np.polyfit(1 / np.array(n, dtype=float), values, 1)[1] - infinite
    found = extrapolate(n, values, [1.0, 1.0], T).limit - infinite
    print(f"{n} atoms: straight line {1e3 * line:+.4f}, with the logarithm {1e3 * found:+.4f} meV/atom")
    assert abs(line) > 5e-5 and abs(found) < 2e-5 and abs(found) < abs(line) / 4


def test_quantum_corrections_converge_without_a_term_in_1_over_n():
    """At 0.2 of the highest frequency (in temperature) and above, that of 64 atoms is within a μeV of its limit."""
    for temperature, most in ((100.0, 1.2e-6), (300.0, 2e-9)):
        values = {size: quantum_correction_eV(omegas(size), temperature) / size**3 for size in (3, 4, 6, 12)}
        off = {size: abs(values[size] - values[12]) for size in (3, 4, 6)}
        print(temperature, {size: f"{1e6 * off[size]:.4f} μeV" for size in off})
        assert off[4] < most and off[6] < 0.1 * off[4]
        # A straight line in 1/N through 64 and 216 atoms would be worse than the larger cell.
        line = values[6] + (values[6] - values[4]) * 64 / (216 - 64)
        assert abs(line - values[12]) > 5 * off[6]
        # The change from the cell before bounds what is left.
        assert abs(values[6] - values[4]) > off[6]
