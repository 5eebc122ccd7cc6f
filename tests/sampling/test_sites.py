"""Whether atoms are on their sites."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.errors import UnstableCrystalError
from alchemflows.sampling.sites import Sites

STRUCTURE = Structure(Lattice.cubic(4.0), ["Cs", "Cl"], [[0] * 3, [0.5] * 3])
NEAREST = 4.0 * np.sqrt(3) / 2
CELLS = torch.tensor(np.array([np.diag([4.0, 4.0, 4.0]), np.diag([4.2, 4.2, 4.4])]))


@pytest.fixture
def sites() -> Sites:
    return Sites(STRUCTURE)


def on_sites() -> torch.Tensor:
    return torch.tensor(STRUCTURE.frac_coords) @ CELLS


def test_sites_move_with_the_cell(sites):
    x = on_sites()
    assert float(sites.displacements(x, CELLS).abs().max()) < 1e-12
    sites.check(x, CELLS, "now")
    x[1, 0, 2] += 0.3
    assert sites.displacements(x, CELLS)[1, 0].tolist() == pytest.approx([0.0, 0.0, 0.3])


def test_an_atom_that_leaves_is_named(sites):
    x = on_sites()
    x[1, 1, 0] += 0.49 * NEAREST
    sites.check(x, CELLS, "now")
    x[1, 1, 0] += 0.02 * NEAREST
    with pytest.raises(
        UnstableCrystalError, match=r"CsCl is not .*: after 3 ps, atom 1 \(Cl\) of replica 1 was 1\.77 Å .* \(3\.46 Å\)"
    ):
        sites.check(x, CELLS, "after 3 ps")


def test_an_atom_alone_in_its_cell_has_its_images_for_neighbours():
    alone = Sites(Structure(Lattice.orthorhombic(3.0, 4.0, 5.0), ["Fe"], [[0.2] * 3]))
    assert alone.nearest_A.tolist() == [3.0]


def test_a_mean_that_shifts_is_another_structure(sites):
    mean, cell = sites.fractional.clone(), CELLS[0]
    mean[1, 1] += 0.29 * NEAREST / 4  # half of it is a motion of all
    sites.check_mean(mean, cell)
    mean[1, 1] += 0.02 * NEAREST / 4
    with pytest.raises(
        UnstableCrystalError, match=r"mean position of atom \d \(Cs|Cl\) is 0\.54 Å from its site.* 15%"
    ):
        sites.check_mean(mean, cell)


def test_a_motion_of_all_atoms_together_does_not_count(sites):
    sites.check_mean(sites.fractional + torch.tensor([0.4, -0.2, 0.3]), CELLS[0])


def test_a_shift_within_the_noise_says_nothing(sites):
    mean, cell = sites.fractional.clone(), CELLS[0]
    mean[1, 1] += 0.5 * NEAREST / 4
    with pytest.raises(UnstableCrystalError):
        sites.check_mean(mean, cell, torch.tensor([0.1, 0.1]))
    sites.check_mean(mean, cell, torch.tensor([0.3, 0.3]))
