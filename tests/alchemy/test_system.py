"""Alchemical systems and paths: what is read, what is refused, what comes back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase.data import atomic_masses
from models import CL, CS, GROUPS, IODINE, PB, SN, interior, perovskite_system
from monty.json import MontyDecoder, MontyEncoder
from pymatgen.core import DummySpecies, Lattice, Species, Structure

from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.path import AlchemicalPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsWarning, InvalidInputError


def rock_salt(sites: list | None = None) -> Structure:
    """Four Na, four Cl; `sites` replaces the species of the first atoms."""
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5] * 3])
    for index, species in enumerate(sites or []):
        structure.replace(index, species)
    return structure


def cscl() -> Structure:
    return Structure(Lattice.cubic(4.1), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])


# Substitutions


def test_substitution_on_an_ordered_structure():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": "K"})
    assert path.system.groups == (SiteGroup((0, 1, 2, 3), ((11,) * 4, (19,) * 4)),)
    assert path.initial == (1.0, 0.0)
    assert path.final == (0.0, 1.0)
    assert path.system.coupling == "paired"
    assert path.system.n_sites == 8
    assert path.system.n_weights == 2
    assert path.system.elements == {11, 17, 19}
    assert path.system.weight_labels == ("Na[4]", "K[4]")
    np.testing.assert_array_equal(path.direction, [-1, 1])
    assert path.conserves_sites()


def test_substitution_on_chosen_sites():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": "K"}, sites=[2, 0], coupling="mean-field")
    assert path.system.groups == (SiteGroup((0, 2), ((11, 11), (19, 19))),)
    assert path.system.coupling == "mean-field"
    assert path.system.elements == {11, 17, 19}


def test_substitution_by_a_mixture():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": {"K": 0.3, "Li": 0.5, "Na": 0.1}})
    assert path.system.groups[0].channels == ((11,) * 4, (19,) * 4, (3,) * 4)
    np.testing.assert_allclose(path.initial, [1, 0, 0])
    np.testing.assert_allclose(path.final, [0.1, 0.3, 0.5])
    assert not path.conserves_sites()


def test_substitution_by_nothing():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": None}, sites=[1])
    assert path.system.groups == (SiteGroup((1,), ((11,),)),)
    assert (path.initial, path.final) == ((1.0,), (0.0,))
    assert not path.conserves_sites()


def test_swap_is_simultaneous():
    structure = Structure(Lattice.cubic(6), ["Pb", "Sn", "I"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    path = AlchemicalPath.from_substitution(structure, {"Pb": "Sn", "Sn": "Pb"})
    assert path.system.groups == (SiteGroup((0,), ((PB,), (SN,))), SiteGroup((1,), ((SN,), (PB,))))
    assert path.initial == (1, 0, 1, 0)
    assert path.final == (0, 1, 0, 1)
    assert path.system.at_vertex(path.final).species == [*map(structure[1].specie.from_Z, (SN, PB, IODINE))]


def test_several_substitutions_and_several_groups():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": "K", "Cl": "Br"})
    assert [g.sites for g in path.system.groups] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert path.system.group_of_weight.tolist() == [0, 0, 1, 1]


def test_site_resolved_substitution():
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": "K"}, site_resolved=True)
    assert [g.sites for g in path.system.groups] == [(0,), (1,), (2,), (3,)]
    assert path.final == (0, 1) * 4


def test_substitution_on_a_disordered_structure():
    structure = rock_salt([{"Na": 0.6, "K": 0.3}] * 2)
    path = AlchemicalPath.from_substitution(structure, {"Na": {"Li": 0.5, "K": 0.25}}, sites=[0])
    groups = {g.sites: k for k, g in enumerate(path.system.groups)}
    assert set(groups) == {(0,), (1,)}  # the other disordered site stays as it is
    weights = path.system.group_of_weight
    changed, kept = (weights == groups[sites] for sites in ((0,), (1,)))
    assert path.system.groups[groups[0,]].channels == ((11,), (19,), (3,))
    np.testing.assert_allclose(path.initial_weights[changed], [0.6, 0.3, 0])
    np.testing.assert_allclose(path.final_weights[changed], [0, 0.45, 0.3])
    np.testing.assert_allclose(path.initial_weights[kept], [0.6, 0.3])
    np.testing.assert_allclose(path.direction[kept], 0)


def test_oxidation_states_are_ignored_in_substitutions():
    structure = rock_salt()
    structure.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    path = AlchemicalPath.from_substitution(structure, {"Na": "K"})
    assert path == AlchemicalPath.from_substitution(rock_salt(), {"Na": "K"})


@pytest.mark.parametrize(
    ("substitution", "sites", "reason"),
    [
        ({}, None, "substitution"),
        ({"Qq": "K"}, None, "Qq"),
        ({"Na": "kalium"}, None, "kalium"),
        ({"Na": {"K": 0.5, "Zz": 0.5}}, None, "Zz"),
        ({"Fe": "K"}, None, "Fe .*Cl, Na"),
        ({"Na": "K"}, [4, 5], "Na .*Cl"),
        ({"Na": "K"}, [], "Na"),
        ({"Na": "K"}, [8], "site 8"),
        ({"Na": "K"}, [-1], "site -1"),
        ({"Na": {"K": 0.7, "Li": 0.4}}, None, r"1\.1"),
        ({"Na": {"K": -0.1}}, None, "K.*-0.1"),
    ],
)
def test_impossible_substitutions(substitution, sites, reason):
    with pytest.raises(InvalidInputError, match=reason):
        AlchemicalPath.from_substitution(rock_salt(), substitution, sites=sites)


# Disordered structures


def test_partial_occupancies_are_weights():
    structure = rock_salt([{"Na": 0.25, "K": 0.75}] * 4)
    system, weights = AlchemicalSystem.from_structure(structure, coupling="mean-field")
    assert system.groups == (SiteGroup((0, 1, 2, 3), ((11,) * 4, (19,) * 4)),)
    assert system.coupling == "mean-field"
    np.testing.assert_allclose(weights, [0.25, 0.75])
    assert system.structure.is_ordered


def test_a_shortfall_of_occupancy_is_a_vacancy():
    system, weights = AlchemicalSystem.from_structure(rock_salt([{"Na": 0.9}, {"Na": 0.5, "K": 0.3}]))
    assert {g.sites: g.channels for g in system.groups} == {(0,): ((11,),), (1,): ((11,), (19,))}
    np.testing.assert_allclose(weights, [0.9, 0.5, 0.3])


def test_oxidation_states_of_one_element_are_one_channel():
    iron = {Species("Fe", 2): 0.5, Species("Fe", 3): 0.25, Species("Al", 3): 0.25}
    system, weights = AlchemicalSystem.from_structure(rock_salt([iron, {Species("Na", 1): 1.0}]))
    assert system.groups == (SiteGroup((0,), ((26,), (13,))),) or system.groups == (SiteGroup((0,), ((13,), (26,))),)
    by_element = dict(zip((c[0] for c in system.groups[0].channels), weights, strict=True))
    assert by_element == pytest.approx({26: 0.75, 13: 0.25})
    # a site of two oxidation states of one element is an ordinary site
    mixed, none = AlchemicalSystem.from_structure(rock_salt([{Species("Fe", 2): 0.5, Species("Fe", 3): 0.5}]))
    assert mixed.groups == ()
    assert none.shape == (0,)
    assert mixed.structure[0].specie.symbol == "Fe"


def test_equal_occupancies_are_one_group_unless_site_resolved():
    structure = rock_salt([{"Na": 0.5, "K": 0.5}, {"Na": 0.2, "K": 0.8}, {"Na": 0.5, "K": 0.5}])
    system, weights = AlchemicalSystem.from_structure(structure)
    assert [g.sites for g in system.groups] == [(0, 2), (1,)]
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.2, 0.8])
    resolved, weights = AlchemicalSystem.from_structure(structure, site_resolved=True)
    assert [g.sites for g in resolved.groups] == [(0,), (1,), (2,)]
    np.testing.assert_allclose(weights, [0.5, 0.5, 0.2, 0.8, 0.5, 0.5])


def test_occupancies_in_another_order_are_the_same_group():
    structure = rock_salt([{"Na": 0.5, "K": 0.5}, {"K": 0.5, "Na": 0.5}])
    system, _ = AlchemicalSystem.from_structure(structure)
    assert [g.sites for g in system.groups] == [(0, 1)]


def test_rounded_occupancies_are_forgiven():
    system, weights = AlchemicalSystem.from_structure(rock_salt([{"Na": 0.3333333, "K": 0.6666667}]))
    assert weights.sum() == pytest.approx(1)
    assert system.n_weights == 2


def test_dummy_species_are_refused():
    with pytest.raises(InvalidInputError, match="X"):
        AlchemicalSystem.from_structure(rock_salt([{DummySpecies("X"): 0.5, "Na": 0.5}]))


def test_disordered_host_is_refused():
    with pytest.raises(InvalidInputError, match="from_structure"):
        AlchemicalSystem(rock_salt([{"Na": 0.5, "K": 0.5}]))


# Distances


def test_atoms_too_close_are_refused():
    structure = cscl()
    structure.append("Na", [0.5, 0.5, 0.6])
    with pytest.raises(InvalidInputError, match=r"Cl.*Na.*0\.410 Å|Na.*Cl.*0\.410 Å"):
        AlchemicalSystem.from_structure(structure)
    with pytest.raises(InvalidInputError, match=r"0\.410 Å"):
        AlchemicalPath.from_substitution(structure, {"Cs": "K"})


def test_periodic_images_too_close_are_refused():
    across = Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0.01, 0, 0], [0.96, 0, 0]])
    with pytest.raises(InvalidInputError, match=r"0\.200 Å"):
        AlchemicalSystem.from_structure(across)
    flat = Structure(Lattice.orthorhombic(4, 4, 0.4), ["Cs"], [[0, 0, 0]])
    with pytest.raises(InvalidInputError, match=r"0\.400 Å"):
        AlchemicalSystem.from_structure(flat)


def test_just_far_enough():
    structure = Structure(Lattice.cubic(4), ["Cs", "Cl"], [[0, 0, 0], [0.126, 0, 0]])
    AlchemicalSystem.from_structure(structure)


# Groups


@pytest.mark.parametrize(
    ("sites", "channels", "reason"),
    [
        ((1, 1), ((11, 11),), "twice"),
        ((), ((),), "at least one"),
        ((1,), (), "at least one"),
        ((1, 2), ((11,),), ""),
    ],
)
def test_impossible_groups(sites, channels, reason):
    with pytest.raises(InvalidInputError, match=reason):
        SiteGroup(sites, channels)


@pytest.mark.parametrize(
    ("groups", "coupling", "reason"),
    [
        ([SiteGroup((0, 1), ((11, 11),)), SiteGroup((1,), ((19,),))], "paired", "site 1"),
        ([SiteGroup((8,), ((11,),))], "paired", "site 8"),
        ([SiteGroup((-1,), ((11,),))], "paired", "site -1"),
        ([], "unpaired", "paired, mean-field.*unpaired"),
    ],
)
def test_impossible_systems(groups, coupling, reason):
    with pytest.raises(InvalidInputError, match=reason):
        AlchemicalSystem(rock_salt(), tuple(groups), coupling)


@pytest.mark.parametrize("z", [0, -3, 119, 500])
def test_atomic_numbers_that_do_not_exist(z):
    with pytest.raises(InvalidInputError):
        AlchemicalSystem(rock_salt(), (SiteGroup((0,), ((z,),)),))


# Weights


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        ([0.5, 0.5, 0.5, 0.5], "5 weights.*Pb\\[2\\]"),
        (0.5, "5 weights"),
        ([0.5, 0.6, 0, 0, 0], r"group 0 .*\[6, 1\].* 1\.1"),
        ([0, 0, 1, 0, 1.01], r"group 2 .*\[5\].* 1\.01"),
        ([0, 0, 1, -0.1, 0], r"Cl\[3\].* -0\.1"),
        ([0, np.nan, 0, 0, 0], "nan|finite"),
        ([0, np.inf, 0, 0, 0], "inf|finite"),
        ([[1, 0, 1, 0, 1], [1, 0.5, 1, 0, 1]], r"1\.5"),
    ],
)
def test_weights_off_the_simplex(weights, reason):
    with pytest.raises(InvalidInputError, match=reason):
        perovskite_system().check_weights(weights)


def test_weights_on_the_simplex_are_returned():
    system = perovskite_system()
    for weights in (interior(system), interior(system, n=6).reshape(2, 3, 5)):
        np.testing.assert_array_equal(system.check_weights(weights), weights)
    rounded = system.check_weights([1 + 1e-9, -1e-9, 0.5, 0.5, 0])
    assert rounded.min() == 0
    assert rounded.max() == 1


def test_the_callers_weights_are_not_changed():
    weights = np.array([1 + 1e-9, -1e-9, 0.5, 0.5, 0])
    before = weights.copy()
    perovskite_system().check_weights(weights)
    np.testing.assert_array_equal(weights, before)


# Masses


def test_masses_are_mixed():
    system = perovskite_system()
    masses = system.masses([0.3, 0.7, 0.1, 0.3, 0.2])
    assert masses.shape == (10,)
    for site in (1, 6):
        assert masses[site] == pytest.approx(0.3 * atomic_masses[PB] + 0.7 * atomic_masses[SN])
    for site in (2, 8, 9):  # by share of what is there
        assert masses[site] == pytest.approx(0.25 * atomic_masses[IODINE] + 0.75 * atomic_masses[CL])
    assert masses[5] == pytest.approx(atomic_masses[CS])
    assert masses[0] == pytest.approx(atomic_masses[CS])
    assert masses[3] == pytest.approx(atomic_masses[IODINE])


@pytest.mark.parametrize(
    ("mean", "function"), [("arithmetic", np.positive), ("geometric", np.log), ("harmonic", np.reciprocal)]
)
def test_means_of_masses(mean, function):
    """The mean of a function of the elements' masses is that function of the site's mass."""
    system = perovskite_system()
    weights = np.array([[0.3, 0.7, 0.1, 0.3, 0.2], [1, 0, 1, 0, 1], [0, 1, 0, 1, 1]])
    masses = system.masses(weights, mean)
    pb, sn, iodine, cl, cs = function(atomic_masses[[PB, SN, IODINE, CL, CS]])
    expected = 0.3 * pb + 0.7 * sn, 0.25 * iodine + 0.75 * cl, cs
    np.testing.assert_allclose(function(masses[0, [1, 2, 5]]), expected)
    np.testing.assert_allclose(masses[1:], system.masses(weights[1:]))  # pure sites have one mass
    with pytest.raises(InvalidInputError, match="median"):
        system.masses(weights, "median")


def test_occupancies_and_composition_of_sites():
    system = perovskite_system()
    occupancies = system.occupancies([[0.3, 0.7, 0.1, 0.3, 0.2], [0, 0, 1, 0, 1]])
    np.testing.assert_allclose(occupancies[0, [0, 1, 2, 3, 5]], [1.0, 1.0, 0.4, 1.0, 0.2])
    np.testing.assert_allclose(occupancies[1, [0, 1, 2, 3, 5]], [1.0, 0.0, 1.0, 1.0, 1.0])
    composition = system.site_composition([0.3, 0.7, 0.1, 0.0, 1])
    assert composition[0] == {CS: 1.0} and composition[2] == {IODINE: 0.1}
    assert composition[1] == pytest.approx({PB: 0.3, SN: 0.7})
    unlike = perovskite_system("unlike elements")
    assert unlike.site_composition([0.5, 0.2, 0.3])[5] == pytest.approx({CS: 0.8, PB: 0.2})


def test_masses_of_vanished_atoms_and_of_batches():
    system = perovskite_system()
    gone = system.masses([[0, 0, 0, 0, 0], [1, 0, 1, 0, 1]])
    assert gone.shape == (2, 10)
    assert gone[0, 1] == pytest.approx((atomic_masses[PB] + atomic_masses[SN]) / 2)
    assert gone[0, 5] == pytest.approx(atomic_masses[CS])
    assert gone[1, 6] == pytest.approx(atomic_masses[PB])
    np.testing.assert_allclose(system.masses([[0.3, 0.2, 0.1, 0.1, 1]])[0], system.masses([0.3, 0.2, 0.1, 0.1, 1]))


def test_masses_of_unlike_elements():
    system = perovskite_system("unlike elements")
    masses = system.masses([0.5, 0.2, 0.3])
    assert masses[2] == pytest.approx(np.dot([0.5, 0.2, 0.3], atomic_masses[[IODINE, CL, PB]]))
    assert masses[5] == pytest.approx(np.dot([0.5, 0.2, 0.3], atomic_masses[[CS, PB, CS]]))


# Vertices


def test_at_vertex():
    system = perovskite_system()
    plain = system.at_vertex([0, 1, 0, 1, 0])
    assert [site.specie.symbol for site in plain] == ["Cs", "Sn", "Cl", "I", "I", "Sn", "I", "Cl", "Cl"]
    kept = [0, 1, 2, 3, 4, 6, 7, 8, 9]
    np.testing.assert_allclose(plain.cart_coords, system.structure.cart_coords[kept])
    np.testing.assert_allclose(plain.lattice.matrix, system.structure.lattice.matrix)
    unlike = perovskite_system("unlike elements").at_vertex([0, 1, 0])
    assert [unlike[i].specie.Z for i in (2, 1, 5)] == [CL, SN, PB]


@pytest.mark.parametrize("weights", [[1, 0, 0.5, 0.5, 1], [0.999, 0, 0, 1, 1]])
def test_not_a_vertex(weights):
    with pytest.raises(InvalidInputError, match="vertex"):
        perovskite_system().at_vertex(weights)


def test_elements_leave_out_what_an_alchemical_site_only_stands_for():
    host = rock_salt([{"Fe": 1.0}])
    assert AlchemicalSystem(host, (SiteGroup((0,), ((19,), (3,))),)).elements == {3, 11, 17, 19}


def test_another_structure():
    system = perovskite_system()
    moved = system.structure.copy()
    moved.apply_strain(0.02)
    moved.replace(1, "Sn")
    other = system.with_structure(moved)
    np.testing.assert_allclose(other.structure.lattice.matrix, moved.lattice.matrix)
    np.testing.assert_allclose(other.structure.frac_coords, moved.frac_coords)
    assert (other.groups, other.coupling) == (system.groups, system.coupling)
    assert other.structure.species == system.structure.species
    with pytest.raises(InvalidInputError, match=r"\b10\b.*\b8\b"):
        system.with_structure(rock_salt())
    moved.translate_sites([1], moved.frac_coords[0] - moved.frac_coords[1])
    with pytest.raises(InvalidInputError, match="Å"):
        system.with_structure(moved)


# JSON


def through_json(thing):
    return json.loads(json.dumps(thing, cls=MontyEncoder), cls=MontyDecoder)


@pytest.mark.parametrize("groups", GROUPS)
def test_system_through_json(groups):
    system = perovskite_system(groups, "mean-field")
    for back in (
        through_json(system),
        AlchemicalSystem.from_dict(json.loads(json.dumps(system.as_dict()))),
    ):
        assert isinstance(back, AlchemicalSystem)
        assert back == system
        assert back.groups == system.groups
        assert all(isinstance(g, SiteGroup) for g in back.groups)
        assert back.coupling == "mean-field"
        np.testing.assert_array_equal(back.structure.frac_coords, system.structure.frac_coords)


def test_path_through_json():
    path = AlchemicalPath.from_substitution(rock_salt([{"Na": 0.6, "K": 0.3}]), {"Na": "Li"})
    for back in (through_json(path), AlchemicalPath.from_dict(json.loads(json.dumps(path.as_dict())))):
        assert isinstance(back, AlchemicalPath)
        assert back == path
        np.testing.assert_array_equal(back.weights([0.2, 0.7]), path.weights([0.2, 0.7]))


# Paths


def test_path_weights():
    path = AlchemicalPath(perovskite_system(), (1, 0, 0.5, 0.2, 1), (0, 1, 0.1, 0.6, 0))
    assert path.weights(0.25) == pytest.approx([0.75, 0.25, 0.4, 0.3, 0.75])
    many = path.weights(np.linspace(0, 1, 6).reshape(2, 3))
    assert many.shape == (2, 3, 5)
    np.testing.assert_allclose(many[0, 0], path.initial)
    np.testing.assert_allclose(many[1, 2], path.final)
    np.testing.assert_allclose(path.direction, [-1, 1, -0.4, 0.4, -1])
    assert not path.conserves_sites()
    assert AlchemicalPath(path.system, (1, 0, 0.5, 0.2, 1), (0, 1, 0.1, 0.6, 1)).conserves_sites()
    # what one group loses another does not make good
    assert not AlchemicalPath(path.system, (1, 0, 0.5, 0.2, 0), (0, 0.5, 0.5, 0.2, 0.5)).conserves_sites()


@pytest.mark.parametrize("lambdas", [-0.1, 1.1, [0.5, 2], np.nan])
def test_lambda_outside_the_path(lambdas):
    path = AlchemicalPath.from_substitution(rock_salt(), {"Na": "K"})
    with pytest.raises(InvalidInputError, match="λ"):
        path.weights(lambdas)


@pytest.mark.parametrize(
    ("initial", "final", "reason"),
    [
        ((1, 0), (0.6, 0.5), r"1\.1"),
        ((-1, 0), (0, 1), "-1"),
        ((1, 0, 0), (0, 1), "2 weights"),
        (((1, 0), (0, 1)), (0, 1), "initial"),
    ],
)
def test_path_ends_off_the_simplex(initial, final, reason):
    system = perovskite_system("one group")
    with pytest.raises(InvalidInputError, match=reason):
        AlchemicalPath(system, initial, final)


def test_nearly_full_sites_are_mentioned():
    species = [{"Li": 0.33, "Na": 0.33, "K": 0.333}, "Cl"]
    with pytest.warns(AlchemflowsWarning, match=r"0\.0070"):
        AlchemicalSystem.from_structure(Structure(Lattice.cubic(5.6), species, [[0, 0, 0], [0.5, 0.5, 0.5]]))


def test_formula():
    salt = Structure(Lattice.cubic(5.6), [{"Na": 0.25, "K": 0.5}, "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    system, weights = AlchemicalSystem.from_structure(salt)
    assert system.formula(weights) == "K0.5Na0.25Cl"
