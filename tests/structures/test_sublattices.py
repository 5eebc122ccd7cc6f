"""Tests of sublattices of equivalent sites, and of sites that are too close to be occupied together."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder, to_ordered
from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.structures.sublattices import occupancies_of

PLACES = [[0.25, 0.25, 0.25], [0, 0, 0], [0.5, 0, 0], [0.25, 0, 0]]
ELPASOLITE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(10.5), ["Na", "K", "Li", "Cl"], PLACES)


def elpasolite(on_8c, on_4a) -> Structure:
    """Return an elpasolite; its first eight sites are 8c and the next four are 4a."""
    return ELPASOLITE.replace_species({"Na": on_8c, "K": on_4a}, in_place=False)


def shuffled(structure: Structure, seed: int) -> Structure:
    order = np.random.default_rng(seed).permutation(len(structure))
    return Structure.from_sites([structure[int(i)] for i in order])


def sizes(groups) -> list[int]:
    return sorted(len(group.sites) for group in groups)


@given(x=st.sampled_from([0.25, 0.5, 0.75]), seed=st.integers(0, 99), repeats=st.sampled_from([(1, 1, 1), (2, 1, 1)]))
@settings(max_examples=6, deadline=None)
def test_inequivalent_sites_with_equal_occupancies_are_separate_sublattices(x, seed, repeats):
    mix = {"Na": x, "K": 1 - x}
    structure = shuffled(elpasolite(mix, mix), seed)
    n = repeats[0]
    disorder = Disorder(structure, repeats)
    assert sizes(disorder.sublattices) == [4 * n, 8 * n]
    for sublattice in disorder.sublattices:
        counts = dict(zip(sublattice.symbols, sublattice.counts, strict=True))
        assert counts == {"Na": x * len(sublattice.sites), "K": (1 - x) * len(sublattice.sites)}
    assert sizes(AlchemicalSystem.from_structure(structure * repeats)[0].groups) == [4 * n, 8 * n]
    path = AlchemicalPath.from_substitution(structure * repeats, {"Na": "Rb"})
    assert sizes(path.system.groups) == [4 * n, 8 * n]


@given(offsets=st.lists(st.floats(-4e-4, 4e-4), min_size=12, max_size=12))
@settings(max_examples=6, deadline=None)
def test_rounded_occupancies_do_not_split_a_sublattice(offsets):
    structure = elpasolite({"Na": 0.5, "K": 0.5}, {"Na": 0.5, "K": 0.5})
    for i, d in enumerate(offsets):
        structure.replace(i, {"Na": 0.5 + d, "K": 0.5 - d})
    system, weights = AlchemicalSystem.from_structure(structure)
    assert sizes(system.groups) == [4, 8]
    assert weights == pytest.approx([0.5] * 4, abs=5e-4)
    mean = np.mean(offsets[:8])
    assert any(abs(w - 0.5 - mean) < 1e-9 for w in weights)


def test_sites_of_one_orbit_with_different_occupancies_are_separate_sublattices():
    structure = elpasolite({"Na": 0.5, "K": 0.5}, "Li")
    structure.replace(0, {"Na": 0.25, "K": 0.75})
    assert sum(sizes(AlchemicalSystem.from_structure(structure)[0].groups)) == 8
    assert len(AlchemicalSystem.from_structure(structure)[0].groups) > 1


def test_sublattices_do_not_depend_on_the_shape_of_the_supercell():
    """The anion sites of a cubic perovskite are one sublattice in a 2×1×1 cell, too."""
    places = [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0]]
    cell = Structure.from_spacegroup("Pm-3m", Lattice.cubic(4), ["Ba", "Ti", {"O": 0.5, "F": 0.5}], places)
    assert len(AlchemicalSystem.from_structure(cell * (2, 1, 1))[0].groups) == 1


def test_substitution_in_an_ordered_crystal_forms_one_group():
    structure = elpasolite("Na", "Na")
    path = AlchemicalPath.from_substitution(structure, {"Na": "K"})
    assert sizes(path.system.groups) == [12]


SPLIT = [
    ("Na", 0.9),
    ("Li", 1.6),
    ("Ag", 1.7),
    ("Cu", 0.6),
    ("O", 0.8),
    ("O", 1.1),
    ("F", 1.0),
    ("H", 0.77),
    ("K", 0.4),
]


def split(symbol: str, distance: float, occupancies=(0.5, 0.5)) -> Structure:
    d = distance / 2 / 8
    sites = [{symbol: occupancies[0]}, {symbol: occupancies[1]}, "Zr"]
    return Structure(Lattice.cubic(8), sites, [[d, 0, 0], [-d, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(("symbol", "distance"), SPLIT)
def test_sites_of_one_element_that_are_too_close_are_refused(symbol, distance):
    structure = split(symbol, distance)
    for make in (
        lambda: AlchemicalSystem.from_structure(structure),
        lambda: AlchemicalPath.from_substitution(structure, {"Zr": "Hf"}),
        lambda: CompositionGrid.line(structure, {"Zr": "Hf"}, [0.0, 1.0]),
        lambda: Disorder(structure, (2, 1, 1)),
        lambda: to_ordered(structure, (2, 1, 1), kind="random"),
    ):
        with pytest.raises(InvalidInputError, match=f"{distance:.2f} Å"):
            make()


@pytest.mark.parametrize(
    ("symbol", "distance"), [("Na", 3.2), ("Li", 2.6), ("O", 1.45), ("H", 1.6), ("Cu", 2.5), ("Cl", 2.0), ("Fe", 2.48)]
)
def test_sites_at_bond_distance_are_accepted(symbol, distance):
    assert len(AlchemicalSystem.from_structure(split(symbol, distance))[0].groups) == 1


@given(
    symbols=st.tuples(*2 * [st.sampled_from(["H", "O", "F", "Na", "K", "Cu", "Ag", "I"])]),
    occupancies=st.tuples(st.sampled_from([0.1, 0.5, 0.7, 0.9]), st.sampled_from([0.5, 0.75, 0.95, 1.0])),
    share=st.floats(0.3, 1.3),
)
@settings(max_examples=30, deadline=None)
def test_close_sites_are_refused_whatever_their_occupancies(symbols, occupancies, share):
    """The limit is 0.7 times the sum of the covalent radii, for one element at least 1.2 Å if both sum to 1 at most."""
    distance = share * 0.7 * sum(covalent_radii[atomic_numbers[symbol]] for symbol in symbols)
    total = sum(occupancies)
    least = 1.2 if total <= 1 and symbols[0] == symbols[1] else 0.0
    assume(abs(share - 1) > 1e-6 and abs(distance - least) > 1e-6 and distance > 0.51)  # 0.5 Å is refused anyway
    sites = [{symbol: x} for symbol, x in zip(symbols, occupancies, strict=True)]
    structure = Structure(Lattice.cubic(12), [*sites, "Zr"], [[0, 0, 0], [distance / 12, 0, 0], [0.5] * 3])
    if share > 1 and distance > least:
        assert AlchemicalSystem.from_structure(structure)[0].groups
        return
    with pytest.raises(InvalidInputError, match=rf"{distance:.2f} Å.*{f'{total:.4g}' if total > 1 else ''}"):
        AlchemicalSystem.from_structure(structure)


def test_a_pair_with_a_sum_above_one_is_named_before_split_positions():
    places = [[0, 0, 0], [0.05, 0, 0], [0.5, 0, 0], [0.59, 0, 0], [0.5] * 3]
    structure = Structure(Lattice.cubic(10), [{"Na": 0.5}, {"Na": 0.5}, {"Na": 0.7}, {"Na": 0.5}, "Cl"], places)
    with pytest.raises(InvalidInputError, match=r"0\.90 Å.* 1\.2\b"):
        AlchemicalSystem.from_structure(structure)


def test_sites_of_two_elements_that_are_too_close_are_refused():
    structure = Structure(Lattice.cubic(8), [{"Na": 0.4}, {"K": 0.6}, "Cl"], [[0, 0, 0], [0.1, 0, 0], [0.5, 0.5, 0.5]])
    with pytest.raises(InvalidInputError, match=r"0\.80 Å"):
        AlchemicalSystem.from_structure(structure)


@given(x=st.floats(0.02, 0.98), n=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_compositions_without_whole_atoms_are_refused_or_rounded_with_a_message(x, n):
    cell = Structure(Lattice.cubic(3.5), [{"Na": x, "K": 1 - x}, "Cl"], [[0, 0, 0], [0.5] * 3])
    change = abs(x * n - round(x * n))
    limit = 5e-4 * n * (1 + 2 * min(x, 1 - x))
    assume(change < 0.499 and abs(change - limit) > 1e-6)  # else floating-point error decides
    whole = change < limit
    empty = round(x * n) in (0, n)
    if whole and not empty:
        assert Disorder(cell, (n, 1, 1)).rounding == ""
        return
    with pytest.raises(InvalidInputError, match="supercell"):
        Disorder(cell, (n, 1, 1))
    if not empty:
        disorder = Disorder(cell, (n, 1, 1), rounded=True)
        assert f"{n} sites" in disorder.rounding
        assert disorder.weights.sum() == pytest.approx(1)


def test_rounded_thirds_fill_a_cell_of_three_sites():
    for x in (0.333, 0.3333, 1 / 3):
        cell = Structure(Lattice.cubic(3.5), [{"Na": x, "K": x, "Li": x}, "Cl"], [[0, 0, 0], [0.5] * 3])
        disorder = Disorder(cell, (3, 1, 1))
        assert disorder.sublattices[0].counts == (1, 1, 1) and None not in disorder.sublattices[0].symbols


@pytest.mark.parametrize("isotope", ["D", "T", "D+"])
def test_isotopes_are_refused_everywhere(isotope):
    place = [[0, 0, 0], [0.5] * 3]
    for content in (isotope, {"H": 0.5, isotope: 0.5}):
        structure = Structure(Lattice.cubic(4), ["Li", content], place)
        for make in (
            lambda s=structure: AlchemicalSystem.from_structure(s),
            lambda s=structure: AlchemicalPath.from_substitution(s, {"Li": "Na"}),
            lambda s=structure: CompositionGrid.simplex(s, {"Li": ["Li", "Na"]}, 2),
        ):
            with pytest.raises(InvalidInputError, match="isotope"):
                make()
    plain = Structure(Lattice.cubic(4), ["Li", "H"], place)
    symbol = isotope.rstrip("+")
    with pytest.raises(InvalidInputError, match="isotope"):
        AlchemicalSystem(Structure(Lattice.cubic(4), ["Li", symbol], place))
    for substitution in ({"H": symbol}, {symbol: "H"}, {"H": {"H": 0.5, symbol: 0.5}}):
        with pytest.raises(InvalidInputError, match="isotope"):
            AlchemicalPath.from_substitution(plain, substitution)
    with pytest.raises(InvalidInputError, match="isotope"):
        CompositionGrid.simplex(plain, {"H": ["H", symbol]}, 2)


def test_fixed_atoms_are_refused_everywhere():
    structure = Structure(Lattice.cubic(4), ["Li", "H"], [[0, 0, 0], [0.5] * 3])
    structure.add_site_property("selective_dynamics", [[True, True, False], [True] * 3])
    for make in (
        lambda: AlchemicalSystem(structure),
        lambda: AlchemicalSystem.from_structure(structure * (2, 1, 1)),
        lambda: AlchemicalPath.from_substitution(structure, {"Li": "Na"}),
        lambda: CompositionGrid.simplex(structure, {"Li": ["Li", "Na"]}, 2),
    ):
        with pytest.raises(InvalidInputError, match="fixed-atoms"):
            make()
    structure.remove_site_property("selective_dynamics")
    AlchemicalSystem(structure)


def test_occupancies_above_one_are_refused_with_the_site():
    structure = Structure(Lattice.cubic(4), ["Li", "H"], [[0, 0, 0], [0.5] * 3])
    structure.sites[1]._species = type(structure[1].species)({"H": 0.6, "F": 0.5}, allow_negative=False)
    with pytest.raises(InvalidInputError, match=r"site 1 .*1\.1"):
        occupancies_of(structure)
