"""The neighbour list with a skin: nothing within the cutoff is ever missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matscipy.neighbours import neighbour_list

from alchemflows.alchemy.neighbours import NeighbourList, both_directions

CUTOFF_A = 3.0


def pairs_inside(found: NeighbourList, positions: np.ndarray, cells: np.ndarray) -> set[tuple[int, ...]]:
    inside = set()
    for b, (first, second, shifts) in enumerate(found.pairs):
        vectors = positions[b, second] - positions[b, first] + shifts @ cells[b]
        columns = np.column_stack([np.full(len(first), b), first, second, shifts])
        inside |= set(map(tuple, columns[np.linalg.norm(vectors, axis=1) < CUTOFF_A].tolist()))
    return inside


def update(pairs: NeighbourList, positions: np.ndarray, cells: np.ndarray) -> list[int]:
    return pairs.update(torch.as_tensor(positions), torch.as_tensor(cells))


def expected(positions: np.ndarray, cells: np.ndarray) -> set[tuple[int, ...]]:
    pairs = set()
    for b, (x, h) in enumerate(zip(positions, cells, strict=True)):
        first, second, shifts = neighbour_list(
            "ijS", positions=x, cell=h, pbc=[True] * 3, numbers=np.ones(len(x), dtype=np.int32), cutoff=CUTOFF_A
        )
        pairs |= set(map(tuple, np.column_stack([np.full(len(first), b), first, second, shifts]).tolist()))
    return pairs


@pytest.fixture
def gas() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    cells = np.eye(3) * 5.0 + rng.normal(0, 0.4, (3, 3, 3))
    return rng.uniform(0, 5, (3, 25, 3)), cells


@pytest.mark.parametrize("skin", [0.0, 0.3, 1.0])
def test_no_pair_is_missing_on_a_long_walk(skin, gas):
    positions, cells = gas
    rng = np.random.default_rng(2)
    pairs = NeighbourList(CUTOFF_A, skin)
    drift = rng.normal(0, 0.02, positions.shape)
    renewed = []
    for _ in range(60):
        renewed.append(update(pairs, positions, cells))
        assert pairs_inside(pairs, positions, cells) == expected(positions, cells)
        positions = positions + drift
    assert renewed[0]
    assert all(renewed) == (skin == 0)


@pytest.mark.parametrize("reach_A", [2.0, 3.5, 7.0])
def test_lists_that_torch_builds_for_a_batch_are_those_of_matscipy(reach_A, gas, monkeypatch):
    from alchemflows.alchemy import device_pairs

    monkeypatch.setattr(device_pairs, "CANDIDATES_AT_ONCE", 10_000)
    positions, cells = gas
    positions = positions + np.random.default_rng(6).integers(-2, 3, positions.shape) @ cells
    together, one_by_one = (NeighbourList(reach_A, 0.0, on_device=on_device) for on_device in (True, False))
    for each in (together, one_by_one):
        assert update(each, positions, cells) == [0, 1, 2]
    for found, expected_pairs in zip(together.pairs, one_by_one.pairs, strict=True):
        rows, expected_rows = (
            [tuple(row) for row in np.column_stack(pairs).tolist()] for pairs in (found, expected_pairs)
        )
        assert len(set(rows)) == len(rows) > 0
        assert set(rows) == set(expected_rows)


@pytest.mark.parametrize("on_device", [True, False])
def test_only_lists_that_are_out_of_date_are_built(on_device, gas):
    positions, cells = gas
    pairs = NeighbourList(CUTOFF_A, 0.3, on_device=on_device)
    update(pairs, positions, cells)
    moved = positions.copy()
    moved[1] += np.random.default_rng(3).normal(0, 0.5, moved[1].shape)
    kept = pairs.pairs[0]
    assert update(pairs, moved, cells) == [1]
    assert pairs.pairs[0] is kept
    assert pairs_inside(pairs, moved, cells) == expected(moved, cells)


def test_pairs_listed_in_one_direction_are_left_out():
    """A pair that is as long as the list reaches may be listed in one direction only, by rounding."""
    first, second = np.array([0, 1, 1, 2, 0, 0]), np.array([1, 0, 2, 1, 0, 0])
    shifts = np.array([[0, 0, 1], [0, 0, -1], [0, 0, 0], [0, 1, 0], [1, 0, 0], [-1, 0, 0]])
    (i, j, s), reverse = both_directions(first, second, shifts)
    assert i.tolist() == [0, 1, 0, 0]
    assert j.tolist() == [1, 0, 0, 0]
    assert reverse.tolist() == [1, 0, 3, 2]
    np.testing.assert_array_equal(s[reverse], -s)
    empty, none = both_directions(first[:0], second[:0], shifts[:0])
    assert len(empty[0]) == len(none) == 0


def test_cells_that_change_under_resting_atoms(gas):
    positions, cells = gas
    pairs = NeighbourList(CUTOFF_A, 0.3)
    for b in (0, 2, 2, 1):
        update(pairs, positions, cells)
        assert not update(pairs, positions, cells)
        cells = cells.copy()
        cells[b] *= 0.9
        assert update(pairs, positions, cells)
        assert pairs_inside(pairs, positions, cells) == expected(positions, cells)


def test_cells_that_breathe_keep_their_list_while_it_is_complete(gas):
    """As under a barostat: cell and atoms change a little in every step."""
    positions, cells = gas
    rng = np.random.default_rng(4)
    pairs = NeighbourList(CUTOFF_A, 0.5)
    renewed = []
    strain = np.eye(3)
    for _ in range(60):
        renewed.append(len(update(pairs, positions @ strain, cells @ strain)))
        assert pairs_inside(pairs, positions @ strain, cells @ strain) == expected(positions @ strain, cells @ strain)
        strain = strain @ (np.eye(3) + rng.normal(-0.002, 0.003, (3, 3)))
    assert renewed[0] == 3
    assert 3 < sum(renewed) < 60


def test_arrays_that_change_in_place(gas):
    positions, cells = gas
    pairs = NeighbourList(CUTOFF_A, 0.3)
    update(pairs, positions, cells)
    positions += np.random.default_rng(3).normal(0, 0.5, positions.shape)
    assert update(pairs, positions, cells)
    cells[1] *= 0.9
    assert update(pairs, positions, cells)
    assert pairs_inside(pairs, positions, cells) == expected(positions, cells)


def test_an_interrupted_update_is_done_again(gas, monkeypatch):
    from alchemflows.alchemy import neighbours

    positions, cells = gas
    pairs = NeighbourList(CUTOFF_A, 0.3)
    update(pairs, positions, cells)
    moved = positions + np.random.default_rng(5).normal(0, 0.3, positions.shape)
    calls = []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return neighbour_list(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(neighbours, "neighbour_list", interrupted)
        update(pairs, moved, cells)
    with pytest.raises(torch.linalg.LinAlgError):
        update(pairs, moved, 0 * cells)
    assert update(pairs, moved, cells)
    assert pairs_inside(pairs, moved, cells) == expected(moved, cells)


def test_another_batch(gas):
    positions, cells = gas
    pairs = NeighbourList(CUTOFF_A, 0.3)
    for n_replicas, n_atoms in ((3, 25), (2, 25), (2, 20), (3, 20)):
        assert update(pairs, positions[:n_replicas, :n_atoms], cells[:n_replicas])
        found = pairs_inside(pairs, positions[:n_replicas, :n_atoms], cells[:n_replicas])
        assert found == expected(positions[:n_replicas, :n_atoms], cells[:n_replicas])
