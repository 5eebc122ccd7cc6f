"""Equivalent atoms and lattice translations of crystals that are known."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem


def rock_salt(supercell: int = 1) -> Structure:
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    structure.make_supercell([supercell] * 3)
    return structure


def iron() -> Structure:
    structure = Structure(Lattice.cubic(2.83), ["Fe", "Fe"], [[0, 0, 0], [0.5] * 3])
    structure.make_supercell([2, 2, 2])
    return structure


def delta_phase() -> Structure:
    """The yellow phase of CsPbI3: four formula units, all atoms on mirrors."""
    return Structure.from_spacegroup(
        "Pnma",
        Lattice.orthorhombic(10.43, 4.79, 17.76),
        ["Cs", "Pb", "I", "I", "I"],
        [[0.584, 0.25, 0.829], [0.660, 0.25, 0.062], [0.649, 0.25, 0.498], [0.799, 0.25, 0.213], [0.967, 0.25, 0.614]],
    )


@pytest.mark.parametrize(
    ("structure", "space_group", "n_primitive", "n_kinds"),
    [(rock_salt(2), 225, 32, 2), (iron(), 229, 16, 1), (delta_phase(), 62, 1, 5)],
    ids=["NaCl", "Fe", "CsPbI3"],
)
def test_crystals(structure, space_group, n_primitive, n_kinds):
    found = symmetry_of(AlchemicalSystem(structure))
    assert (found.space_group, found.n_primitive_cells) == (space_group, n_primitive)
    labels = found.equivalent_atoms
    assert labels.shape == (len(structure),) and len(set(labels)) == n_kinds
    species = np.array([site.species_string for site in structure])
    for label in set(labels):
        assert len(set(species[labels == label])) == 1
        assert (labels == label).sum() == len(structure) // n_kinds


def test_noise_of_relaxed_positions_does_not_matter_but_a_distortion_does():
    structure = rock_salt(2)
    rng = np.random.default_rng(0)
    for scale, n_primitive in ((0.003, 32), (0.3, 1)):
        shaken = Structure(
            structure.lattice, structure.species, structure.frac_coords + rng.normal(scale=scale, size=(64, 3)) / 11.28
        )
        assert symmetry_of(AlchemicalSystem(shaken)).n_primitive_cells == n_primitive


def test_sites_of_a_group_are_alike_whatever_their_host_says():
    structure = rock_salt(2)
    for site in range(16):
        structure.replace(site, "K")  # half of the cations of the host
    path = AlchemicalPath.from_substitution(structure, {"K": "Rb", "Na": "Rb"})
    assert len(path.system.groups) == 2
    assert symmetry_of(path.system).n_primitive_cells < 32
    # One group of mixed occupancy: the host's elements are not read.
    mixed, _ = AlchemicalSystem.from_structure(Structure.from_sites(rock_salt(2)))
    alloy = rock_salt(2)
    alloy.replace_species({"Na": {"Na": 0.25, "K": 0.75}})
    disordered, _ = AlchemicalSystem.from_structure(alloy)
    assert disordered.groups and not mixed.groups
    for system in (mixed, disordered):
        assert symmetry_of(system).n_primitive_cells == 32
        assert len(set(symmetry_of(system).equivalent_atoms)) == 2


def test_one_changing_site_ends_the_translations():
    path = AlchemicalPath.from_substitution(rock_salt(2), {"Na": None}, sites=[0])
    found = symmetry_of(path.system)
    assert found.n_primitive_cells == 1
    assert (found.equivalent_atoms == found.equivalent_atoms[0]).sum() == 1
    # Its nearest neighbours remain equivalent to each other.
    nearest = np.flatnonzero(np.isclose(path.system.structure.distance_matrix[0], 2.82, atol=1e-3))
    assert len(nearest) == 6 and len(set(found.equivalent_atoms[nearest])) == 1


def test_channels_of_one_group_that_hold_other_elements_are_not_alike():
    """A swap Na ↔ K: both sites are in one group, but their elements are not the same at any weight."""
    structure = Structure(Lattice.cubic(4.0), ["Na", "K"], [[0, 0, 0], [0.5] * 3])
    same = AlchemicalSystem(structure, (SiteGroup((0, 1), ((11, 11), (19, 19))),))
    swap = AlchemicalSystem(structure, (SiteGroup((0, 1), ((11, 19), (19, 11))),))
    assert symmetry_of(same).n_primitive_cells == 2
    assert symmetry_of(swap).n_primitive_cells == 1
    assert len(set(symmetry_of(swap).equivalent_atoms)) == 2
