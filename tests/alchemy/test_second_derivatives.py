"""First and second derivatives in positions, strain and weights at once, against evaluations and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import uniform_group
from alchemflows.alchemy.interfaces import VOIGT
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

WEIGHTS = np.array([0.6, 0.3, 0.1])


def potential(name: str, coupling: str, dtype: str = "float64") -> AlchemicalPotential:
    """Wurtzite with three metals, rattled, so that nothing vanishes by symmetry."""
    structure = Structure.from_spacegroup(
        186, Lattice.hexagonal(3.2, 5.15), ["Al", "N"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.38]]
    )
    rattled = structure.cart_coords + 0.05 * np.random.default_rng(1).normal(size=(4, 3))
    structure = Structure(structure.lattice, structure.species, rattled, coords_are_cartesian=True)
    system = AlchemicalSystem(structure, (uniform_group([0, 1], ["Al", "Sc", "Ga"]),), coupling)
    return AlchemicalPotential(system, load_potential(PotentialSpec(name=name, dtype=dtype, device="cpu")))


def moved(model: AlchemicalPotential, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, cell and weights at coordinates z."""
    n = 3 * model.system.n_sites
    strain = np.zeros((3, 3))
    for value, (i, j) in zip(z[n : n + 6], VOIGT, strict=True):
        strain[i, j] = strain[j, i] = value
    stretch = np.eye(3) + strain
    structure = model.system.structure
    return (
        (structure.cart_coords + z[:n].reshape(-1, 3)) @ stretch,
        structure.lattice.matrix @ stretch,
        WEIGHTS + z[n + 6 :],
    )


@pytest.mark.parametrize(
    ("name", "coupling"),
    [
        ("mace-demo", "paired"),
        ("mace-demo", "mean-field"),
        pytest.param("sevennet-0", "mean-field", marks=pytest.mark.slow),
        pytest.param("sevennet-0", "paired", marks=pytest.mark.slow),
        pytest.param("chgnet", "mean-field", marks=pytest.mark.slow),
    ],
)
def test_against_evaluations_and_finite_differences(name, coupling):
    if name != "mace-demo":
        pytest.importorskip({"sevennet-0": "sevenn", "chgnet": "chgnet"}[name])
    model = potential(name, coupling)
    n = 3 * model.system.n_sites
    zero = np.zeros(n + 6 + 3)
    found = model.second_derivatives(*moved(model, zero))
    evaluated = model.evaluate(*(values[None] for values in moved(model, zero)))
    volume = model.system.structure.volume
    stress = [(1 + (i != j)) * volume * float(evaluated.stress[0, i, j]) for i, j in VOIGT]
    expected = np.concatenate([-evaluated.forces[0].numpy().ravel(), stress, evaluated.weight_gradients[0].numpy()])
    assert found.energy_eV == pytest.approx(float(evaluated.energy[0]), abs=1e-10)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-9)
    np.testing.assert_array_equal(found.hessian, found.hessian.T)
    # moving all atoms alike changes nothing
    uniform = np.concatenate([np.tile([0.3, -0.2, 0.5], n // 3), np.zeros(9)])
    np.testing.assert_allclose(found.hessian @ uniform, 0, atol=1e-8)

    rng = np.random.default_rng(0)
    scale = np.concatenate([np.full(n, 1.0), np.full(6, 0.2), np.full(3, 1.0)])
    for _ in range(6):
        direction = scale * rng.normal(size=len(zero))
        h = 2e-5  # small: third derivatives of cutoff functions jump
        steps = [moved(model, k * h * direction) for k in (-2, -1, 0, 1, 2)]
        energies = [float(model.energies(x[None], c[None], w[None, None])[0, 0]) for x, c, w in steps]
        numerical = np.dot([-1, 16, -30, 16, -1], energies) / (12 * h**2)
        assert direction @ found.hessian @ direction == pytest.approx(numerical, rel=3e-6)


def test_float32_is_too_coarse():
    model = potential("mace-demo", "paired", "float32")
    with pytest.raises(InvalidInputError, match="float64"):
        model.second_derivatives(*moved(model, np.zeros(3 * model.system.n_sites + 9)))
