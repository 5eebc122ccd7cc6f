"""Tests of reading structure files: nothing in a file is lost without an error that names the loss."""

from __future__ import annotations

import hashlib
import inspect
import re
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pymatgen.io.cif
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Element, Lattice, Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.errors import InvalidInputError
from alchemflows.structures.cif import CAPITAL_TAGS, data_blocks, label_symbol, type_symbol
from alchemflows.structures.reading import read_structure, structure_of

LOOP = ("_atom_site_label", "_atom_site_type_symbol", "_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
SALT = ("Na1 Na 0 0 0 1", "Cl1 Cl 0.5 0.5 0.5 1")


def cif(rows, *, a=5.68, group=("P 1", 1), extra=(), columns=(*LOOP, "_atom_site_occupancy"), name="x") -> str:
    cell = [f"_cell_length_{axis} {a}" for axis in "abc"]
    cell += [f"_cell_angle_{angle} 90" for angle in ("alpha", "beta", "gamma")]
    symmetry = [f"_symmetry_space_group_name_H-M '{group[0]}'", f"_symmetry_Int_Tables_number {group[1]}"]
    return "\n".join([f"data_{name}", *cell, *symmetry, *extra, "loop_", *columns, *rows]) + "\n"


def write(folder: Path, text: str, name="x.cif") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def read(folder: Path, text: str, name="x.cif", **options):
    return read_structure(write(folder, text, name), **options)


POSCAR = """salt
1.0
5.68 0 0
0 5.68 0
0 0 5.68
{names}
4 4
{selective}Direct
0 0 0 {s}
0.5 0.5 0 {s}
0.5 0 0.5 {s}
0 0.5 0.5 {s}
0.5 0.5 0.5 {t}
0 0 0.5 {t}
0 0.5 0 {t}
0.5 0 0 {t}
{more}"""


def poscar(names="Na Cl", selective="", s="", t="", more="") -> str:
    text = POSCAR.format(names=names, selective=selective, s=s, t=t, more=more)
    return text.replace("0 0 5.68\n\n", "0 0 5.68\n")


def test_record_contains_formula_vacancies_supercell_and_notes(tmp_path):
    rows = ["Ba1 Ba 0 0 0 1", "Ti1 Ti 0.5 0.5 0.5 1", "O1 O 0.5 0.5 0 0.8"]
    path = write(tmp_path, cif(rows, a=4.02, group=("P m -3 m", 221)))
    record = read_structure(path).repeated((2, 2, 1)).record
    assert record.formula == "BaTiO2.4" and record.n_sites == 5 and record.n_atoms == pytest.approx(4.4)
    assert [(v.occupancy, v.n_sites, v.fraction) for v in record.vacancies] == [({"O": 0.8}, 3, 0.2)]
    assert "20 %" in record.summary and "O0.8" in record.summary and "2×2×1" in record.summary
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() and record.file == "x.cif"
    assert any("P m -3 m" in note for note in record.notes)


def test_parser_warnings_are_recorded_even_if_warnings_are_ignored(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        notes = read(tmp_path, cif(SALT, extra=["_symmetry_equiv_pos_as_xyz 'x, y, z'"])).record.notes
    assert any("P1" in note for note in notes)


@given(share=st.integers(1, 9), host=st.sampled_from(["O", "F", "N", "Cl"]), guest=st.sampled_from(["H", "O", "S"]))
@settings(max_examples=25, deadline=None)
def test_all_elements_of_a_shared_site_are_read(tmp_path_factory, share, host, guest):
    if host == guest:
        return
    x = share / 10
    rows = ["Ba1 Ba 0 0 0 1", "Ti1 Ti 0.5 0.5 0.5 1"]
    rows += [f"A1 {host} 0.5 0.5 0 {1 - x:.1f}", f"B1 {guest} 0.5 0.5 0 {x:.1f}"]
    found = read(tmp_path_factory.mktemp("x"), cif(rows, a=4.02, group=("P m -3 m", 221)))
    expected = {"Ba": 1, "Ti": 1, host: 3 * (1 - x), guest: 3 * x}
    assert found.structure.composition.as_dict() == pytest.approx(expected)
    assert not found.record.vacancies


@pytest.mark.parametrize(
    ("rows", "extra", "columns", "loss"),
    [
        ([*SALT, "Wat1 Wat 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "OW1 OW 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "O1 OH 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "X1 X 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "M1 Me 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "Vac1 Vac 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "Ln1 Ln 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "N1 NH4 0.25 0.25 0.25 1"], (), None, "symbols"),
        ([*SALT, "C1 CO 0.25 0.25 0.25 1"], (), None, "symbols"),
        (["Na1 0 0 0", "Wat1 0.5 0.5 0.5"], (), (LOOP[0], *LOOP[2:]), "symbols"),
        (["Na1 0 0 0", "OH1 0.5 0.5 0.5"], (), (LOOP[0], *LOOP[2:]), "symbols"),
        (
            ["Na1 Na 0 0 0 0", "O1 O 0.5 0.5 0.5 2"],
            (),
            (*LOOP, "_atom_site_attached_hydrogens"),
            "hydrogens",
        ),
        *(
            ([*SALT, f"{label} O 0.25 0.25 0.25 1"], (), None, "hydrogens")
            for label in ("OW1", "Ow", "Wat1", "O-H1", "OH")
        ),
        (SALT, ("_chemical_formula_sum 'Na Cl H2'",), None, "hydrogens"),
        (SALT, ("_chemical_formula_moiety 'Na +, Cl -, 2(H2 O)'",), None, "formula"),
        (SALT, ("_chemical_formula_sum 'Na2 Cl'",), None, "formula"),
        (SALT, ("_chemical_formula_sum 'K Cl'",), None, "formula"),
        (SALT, ("_space_group_IT_number 225", "loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'"), None, "symmetry"),
        (
            ["Na1 Na 0 0 0 1", "Cl1 Cl 0.49 0.5 0.5 1"],
            ("_space_group_IT_number 2", "loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'", "'-x, -y, -z'"),
            (*LOOP, "_atom_site_symmetry_multiplicity"),
            "symmetry",
        ),
    ],
)
def test_losses_in_cifs_are_refused_and_named(tmp_path, rows, extra, columns, loss):
    text = cif(rows, extra=extra, columns=columns or (*LOOP, "_atom_site_occupancy"))
    with pytest.raises(InvalidInputError, match=f"{loss}|X1|M1|Ln1"):
        read(tmp_path, text)


@pytest.mark.parametrize("symbol", ["Wat", "OH-", "NH4", "NH4+", "NH2", "CH3", "H3O+"])
def test_missing_hydrogens_are_refused_even_if_symbols_are_ignored(tmp_path, symbol):
    file = tmp_path / "x.cif"
    file.write_text(cif([*SALT, f"A1 {symbol} 0.25 0.25 0.25 1"], columns=(*LOOP, "_atom_site_occupancy")))
    with pytest.raises(InvalidInputError, match=r"hydrogens|not an element"):
        read_structure(file, ignore=["symbols"])


def test_accepted_loss_is_recorded(tmp_path):
    text = cif(SALT, extra=("_chemical_formula_sum 'Na Cl H2'",))
    record = read(tmp_path, text, ignore=["hydrogens"]).record
    assert record.formula == "NaCl" and "H2" in record.accepted[0]
    with pytest.raises(InvalidInputError, match="everything"):
        read(tmp_path, text, ignore=["everything"])


@pytest.mark.parametrize(
    "rows",
    [
        ("OW1 O 0.25 0.25 0.25 1", "H1 H 0.25 0.25 0.42 1", "H2 H 0.25 0.42 0.25 1"),
        ("OH1 O 0.25 0.25 0.25 1", "H1 H 0.25 0.25 0.42 1"),
        ("OW1 O 0.25 0.25 0.25 1", "W1 W 0.5 0 0 1"),
        ("O1 O 0.25 0.25 0.25 1",),
    ],
)
def test_labels_of_water_are_accepted_where_hydrogens_are_listed(tmp_path, rows):
    read(tmp_path, cif([*SALT, *rows]))


@pytest.mark.parametrize("symbol", [e.symbol for e in Element if e.Z <= 103 and e.name not in ("D", "T")])
def test_type_symbols_and_labels_of_all_elements_are_recognised(symbol):
    for text in (symbol, f"{symbol}2+", f"{symbol}1-", f"{symbol}+", f"{symbol}-2", f"{symbol}0+"):
        assert type_symbol(text) == symbol
    assert label_symbol(f"{symbol}1") == label_symbol(f"{symbol}12A") == label_symbol(symbol) == symbol


@given(st.text("ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwxyz", min_size=3, max_size=6))
def test_words_that_begin_like_an_element_are_not_recognised(text):
    if text[:1] in ("D", "T") or text.endswith(("val", "va")):
        return
    assert type_symbol(text) is None and label_symbol(text + "1") is None


@pytest.mark.parametrize("symbol", ["D", "T", "D+", "D1+", "2H", "6Li", "^2^H"])
def test_isotopes_in_cifs_are_refused(tmp_path, symbol):
    element = "Li" if symbol == "6Li" else "H"
    with pytest.raises(InvalidInputError, match=rf"isotope.* Write {element} instead.*m_{element} "):
        read(tmp_path, cif(["Li1 Li 0 0 0 1", f"X1 {symbol} 0.5 0.5 0.5 1"]))


@pytest.mark.parametrize(
    ("rows", "extra", "columns"),
    [
        (["Li1 0 0 0", "D1 0.5 0.5 0.5"], (), (LOOP[0], *LOOP[2:])),
        (["Li1 Li 0 0 0 1", "D1 H 0.5 0.5 0.5 1"], (), (*LOOP, "_atom_site_occupancy")),
        (["Li1 Li 0 0 0 1", "H1 H 0.5 0.5 0.5 1"], ("_chemical_formula_sum 'Li D'",), (*LOOP, "_atom_site_occupancy")),
        (["Li1 Li 0 0 0 1", "H1 H .5 .5 .5 .5", "D1 D .5 .5 .5 .5"], (), (*LOOP, "_atom_site_occupancy")),
    ],
)
def test_isotopes_by_label_formula_or_mixture_are_refused(tmp_path, rows, extra, columns):
    with pytest.raises(InvalidInputError, match="isotope"):
        read(tmp_path, cif(rows, extra=extra, columns=columns), ignore=["symbols", "formula", "hydrogens"])


@given(parts=st.lists(st.integers(1, 8), min_size=2, max_size=7), digits=st.integers(3, 4))
@settings(max_examples=30, deadline=None)
def test_rounded_occupancies_leave_no_vacancies(tmp_path_factory, parts, digits):
    """Fractions rounded to 3 or 4 digits are rescaled to a sum of 1, with a note."""
    elements = ["Na", "K", "Li", "Rb", "Cs", "Ag", "Cu"][: len(parts)]
    exact = {e: p / sum(parts) for e, p in zip(elements, parts, strict=True)}
    rounded = {e: round(x, digits) for e, x in exact.items()}
    rows = [f"{e}1 {e} 0.5 0.5 0.5 {x:.{digits}f}" for e, x in rounded.items()]
    found = read(tmp_path_factory.mktemp("x"), cif([*rows, "Cl1 Cl 0 0 0 1"]))
    assert not found.record.vacancies and found.record.n_atoms == pytest.approx(2)
    if abs(sum(rounded.values()) - 1) > 1e-6:
        assert any("rounding" in note for note in found.record.notes)
    n = sum(parts)
    if n <= 24:
        disorder = Disorder(found.structure, (1, 1, n))
        assert [s.counts for s in disorder.sublattices] == [tuple(_in_order(found.structure, exact, n))]


def _in_order(structure, exact, n):
    site = next(s for s in structure if len(s.species) > 1)
    return [round(exact[e.symbol] * n) for e in site.species]


def test_occupancy_sum_above_one_is_refused_or_rescaled_within_the_tolerance(tmp_path):
    rows = ["Na1 Na 0.5 0.5 0.5 0.34", "K1 K 0.5 0.5 0.5 0.34", "Li1 Li 0.5 0.5 0.5 0.33", "Cl1 Cl 0 0 0 1"]
    with pytest.raises(InvalidInputError, match=r"Na1/K1/Li1.* 1\.01"):
        read(tmp_path, cif(rows))
    with pytest.raises(InvalidInputError, match=r"1\.01"):
        read(tmp_path, cif(rows), occupancy_tolerance=1.005)
    found = read(tmp_path, cif(rows), occupancy_tolerance=1.02)
    assert max(site.species.num_atoms for site in found.structure) == pytest.approx(
        1
    ) and found.record.n_atoms == pytest.approx(2)
    assert any("1.01" in note for note in found.record.notes)
    with pytest.raises(InvalidInputError, match=r"0\.1"):
        read(tmp_path, cif(rows), occupancy_tolerance=0.1)


@pytest.mark.parametrize(
    "row", ["Cl1 Cl 0.5 ? 0.5 1", "Cl1 Cl 0.5 . 0.5 1", "Cl1 Cl 0.5 0.5 0.5 -0.5", "Cl1 Cl 0.5 0.5 0.5 much"]
)
def test_missing_and_invalid_numbers_are_refused(tmp_path, row):
    with pytest.raises(InvalidInputError, match="Cl1"):
        read(tmp_path, cif([SALT[0], row]))


def test_unknown_occupancy_is_read_as_one(tmp_path):
    assert read(tmp_path, cif([SALT[0], "Cl1 Cl 0.5 0.5 0.5 ?"])).record.formula == "NaCl"


def test_data_block_is_chosen_by_name_or_number(tmp_path):
    text = cif(SALT, name="first") + cif(SALT, a=6.6, name="second") + "data_text\n_journal_year 2020\n"
    with pytest.raises(InvalidInputError, match="first, second"):
        read(tmp_path, text)
    for block, a in (("first", 5.68), ("second", 6.6), (1, 5.68), ("2", 6.6), ("last", 6.6)):
        found = read(tmp_path, text, block=block)
        assert found.structure.lattice.a == a and found.record.block in ("first", "second")
    with pytest.raises(InvalidInputError, match="third"):
        read(tmp_path, text, block="third")


def test_data_blocks_with_equal_names_are_chosen_by_number(tmp_path):
    text = cif(SALT) + cif(SALT, a=6.6)
    with pytest.raises(InvalidInputError, match="2 data blocks"):
        read(tmp_path, text)
    assert read(tmp_path, text, block="2").structure.lattice.a == 6.6


def test_text_field_is_not_read_as_a_data_block():
    assert [name for name, _ in data_blocks("data_a\n_x\n;\ndata_b\n;\ndata_c\n")] == ["a", "c"]


def test_poscars_with_several_kinds_of_element_names_are_read(tmp_path):
    for names in ("Na Cl", "Na_pv Cl", "Na_pv/f474ac0d Cl/79d9987ad87"):
        assert read(tmp_path, poscar(names), "POSCAR").record.formula == "NaCl"
    named_sites = poscar("", s="Na", t="Cl")
    assert read(tmp_path, named_sites, "POSCAR").record.formula == "NaCl"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (poscar(""), "VASP 4"),
        (poscar("Na Cl K"), "3"),
        (poscar("Wa Cl"), "Wa"),
        (poscar("D Cl"), "isotope D"),
        (poscar(s="K"), "K"),
        (poscar(more="0.25 0.25 0.25\n"), "8"),
        (poscar(selective="Selective dynamics\n", s="F F F", t="T T T"), "4 of 8.*fixed-atoms"),
        (poscar(selective="Selective dynamics\n", s="T T F", t="T T T"), "fixed-atoms"),
        (poscar(selective="s\n", s=".FALSE. .F. .true.", t=".TRUE. .t. T"), "4 of 8.*fixed-atoms"),
        (poscar()[: poscar().rindex("0.5 0 0")], "line 15"),
    ],
)
def test_poscars_that_would_be_misread_are_refused(tmp_path, text, value):
    with pytest.raises(InvalidInputError, match=value):
        read(tmp_path, text, "POSCAR_x")


def test_fixed_atoms_can_be_ignored_and_velocities_are_noted(tmp_path):
    text = poscar(selective="Selective dynamics\n", s="F F F", t="T T T")
    found = read(tmp_path, text, "POSCAR", ignore=["fixed-atoms"])
    assert not found.structure.site_properties and "4 of 8" in found.record.accepted[0]
    for free in ("T T T", ".TRUE. .true. .T."):
        assert read(tmp_path, poscar(selective="Selective dynamics\n", s=free, t=free), "POSCAR")
    moving = poscar(more="\n" + "0.1 0.2 0.3\n" * 8)
    assert any("velocities" in note for note in read(tmp_path, moving, "POSCAR").record.notes)


FORMATS = ["x.extxyz", "x.xyz", "x.cif", "POSCAR", "x.vasp", "x.json", "x.xsf", "x.traj", "x.gen", "x.cell"]
FORMATS += ["geometry.in", "x.pwi", "x.cif.gz", "x.res"]


@pytest.mark.parametrize("name", FORMATS)
def test_formats_of_pymatgen_and_ase_are_read(tmp_path, name):
    salt = bulk("NaCl", "rocksalt", a=5.68, cubic=True)
    path = tmp_path / name
    structure = Structure(Lattice(salt.cell.array), salt.numbers, salt.positions, coords_are_cartesian=True)
    if name in ("x.json", "x.cif", "x.cif.gz", "POSCAR", "x.vasp"):
        structure.to_file(str(path)) if hasattr(structure, "to_file") else structure.to(filename=str(path))
    elif name == "x.pwi":
        ase.io.write(path, salt, format="espresso-in", pseudopotentials={"Na": "Na.UPF", "Cl": "Cl.UPF"})
    else:
        ase.io.write(path, salt, **({"format": "extxyz"} if "xyz" in name else {}))
    found = read_structure(path)
    assert found.record.formula == "NaCl" and found.record.n_sites == 8
    assert found.structure.lattice.volume == pytest.approx(5.68**3, rel=1e-6)


def test_image_is_chosen_by_number(tmp_path):
    frames = [bulk("NaCl", "rocksalt", a=a, cubic=True) for a in (5.6, 5.7, 5.8)]
    ase.io.write(tmp_path / "x.extxyz", frames)
    with pytest.raises(InvalidInputError, match="3 images"):
        read_structure(tmp_path / "x.extxyz")
    assert read_structure(tmp_path / "x.extxyz", block=2).structure.lattice.a == pytest.approx(5.7)
    last = read_structure(tmp_path / "x.extxyz", block="last")
    assert last.structure.lattice.a == pytest.approx(5.8) and last.record.block == "3"


@pytest.mark.parametrize(
    ("change", "value"),
    [
        (lambda atoms: atoms.set_pbc((True, True, False)), "periodic"),
        (lambda atoms: atoms.set_cell(np.zeros((3, 3))), "cell"),
        (lambda atoms: atoms.set_constraint(FixAtoms([0])), "fixed-atoms"),
        (lambda atoms: atoms.set_masses([2.014, *atoms.get_masses()[1:]]), "2.014.*masses"),
    ],
)
def test_ase_atoms_without_periodicity_or_with_constraints_are_refused(tmp_path, change, value):
    atoms = Atoms("HLi", cell=[3, 3, 3], positions=[[0, 0, 0], [1.5, 1.5, 1.5]], pbc=True)
    change(atoms)
    ase.io.write(tmp_path / "x.traj", atoms)
    with pytest.raises(InvalidInputError, match=value):
        read_structure(tmp_path / "x.traj")


def test_isotopes_and_unknown_symbols_in_extended_xyz_are_refused(tmp_path):
    text = '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\n{} 0 0 0\n'
    with pytest.raises(InvalidInputError, match="isotope D"):
        read(tmp_path, text.format("D"), "x.extxyz")
    with pytest.raises(InvalidInputError, match="Wa"):
        read(tmp_path, text.format("Wa"), "x.extxyz")
    with pytest.raises(InvalidInputError, match="X"):
        read(tmp_path, text.format("X"), "x.extxyz")


def test_lammps_atom_types_without_elements_are_refused(tmp_path):
    dump = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n1\nITEM: BOX BOUNDS pp pp pp\n0 3\n0 3\n0 3\n"
    with pytest.raises(InvalidInputError, match="types"):
        read(tmp_path, dump + "ITEM: ATOMS id type x y z\n1 1 0 0 0\n", "x.lammpstrj")
    named = read(tmp_path, dump + "ITEM: ATOMS id type element x y z\n1 1 Fe 0 0 0\n", "x.lammpstrj")
    assert named.record.formula == "Fe"
    salt = bulk("NaCl", "rocksalt", a=5.68, cubic=True)
    ase.io.write(tmp_path / "x.data", salt, format="lammps-data")
    with pytest.raises(InvalidInputError):
        read_structure(tmp_path / "x.data")


def test_unused_properties_are_noted(tmp_path):
    salt = bulk("NaCl", "rocksalt", a=5.68, cubic=True)
    salt.set_initial_magnetic_moments([1.0] * 8)
    ase.io.write(tmp_path / "x.traj", salt)
    assert any("magnetic moments" in note for note in read_structure(tmp_path / "x.traj").record.notes)


def test_dictionaries_are_checked_like_files():
    salt = Structure(Lattice.cubic(3.4), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    assert structure_of(salt.as_dict()).record.formula == "CsCl"
    salt.add_site_property("selective_dynamics", [[False] * 3, [True] * 3])
    with pytest.raises(InvalidInputError, match="fixed-atoms"):
        structure_of(salt.as_dict())
    with pytest.raises(InvalidInputError, match="isotope T"):
        structure_of(Structure(Lattice.cubic(3.4), ["Cs", "T"], [[0, 0, 0], [0.5] * 3]))
    with pytest.raises(InvalidInputError, match="X"):
        structure_of(Structure(Lattice.cubic(3.4), ["Cs", "X"], [[0, 0, 0], [0.5] * 3]))
    with pytest.raises(InvalidInputError, match="Structure"):
        structure_of({"lattice": 1})


def test_possible_rounding_error_of_an_occupancy_is_noted_once(tmp_path):
    rows = ["Na1 Na 0 0 0 0.995", "Na2 Na 0.5 0.5 0 0.995", "Cl1 Cl 0.5 0.5 0.5 1"]
    notes = [note for note in read(tmp_path, cif(rows)).record.notes if "0.9950" in note]
    assert len(notes) == 1


def with_tag_case(text: str, change) -> str:
    """Return a CIF with the case of its tags and of the word ``loop_`` changed."""
    return re.sub(r"(?<!\S)(_\S+|loop_)", lambda tag: change(tag.group()), text)


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_cif_tags_are_case_insensitive(tmp_path, change):
    rows = ["Pb1 Pb 0 0 0 1", "I1 I 0.5 0.5 0.5 0.5"]
    text = cif(rows, group=("F m -3 m", 225))
    # Keep only the symbol of the space group, then only its number.
    parts = text.split("_symmetry_Int_Tables_number 225\n")
    by_symbol, by_number = "".join(parts), text.replace("_symmetry_space_group_name_H-M 'F m -3 m'\n", "")
    for changed in (by_symbol, by_number, by_symbol.replace("\n_atom_site", " _atom_site")):
        record = read(tmp_path, with_tag_case(changed, change)).record
        assert (record.formula, record.n_atoms) == ("PbI0.5", 6)


def test_tags_in_quotes_and_text_fields_keep_their_case():
    [(_, body)] = data_blocks("data_x\n_A 'on _B' _C \"on _D\" LOOP_ _E O1' _F O2'\n_G\n;\n_H\n;\n")
    assert body == "data_x\n_a 'on _B' _c \"on _D\" loop_ _e O1' _f O2'\n_g\n;\n_H\n;\n"


@pytest.mark.parametrize("change", [str, str.lower, str.upper])
@pytest.mark.parametrize("tag", ["_space_group_magn.number_BNS", "_space_group_magn_number_BNS"])
def test_magnetic_cif_tags_are_case_insensitive(tmp_path, change, tag):
    extra = [f"{tag} 123.345", "_space_group_magn.transform_BNS_Pp_abc 'a,b,c;0,0,0'"]
    moments = ["loop_", "_atom_site_moment_label", *(f"_atom_site_moment_crystalaxis_{axis}" for axis in "xyz")]
    text = cif(["Fe1 Fe 0 0 0 1", "O1 O 0.5 0 0 1"], extra=[*extra, *moments, "Fe1 0 0 1"])
    assert read(tmp_path, with_tag_case(text, change)).record.formula == "FeO2"


def test_all_tags_that_pymatgen_expects_with_capital_letters_are_known():
    tags = re.findall(r"""["'](_[A-Za-z]\w*(?:[-.]\w+)*)["']""", inspect.getsource(pymatgen.io.cif))
    assert len(tags) > 50
    # Tags that pymatgen only writes, or uses for references.
    not_read = {"_cell_formula_units_Z", "_citation_DOI", "_journal_DOI"}
    assert {tag for tag in tags if tag != tag.lower()} - set(CAPITAL_TAGS.values()) == not_read


@pytest.mark.parametrize("hermann_mauguin", ["", "_symmetry_space_group_name_H-M ?\n"])
@pytest.mark.parametrize(
    "hall",
    [
        "_symmetry_space_group_name_Hall '-F 4 2 3'",
        "_space_group_name_Hall '-F 4 2 3'",
        "_space_group_name_Hall 'P 4 2'",  # P422; pymatgen reads P4_2
    ],
)
def test_a_hall_symbol_alone_is_a_loss(tmp_path, hall, hermann_mauguin):
    head = "_symmetry_space_group_name_H-M 'P 1'\n_symmetry_Int_Tables_number 1\n"
    text = cif(SALT).replace(head, f"{hall}\n{hermann_mauguin}")
    with pytest.raises(InvalidInputError, match="--ignore symmetry"):
        read(tmp_path, text)
    accepted = read(tmp_path, text, ignore=["symmetry"]).record.accepted
    assert len(accepted) == 1 and hall.split("'")[1] in accepted[0]


def test_a_hall_symbol_beside_operations_or_a_hermann_mauguin_symbol_is_no_loss(tmp_path):
    hall = "_space_group_name_Hall '-F 4 2 3'"
    by_symbol = cif(SALT, group=("F m -3 m", 225), extra=[hall])
    assert read(tmp_path, by_symbol).record.n_sites == 8
    operations = ["loop_", "_space_group_symop_operation_xyz", "'x, y, z'", "'-x, -y, -z'"]
    by_operations = cif(["Na1 Na 0.1 0 0 1"], group=("?", "?"), extra=["_space_group_name_Hall '-P 1'", *operations])
    assert read(tmp_path, by_operations).record.n_sites == 2


def test_a_byte_order_mark_is_ignored(tmp_path):
    path = tmp_path / "x.cif"
    path.write_bytes(b"\xef\xbb\xbf" + cif(SALT).encode())
    record = read_structure(path).record
    assert record.formula == "NaCl" and record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
