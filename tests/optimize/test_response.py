"""Tests of derivatives of relaxed crystals with respect to composition, against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.interfaces import SecondDerivatives
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError, UnstableCrystalError
from alchemflows.optimize.names import names_of
from alchemflows.optimize.quantities import quantities
from alchemflows.optimize.response import check_cell, free_strains, response
from alchemflows.schemas.potential import PotentialSpec

WEIGHTS = np.array([0.7, 0.3])
DEMO = PotentialSpec(name="mace-demo", dtype="float64", device="cpu")
#: Strains that ASE relaxes (1) or keeps (0), in Voigt order, for each relaxation.
MASKS = {"none": [0] * 6, "c": [0, 0, 1, 0, 0, 0], "axes": [1, 1, 1, 0, 0, 0], "full": [1] * 6}


def wurtzite() -> AlchemicalSystem:
    structure = Structure.from_spacegroup(
        186, Lattice.hexagonal(3.19, 5.10), ["Al", "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.38]]
    )
    return AlchemicalSystem(structure, (uniform_group([0, 1], ["Al", "Sc"]),))


def relaxed(system: AlchemicalSystem, weights: np.ndarray, relaxation: str) -> AlchemicalCalculator:
    calculator = AlchemicalCalculator(system, weights, DEMO)
    atoms = calculator.make_atoms()
    moving = atoms if relaxation == "none" else FrechetCellFilter(atoms, mask=MASKS[relaxation])
    assert BFGS(moving, logfile=None).run(fmax=1e-7, steps=300)
    calculator.atoms = atoms
    return calculator


def found(calculator: AlchemicalCalculator):
    x, h = calculator.atoms.positions, calculator.atoms.cell.array
    derivatives = calculator.potential.second_derivatives(x, h, calculator.weights)
    return derivatives, quantities(calculator.system, h, calculator.weights, derivatives)


@pytest.mark.parametrize("relaxation", list(MASKS))
def test_total_derivatives_equal_finite_differences_of_relaxations(relaxation):
    """Lengths, volume, energy, stresses and chemical potentials agree within a relative 2e-4."""
    system = wurtzite()
    derivatives, here = found(relaxed(system, WEIGHTS, relaxation))
    assert list(here) == names_of(system)
    dz_dw = response(derivatives, system.n_sites, relaxation)
    direction, step = np.array([-1.0, 1.0]), 2e-3
    _, before = found(relaxed(system, WEIGHTS - step * direction, relaxation))
    _, after = found(relaxed(system, WEIGHTS + step * direction, relaxation))
    for name, quantity in here.items():
        expected = (after[name].value - before[name].value) / (2 * step)
        assert quantity.gradient @ dz_dw @ direction == pytest.approx(expected, rel=2e-4, abs=1e-3), name
    fixed = {"none": "abc", "c": "ab", "axes": "", "full": ""}[relaxation]
    for name in fixed:
        assert here[f"{name}_A"].gradient @ dz_dw @ direction == pytest.approx(0, abs=1e-12)
    if relaxation == "full":
        assert abs(here["pressure_GPa"].value) < 1e-4
        assert here["a_A"].gradient @ dz_dw @ direction > 0.1  # Sc is larger than Al
    else:
        assert abs(here["stress_in_plane_GPa"].value) > 0.1 or relaxation == "axes"


def test_strain_derivatives_are_correct_for_a_stressed_crystal():
    """The strain derivative of a nonzero stress has a term beyond the second derivative of the energy."""
    system = wurtzite()
    calculator = relaxed(system, WEIGHTS, "none")
    _, here = found(calculator)
    x, h, n = calculator.atoms.positions, calculator.atoms.cell.array, 3 * system.n_sites
    for k, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        values = []
        for sign in (-1, 1):
            strain = np.zeros((3, 3))
            strain[i, j] = strain[j, i] = sign * 1e-4
            stretch = np.eye(3) + strain
            derivatives = calculator.potential.second_derivatives(x @ stretch, h @ stretch, WEIGHTS)
            values.append(quantities(system, h @ stretch, WEIGHTS, derivatives))
        for name in here:
            expected = (values[1][name].value - values[0][name].value) / 2e-4
            assert here[name].gradient[n + k] == pytest.approx(expected, rel=1e-4, abs=1e-2), (name, i, j)


def test_unstable_crystals_and_unknown_relaxations_are_errors():
    derivatives = SecondDerivatives(0.0, np.zeros(6 + 6 + 1), np.diag([1.0, 1, 1, 1, 1, -1, 2, 2, 2, 2, 2, 2, 0]))
    with pytest.raises(UnstableCrystalError, match="1 deformations"):
        response(derivatives, 2, "none")
    with pytest.raises(InvalidInputError, match=r"none, isotropic.*'b'"):
        free_strains("b")  # type: ignore[arg-type]


def test_relaxation_of_c_requires_c_along_z():
    check_cell("c", wurtzite().structure.lattice.matrix)
    tilted = Lattice.monoclinic(3.2, 3.2, 5.1, 100).matrix
    check_cell("full", tilted)
    with pytest.raises(InvalidInputError, match="'c'"):
        check_cell("c", tilted)
