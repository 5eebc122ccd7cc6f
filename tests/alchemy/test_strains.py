"""Strains of cells: what a pressure changes, and what a symmetry allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from crystals import CUBIC, HEXAGONAL, MONOCLINIC, PRIMITIVE, TETRAGONAL, TRICLINIC
from pymatgen.core import Lattice
from scipy.linalg import expm

from alchemflows.alchemy.strains import (
    freedom_of_symmetry,
    frozen_directions,
    log_strains,
    sampled_directions,
    split_by_symmetry,
)
from alchemflows.alchemy.symmetry import symmetry_of
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.sampling.barostat import Barostat
from alchemflows.schemas.dynamics import Conditions


def point_group(structure) -> np.ndarray:
    return symmetry_of(AlchemicalSystem(structure)).point_group


def test_strains_are_those_that_made_the_cells():
    rng = np.random.default_rng(0)
    cell = TRICLINIC.lattice.matrix
    for _ in range(5):
        e = 0.05 * rng.normal(size=(3, 3))
        e = (e + e.T) / 2
        turn = expm(np.cross(np.eye(3), rng.normal(size=3)))
        parameters = Lattice(cell @ expm(e) @ turn).parameters
        expected = [e[0, 0], e[1, 1], e[2, 2], *(2**0.5 * np.array([e[1, 2], e[0, 2], e[0, 1]]))]
        np.testing.assert_allclose(log_strains(parameters, cell), expected, atol=1e-9)
    many = np.tile(TRICLINIC.lattice.parameters, (4, 2, 1))
    np.testing.assert_allclose(log_strains(many, cell), np.zeros((4, 2, 6)), atol=1e-12)


@pytest.mark.parametrize("freedom", ["isotropic", "axes", "full"])
def test_the_barostat_moves_along_these_strains(freedom):
    cell = torch.as_tensor(np.array(MONOCLINIC.lattice.matrix))[None]
    barostat = Barostat(Conditions(temperature_K=300.0, pressure_GPa=0.0, cell_freedom=freedom))
    barostat.set_stiffness(torch.tensor([1.0], dtype=torch.float64), torch.linalg.det(cell).abs())
    stress = 1e-5 * torch.ones(1, 3, 3, dtype=torch.float64)
    directions = sampled_directions(MONOCLINIC.lattice.matrix, freedom)
    assert len(directions) == barostat.n_directions
    generator = torch.Generator().manual_seed(0)
    seen = []
    for _ in range(8):
        noise = 1e-3 * torch.randn(1, barostat.n_directions, generator=generator, dtype=torch.float64)
        deformation = barostat.deformation(cell, stress, 0, noise)
        seen.append(log_strains(Lattice((cell @ deformation)[0].numpy()).parameters, MONOCLINIC.lattice.matrix))
    strains = np.array(seen) / np.abs(seen).max()
    np.testing.assert_allclose(strains @ directions.T @ directions, strains, atol=1e-3)
    assert np.linalg.matrix_rank(strains, tol=1e-2) == len(directions)


@pytest.mark.parametrize(
    ("crystal", "allowed", "least"),
    [
        (CUBIC, 1, "isotropic"),
        (CUBIC * (1, 1, 2), 2, "axes"),
        (PRIMITIVE, 1, "isotropic"),
        (HEXAGONAL, 2, "axes"),
        (HEXAGONAL * (2, 3, 1), 4, "full"),
        (TETRAGONAL, 2, "axes"),
        (MONOCLINIC, 4, "full"),
        (TRICLINIC, 6, "full"),
    ],
    ids=["cubic", "long cubic", "primitive", "hexagonal", "uneven hexagonal", "tetragonal", "monoclinic", "triclinic"],
)
def test_free_directions_of_a_symmetry(crystal, allowed, least):
    rotations, cell = point_group(crystal), crystal.lattice.matrix
    kept, breaking = split_by_symmetry(np.eye(6), cell, rotations)
    assert (len(kept), len(breaking)) == (allowed, 6 - allowed)
    np.testing.assert_allclose(kept @ breaking.T, 0, atol=1e-9)
    assert freedom_of_symmetry(cell, rotations) == least
    assert frozen_directions(cell, rotations, "isotropic") == allowed - 1
    assert frozen_directions(cell, rotations, least) == frozen_directions(cell, rotations, "full") == 0


def test_axes_of_a_hexagonal_crystal_have_two_free_lengths():
    directions = sampled_directions(HEXAGONAL.lattice.matrix, "axes")
    kept, breaking = split_by_symmetry(directions, HEXAGONAL.lattice.matrix, point_group(HEXAGONAL))
    assert (len(kept), len(breaking)) == (2, 1)
    longer = log_strains(Lattice.hexagonal(3.2, 4.98).parameters, HEXAGONAL.lattice.matrix)
    np.testing.assert_allclose(longer @ kept.T @ kept, longer, atol=1e-12)
