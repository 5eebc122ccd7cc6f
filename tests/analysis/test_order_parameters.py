"""Order parameters of known arrangements, of random ones, and of the same crystal in cells of different size."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.analysis.order import Shell, Wave, shells, warren_cowley, wave_order
from alchemflows.errors import InvalidInputError

A = 4.0
CELL = Lattice.cubic(A)
BASES = {
    "sc": [[0, 0, 0]],
    "bcc": [[0, 0, 0], [0.5, 0.5, 0.5]],
    "fcc": [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
}


def crystal(kind: str, supercell=(2, 2, 2)) -> Structure:
    return Structure(CELL, ["Au"] * len(BASES[kind]), BASES[kind]) * supercell


def halves(structure: Structure) -> np.ndarray:
    """Return the positions in units of a/2 as whole numbers."""
    return np.rint(structure.cart_coords / (A / 2)).astype(int)


def alpha(shell: Shell, occupied: np.ndarray) -> float:
    (joint,) = shell.joint(occupied[None], ~occupied[None])
    return warren_cowley(joint, occupied.mean(), (~occupied).mean())


#: Where A is in each ordered arrangement, by position in units of a/2; α of the first shells; waves with order 1.
ORDERED = {
    "rocksalt order on sc": (
        "sc", lambda r: (r // 2).sum(axis=1) % 2 == 0, [-1, 1, -1], [(0.5, 0.5, 0.5)], [(0.5, 0.5, 0), (0.5, 0, 0)],
    ),
    "B2": ("bcc", lambda r: r[:, 0] % 2 == 0, [-1, 1, 1], [(1, 0, 0), (0, 0, 1), (1, 1, 1)], [(0.5, 0.5, 0)]),
    "B32": ("bcc", lambda r: r.sum(axis=1) % 4 < 2, [0, -1, 1], [(0.5, 0.5, 0.5)], [(1, 0, 0)]),
    "L1_0": ("fcc", lambda r: r[:, 2] % 2 == 0, [-1 / 3, 1, -1 / 3], [(0, 0, 1)], [(1, 0, 0), (0.5, 0.5, 0.5)]),
    "L1_1": ("fcc", lambda r: r.sum(axis=1) % 4 == 0, [0, -1, 0], [(0.5, 0.5, 0.5)], [(1, 0, 0)]),
    "L1_2": (
        "fcc", lambda r: (r % 2 == 0).all(axis=1), [-1 / 3, 1, -1 / 3], [(1, 0, 0), (0, 1, 0), (0, 0, 1)],
        [(0.5, 0.5, 0.5)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERED)
@pytest.mark.parametrize("supercell", [(2, 2, 2), (4, 2, 2)])
def test_ordered_arrangements(name, supercell):
    kind, rule, alphas, waves, absent = ORDERED[name]
    structure = crystal(kind, supercell)
    occupied = rule(halves(structure))
    found = shells(structure, 3)
    assert [alpha(shell, occupied) for shell in found] == pytest.approx(alphas)
    assert [alpha(shell, ~occupied) for shell in found] == pytest.approx(alphas)
    for vector, order in [(q, 1) for q in waves] + [(q, 0) for q in absent]:
        wave = Wave.of(structure, vector, CELL)
        for species in (occupied, ~occupied):
            (squared,) = wave.squared(species[None])
            assert wave_order(squared, wave, species.mean()) == pytest.approx(order, abs=1e-12)


def test_the_arrangement_of_a_wave_has_its_order():
    """A wave of three layers up and three down, which is not the amplitude ½ of an alternating one."""
    cell = Structure(Lattice.cubic(A), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]])
    disorder = Disorder(cell, (6, 1, 1))
    structure = disorder.wave([1 / 6, 0, 0], cell)
    wave = Wave.of(disorder.system.structure, [1 / 6, 0, 0], cell.lattice)
    ideal = {tuple(site.coords.round(6)): k for k, site in enumerate(disorder.system.structure)}
    occupied = np.zeros((1, 6), dtype=bool)
    for site in structure:
        occupied[0, ideal[tuple(site.coords.round(6))]] = site.specie.symbol == "Na"
    (squared,) = wave.squared(occupied)
    assert squared == pytest.approx(1 / 9)
    assert wave_order(squared, wave, 0.5) == pytest.approx(1)


@pytest.mark.parametrize("vector", [(1 / 3, 0, 0), (0, 0.25, 0), (1 / 3, 0.5, 0)])
def test_the_largest_amplitude_is_that_of_all_arrangements(vector):
    structure = crystal("sc", (3, 4, 1))
    wave = Wave.of(structure, vector, CELL)
    every = np.array(list(product([False, True], repeat=12)))
    squared = wave.squared(every)
    for count in range(1, 12):
        assert wave.largest(count / 12) == pytest.approx(squared[every.sum(axis=1) == count].max())
        mean = squared[every.sum(axis=1) == count].mean()
        assert wave.random_squared(np.array([count / 12])) == pytest.approx(mean)


def test_pairs_are_those_of_brute_force():
    """Neighbours of one cell among all images, in a skew cell in which sites are neighbours of their own images."""
    rng = np.random.default_rng(3)
    lattice = Lattice([[3.0, 0.2, 0], [0.7, 4.0, 0.3], [0, 0.5, 9.0]])
    structure = Structure(lattice, ["Au"] * 3, rng.uniform(size=(3, 3)))
    images = np.array(list(product(range(-6, 7), repeat=3))) @ lattice.matrix
    vectors = structure.cart_coords[None, :, None] - structure.cart_coords[:, None, None] + images
    distances = np.linalg.norm(vectors, axis=-1)
    ascending = np.unique(distances[distances > 1e-8].round(8))
    edges = np.flatnonzero(np.diff(ascending) > 0.05)[:4]
    low = 1e-8
    for shell, edge in zip(shells(structure, 4), edges, strict=True):
        inside = (distances > low) & (distances < ascending[edge] + 0.01)
        assert np.array_equal(shell.pairs.toarray(), inside.sum(axis=2))
        assert shell.distance_A == pytest.approx(distances[inside].mean())
        assert np.array_equal(shell.pairs.toarray(), shell.pairs.toarray().T)
        low = ascending[edge] + 0.01


@pytest.mark.parametrize("supercell", [(2, 2, 1), (3, 2, 1)])
def test_random_arrangements_of_a_small_cell(supercell):
    """The mean over all arrangements of one composition, in cells with neighbours that are images of one site."""
    structure = crystal("sc", supercell)
    n = len(structure)
    every = np.array(sorted(set(permutations([True] * 2 + [False] * (n - 2)))))
    for shell in shells(structure, 3):
        joint = shell.joint(every, ~every).mean()
        (expected,) = shell.random_joint(np.array([2 / n]), np.array([1 - 2 / n]), same=False)
        assert joint == pytest.approx(expected)
        (like,) = shell.random_joint(np.array([2 / n]), np.array([2 / n]), same=True)
        assert shell.joint(every, every).mean() == pytest.approx(like)


def test_random_arrangements_of_a_large_cell():
    """Without own images, α of random arrangements is −1/(n − 1), also for three species; like pairs follow."""
    structure = crystal("fcc", (3, 3, 3))
    rng = np.random.default_rng(0)
    labels = np.array([rng.permutation(np.repeat([0, 1, 2], [28, 40, 40])) for _ in range(1000)])
    shares = np.array([28, 40, 40]) / 108
    (shell,) = shells(structure, 1)
    alphas = np.empty((3, 3, 1000))
    for a, b in product(range(3), repeat=2):
        alphas[a, b] = [warren_cowley(p, shares[a], shares[b]) for p in shell.joint(labels == a, labels == b)]
        if a != b:
            error = alphas[a, b].std() / np.sqrt(1000)
            assert abs(alphas[a, b].mean() + 1 / 107) < 3 * error < 1 / 107
    assert np.einsum("b,abk->ak", shares, alphas) == pytest.approx(0, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(
    occupied=st.lists(st.booleans(), min_size=8, max_size=8).filter(lambda each: 0 < sum(each) < 8),
    repeats=st.tuples(*[st.integers(1, 2)] * 3),
)
def test_order_does_not_depend_on_the_cell(occupied, repeats):
    """A repeated cell is the same infinite crystal."""
    structure = crystal("sc", (2, 2, 2))
    marked = structure.copy(site_properties={"occupied": occupied}) * repeats
    large = np.array(marked.site_properties["occupied"])
    for small_shell, large_shell in zip(shells(structure, 4), shells(marked, 4), strict=True):
        assert alpha(large_shell, large) == pytest.approx(alpha(small_shell, np.array(occupied)), abs=1e-12)
    for vector in ((0.5, 0.5, 0.5), (0.5, 0, 0)):
        small, big = (Wave.of(each, vector, CELL) for each in (structure, marked))
        assert big.squared(large[None]) == pytest.approx(small.squared(np.array(occupied)[None]), abs=1e-12)
        assert big.largest(large.mean()) == pytest.approx(small.largest(large.mean()))


def test_waves_that_cannot_be_used_are_refused():
    structure = crystal("sc", (2, 2, 2))
    for vector in ((1 / 3, 0, 0), (1, 0, 0), (0.5, 0), (float("nan"), 0, 0)):
        with pytest.raises(InvalidInputError):
            Wave.of(structure, vector, CELL)
