"""Grids of compositions: which points, in which order, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.errors import InvalidInputError


@pytest.fixture
def rocksalt() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def ternary(structure, n_intervals=10) -> CompositionGrid:
    return CompositionGrid.simplex(structure, {"Na": ["Li", "Na", "K"]}, n_intervals)


def test_a_ternary_has_every_composition_once(rocksalt):
    grid = ternary(rocksalt)
    points = grid.points
    assert points.shape == (66, 3)
    np.testing.assert_allclose(points.sum(axis=1), 1.0)
    np.testing.assert_allclose(points * 10, np.round(points * 10))
    assert [grid.system.formula(points[k]) for k in grid.corners()] == ["LiCl", "NaCl", "KCl"]
    np.testing.assert_allclose(grid.corner_shares(), points)
    assert grid.direction() is None


def test_two_groups_make_the_product(rocksalt):
    grid = CompositionGrid.simplex(rocksalt, {"Na": ["Na", "K"], "Cl": ["Cl", "Br", "I"]}, 2)
    assert grid.points.shape == (3 * 6, 5)
    corners = grid.corners()
    assert len(corners) == 6
    shares = grid.corner_shares()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    np.testing.assert_allclose(shares[corners], np.eye(6))
    middle = int(np.flatnonzero((grid.points == [0.5, 0.5, 0.5, 0.5, 0.0]).all(axis=1))[0])
    assert sorted(shares[middle]) == [0, 0, 0.25, 0.25, 0.25, 0.25]


def test_a_line_has_a_direction(rocksalt):
    grid = CompositionGrid.line(rocksalt, {"Na": "K"}, [0.0, 0.25, 0.5])
    np.testing.assert_allclose(grid.points, [[1, 0], [0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(grid.direction(), [-0.5, 0.5])
    assert grid.corners() is None


def test_partial_occupancies_name_sites_and_are_not_read(rocksalt):
    rocksalt.replace_species({"Na": {"Na": 0.3, "K": 0.6}})
    grid = CompositionGrid.simplex(rocksalt, {"Na": ["Na", "K"]}, 2)
    np.testing.assert_allclose(grid.points, [[0, 1], [0.5, 0.5], [1, 0]])


def test_each_point_starts_from_a_neighbour_that_is_known(rocksalt):
    grid = ternary(rocksalt)
    step = np.sqrt(2) / 10 + 1e-9
    for roots in ([], [0], [0, 65, 30]):
        seen, depth = set(roots), dict.fromkeys(roots, 0)
        for point, parent in grid.tree(roots):
            if parent is None:
                assert not roots and not seen
                np.testing.assert_allclose(grid.points[point], [0.3, 0.3, 0.4], atol=0.11)
                depth[point] = 0
            else:
                assert parent in seen
                assert np.linalg.norm(grid.points[point] - grid.points[parent]) < step
                depth[point] = depth[parent] + 1
            assert point not in seen
            seen.add(point)
        assert seen == set(range(66))
        assert max(depth.values()) <= 10  # as near as the grid allows: chains are short


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda s: ternary(s, 0), "n_intervals"),
        (lambda s: CompositionGrid.simplex(s, {}, 2), "choices"),
        (lambda s: CompositionGrid.simplex(s, {"Mg": ["Mg", "Ca"]}, 2), "Mg"),
        (lambda s: CompositionGrid.simplex(s, {"Na": ["Na", "Xx"]}, 2), "Xx"),
        (lambda s: CompositionGrid.simplex(s, {"Na": ["Na", "Na"]}, 2), "Na, Na"),
        (lambda s: CompositionGrid.simplex(s, {"Na": ["Na"]}, 2), "Na"),
        (lambda s: CompositionGrid.line(s, {"Na": "K"}, [0.0, 1.2]), r"1\.2"),
        (lambda s: CompositionGrid.line(s, {"Na": "K"}, [0.5, 0.5]), "weights"),
        (lambda s: CompositionGrid.line(s, {"Na": "K"}, []), ""),
        (lambda s: CompositionGrid(ternary(s).system, ((0.5, 0.7, 0.0),)), r"1\.2"),
    ],
)
def test_bad_grids(rocksalt, make, reason):
    with pytest.raises(InvalidInputError, match=reason):
        make(rocksalt)


def test_disorder_without_choices_is_refused(rocksalt):
    rocksalt.replace_species({"Cl": {"Cl": 0.5, "Br": 0.5}})
    with pytest.raises(InvalidInputError, match="choices: site 4"):
        ternary(rocksalt)
    with pytest.raises(InvalidInputError, match="Cl and Br"):
        CompositionGrid.simplex(rocksalt, {"Cl": ["Cl", "I"], "Br": ["Br", "I"]}, 2)
