"""The potential of a command without --potential."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure

from alchemflows.cli.default_potential import DEMO, FAMILIES, default_potential
from alchemflows.cli.example_files import find_example
from alchemflows.errors import InvalidInputError

EXAMPLES = {Path(name).name: text for name, text in find_example("structures").contents().items()}
#: Examples that mace-demo was not made for.
FOREIGN = {"BiSI.cif", "BiSCl.cif", "Ba2MgWO6.cif", "K.cif", "Zr0.5Sc0.5O1.75.cif"}


def chosen(structure: Structure, *substitutes: str, configured: str | None = None) -> str:
    return default_potential(configured, [structure], substitutes, "crystal.cif")


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_mace_demo_is_the_default_for_its_crystals(name, capsys):
    structure = Structure.from_str(EXAMPLES[name], fmt="cif")
    if name in FOREIGN:
        with pytest.raises(InvalidInputError, match=DEMO):
            chosen(structure)
    else:
        assert chosen(structure) == chosen(structure * (2, 1, 1)) == DEMO
        assert "not for publications" in capsys.readouterr().err


def test_families_have_the_lattice_parameters_of_the_model_card():
    for name in sorted(set(EXAMPLES) - FOREIGN):
        structure = Structure.from_str(EXAMPLES[name], fmt="cif")
        (family,) = (each for each in FAMILIES if {e.symbol for e in structure.elements} <= each.cations | {each.anion})
        low, high = family.volumes_A3
        assert low - 0.15 <= structure.volume / len(structure) <= high + 0.15


def salt(a: float = 5.69, anion: str = "Cl") -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), ["Na", anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("structure", "substitutes"),
    [
        (salt(), ["Rb"]),  # an element that it does not know
        (salt(), ["Ce"]),  # known from other crystals only
        (salt(8.0), []),
        (salt(4.5), []),
        (salt(anion="I"), []),
        (Structure(Lattice.cubic(4.4), ["Na", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0]]), []),
        (Structure(Lattice.cubic(2.84), ["Fe", "Al"], [[0, 0, 0], [0.5, 0.5, 0.5]]), []),
    ],
)
def test_other_crystals_need_a_choice(structure, substitutes):
    with pytest.raises(InvalidInputError) as error:
        chosen(structure, *substitutes)
    for word in ("crystal.cif", "--potential", "sevennet-0", "chgnet", "medium-mpa-0", "ALCHEMFLOWS_POTENTIAL"):
        assert word in str(error.value)


def test_a_configured_potential_comes_first():
    assert chosen(salt(anion="I"), configured="medium") == chosen(salt(), configured="medium") == "medium"


def test_commands_choose(run_refused, tmp_path, monkeypatch):
    """Without a database each command gets as far as the choice of the potential allows."""
    salt().to(str(tmp_path / "NaCl.cif"))
    assert_one_line(run_refused("ti", "NaCl.cif", "Na:Rb", "-T", 300), "NaCl.cif", "--potential")
    assert_one_line(run_refused("sweep", "NaCl.cif", "--choose", "Na:Na,Rb"), "NaCl.cif", "--potential")
    monkeypatch.setenv("ALCHEMFLOWS_POTENTIAL", "no-such.model")
    assert_one_line(run_refused("ti", "NaCl.cif", "Na:Rb", "-T", 300), "no-such.model")


def test_the_message_names_what_is_wrong(run_refused, tmp_path):
    """Name an element that mace-demo does not know, and one that is replaced but not in the structure."""
    salt().to(str(tmp_path / "NaCl.cif"))
    assert_one_line(run_refused("ti", "NaCl.cif", "Na:Rb", "-T", 300), "not made for Rb")
    assert_one_line(run_refused("switch", "NaCl.cif", "Na:Cs", "-T", 300), "not made for this crystal")
    for command in (["ti", "NaCl.cif", "Pb:Sn"], ["switch", "NaCl.cif", "Pb:Sn"], ["phases", "a=NaCl.cif"]):
        more = ["--substitution", "Pb:Sn"] if command[0] == "phases" else []
        assert_one_line(run_refused(*command, *more, "-T", 300), "Pb is not in", "Cl, Na")
    chosen = ("optimize", "NaCl.cif", "--choose", "Pb:Pb,Sn", "--target", "a_A=6")
    assert_one_line(run_refused(*chosen), "Pb is not in NaCl.cif")


@pytest.mark.slow
def test_a_command_without_options_runs(run, tmp_path):
    salt().to(str(tmp_path / "NaCl.cif"))
    done = run("sweep", "NaCl.cif", "Na:K", "--points", 2, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["provenance"]["potential"]["name"] == DEMO
    again = run("sweep", "NaCl.cif", "Na:K", "--points", 2, "--json")
    assert again.returncode == 0 and "2 of 2 " in again.stderr, again.stderr
    assert json.loads(again.stdout)["points"] == json.loads(done.stdout)["points"]
