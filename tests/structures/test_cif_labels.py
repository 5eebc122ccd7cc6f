"""Labels that imply hydrogens, multiplicities and formula units of CIFs: missing atoms are refused."""

from __future__ import annotations

import itertools

import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.structures.cif_labels import implies_hydrogen
from alchemflows.structures.reading import read_structure

P1 = "_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1"
ROCKSALT = "_symmetry_space_group_name_H-M 'F m -3 m'\n_symmetry_Int_Tables_number 225"
SALT = ["Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5"]
WATER = [
    *("".join(parts) for parts in itertools.product("O", ["", "1", "12"], "wW", ["", "1", "A", "_2"])),
    *("O(W1)", "O(1W)", "O(1)W", "O_w", "O-W1", "W1", "WA1", "WO1", "Wat1", "WAT", "O_wat", "O1water", "Aq1", "OAQ2"),
    *("H2O", "H2O1", "HOH1", "OH2", "OH2_1", "O1H2", "O1h2o"),
]
HYDROXIDE = ["OH", "Oh1", "O1H", "O1h", "O-H1", "O_H", "O(1)H", "HO1"]


def read(folder, rows, columns=("type_symbol",), group=P1, extra="", **options):
    cell = [f"_cell_length_{axis} 5.68" for axis in "abc"] + [f"_cell_angle_{a} 90" for a in ("alpha", "beta", "gamma")]
    names = ["label", *columns, *(f"fract_{axis}" for axis in "xyz")]
    lines = ["data_x", *cell, group, extra, "loop_", *(f"_atom_site_{name}" for name in names), *rows]
    (folder / "x.cif").write_text("\n".join(lines) + "\n")
    return read_structure(folder / "x.cif", **options)


@pytest.mark.parametrize("label", WATER + HYDROXIDE)
def test_oxygen_labelled_as_water_or_hydroxide_needs_hydrogens(tmp_path, label):
    """With a type symbol and without; hydrogens elsewhere in the crystal do not count, those at the oxygen do."""
    oxygen, far, near = f"{label} O 0.25 0.25 0.25", "Hx1 H 0.75 0.75 0.75", "Hx1 H 0.25 0.25 0.42"
    for rows in ([*SALT, oxygen], [*SALT, oxygen, far]):
        with pytest.raises(InvalidInputError, match="--ignore hydrogens"):
            read(tmp_path, rows)
    assert "O" in read(tmp_path, [*SALT, oxygen], ignore=["hydrogens"]).record.formula
    assert read(tmp_path, [*SALT, oxygen, near]).record.n_atoms == 4
    if not label.startswith("W"):  # without a type symbol W1 is tungsten
        with pytest.raises(InvalidInputError, match=r"hydrogens|symbols|not an element"):
            read(tmp_path, ["Na1 0 0 0", f"{label} 0.25 0.25 0.25"], columns=())


@pytest.mark.parametrize(("label", "symbol"), [("NH4", "N"), ("N1H4", "N"), ("H3N", "N"), ("C1H3", "C"), ("CH2", "C")])
def test_labels_of_other_groups_need_hydrogens(tmp_path, label, symbol):
    with pytest.raises(InvalidInputError, match="--ignore hydrogens"):
        read(tmp_path, [*SALT, f"{label} {symbol} 0.25 0.25 0.25"])


@pytest.mark.parametrize(
    ("label", "symbol", "others"),
    [
        ("O1", "O", []),
        ("O2A", "O", []),
        ("Oxy1", "O", []),
        ("OW1", "O", ["W1 W"]),
        ("O1w", "O", ["W1 W"]),
        ("OHf1", "O", ["Hf1 Hf"]),
        ("OHo", "O", ["Ho1 Ho"]),
        ("O1H", "O", ["O1G O"]),
        ("O1W", "O", ["O1V O"]),
        ("N1H", "N", ["N1G N"]),
        ("Nb1", "Nb", []),
        ("Na1H", "Na", []),
    ],
)
def test_labels_of_other_meaning_are_accepted(tmp_path, label, symbol, others):
    more = [f"{each} 0.5 0 {0.1 * k}" for k, each in enumerate(others)]
    assert label in [site.label for site in _parsed(tmp_path, [*SALT, f"{label} {symbol} 0.25 0.25 0.25", *more])]


def _parsed(folder, rows):
    assert read(folder, rows).record.n_sites == len(rows)
    return Structure.from_file(str(folder / "x.cif"))


def test_water_is_named_in_a_tungstate_if_nothing_else_can_be_meant():
    assert implies_hydrogen("Wat1", "O", {"W", "O"}, ["Wat1"]) and not implies_hydrogen("W1", "O", {"W", "O"}, ["W1"])


@pytest.mark.parametrize("tag", ["symmetry_multiplicity", "site_symmetry_multiplicity", "site_symmetry_order"])
@pytest.mark.parametrize("rows", [["Na1 Na {} 0 0 0", "Cl1 Cl {} .5 .5 .5"], ["Na1 Na {} 0 0 0", "Na1 Na {} .5 .5 0"]])
@pytest.mark.parametrize("number", [2, 3, 4, 48, "4.0"])
def test_multiplicities_above_one_without_symmetry_operations_are_refused(tmp_path, tag, rows, number):
    rows = [row.format(number) for row in rows] + ["K1 K 1 0.1 0.2 0.3"]
    with pytest.raises(InvalidInputError, match=rf"multiplicity {int(float(number))}\b.*--ignore symmetry"):
        read(tmp_path, rows, ("type_symbol", tag))
    assert read(tmp_path, rows, ("type_symbol", tag), ignore=["symmetry"]).record.n_sites == 3


@pytest.mark.parametrize("group", [P1, ""])
def test_multiplicities_of_positions_that_are_all_listed_are_noted(tmp_path, group):
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.68), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    rows = ["{0}{1} {0} 4 {2} {3} {4}".format(site.specie, k, *site.frac_coords) for k, site in enumerate(salt)]
    found = read(tmp_path, rows, ("type_symbol", "symmetry_multiplicity"), group)
    assert found.record.n_sites == 8 and any("multiplicities" in note for note in found.record.notes)
    with pytest.raises(InvalidInputError, match="multiplicity 4"):  # one of them is missing
        read(tmp_path, rows[1:], ("type_symbol", "symmetry_multiplicity"), group)


@pytest.mark.parametrize(
    ("numbers", "accepted"),
    [((4, 4), True), ((48, 48), True), (("?", "."), True), ((4, 48), False), ((1, 1), False), ((8, 4), False)],
)
def test_multiplicity_or_order_of_the_site_symmetry_agrees_with_the_space_group(tmp_path, numbers, accepted):
    """48 is the order of the site symmetry, which SHELXL-97 writes as the multiplicity: 192 operations / 4."""
    rows = [f"Na1 Na {numbers[0]} 0 0 0", f"Cl1 Cl {numbers[1]} 0.5 0.5 0.5"]
    for tag in ("symmetry_multiplicity", "site_symmetry_order"):
        if accepted:
            assert read(tmp_path, rows, ("type_symbol", tag), ROCKSALT).record.n_sites == 8
        else:
            with pytest.raises(InvalidInputError, match="--ignore symmetry"):
                read(tmp_path, rows, ("type_symbol", tag), ROCKSALT)


@pytest.mark.parametrize(
    ("formula", "units", "group", "accepted"),
    [
        ("Na Cl", 1, P1, True),
        ("Na Cl", 4, P1, False),
        ("Na Cl", 2, P1, False),
        ("Na Cl", 4, ROCKSALT, True),
        ("Na4 Cl4", 4, ROCKSALT, True),
        ("Na2 Cl2", 2, ROCKSALT, True),
        ("Na Cl", 8, ROCKSALT, False),
        ("Na Cl", "?", P1, True),
    ],
)
def test_number_of_formula_units_is_checked(tmp_path, formula, units, group, accepted):
    extra = f"_chemical_formula_sum '{formula}'\n_cell_formula_units_Z {units}"
    if accepted:
        assert read(tmp_path, SALT, group=group, extra=extra).record.formula == "NaCl"
    else:
        with pytest.raises(InvalidInputError, match=r"formula units.*--ignore formula"):
            read(tmp_path, SALT, group=group, extra=extra)
