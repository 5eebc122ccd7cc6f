"""Ordered arrangements: counts against Pólya's enumeration, waves, quasirandom cells, vacancies, bad input."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import SpeciesComparator, StructureMatcher
from pymatgen.core import Composition, Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder, to_ordered, whole
from alchemflows.errors import InvalidInputError

WAVES = {"rocksalt": (0.5, 0.5, 0.5), "layers": (0, 0, 0.5), "columns": (0.5, 0.5, 0)}


def perovskite(b={"Mg": 0.5, "W": 0.5}) -> Structure:  # noqa: B006
    sites = [[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]]
    return Structure(Lattice.cubic(4.0), ["Ba", b, "O", "O", "O"], sites)


def test_distinct_arrangements_are_those_that_symmetry_leaves():
    """Eight B sites of 2×2×2 cells, half and half: 70 arrangements in 6 classes, brute force with a matcher agrees."""
    disorder = Disorder(perovskite(), (2, 2, 2))
    assert disorder.n_arrangements == 70
    found = disorder.distinct()
    assert sum(n for _, n in found) == 70
    matcher = StructureMatcher(
        primitive_cell=False, scale=False, attempt_supercell=False, comparator=SpeciesComparator()
    )
    assert len(found) == 6
    # The simple cubic lattice of B sites says it all, and is faster to compare.
    every = [structure.copy().remove_species(["Ba", "O"]) for structure in _every(disorder)]
    groups = matcher.group_structures(every)
    assert sorted(len(group) for group in groups) == sorted(n for _, n in found)
    for structure, n in found:
        (here,) = (g for g in groups if matcher.fit(g[0], structure.copy().remove_species(["Ba", "O"])))
        assert len(here) == n


def _every(disorder: Disorder) -> list[Structure]:
    found = []
    for chosen in combinations(range(8), 4):
        labels = np.zeros(8, dtype=int)
        labels[list(chosen)] = 1
        found.append(disorder.structure([labels]))
    return found


def test_enumeration_of_a_ternary_and_of_two_sublattices():
    cell = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.6), [{"Li": 0.25, "Na": 0.25, "K": 0.5}, {"Cl": 0.75, "Br": 0.25}],
        [[0, 0, 0], [0.5, 0.5, 0.5]],
    )  # fmt: skip
    disorder = Disorder(cell)
    assert disorder.n_arrangements == 12 * 4
    found = disorder.distinct()
    # All four ways to place Br are alike, and then Li next to it or not.
    assert sum(n for _, n in found) == 48 and len(found) < 10
    assert {structure.composition for structure, _ in found} == {Composition("Li Na K2 Cl3 Br")}


@pytest.mark.parametrize(
    ("name", "space_group", "neighbours"), [("rocksalt", 225, 6), ("layers", 123, 2), ("columns", 123, 4)]
)
def test_waves_make_the_orders_of_double_perovskites(name, space_group, neighbours):
    cell = perovskite()
    ordered = Disorder(cell, (2, 2, 2)).wave(WAVES[name], cell)
    assert ordered.get_space_group_info()[1] == space_group
    first = next(site for site in ordered if site.specie.symbol == "Mg")
    unlike = [n for n in ordered.get_neighbors(first, 4.1) if n.specie.symbol == "W"]
    assert len(unlike) == neighbours


def test_a_wave_that_does_not_fit_is_refused():
    cell = perovskite()
    with pytest.raises(InvalidInputError, match=r"0\.5, 0\.5, 0\.5"):
        Disorder(cell, (2, 2, 1)).wave((0.5, 0.5, 0.5), cell)
    with pytest.raises(InvalidInputError, match=r"0\.25"):
        Disorder(cell, (4, 1, 1)).wave((0.25, 0, 0), cell)
    with pytest.raises(InvalidInputError, match=r"0\.0, 0\.0, 0\.0.* 8 sites"):
        Disorder(cell, (2, 2, 2)).wave((0, 0, 0), cell)
    uneven = perovskite({"Mg": 0.25, "W": 0.75})
    with pytest.raises(InvalidInputError, match="2, 6"):
        Disorder(uneven, (2, 2, 2)).wave((0.5, 0.5, 0.5), uneven)


def test_random_arrangements_are_drawn_evenly():
    disorder = Disorder(perovskite(), (2, 1, 1))
    sites = [structure.species[disorder.sublattices[0].sites[0]].symbol for structure in disorder.random(400, 1)]
    assert 160 < sites.count("Mg") < 240
    assert disorder.random(3, 5) == disorder.random(3, 5) != disorder.random(3, 6)


def test_a_quasirandom_structure_has_no_correlation_between_near_pairs():
    """64 sites of a simple cubic lattice, half and half: half of the nearest neighbours are unlike."""
    disorder = Disorder(perovskite(), (4, 4, 4))
    structure = disorder.quasirandom(seed=1)
    assert structure == disorder.quasirandom(seed=1)
    assert structure.composition == Composition("Ba64 Mg32 W32 O192")
    random = [_unlike(s) for s in disorder.random(12, 2)]
    assert abs(_unlike(structure) - 0.5) < np.std(random) / 2


def _unlike(structure: Structure) -> float:
    """Share of unlike pairs among nearest B sites."""
    kinds = [site for site in structure if site.specie.symbol in ("Mg", "W")]
    pairs = [
        other.specie.symbol != site.specie.symbol
        for site in kinds
        for other in structure.get_neighbors(site, 4.1)
        if other.specie.symbol in ("Mg", "W")
    ]
    return float(np.mean(pairs))


def test_vacancies_are_left_out():
    cell = perovskite({"Mg": 0.5, "W": 0.25})
    for kind in ("random", "sqs"):
        ordered = to_ordered(cell, (2, 2, 2), kind=kind)
        assert ordered.composition == Composition("Ba8 Mg4 W2 O24")
    assert sum(n for _, n in Disorder(cell, (2, 2, 1)).distinct()) == 12


def test_oxidation_states_and_rounding():
    cell = perovskite({"Mg2+": 0.45, "W6+": 0.55})
    with pytest.raises(InvalidInputError, match=r"8 sites: Mg 3\.6"):
        to_ordered(cell, (2, 2, 2))
    ordered = to_ordered(cell, (2, 2, 2), kind="random", rounded=True)
    assert ordered.composition == Composition("Ba8 Mg4 W4 O24")
    disorder = Disorder(cell, (2, 2, 2), rounded=True)
    assert disorder.weights.tolist() == [0.5, 0.5]


def test_a_cif_with_partial_occupancies_goes_in_and_comes_out_ordered(tmp_path):
    path = tmp_path / "double.cif"
    perovskite({"Mg2+": 0.5, "W6+": 0.5}).to(str(path))
    ordered = to_ordered(Structure.from_file(path), (2, 2, 2))
    assert ordered.is_ordered and ordered.composition == Composition("Ba8 Mg4 W4 O24")


def test_bad_input_is_refused():
    with pytest.raises(InvalidInputError, match=r"supercell.*2, 0, 1"):
        Disorder(perovskite(), (2, 0, 1))
    with pytest.raises(InvalidInputError, match="supercell"):
        to_ordered(perovskite(), (2, 1, 1))
    with pytest.raises(InvalidInputError, match="BaTiO3"):
        Disorder(perovskite({"Ti": 1.0}))
    with pytest.raises(InvalidInputError, match="ewald"):
        to_ordered(perovskite(), (2, 1, 1), kind="ewald")
    with pytest.raises(InvalidInputError, match="200000"):
        Disorder(perovskite(), (4, 3, 2)).distinct()


def test_whole_numbers_are_the_nearest():
    assert whole(np.array([1 / 3, 1 / 3, 1 / 3]), 8).tolist() == [3, 3, 2]
    assert whole(np.array([0.1, 0.9]), 8).tolist() == [1, 7]
