"""Whether atoms are on their sites."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure

from alchemflows.errors import UnstableCrystalError
from alchemflows.sampling.sites import SiteHistory, Sites, SiteWatch, nearest_sites_A
from alchemflows.schemas.sites import worst

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
    way = 0.5 * CELLS[1].sum(dim=0)  # from Cs to Cl
    x[1, 1] += 0.49 * way
    sites.check(x, CELLS, "now")
    x[1, 1] += 0.02 * way
    with pytest.raises(UnstableCrystalError, match=r"after 3 ps.* atom 1 \(Cl\) of replica 1 .*1\.88 Å.*3\.46 Å"):
        sites.check(x, CELLS, "after 3 ps")


def test_an_atom_alone_in_its_cell_has_its_images_for_neighbours():
    alone = Sites(Structure(Lattice.orthorhombic(3.0, 4.0, 5.0), ["Fe"], [[0.2] * 3]))
    assert alone.nearest_A.tolist() == [3.0]


def test_a_mean_that_shifts_is_another_structure(sites):
    mean, cell = sites.fractional.clone(), CELLS[0]
    mean[1, 1] += 0.29 * NEAREST / 4  # half of it is a motion of all
    sites.check_mean(mean, cell)
    mean[1, 1] += 0.02 * NEAREST / 4
    with pytest.raises(UnstableCrystalError, match=r"atom \d \((Cs|Cl)\) .*0\.54 Å.* 15%"):
        sites.check_mean(mean, cell)


def test_a_motion_of_all_atoms_together_does_not_count(sites):
    sites.check_mean(sites.fractional + torch.tensor([0.4, -0.2, 0.3]), CELLS[0])


def test_a_shift_within_the_noise_says_nothing(sites):
    mean, cell = sites.fractional.clone(), CELLS[0]
    mean[1, 1] += 0.5 * NEAREST / 4
    with pytest.raises(UnstableCrystalError):
        sites.check_mean(mean, cell, torch.tensor([0.1, 0.1]))
    sites.check_mean(mean, cell, torch.tensor([0.3, 0.3]))


def watched(moves, structures=(STRUCTURE, STRUCTURE)):
    """Return what a watch says of atoms that are moved from their sites, one tensor (B, N, 3) for each moment."""
    watch = SiteWatch(structures)
    cells = CELLS[:1].expand(len(structures), 3, 3)
    for move in moves:
        watch.see(watch.fractional @ cells + move, cells)
    return watch


def test_a_watch_sees_atoms_that_leave_and_not_those_that_vibrate():
    rng = np.random.default_rng(0)
    moves = torch.tensor(0.3 * rng.normal(size=(200, 2, 2, 3)))
    moves += torch.linspace(0, 50, 200, dtype=torch.float64)[:, None, None, None]  # the whole crystal travels
    moves[100:, 1, 0, 0] += 4.0  # an atom moves by a lattice vector, to its own image
    stays, left = watched(moves).summaries()
    assert not stays.left and stays.reasons("here") == [] and stays.mean_shift_A < 0.5
    assert left.left and left.time_away == pytest.approx(0.5, abs=0.02) and left.away_at_end
    assert (left.nearest_A, left.mean_shift_A) == (pytest.approx(NEAREST), pytest.approx(2.0, abs=0.5))
    (reason,) = left.reasons("window λ = 0.5")
    assert reason.startswith("window λ = 0.5") and f"atom {left.atom} ({left.element})" in reason
    assert worst([stays, left]) is left


PEROVSKITE = Structure(
    Lattice.cubic(6.3), ["Cs", "Pb", "I", "I", "I"], [[0.5] * 3, [0] * 3, [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
)


@pytest.mark.parametrize(("move", "left"), [([0.0, 1.3, 1.0], False), ([0.0, 3.3, 0.0], True), ([1.7, 0.0, 0.0], True)])
def test_an_anion_that_swings_between_its_neighbours_is_on_its_site(move, left):
    """Far off the line between two cations, but nearer to no other site: the octahedra of a perovskite tilt.

    Runs that go on and runs that are refused have the same criterion.
    """
    cells = torch.tensor(PEROVSKITE.lattice.matrix)[None]
    watch, hard = SiteWatch([PEROVSKITE]), Sites(PEROVSKITE)
    x = watch.fractional @ cells
    x[0, 2] += torch.tensor(move, dtype=torch.float64)
    for _ in range(3):
        watch.see(x, cells)
    (summary,) = watch.summaries()
    assert np.linalg.norm(move) > summary.nearest_A / 2  # further than half the way to the next site
    assert summary.left == left
    if left:
        with pytest.raises(UnstableCrystalError, match=r"atom 2 \(I\)"):
            hard.check(x, cells, "now")
    else:
        hard.check(x, cells, "now")


def test_the_two_criteria_are_one():
    """Random displacements of all atoms of two cells: the run is refused where the watch sees an atom away."""
    rng, refused = np.random.default_rng(1), []
    for _ in range(200):
        cell = Structure(PEROVSKITE.lattice.matrix * rng.uniform(0.9, 1.1), PEROVSKITE.species, PEROVSKITE.frac_coords)
        cells = torch.tensor(cell.lattice.matrix)[None]
        move = torch.tensor(0.7 * rng.normal(size=(1, 5, 3)))
        move -= move.median(dim=1, keepdim=True).values  # no motion of all
        watch, hard = SiteWatch([cell]), Sites(cell)
        x = watch.fractional @ cells + move
        watch.see(x, cells)
        try:
            hard.check(x, cells, "now")
        except UnstableCrystalError:
            refused.append(True)
        else:
            refused.append(False)
        assert watch.summaries()[0].left == refused[-1]
    assert 20 < sum(refused) < 180


@pytest.mark.parametrize("crystal", ["fcc", "bcc", "NaCl"])
def test_an_atom_that_hops_into_a_vacancy_has_left(crystal):
    """The vacant site is no site of the list, and its neighbours are those of the atom's own: seen all the same."""
    space_group, species, places = {
        "fcc": ("Fm-3m", ["Al"], [[0] * 3]),
        "bcc": ("Im-3m", ["Fe"], [[0] * 3]),
        "NaCl": ("Fm-3m", ["Na", "Cl"], [[0] * 3, [0.5] * 3]),
    }[crystal]
    whole = Structure.from_spacegroup(space_group, Lattice.cubic(4.0), species, places) * (2, 2, 2)
    element = whole[0].specie.symbol
    mates = [i for i in range(1, len(whole)) if whole[i].specie.symbol == element]
    hopper = min(mates, key=lambda i: whole.get_distance(0, i)) - 1
    way = whole[0].distance_and_image(whole[hopper + 1])[1] @ whole.lattice.matrix
    way = -(way + whole[hopper + 1].coords - whole[0].coords)
    vacant = Structure(whole.lattice, whole.species[1:], whole.frac_coords[1:])
    cells, rng = torch.tensor(vacant.lattice.matrix)[None], np.random.default_rng(2)
    hard, refused = Sites(vacant), 0
    for _ in range(100):
        move = 0.1 * rng.normal(size=(1, len(vacant), 3))
        hard.check(hard.fractional @ cells + torch.tensor(move), cells, "before")
        move[0, hopper] += way
        try:
            hard.check(hard.fractional @ cells + torch.tensor(move), cells, "after")
        except UnstableCrystalError:
            refused += 1
    assert refused > 50


def test_one_excursion_is_no_melting():
    moves = torch.zeros(100, 1, 2, 3, dtype=torch.float64)
    moves[50, 0, 0] = 5.0
    (summary,) = watched(moves, [STRUCTURE]).summaries()
    assert summary.largest_displacement_A > summary.nearest_A / 2 and not summary.left


def test_a_watch_follows_places_through_swaps_and_goes_on():
    moves = torch.zeros(2, 2, 3, dtype=torch.float64)
    moves[1, 0, 1] = 3.0
    watch = SiteWatch([STRUCTURE, STRUCTURE])
    positions, cells = watch.fractional @ CELLS[:1] + moves, CELLS[:1].expand(2, 3, 3)
    watch.see(positions, cells, [1, 0])  # the replica that left has the first place
    again = SiteWatch([STRUCTURE, STRUCTURE])
    again.restore(watch.snapshot())
    for each in (watch, again):
        each.see(positions, cells, [1, 0])
    assert again.summaries() == watch.summaries()
    assert [summary.left for summary in again.summaries()] == [True, False]


def test_the_nearest_image_of_a_skewed_cell_is_found():
    skewed = Structure(Lattice([[3.0, 0, 0], [6.0, 4.0, 0], [0, 0, 9.0]]), ["Fe"], [[0] * 3])
    other = Structure(Lattice([[9.0, 1.0, 0], [6.0, 4.0, 0], [0, 0, 9.0]]), ["Fe"], [[0] * 3])
    assert nearest_sites_A(skewed)[0] == pytest.approx(3.0)
    assert nearest_sites_A(other)[0] == pytest.approx(np.sqrt(18.0))  # a − b, shorter than a, b and c


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        ("vibrations", [False] * 15),
        ("one excursion", [False] * 15),
        ("an atom that hops", [False] * 3 + [True] * 12),
        ("sites that move", [False] * 2 + [True] * 13),
        ("sites that move and return", [True] * 10 + [False] * 5),
        ("sites that move near the end", [False] * 15),
    ],
)
def test_a_history_tells_when_a_crystal_was_lost(kind, lost):
    """In sections of 10 looks and 2 ps; the second replica only vibrates."""
    rng = np.random.default_rng(4)
    moves = torch.tensor(0.1 * rng.normal(size=(150, 2, 2, 3)))
    if kind == "one excursion":
        moves[40:45, 0, 0] += 0.6 * torch.tensor(STRUCTURE.lattice.matrix).sum(dim=0) / 2
    elif kind == "an atom that hops":
        moves[33:, 0, 0, 0] += 4.0
    elif kind.startswith("sites that move"):  # both atoms apart, by less than half the way to another site
        when = {"return": slice(0, 100), "end": slice(60, 150)}.get(kind.split()[-1], slice(20, 150))
        moves[when, 0, 0, 1] += 0.7
    options = {"looks_per_section": 10, "section_fs": 2000.0}
    history, again = (SiteHistory([STRUCTURE, STRUCTURE], **options) for _ in range(2))
    for k, each in enumerate(moves):
        if k == 45:
            again.restore(history.snapshot())
        for one in (history, *([again] if k >= 45 else [])):
            one.see(one.fractional @ CELLS[:1] + each, CELLS[:1].expand(2, 3, 3))
    assert history.lost.tolist() == [lost, [False] * 15]
    np.testing.assert_array_equal(again.lost, history.lost)
    assert again.summaries() == history.summaries()


def tilting(amplitude_A: float, correlation_fs: float, n_looks: int, n_replicas: int) -> torch.Tensor:
    """Return displacements of the atoms of a perovskite every 0.2 ps: anions rotate by an angle that diffuses."""
    rng = np.random.default_rng(7)
    keep = np.exp(-200.0 / correlation_fs)
    angle, moves = rng.normal(size=n_replicas), 0.15 * rng.normal(size=(n_looks, n_replicas, 5, 3))
    for each in moves:
        angle = keep * angle + np.sqrt(1 - keep**2) * rng.normal(size=n_replicas)
        each[:, 2, 1] += amplitude_A * angle
        each[:, 3, 0] -= amplitude_A * angle
    return torch.tensor(moves)


@pytest.mark.parametrize(
    ("correlation_fs", "least", "most"), [(1000.0, 0.0, 0.02), (4500.0, 0.0, 0.1), (1e6, 0.4, 0.8)]
)
def test_octahedra_that_tilt_back_and_forth_are_those_of_the_same_crystal(correlation_fs, least, most):
    """40 ps in sections of 2 ps. Means over 2 ps are displaced by more than 15 % of a bond in any case.

    With a correlation time of 4.5 ps, as in CsPbI3 with mace-demo at 500 K, the angle changes its sign within the run.
    With 1 ns it is static, and replicas with large angles are another structure.
    """
    n = 100
    moves = tilting(0.8, correlation_fs, 200, n)
    history = SiteHistory([PEROVSKITE] * n, looks_per_section=10, section_fs=2000.0)
    cells = torch.tensor(PEROVSKITE.lattice.matrix)[None]
    for each in moves:
        history.see(history.fractional @ cells + each, cells.expand(n, 3, 3))
    means = torch.linalg.vector_norm(moves.reshape(20, 10, n, 5, 3).mean(dim=1), dim=3)
    assert (means > 0.15 * history.nearest_A).any(dim=2).any(dim=0).double().mean() > 0.5
    assert least <= history.lost.any(axis=1).mean() <= most
    assert not any(summary.left for summary in history.summaries())


def test_a_history_continues_from_a_checkpoint_of_an_earlier_release():
    history, again = (SiteHistory([STRUCTURE], looks_per_section=10, section_fs=2000.0) for _ in range(2))
    for k in range(60):
        moved = history.fractional @ CELLS[:1]
        moved[0, 0, 0] += 4.0  # to the image of the site
        if k == 25:
            new = {name: a for name, a in history.snapshot().items() if not name.startswith("sections_")}
            again.restore(new | {"sections_lost": np.array([[True, False]])})
        for one in (history, *([again] if k >= 25 else [])):
            one.see(moved, CELLS[:1])
    assert history.lost.tolist() == [[True] * 6]
    assert again.lost.tolist() == [[True, False] + [True] * 4]
