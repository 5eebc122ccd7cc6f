"""Commands for order and disorder, through FireWorks and a real MongoDB."""

from __future__ import annotations

import json
import sys

import pytest
from command_line import assert_one_line
from pymatgen.core import Lattice, Structure


@pytest.fixture(scope="module")
def oxide(tmp_path_factory):
    path = tmp_path_factory.mktemp("oxide") / "mixed.cif"
    metal = {"Ce4+": 0.5, "Zr4+": 0.5}
    sites = [[0, 0, 0], [0.25, 0.25, 0.25]]
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), [metal, "O2-"], sites)
    cell.to(str(path))
    return path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wave", "rocksalt"], ["rocksalt=0.5,0.5,0.5"]),
        (["--wave", "a=0.5,0,0", "--distinct"], ["--wave", "--distinct"]),
        (["--wave", "a=0.25,0,0"], ["0.25"]),
        (["--supercell", 0, 1, 1], ["supercell"]),
        (["--samples", 2], ["--samples", "--sample-at"]),
        (["--sample-at", 600, "--samples", 3], ["--samples"]),
        (["--plot", "figure.doc", "--no-quasirandom"], [".png"]),
    ],
)
def test_bad_input_is_one_line(run_refused, oxide, arguments, words):
    assert_one_line(run_refused("order", oxide, "--supercell", 1, 1, 1, *arguments, "--potential", "mace-demo"), *words)


def test_without_the_extra_sqs_order_says_so_before_any_work(run_refused, oxide, monkeypatch):
    seen = {}

    def run_and_show(make, *_, **__):
        seen.update(quasirandom=make.func.__self__.quasirandom, stderr=sys.stderr.getvalue())

    monkeypatch.setattr("alchemflows.cli.ordering.find_spec", lambda name: None if name == "sqsgenerator" else name)
    monkeypatch.setattr("alchemflows.cli.ordering.run_and_show", run_and_show)
    arguments = ("order", oxide, "--supercell", 1, 1, 1, "--potential", "mace-demo")
    done = run_refused(*arguments)
    assert done.returncode == 0, done.stderr
    (note,) = (line for line in seen["stderr"].splitlines() if line.startswith("note:"))  # before the flow is made
    assert "quasirandom" in note and "alchemflows[sqs]" in note and not seen["quasirandom"]
    # What was asked for is not left out.
    assert_one_line(run_refused(*arguments, "--quasirandom"), "alchemflows[sqs]")
    # Nothing is said if there is nothing to leave out.
    assert "sqs" not in run_refused(*arguments, "--no-quasirandom").stderr
    monkeypatch.setattr("alchemflows.cli.ordering.find_spec", lambda name: name)
    assert "sqs" not in run_refused(*arguments).stderr and seen["quasirandom"]


@pytest.mark.slow
def test_orders_of_a_file_with_partial_occupancies(run, oxide, tmp_path):
    """A CIF with oxidation states goes in as it is; its orders come out as a table and a figure."""
    done = run(
        "order", oxide, "--supercell", 1, 1, 1, "--distinct", "--random", 2, "--no-quasirandom",
        "--potential", "mace-demo", "--plot", tmp_path / "order.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("paired", "mean-field", "random 2", "alike)", "ordering energy", "meV/atom"):
        assert word in done.stdout
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wave", "0.25,0,0"], ["0.25"]),
        (["--wave", "0,0,1,0"], ["0,0,1,0"]),
        (["--mu", "Zr"], ["Zr"]),
        (["--target", "Zr=0.5", "--mu", "Zr=0.1"], ["mu_eV and targets"]),
        (["--target", "Zr=half"], ["--target", "half"]),
        (["--stiffness", 2], ["--stiffness", "--target"]),
        (["--exchange", "Ce"], ["Ce"]),
        (["--exchange", "Zr -> Ce"], ["oxidation_states", "Ce"]),
        (["--exchange", "Zr -> Ce=0.1", "--oxidation-state", "Ce=3"], ["-1"]),
        (["--oxidation-state", "Ce=3"], ["oxidation_states"]),
        (["--tries", 0], ["--tries"]),
        (["--mu", "Zr=0.1", "--mu", "Ce=0.2"], ["mu_eV", "reference"]),
        (["--replicas", 3], ["--replicas"]),
        (["--timestep", 1], ["--timestep", "--md-steps"]),
        (["--plot", "figure.doc"], [".png"]),
    ],
)
def test_bad_input_of_monte_carlo_is_one_line(run_refused, oxide, arguments, words):
    given = ["mc", oxide, "-T", 600, "--supercell", 1, 1, 1, *arguments, "--potential", "mace-demo"]
    assert_one_line(run_refused(*given), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--wave", "0.25,0,0"], ["0.25"]),
        (["--supercell", "2x2"], ["2x2"]),
        (["--supercell", "1x1x1", "--supercell", "1x1x1"], ["supercells"]),
        (["--pressure", 1], ["--pressure", "--md-steps"]),
        (["--replicas", 3], ["--replicas"]),
    ],
)
def test_bad_input_of_a_transition_is_one_line(run_refused, oxide, arguments, words):
    given = ["transition", oxide, "-T", 300, "-T", 400, "-T", 500, *arguments, "--potential", "mace-demo"]
    assert_one_line(run_refused(*given), *words)


@pytest.mark.slow
def test_order_at_several_temperatures(run, oxide, tmp_path):
    """Samples become a table and a figure, which can be shown again; the estimate counts attempted moves."""
    given = ["mc", oxide, "--supercell", 1, 1, 1, "-T", 1500, "-T", 600, "--replicas", 2, "--potential", "mace-demo"]
    lengths = ["--equilibration", 1, "--production", 6, "--no-relax", "--wave", "0,0,1"]
    cost = json.loads(run(*given, *lengths, "--estimate", "--json").stdout)
    assert (cost["replicas"], cost["steps"]) == (4, 4 * 7 * 5)
    done = run(*given, *lengths, "--plot", tmp_path / "order.png", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["temperatures_K"] == [600.0, 1500.0] and len(result["replicas"]) == 4
    assert (tmp_path / "order.png").read_bytes().startswith(b"\x89PNG")
    shown = run("show", result["uuid"][:8]).stdout
    assert "canonical" in shown and "1500" in shown
    (row,) = json.loads(run("results", "--kind", "monte-carlo", "--json").stdout)
    assert row["uuid"] == result["uuid"]
