"""CIFs that name a space group but list no operations are expanded by that group, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import spglib
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemflows.errors import InvalidInputError
from alchemflows.structures.reading import read_structure
from alchemflows.structures.space_groups import N_SETTINGS, settings_of, settings_of_number

#: Every tag of a Hermann–Mauguin symbol in the dictionaries of CIF and mmCIF.
TAGS = [
    "_symmetry_space_group_name_H-M",
    "_space_group_name_H-M_alt",
    "_space_group_name_H-M_full",
    "_space_group_name_H-M_ref",
    "_space_group.name_H-M_alt",
    "_space_group.name_H-M_full",
    "_space_group.name_H-M_ref",
    "_symmetry.space_group_name_H-M",
]
GENERAL = [0.11, 0.23, 0.37]
HEXAGONAL, RHOMBOHEDRAL = (20.0, 20.0, 20.0, 90.0, 90.0, 120.0), (20.0, 20.0, 20.0, 75.0, 75.0, 75.0)
CUBIC = (20.0, 20.0, 20.0, 90.0, 90.0, 90.0)


def cif(symmetry: list[str], rows: list[str], cell=CUBIC) -> str:
    names = [
        f"_cell_{kind}" for kind in ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    ]
    lines = [f"{name} {value}" for name, value in zip(names, cell, strict=True)]
    columns = ["_atom_site_label", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    return "\n".join(["data_x", *lines, *symmetry, "loop_", *columns, *rows]) + "\n"


def read(folder, *arguments, ignore=()):
    (folder / "x.cif").write_text(cif(*arguments))
    return read_structure(folder / "x.cif", ignore=ignore)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("symbol", ["F m -3 m", "Fm-3m", "F_m_-3_m", "F 4/m -3 2/m", "F m 3 m", "FM-3M", "F m -3 q"])
def test_a_symbol_under_any_tag_is_used_or_refused(tmp_path, tag, symbol):
    arguments = [f"{tag} '{symbol}'"], ["Na1 0 0 0", "Cl1 0.5 0.5 0.5"]
    if settings_of(symbol):
        assert read(tmp_path, *arguments).record.n_sites == 8
    else:
        with pytest.raises(InvalidInputError, match="--ignore symmetry"):
            read(tmp_path, *arguments)
        assert read(tmp_path, *arguments, ignore=["symmetry"]).record.n_sites == 2


@given(setting=st.integers(1, N_SETTINGS), tag=st.sampled_from(TAGS), number=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_setting_is_expanded_as_named(tmp_path_factory, setting, tag, number):
    """A site in a general position has the images that the database of spglib gives."""
    group, found = spglib.get_spacegroup_type(setting), spglib.get_symmetry_from_database(setting)
    numbers = [f"_space_group_IT_number {group.number}"] if number else []
    cell = RHOMBOHEDRAL if group.choice == "R" else HEXAGONAL if 143 <= group.number <= 194 else CUBIC
    folder = tmp_path_factory.mktemp("x")
    choice = f" :{group.choice}" if group.choice in ("1", "2", "H", "R") else ""
    rows = ["Na1 " + " ".join(map(str, GENERAL))]
    arguments = [f"{tag} '{group.international_full}{choice}'", *numbers], rows, cell
    if len(settings_of(group.international_full + choice)) > 1:
        with pytest.raises(InvalidInputError, match="--ignore symmetry"):
            read(folder, *arguments)
        return
    read_places = read(folder, *arguments).structure.frac_coords % 1
    expected = (found["rotations"] @ GENERAL + found["translations"]) % 1
    assert len(read_places) == len(expected)
    apart = expected[:, None] - read_places[None]
    assert np.abs(apart - apart.round()).max(axis=2).min(axis=1).max() < 1e-4


@pytest.mark.parametrize(
    ("symmetry", "cell", "n_atoms"),
    [
        (["_space_group_name_H-M_ref 'R -3 m'"], HEXAGONAL, 36),
        (["_space_group_name_H-M_ref 'R -3 m'"], RHOMBOHEDRAL, 12),
        (["_space_group_name_H-M_alt 'R -3 m :R'", "_space_group_IT_number 166"], RHOMBOHEDRAL, 12),
        (["_symmetry_space_group_name_H-M 'R -3 m H'", "_space_group_IT_number 166"], HEXAGONAL, 36),
        (["_space_group_IT_number 166"], RHOMBOHEDRAL, 12),
        (["_space_group_name_H-M_alt 'P 21/n'", "_space_group_IT_number 14"], CUBIC, 4),
        (["_space_group_name_H-M_full 'C m c a'"], CUBIC, 16),
        (["_space_group_name_H-M_full 'P 1'", "_space_group_IT_number 1"], CUBIC, 1),
        (["_symmetry_space_group_name_H-M 'F d -3 m'"], CUBIC, "settings"),
        (["_space_group_IT_number 227"], CUBIC, "settings"),
        (["_space_group_name_H-M_full 'F d -3 m Z'"], CUBIC, 192),
        (["_space_group_name_H-M_alt 'F d -3 m :1'"], CUBIC, 192),
        (["_space_group_name_H-M_alt 'P m -3 m'", "_space_group_IT_number 225"], CUBIC, "P m -3 m 225"),
        (["_space_group_name_H-M_alt 'P 1'", "_space_group_IT_number 225"], CUBIC, "P 1 225"),
        (["_space_group_name_H-M_alt 'P m -3 m'", "_space_group_name_H-M_full 'F m -3 m'"], CUBIC, "P m -3 m F m"),
        (["_space_group_name_H-M_alt 'F m -3 q'", "_space_group_IT_number 225"], CUBIC, "F m -3 q"),
    ],
)
def test_the_setting_follows_from_all_that_is_stated(tmp_path, symmetry, cell, n_atoms):
    arguments = symmetry, ["Na1 " + " ".join(map(str, GENERAL))], cell
    if isinstance(n_atoms, str):
        with pytest.raises(InvalidInputError, match=f"{n_atoms}.*--ignore symmetry"):
            read(tmp_path, *arguments)
    else:
        assert read(tmp_path, *arguments).record.n_sites == n_atoms


def test_operations_of_newer_dictionaries_are_used(tmp_path):
    operations = ["loop_", "_space_group_symop.id", "_space_group_symop.operation_xyz", "1 'x, y, z'", "2 '-x, -y, -z'"]
    named = [*operations, "_space_group.name_H-M_alt 'X'"]
    for symmetry in (operations, named):
        assert read(tmp_path, symmetry, ["Na1 0.1 0.2 0.3"]).record.n_sites == 2


def test_every_number_has_a_setting():
    assert all(settings_of_number(number) for number in range(1, 231))
    assert settings_of_number(0) == settings_of_number(231) == ()
