"""Errors of campaign files name the line of what is missing, unknown, misspelt or given twice."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure

from alchemflows.campaign.specification import campaign_of, read_campaign
from alchemflows.errors import InvalidInputError

LADDERS = """\
name: salts
structures:
  NaCl: {file: NaCl.cif}
  other:
    file: other.cif
transformations:
  change:
    Na: K
    Cl: {Br: 0.5, I: 0.5}
temperatures_K:
  - 300
  - 400
pressures_GPa: [0, 1]
method:
  kind: thermodynamic-integration
  settings: {cell_freedom: isotropic}
potential: {name: mace-demo}
resources:
  kinds:
    analysis: {priority: 2}
"""
VACANCIES = """\
name: vacancies
structures:
  NaCl: {file: NaCl.cif}
temperatures_K: [300]
method:
  kind: vacancy
  arguments:
    chemical_potentials:
      values_eV: {Na: -1.0}
      references:
        Cl:
          file: other.cif
potential: {name: mace-demo}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("named")
    for name in ("NaCl", "other"):
        Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]).to(str(path / f"{name}.cif"))
    return path


@pytest.mark.parametrize(
    ("text", "right", "wrong", "line", "words"),
    [
        (LADDERS, "NaCl.cif", "missing.cif", 3, r"structures\.NaCl\.file: .*missing\.cif"),
        (LADDERS, "other.cif", "missing.cif", 5, r"structures\.other\.file: .*missing\.cif"),
        (LADDERS, "other.cif", ".", 5, r"structures\.other\.file: .*folder"),
        (LADDERS, "Na: K", "Na: Xx", 8, r"transformations\.change\.Na: 'Xx'"),
        (LADDERS, "Na: K", "Xx: K", 8, r"transformations\.change\.Xx: 'Xx'"),
        (LADDERS, "Na: K", "Na: D", 8, r"transformations\.change\.Na: .*isotope"),
        (LADDERS, "I: 0.5", "Xx: 0.5", 9, r"transformations\.change\.Cl: 'Xx'"),
        (LADDERS, "- 400", "- 300.0", 10, "temperatures_K: "),
        (LADDERS, "[0, 1]", "[1, 1]", 13, "pressures_GPa: "),
        (LADDERS, "thermodynamic-integration", "termodynamic-integration", 15, "thermodynamic-integration?"),
        (LADDERS, "thermodynamic-integration", "switchin", 15, "did you mean switching?"),
        (LADDERS, "thermodynamic-integration", "frenkel_ladd", 15, "did you mean frenkel-ladd?"),
        (LADDERS, "isotropic", "isotropc", 16, r"method\.settings\.cell_freedom: .*did you mean isotropic?"),
        (LADDERS, "analysis", "analyses", 20, r"resources\.kinds\.analyses: .*did you mean analysis?"),
        (LADDERS, "analysis", "samplng", 20, r"resources\.kinds\.samplng: .*did you mean sampling?"),
        (VACANCIES, "Na: -1.0", "Xx: -1.0", 9, r"method\.arguments\.chemical_potentials\.values_eV\.Xx: 'Xx'"),
        (VACANCIES, "        Cl:", "        Xx:", 11, r"method\.arguments\.chemical_potentials\.references\.Xx: 'Xx'"),
        (VACANCIES, "other.cif", "missing.cif", 12, r"method\.arguments\..*\.references\.Cl\.file: .*missing\.cif"),
    ],
)
def test_the_line_is_named(folder, text, right, wrong, line, words):
    assert text.count(right) == 1
    (folder / "campaign.yaml").write_text(text)
    read_campaign(folder / "campaign.yaml")
    (folder / "campaign.yaml").write_text(text.replace(right, wrong))
    with pytest.raises(InvalidInputError, match=rf"campaign\.yaml, line {line}: .*{words}") as error:
        read_campaign(folder / "campaign.yaml")
    assert "\n" not in str(error.value)


def test_a_word_unlike_all_others_has_no_suggestion(folder):
    (folder / "campaign.yaml").write_text(LADDERS.replace("thermodynamic-integration", "x"))
    with pytest.raises(InvalidInputError, match=r"line 15: method\.kind: ") as error:
        read_campaign(folder / "campaign.yaml")
    assert "did you mean" not in str(error.value)


def test_fields_from_python_are_named_without_a_line(folder):
    (folder / "campaign.yaml").write_text(LADDERS)
    content = read_campaign(folder / "campaign.yaml").model_dump()
    with pytest.raises(InvalidInputError, match=r"^temperatures_K: "):
        campaign_of(content | {"temperatures_K": [300, 300]})
