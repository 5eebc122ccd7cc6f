"""Features of atoms, as descriptors: those of mace-torch's calculator, and their symmetries for every architecture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from comparison import AsItIs
from models import perovskite, perovskite_system
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.targets import PotentialTarget
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec

#: A small checkpoint of SevenNet, and its crystal.
SEVENNET = Path(__file__).parents[1] / "data" / "sevennet"


def features(backend: Backend, *images: Atoms) -> np.ndarray:
    structure: Structure = AseAtomsAdaptor.get_structure(images[0])
    potential = AlchemicalPotential(AlchemicalSystem(structure), backend)
    return potential.features([a.positions for a in images], [a.cell.array for a in images]).numpy()


@pytest.mark.parametrize("variant", ["residual", pytest.param("keep-last-irreps", marks=pytest.mark.slow)])
def test_features_of_mace_are_the_descriptors_of_its_calculator(variant, backend):
    atoms = perovskite().to_ase_atoms()
    loaded = backend(variant)
    expected = loaded.library_calculator().get_descriptors(atoms, invariants_only=True)
    for each in (loaded, AsItIs(loaded)):
        found = features(each, atoms)[0]
        np.testing.assert_allclose(found[:, : expected.shape[1]], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("model", ["residual", "sevennet", "chgnet"])
def test_features_do_not_depend_on_orientation_order_or_batch(model, backend):
    atoms = perovskite().to_ase_atoms()
    if model == "sevennet":
        first = json.loads((SEVENNET / "references.json").read_text())[0]
        atoms = Atoms(first["numbers"], first["positions"], cell=first["cell"], pbc=True)
        spec = PotentialSpec(name=str(SEVENNET / "single.pth"), dtype="float64", device="cpu")
        loaded = load_potential(spec)
    else:
        loaded = backend(model)
    turned, moved, reordered = atoms.copy(), atoms.copy(), atoms[::-1]
    turned.rotate(37.0, (1, 2, 3), rotate_cell=True)
    moved.positions[0] += 0.2
    first, second, third = features(loaded, atoms, turned, moved)
    for found, expected in (
        (second, first),
        (features(loaded, reordered)[0][::-1], first),
        (features(AsItIs(loaded), moved)[0], third),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-7 * abs(first).max())
    assert (np.linalg.norm(third - first, axis=1) > 1e-3 * np.linalg.norm(first, axis=1)).sum() > 1


def test_configurations_that_are_not_periodic_get_a_vacuum():
    target = PotentialTarget(PotentialSpec(name="mace-demo", dtype="float64", device="cpu"))
    pair = Atoms("NaCl", [[0, 0, 0], [2.4, 0, 0]])
    in_box = Atoms("NaCl", pair.positions, cell=np.eye(3) * 30, pbc=True)
    np.testing.assert_allclose(target.features([pair]), target.features([in_box]), atol=1e-12)
    assert target.features([Atoms("Na")]).shape == (1, 1, target.features([pair]).shape[2])
    with pytest.raises(InvalidInputError, match="Xe"):
        target.features([bulk("Xe", "fcc", 6.2)])


def test_sites_with_several_elements_have_no_features():
    system = perovskite_system("one group")
    potential = AlchemicalPotential(system, load_potential(PotentialSpec(name="mace-demo", device="cpu")))
    with pytest.raises(InvalidInputError, match="alchemical sites"):
        potential.features([system.structure.cart_coords], [system.structure.lattice.matrix])
