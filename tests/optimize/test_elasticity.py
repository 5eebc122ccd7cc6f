"""Tests of bulk moduli and their derivatives, by comparison with finite differences of relaxed crystals."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.interfaces import SecondDerivatives
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import UnstableCrystalError
from alchemflows.optimize.crystal import RelaxedCrystal
from alchemflows.optimize.elasticity import bulk_modulus
from alchemflows.optimize.names import BULK_MODULUS, names_of
from alchemflows.schemas.potential import PotentialSpec

DEMO = PotentialSpec(name="mace-demo", dtype="float64", device="cpu")
WEIGHTS = np.array([0.6, 0.4])
DIRECTION = np.array([-1.0, 1.0])


def mixed(structure: Structure, first: str, second: str) -> AlchemicalSystem:
    """Return a system in which all sites of one element can change to another element."""
    return CompositionGrid.line(structure, {first: second}, [0.0]).system


def fluorite() -> AlchemicalSystem:
    """Return the primitive cell of (Ce,Zr)O2; oxygen has an internal degree of freedom that symmetry keeps at zero."""
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.4), ["Ce", "O"], [[0, 0, 0], [0.25, 0.25, 0.25]])
    return mixed(cell.get_primitive_structure(), "Ce", "Zr")


def rocksalt() -> AlchemicalSystem:
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.8), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    return mixed(cell.get_primitive_structure(), "Na", "K")


def wurtzite() -> AlchemicalSystem:
    """Return hexagonal (Al,Sc)N, whose strain under pressure is anisotropic and whose atoms relax with it."""
    structure = Structure.from_spacegroup(
        186, Lattice.hexagonal(3.19, 5.10), ["Al", "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.38]]
    )
    return mixed(structure, "Al", "Sc")


def modulus(system: AlchemicalSystem, weights: np.ndarray, relaxation: str):
    crystal = RelaxedCrystal(system, DEMO, relaxation, fmax_eV_per_A=1e-7)  # type: ignore[arg-type]
    found = crystal.at(weights)
    return found[BULK_MODULUS], crystal.structure


def relaxed_energy(system: AlchemicalSystem, structure: Structure, factor: float) -> float:
    """Return the energy (eV) with all lengths multiplied by a factor and relaxed positions."""
    calculator = AlchemicalCalculator(system, WEIGHTS, DEMO)
    atoms = calculator.make_atoms()
    atoms.set_cell(structure.lattice.matrix, scale_atoms=False)
    atoms.positions = structure.cart_coords
    atoms.set_cell(factor * atoms.cell.array, scale_atoms=True)
    assert BFGS(atoms, logfile=None).run(fmax=1e-6, steps=100)
    return atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("relaxation", "make"),
    [
        ("isotropic", fluorite),
        pytest.param("full", fluorite, marks=pytest.mark.slow),
        pytest.param("isotropic", rocksalt, marks=pytest.mark.slow),
        ("full", rocksalt),
    ],
)
def test_bulk_modulus_of_cubic_crystals_equals_curvature_of_the_energy_in_volume(make, relaxation):
    """K = V d²E/dV², which for an isotropic strain ε at the minimum is 9 K V = d²E/dε²."""
    found, structure = modulus(make(), WEIGHTS, relaxation)
    h = 1e-3
    energies = [relaxed_energy(make(), structure, 1 + k * h) for k in (-2, -1, 0, 1, 2)]
    curvature = np.dot([-1, 16, -30, 16, -1], energies) / (12 * h**2)
    assert found.value == pytest.approx(curvature / (9 * structure.volume) / units.GPa, rel=1e-3)
    assert found.value > 10


@pytest.mark.parametrize(
    ("make", "relaxation"), [(fluorite, "isotropic"), (rocksalt, "full"), (rocksalt, "axes"), (wurtzite, "full")]
)
def test_derivatives_equal_finite_differences_of_relaxed_crystals(make, relaxation):
    found, _ = modulus(make(), WEIGHTS, relaxation)
    step = 5e-3
    before, after = (modulus(make(), WEIGHTS + sign * step * DIRECTION, relaxation)[0].value for sign in (-1, 1))
    assert found.gradient @ DIRECTION == pytest.approx((after - before) / (2 * step), rel=1e-3)


def test_bulk_modulus_of_a_hexagonal_crystal_equals_inverse_compressibility():
    """The compressibility follows from volumes relaxed at small positive and negative pressures."""
    found, structure = modulus(wurtzite(), WEIGHTS, "full")
    volumes = []
    pressure = 0.05
    for sign in (-1, 1):
        calculator = AlchemicalCalculator(wurtzite(), WEIGHTS, DEMO)
        atoms = calculator.make_atoms()
        atoms.set_cell(structure.lattice.matrix, scale_atoms=False)
        atoms.positions = structure.cart_coords
        filtered = FrechetCellFilter(atoms, scalar_pressure=sign * pressure * units.GPa)
        assert BFGS(filtered, logfile=None).run(fmax=1e-7, steps=300)
        volumes.append(atoms.get_volume())
    compressed = structure.volume * 2 * pressure / (volumes[0] - volumes[1])
    assert found.value == pytest.approx(compressed, rel=1e-3)


def test_bulk_modulus_is_computed_only_when_it_is_read():
    crystal = RelaxedCrystal(rocksalt(), DEMO, "isotropic")
    found = crystal.at(WEIGHTS)
    before = crystal.n_evaluations
    assert BULK_MODULUS not in found and BULK_MODULUS in names_of(rocksalt(), "isotropic")
    assert found[BULK_MODULUS] is found[BULK_MODULUS]
    assert crystal.n_evaluations == before + 2 and BULK_MODULUS in found
    assert BULK_MODULUS not in names_of(rocksalt(), "none") + names_of(wurtzite(), "c")
    with pytest.raises(KeyError):
        RelaxedCrystal(rocksalt(), DEMO, "none").at(WEIGHTS)[BULK_MODULUS]


def test_bulk_modulus_of_an_unstable_crystal_is_an_error():
    system = rocksalt()
    curvatures = np.diag([1.0] * 6 + [1, 1, 1, -1, 1, 1] + [0, 0])
    derivatives = SecondDerivatives(0.0, np.zeros(14), curvatures)
    structure = system.structure
    potential = AlchemicalCalculator(system, WEIGHTS, DEMO).potential
    with pytest.raises(UnstableCrystalError, match="bulk_modulus_GPa"):
        bulk_modulus(potential, structure.cart_coords, structure.lattice.matrix, WEIGHTS, derivatives)
