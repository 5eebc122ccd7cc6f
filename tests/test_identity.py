"""Values are written in one way only."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.identity import canonical, fingerprint, not_default

SALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.684305), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.9133, 5.40535), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.413505, 0.266915, 0.78575]]
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": 2.5}, '{"a":2.5,"b":1}'),
        ([1.0, -0.0, 0.1, 1e-7, 2**60 + 1, 1e300], f"[1,0,0.1,1e-07,{2**60 + 1},1e+300]"),
        ((True, None, "λ"), '[true,null,"\\u03bb"]'),
        (np.arange(4).reshape(2, 2), "[[0,1],[2,3]]"),
        ([np.float64(0.1), np.int32(7), np.float32(0.5), np.bool_(True)], "[0.1,7,0.5,true]"),
    ],
)
def test_texts(value, text):
    assert canonical(value) == text


@pytest.mark.parametrize("value", [float("nan"), np.inf, {1: 2}, {1, 2}, object(), b"", Lattice.cubic(1.0)])
def test_values_without_a_canonical_text_are_refused(value):
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


def test_a_default_of_another_release_is_written():
    assert not_default({"steps": 500, "fmax": 0.01}, {"steps": 500.0, "fmax": 0.01}) == {}
    assert not_default({"steps": 600, "fmax": 0.01}, {"steps": 500, "fmax": 0.01}) == {"steps": 600}


def turned(structure):
    """Return the same crystal, turned in space, its sites in other cells."""
    angle = 0.3
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    lattice = Lattice(structure.lattice.matrix @ rotation.T)
    return Structure(lattice, structure.species_and_occu, structure.frac_coords + np.array([1, -2, 0]))


@pytest.mark.parametrize("structure", [SALT, QUARTZ, SALT * (2, 1, 1)], ids=["salt", "quartz", "supercell"])
def test_the_same_crystal(structure, tmp_path):
    """From a CIF, from its dictionary, turned, with other labels, oxidation states, moments."""
    here = fingerprint(structure)
    structure.to(str(tmp_path / "it.cif"))
    charged = structure.copy()
    charged.add_oxidation_state_by_guess()
    charged.add_site_property("magmom", [1.0] * len(charged))
    for site in charged:
        site.label = "somewhere"
    others = [Structure.from_file(str(tmp_path / "it.cif")), Structure.from_dict(structure.as_dict())]
    assert [fingerprint(other) for other in [*others, charged, turned(structure)]] == [here] * 4
    disordered = structure.copy()
    disordered[0] = {"Na+": 0.25, "K+": 1 / 3}
    disordered.to(str(tmp_path / "mixed.cif"))
    from_file = Structure.from_file(str(tmp_path / "mixed.cif"))
    assert fingerprint(from_file) == fingerprint(disordered) != here


def test_another_crystal():
    changes = {"as it is": SALT.copy(), "strained": SALT.copy(), "doubled": SALT * (2, 1, 1)}
    changes["strained"].apply_strain([1e-5, 0, 0])
    for name, change in {
        "moved": lambda s: s.translate_sites([3], [3e-5, 0, 0]),
        "other element": lambda s: s.replace(0, "K"),
        "vacant": lambda s: s.replace(0, {"Na": 0.9}),
        "another share": lambda s: s.replace(0, {"Na": 0.9001}),
        "missing": lambda s: s.remove_sites([0]),
        "other order": lambda s: s.reverse(),
    }.items():
        changes[name] = SALT.copy()
        change(changes[name])
    keys = {name: fingerprint(structure) for name, structure in changes.items()}
    assert len(set(keys.values())) == len(changes), keys
