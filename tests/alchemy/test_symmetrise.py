"""Mean cells and mean positions get the space group of their crystal back, and keep all else."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from crystals import CUBIC, HEXAGONAL, MONOCLINIC, PRIMITIVE, TETRAGONAL, TRICLINIC, shaken
from pymatgen.core import Structure

from alchemflows.alchemy.symmetrise import symmetric_cell, symmetrised
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem

CRYSTALS = [
    (CUBIC, 225),
    (HEXAGONAL * (2, 2, 1), 186),
    (TETRAGONAL * (1, 1, 2), 136),
    (MONOCLINIC, 14),
    (PRIMITIVE * (2, 2, 2), 225),
]
IDS = ["cubic", "hexagonal", "tetragonal", "monoclinic", "primitive"]


def masses_of(structure: Structure) -> np.ndarray:
    return np.array([site.specie.atomic_mass for site in structure])


def back(structure: Structure, system: AlchemicalSystem) -> Structure:
    return symmetrised(structure, system, masses_of(structure))


def tight_space_group(structure: Structure) -> int:
    cell = (structure.lattice.matrix, structure.frac_coords, structure.atomic_numbers)
    return spglib.get_symmetry_dataset(cell, symprec=1e-6).number


def centre(structure: Structure) -> np.ndarray:
    return masses_of(structure) @ structure.frac_coords / masses_of(structure).sum()


@pytest.mark.parametrize(("crystal", "space_group"), CRYSTALS, ids=IDS)
def test_a_noisy_crystal_gets_its_symmetry_back(crystal, space_group):
    system = AlchemicalSystem(crystal)
    for seed in range(5):
        noisy = shaken(crystal, seed)
        assert tight_space_group(noisy) == 1
        found = back(noisy, system)
        assert tight_space_group(found) == space_group
        assert found.volume == pytest.approx(noisy.volume)
        np.testing.assert_allclose(centre(found), centre(noisy), atol=1e-12)
        # Idempotent.
        again = back(found, system)
        np.testing.assert_allclose(again.lattice.matrix, found.lattice.matrix, atol=1e-12)
        np.testing.assert_allclose(again.frac_coords, found.frac_coords, atol=1e-12)
        # The cell does not turn: what is between is a pure strain.
        strain = np.linalg.inv(noisy.lattice.matrix) @ found.lattice.matrix
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)


@pytest.mark.parametrize(("crystal", "space_group"), CRYSTALS, ids=IDS)
def test_a_crystal_in_its_space_group_is_unchanged(crystal, space_group):
    """A crystal in its space group is unchanged, wherever its free coordinates and its origin are."""
    system = AlchemicalSystem(crystal)
    moved = Structure(crystal.lattice, crystal.species, crystal.frac_coords + np.array([0.013, -0.007, 0.002]))
    for given in (crystal, back(shaken(crystal, 7), system)):
        found = back(given, system)
        np.testing.assert_allclose(found.lattice.matrix, given.lattice.matrix, atol=1e-12)
        np.testing.assert_allclose(found.frac_coords, given.frac_coords, atol=1e-12)
    np.testing.assert_allclose(back(moved, AlchemicalSystem(moved)).frac_coords, moved.frac_coords, atol=1e-9)


def test_a_crystal_without_symmetry_keeps_its_noise():
    noisy = shaken(TRICLINIC, 3)
    found = symmetrised(noisy, AlchemicalSystem(TRICLINIC), masses_of(noisy))
    np.testing.assert_allclose(found.lattice.matrix, noisy.lattice.matrix, atol=1e-12)
    np.testing.assert_allclose(found.frac_coords, noisy.frac_coords, atol=1e-12)


def test_positions_are_the_mean_over_all_operations():
    """By translations and rotations one after the other, as by all of them at once."""
    crystal = HEXAGONAL * (2, 2, 1)
    system, noisy = AlchemicalSystem(crystal), shaken(crystal, 1, strain=0.0)
    data = spglib.get_symmetry_dataset((crystal.lattice.matrix, crystal.frac_coords, crystal.atomic_numbers))
    total = np.zeros((len(crystal), 3))
    for rotation, translation in zip(data.rotations, data.translations, strict=True):
        image = crystal.frac_coords @ rotation.T + translation
        moved = noisy.frac_coords @ rotation.T + translation
        for k in range(len(crystal)):
            apart = crystal.frac_coords - image[k]
            to = np.linalg.norm((apart - apart.round()) @ crystal.lattice.matrix, axis=1).argmin()
            step = moved[k] - crystal.frac_coords[to]
            total[to] += crystal.frac_coords[to] + step - step.round()
    expected = total / len(data.rotations)
    found = back(noisy, system).frac_coords
    masses = masses_of(crystal)
    np.testing.assert_allclose(found, expected + masses @ (noisy.frac_coords - expected) / masses.sum(), atol=1e-9)


def test_alchemical_sites_are_alike_and_changed_ones_are_not():
    mixed = CUBIC.copy()
    mixed.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    system, weights = AlchemicalSystem.from_structure(mixed)
    noisy = shaken(system.structure, 0)
    found = symmetrised(noisy, system, system.masses(weights))
    assert found.lattice.angles == pytest.approx((90, 90, 90)) and np.ptp(found.lattice.abc) < 1e-9
    cation = CUBIC.copy()
    cation.replace(0, "K")
    lower = symmetry_of(AlchemicalSystem(cation))
    assert lower.n_primitive_cells == 1 and len(lower.point_group) == 48
    assert len(symmetry_of(AlchemicalSystem(TRICLINIC)).point_group) == 1


def test_the_metric_is_invariant():
    for crystal, _ in CRYSTALS:
        rotations = symmetry_of(AlchemicalSystem(crystal)).point_group
        cell = symmetric_cell(shaken(crystal, 2).lattice.matrix, rotations)
        metric = cell @ cell.T
        for rotation in rotations:
            np.testing.assert_allclose(rotation.T @ metric @ rotation, metric, atol=1e-10)
