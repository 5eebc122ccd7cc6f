"""Commands for frames and corrections, through FireWorks and a real MongoDB."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from command_line import assert_one_line, printed_id, quiet
from pymatgen.core import Lattice, Structure

from alchemflows.cli.corrections import runs_of, targets_of
from alchemflows.errors import AlchemflowsWarning

TESTS = str(Path(__file__).parents[1])
ID = "a3c0be9d"
SPRINGS = "calculators:Springs"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frames", "export", ID, "ends.cif"], ["ends.cif", ".xyz"]),
        (["frames", "export", ID, "nowhere/ends.xyz"], ["nowhere"]),
        (["frames", "export", ID, "ends.xyz", "--end", "middle"], ["middle", "initial"]),
        (["frames", "export", ID, "ends.xyz", "--device", "cpu"], ["--device", "--forces"]),
        (["correct", ID, "--to", "ase.calculators.emt:EMT", "--dtype", "float32"], ["--dtype", "--argument"]),
        (["correct", ID, "--to", "ase.calculators.emt:EMT", "--argument", "cpu"], ["--argument", "cpu"]),
        (["correct", ID, "--to", "ase.calculators.emt:EMT", "--argument", "a={"], ["--argument a"]),
        (["correct", ID, "--to", "mace-demo", "--argument", "a=1"], ["--argument", "--dtype"]),
        (["correct", ID, "--to", "mace-demo", "--dtype", "float16"], ["float16"]),
        (["correct", ID, "--to", "mace-demo", "--max-failed", 1], ["--max-failed"]),
        (["correct", ID, "--to", "calculators:SpringsMaker", "--argument", "raises=3"], ["SpringsMaker", "not a list"]),
        (["correct", ID, "--to", "calculators:SpringsMaker", "--argument", "fails=[3]"], ["SpringsMaker", "fails"]),
        (["correct", ID, "--to", "calculators:SpringsMaker", "--device", "cpu"], ["--device", "--argument"]),
        (["correct", ID, "--to", "mace-demo", "--error", 0], ["--error"]),
        (["correct", ID, "--to", "mace-demo", "--max-evaluations", 7], ["--max-evaluations", "8"]),
        (["correct", ID, *["--to", "mace-demo"] * 3, *["--category", "a"] * 2], ["--category", "3"]),
        (["correct", ID, "--to", "mace-demo", "--runs", 2], ["--runs", "--sample-target"]),
        (["correct", ID, "--to", "mace-demo", "--sample-target", "--production", 10], ["--production", "10"]),
        (["correct", ID, *["--to", "mace-demo"] * 2, "--sample-target"], ["--sample-target", "stages"]),
        (["correct", ID, *["--to", SPRINGS] * 2, "--argument", "fails=[1]"], ["fails", "1.fails=[1]"]),
        (["correct", ID, "--to", SPRINGS, "--to", "mace-demo", "--argument", "2.fails=[1]"], ["target 2"]),
        (["correct", ID, "--to", "mace-demo", "--plot", "figure.doc"], [".png"]),
    ],
)
def test_bad_input_is_one_line(run_refused, arguments, words):
    assert_one_line(run_refused(*arguments), *words)


@pytest.mark.parametrize(
    "arguments",
    [
        ["correct", ID, "--to", "sevennet-0"],
        ["correct", ID, "--to", "mace-demo", "--to", "7net-0"],
        ["committee", ID, "--with", "sevennet-0 dtype=float32"],
        ["reanalyse", ID, "--to", "sevennet-0"],
        ["rerun", ID, "--potential", "sevennet-0"],
    ],
)
def test_a_missing_package_is_named_before_the_database_is_connected(run_refused, monkeypatch, arguments):
    monkeypatch.setattr("alchemflows.schemas.potential.find_spec", lambda name: None)
    assert_one_line(run_refused(*arguments), 'pip install "alchemflows[sevennet]"')


def test_arguments_of_several_targets():
    names = ["mace-demo", SPRINGS, "calculators:SpringsMaker"]
    arguments = ["3.raises=[2]", "2.fails=[3]", "2.offset_eV=1.5"]
    potential, calculator, maker = targets_of(names, arguments, "float64", "auto", None)
    assert (potential.name, maker.raises) == ("mace-demo", [2])
    assert calculator.arguments == {"fails": [3], "offset_eV": 1.5}


def test_short_runs_with_the_target(monkeypatch):
    monkeypatch.setenv("ALCHEMFLOWS_SHORT", "1")
    with pytest.warns(AlchemflowsWarning, match="ALCHEMFLOWS_SHORT"):
        short = runs_of(2, 1000, 4000)
    assert (short.n_runs, short.n_equilibration_steps, short.n_production_steps) == (2, 6, 60)


@pytest.mark.slow
def test_a_ladder_is_corrected_to_another_potential(run, tmp_path):
    """From the dynamics to the corrected result, its table, figure and frames; the target is springs of ASE."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(tmp_path / "NaCl.cif"))
    lengths = ["--windows", 2, "--equilibration", 20, "--production", 300, "--no-relax", "--windows-per-job", 2]
    ladder = json.loads(run("ti", tmp_path / "NaCl.cif", "Na:K", "-T", 300, *lengths, "--frames", 20, "--json").stdout)
    short = ladder["uuid"][:8]
    exported = run("frames", "export", short, tmp_path / "ends.xyz", "--end", "final")
    assert "20 frames" in quiet(exported) and "correlation of" in exported.stdout
    listed = json.loads(run("frames", "show", short, "--json").stdout)["states"]
    assert [(state["number"], state["lambda"], state["n_frames"]) for state in listed] == [(1, 0.0, 20), (2, 1.0, 20)]
    assert "NaCl (λ = 0)" in quiet(run("frames", "show", short))
    only = run("frames", "export", short, tmp_path / "first.xyz", "--state", 1, "--json")
    assert {image.info["lambda"] for image in read(tmp_path / "first.xyz", ":")} == {0.0}, only.stderr
    assert_one_line(run("frames", "export", short, tmp_path / "first.xyz", "--state", 3), "--state", "3")
    images = read(tmp_path / "ends.xyz", ":")
    assert {image.get_chemical_formula() for image in images} == {"Cl4K4"}
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), TESTS])
    unknown = run("correct", short, "--to", "nowhere:Calculator")
    assert_one_line(unknown, "nowhere")
    misnamed = run("correct", short, "--to", "calculators:Springs", "--argument", "stiff=1", PYTHONPATH=path)
    assert_one_line(misnamed, "calculators:Springs", "stiff")
    springs = ["--to", "calculators:Springs", "--argument", "fails=[3]", "--argument", "stiffness_eV_per_A2=1e-4"]
    printed = quiet(run("correct", short, *springs, "--plot", tmp_path / "c.png", PYTHONPATH=path))
    assert "corrected ΔF" in printed and "calculators:Springs" in printed
    found = json.loads(quiet(run("show", printed_id(printed), "--json")))
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert [each["index"] for each in found["initial"]["failed"]] == [3]
    assert found["ladder"] == ladder["uuid"] and found["uncorrected"] == ladder["total"]
    np.testing.assert_allclose(
        found["total"]["delta_f_eV"], ladder["total"]["delta_f_eV"] + found["correction"]["delta_f_eV"]
    )
    (row,) = json.loads(run("results", "--kind", "correction", "--json").stdout)
    assert row["uuid"] == found["uuid"] and row["value"] == found["correction"]["delta_f_eV"]
    refused = run("frames", "export", found["uuid"][:8], tmp_path / "ends.xyz")
    assert_one_line(refused, "CorrectionDocument", "no frames")


@pytest.mark.slow
def test_a_ladder_is_corrected_with_a_maker_of_atomate2(run, perovskite, gentle_model, tmp_path):
    """The force field is the sampled potential in double precision, so that the correction is zero."""
    perovskite.to(str(tmp_path / "CsPbI3.cif"))
    lengths = ["--windows", 2, "--equilibration", 20, "--production", 100, "--no-relax", "--windows-per-job", 2]
    given = ["--potential", gentle_model, "-T", 200, *lengths, "--frames", 5, "--json"]
    ladder = json.loads(run("ti", tmp_path / "CsPbI3.cif", "Pb:Sn", *given).stdout)
    settings = json.dumps({"model": str(gentle_model), "default_dtype": "float64", "device": "cpu"})
    to = ["--to", "atomate2.forcefields.jobs:ForceFieldStaticMaker", "--category", "dft"]
    to += ["--argument", "force_field_name=MACE", "--argument", f"calculator_kwargs={settings}"]
    done = run("correct", ladder["uuid"][:8], *to, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["initial"]["n_frames"], found["final"]["n_frames"]) == (5, 5) and len(found["frame_jobs"]) == 10
    assert abs(found["correction"]["delta_f_eV"]) < 1e-4
    springs = ["--to", "calculators:SpringsMaker", "--argument", "raises=[6]", "--max-failed", 0.2]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), TESTS])
    done = run("correct", ladder["uuid"][:8], *springs, "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (failed,) = found["final"]["failed"]
    assert failed["index"] == 1 and found["frame_jobs"][6][:8] in failed["error"]
    stages = ["--to", gentle_model, *springs[:2], "--category", "gpu", "--category", "dft", "--max-evaluations", 8]
    done = run("correct", ladder["uuid"][:8], *stages, "--json", PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [stage["initial"]["n_frames"] for stage in found["stages"]] == [5] and len(found["frame_jobs"]) == 8
    exported = run("frames", "export", ladder["uuid"][:8], tmp_path / "ends.xyz", "--forces", "--device", "cpu")
    assert exported.returncode == 0, exported.stderr
    assert all(np.abs(image.get_forces()).max() > 0 for image in read(tmp_path / "ends.xyz", ":"))
    refused = run("correct", ladder["uuid"][:8], *springs[:-2], PYTHONPATH=path)
    assert refused.returncode == 1 and "1 of 5 frames" in refused.stdout + refused.stderr


@pytest.mark.slow
def test_an_absolute_free_energy_is_corrected(run, tmp_path):
    """To the same potential in double precision; options of ladders are refused before anything is submitted."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(tmp_path / "NaCl.cif"))
    lengths = ["--repeats", 2, "--cell-steps", 300, "--equilibration", 10, "--sampling", 40, "--switching", 20]
    given = ["-T", 300, *lengths, "--no-relax", "--frames", 20, "--json"]
    crystal = json.loads(run("frenkel-ladd", tmp_path / "NaCl.cif", *given).stdout)
    short = crystal["uuid"][:8]
    stages = run("correct", short, "--to", "mace-demo", "--to", "mace-demo")
    assert_one_line(stages, "--to", "ladders")
    assert_one_line(run("correct", short, "--to", "mace-demo", "--error", 0.001), "--error")
    assert_one_line(run("reanalyse", short, "--to", "mace-demo"), "frenkel-ladd", f"alchemflows correct {short}")
    estimate = json.loads(run("correct", short, "--to", "mace-demo", "--estimate", "--json").stdout)
    assert estimate["evaluations"] == 20
    printed = quiet(run("correct", short, "--to", "mace-demo", "--plot", tmp_path / "c.png"))
    assert "corrected G" in printed and (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(quiet(run("show", printed_id(printed), "--json")))
    assert found["result"] == crystal["uuid"] and found["states"][0]["reweighting"]["n_frames"] == 20
    assert abs(found["states"][0]["reweighting"]["best"]["delta_f_eV_per_atom"]) < 1e-5
    (row,) = json.loads(run("results", "--kind", "state-correction", "--json").stdout)
    assert row["quantity"] == "ΔΔG" and row["unit"] == "eV/atom" and row["uuid"] == found["uuid"]
    assert_one_line(run("committee", short, "--with", "mace-demo", "--tolerance-k", 5), "--tolerance-k")
    assert_one_line(run("committee", short, "--with", "mace-demo", "--forces"), "--forces")
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), TESTS])
    member = ["--with", "calculators:Springs stiffness_eV_per_A2=1e-4", "--tolerance-mev-per-atom", 1]
    printed = quiet(run("committee", short, *member, "--plot", tmp_path / "m.png", PYTHONPATH=path))
    assert "σ_model" in printed and (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    compared = json.loads(quiet(run("show", printed_id(printed), "--json")))
    assert any("members disagree" in reason for reason in compared["verdict"]["reasons"])
    (row,) = json.loads(run("results", "--kind", "state-committee", "--json").stdout)
    (spread,) = compared["state_spreads"]
    assert (row["value"], row["error"]) == (spread["mean"]["value_eV_per_atom"], spread["sigma_model_eV_per_atom"])
    worst = run("frames", "worst", compared["uuid"][:8], 3, tmp_path / "worst.xyz", "--json")
    listed = json.loads(worst.stdout)["frames"]
    assert [frame["frame"] for frame in listed] == [frame["index"] for frame in compared["frames"][:3]]
