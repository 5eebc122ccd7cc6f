"""Commands over compositions, through FireWorks and a real MongoDB."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure

from alchemflows.cli.inputs import bounds_of, targets_of
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.optimization import Target


@pytest.fixture(scope="module")
def salt(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("salt") / "NaCl.cif"
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.7), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    cell.get_primitive_structure().to(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["a line", "a simplex"]),
        (["Na:K", "--choose", "Na:Na,K"], ["not both"]),
        (["Na"], ["Pb:Sn"]),
        (["--choose", "Na"], ["Na:Li,Na,K"]),
        (["--choose", "Na:Na"], ["Na"]),
        (["Mg:K"], ["Mg"]),
        (["Na:K", "--until", 1.5], ["1.5"]),
        (["Na:Rb"], ["Rb"]),
        (["Na:K", "--coupling", "none"], ["coupling", "none"]),
        (["Na:K", "--plot", "figure.doc"], [".png"]),
    ],
)
def test_bad_input_is_one_line(run_refused, salt, arguments, words):
    assert_one_line(run_refused("sweep", salt, *arguments, "--potential", "mace-demo"), *words)


@pytest.mark.slow
def test_a_sweep_and_a_finer_one_that_repeats_nothing(run, salt, tmp_path):
    options = ["--potential", "mace-demo", "--plot", tmp_path / "salt.png"]
    done = run("sweep", salt, "Na:K", "--points", 2, *options)
    assert done.returncode == 0, done.stderr
    for word in ("3 jobs", "NaCl", "KCl", "converged: all checks have passed"):
        assert word in done.stdout
    assert (tmp_path / "salt.png").read_bytes().startswith(b"\x89PNG")
    finer = run("sweep", salt, "Na:K", "--points", 3, *options)
    assert finer.returncode == 0, finer.stderr
    assert "2 of 3 " in finer.stdout and "2 jobs" in finer.stdout
    assert "relax K0.5Na0.5Cl" in finer.stdout and "relax NaCl" not in finer.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["target"]),
        (["--target", "a_A"], ["a_A=4.1"]),
        (["--target", "bulk_modulus_GPa=20", "--relax", "none"], ["bulk_modulus_GPa"]),
        (["--target", "a_A=4.1", "--bound", "Rb=0:1"], ["Rb=0:1"]),
        (["--largest", "volume_A3", "--plot", "figure.doc"], [".png"]),
    ],
)
def test_bad_input_of_an_optimization_is_one_line(run_refused, salt, arguments, words):
    assert_one_line(
        run_refused("optimize", salt, "--choose", "Na:Na,K", *arguments, "--potential", "mace-demo"), *words
    )


def test_targets_and_bounds_as_they_are_typed():
    assert targets_of(["a_A=4.1", "pressure_GPa=-2:0.1"], ["volume_A3"], ["c_A"]) == [
        Target(quantity="a_A", value=4.1),
        Target(quantity="pressure_GPa", value=-2.0, scale=0.1),
        Target(quantity="volume_A3", extremum="least"),
        Target(quantity="c_A", extremum="largest"),
    ]
    for text in ("a_A", "a_A=", "a_A=x", "a_A=4.1:", "a_A=4.1:0", "a_A=nan"):
        with pytest.raises(InvalidInputError, match=r"a_A=4.1"):
            targets_of([text], [], [])
    choices = {"Al": ["Al", "Sc"], "Ga": ["Ga", "Sc", "In"]}
    bounds = bounds_of(["Sc=0:0.5", "In=0.1:1"], choices)
    assert bounds == {"Al": {"Sc": (0.0, 0.5)}, "Ga": {"Sc": (0.0, 0.5), "In": (0.1, 1.0)}}
    for texts, reason in ((["Sc=0"], "Sc=0"), (["N=0:1"], "N=0:1"), (["Sc=0:1", "Sc=0:1"], "Sc")):
        with pytest.raises(InvalidInputError, match=reason):
            bounds_of(texts, choices)


@pytest.mark.slow
def test_an_optimization_with_its_table_and_figure(run, salt, tmp_path):
    aim = ["--choose", "Na:Na,K", "--target", "a_A=4.1", "--bound", "K=0.1:0.9", "--relax", "isotropic"]
    more = ["--starts", 2, "--round-to", 8, "--plot", tmp_path / "descent.png"]
    done = run("optimize", salt, *aim, *more, "--potential", "mace-demo")
    assert done.returncode == 0, done.stderr
    for word in ("1 job,", "K0.5Na0.5Cl", "whole atoms", "converged: all checks have passed"):
        assert word in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()]
    (rounded,) = [row for row in rows if row[0] == "whole"]
    runs = [row for row in rows if row[-1] in ("yes", "NO") and row is not rounded]
    assert len(runs) == 2 and all(row[-1] == "yes" for row in runs)
    assert all(abs(float(row[-4]) - 4.1) < 2e-3 for row in runs)
    assert sum("*" in row for row in runs) == 1
    assert rounded[2].endswith("Cl8") and 1e-3 < abs(float(rounded[-2]) - 4.1) < 0.05
    assert rounded[-1] == "NO" and "whole atoms miss a target: a_A is" in done.stdout
    assert (tmp_path / "descent.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--choose", "Na:Na,K,Li"], ["Li"]),
        (["--choose", "Na:Na,K", "--choose", "Cl:Cl,I"], ["choices"]),
        (["--choose", "Mg:Mg,Ca"], ["Mg"]),
        (["--choose", "Na:Na,K", "--pressure", 1], ["--pressure", "--md-steps"]),
        (["--choose", "Na:Na,K", "--mu", 0.1, "--potentials", 5], ["--potentials", "--mu"]),
        (["--choose", "Na:Na,K", "--mu", 0.1], ["delta_mu_eV", "0.1"]),
        (["--choose", "Na:Na,K", "--potentials", 2], ["--potentials", "2"]),
    ],
)
def test_bad_input_of_a_free_energy_of_mixing_is_one_line(run_refused, salt, arguments, words):
    assert_one_line(run_refused("mixing", salt, "-T", 600, *arguments, "--potential", "mace-demo"), *words)
