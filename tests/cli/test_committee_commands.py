"""The command for committees of potentials, through FireWorks and a real MongoDB."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from ase.io import read
from command_line import assert_one_line, printed_id, quiet
from jobflow import run_locally
from monty.serialization import loadfn
from pymatgen.core import Lattice, Structure

TESTS = str(Path(__file__).parents[1])
ID = "a3c0be9d"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--with", "mace-demo head"], ["--with mace-demo", "head"]),
        (["--with", "mace-demo cutoff=5"], ["mace-demo", "cutoff", "head"]),
        (["--with", "mace-demo dtype=float16"], ["float16"]),
        (["--with", " "], ["--with", "empty"]),
        (["--with", "mine:soft 'scale"], ["--with", "scale"]),
        (["--with", "mine:soft a={"], ["mine:soft", "a"]),
        (["--with", "mace-demo", "--no-sampled"], ["--with", "at least 2"]),
        (["--with", "mace-demo", "--tolerance-mev-per-atom", -1], ["--tolerance-mev-per-atom"]),
        (["--with", "mace-demo", "--max-failed", 1], ["--max-failed"]),
        (["--with", "mace-demo", "--budget", -1], ["--budget"]),
        (["--with", "mace-demo", "--plot", "figure.doc"], [".png"]),
    ],
)
def test_bad_input_is_one_line(run_refused, arguments, words):
    assert_one_line(run_refused("committee", ID, *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([0, "worst.xyz"], ["N"]),
        ([3, "worst.cif"], [".xyz"]),
        ([3, "no/worst.xyz"], ["no"]),
        ([3, "no/flow.json", "--maker", "calculators:SpringsMaker"], ["no"]),
        ([3, "flow.json"], ["flow.json", "--maker"]),
        ([3, "worst.xyz", "--submit"], ["--submit", "--maker"]),
        ([3, "worst.xyz", "--category", "dft"], ["--category", "--maker"]),
        ([3, "worst.xyz", "--maker", "calculators:SpringsMaker"], ["--submit", ".json"]),
        ([3, "flow.json", "--maker", "calculators:Springs"], ["--maker", "calculators:Springs"]),
        ([3, "flow.json", "--maker", "nowhere:Maker"], ["nowhere"]),
        ([3, "worst.xyz", "--device", "cpu"], ["--device", "--reference"]),
        ([3, "worst.xyz", "--reference", "nowhere.xyz"], ["nowhere.xyz"]),
        ([3, "worst.xyz", "--reference", __file__], ["--reference", "test_committee_commands.py"]),
        ([3, "flow.json", "--maker", "calculators:SpringsMaker", "--argument", "raises=3"], ["not a list"]),
    ],
)
def test_bad_exports_of_frames_are_refused(run_refused, arguments, words):
    assert_one_line(run_refused("frames", "worst", ID, *arguments), *words)


@pytest.mark.slow
def test_a_committee_of_a_ladder(run, tmp_path):
    """From the dynamics to the table, figure and list; the members are springs of ASE with different stiffness."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    salt.to(str(tmp_path / "NaCl.cif"))
    lengths = ["--windows", 2, "--equilibration", 20, "--production", 300, "--no-relax", "--windows-per-job", 2]
    ladder = json.loads(run("ti", tmp_path / "NaCl.cif", "Na:K", "-T", 300, *lengths, "--frames", 20, "--json").stdout)
    short = ladder["uuid"][:8]
    path = os.pathsep.join([os.environ.get("PYTHONPATH", ""), TESTS])
    assert_one_line(run("committee", short, "--with", "mace-demo"), "mace-demo", "sampled potential")
    springs = [f"calculators:Springs stiffness_eV_per_A2={value}" for value in (1e-4, 2e-4)]
    twice = ["--with", springs[0], "--with", springs[0]]
    assert_one_line(run("committee", short, *twice, PYTHONPATH=path), "Springs", "once")
    members = [word for member in springs for word in ("--with", f"{member} fails=[3]")]
    options = ["--tolerance-mev-per-atom", 1e-3, "--plot", tmp_path / "c.png", "--forces"]
    shown = quiet(run("committee", short, *members, *options, PYTHONPATH=path))
    assert "σ_model" in shown and "calculators:Springs" in shown
    found = json.loads(quiet(run("show", printed_id(shown), "--json")))
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    totals = [member["total"]["delta_f_eV"] for member in found["members"]]
    assert totals[0] == ladder["total"]["delta_f_eV"] and len(totals) == 3
    np.testing.assert_allclose(found["sigma_model_eV"], np.std(totals, ddof=1))
    assert any("members disagree" in reason for reason in found["verdict"]["reasons"])
    (row,) = json.loads(run("results", "--kind", "committee", "--json").stdout)
    assert row["uuid"] == found["uuid"] and row["error"] == found["sigma_model_eV"]
    assert len(json.loads(run("results", "--kind", "correction", "--json").stdout)) == 2
    assert run("plot", found["uuid"][:8], tmp_path / "again.png").returncode == 0
    listed = json.loads(run("frames", "worst", found["uuid"][:8], 5, tmp_path / "worst.xyz", "--json").stdout)["frames"]
    scores = [frame["force_spread_eV_per_A"] for frame in listed]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)
    assert scores[0] == max(frame["force_spread_eV_per_A"] for frame in found["force_frames"])
    images = read(tmp_path / "worst.xyz", ":")
    assert [image.info["frame"] for image in images] == [frame["frame"] for frame in listed]
    assert all(image.calc is None and image.info["temperature_K"] == 300 for image in images)
    assert images[0].info["force_spread_eV_per_A"] == pytest.approx(scores[0])
    printed = quiet(run("frames", "worst", found["uuid"][:8], 2, tmp_path / "worst.xyz"))
    assert "2 frames" in printed and "eV/Å" in printed
    maker = ["--maker", "calculators:SpringsMaker", "--category", "dft"]
    done = run("frames", "worst", found["uuid"][:8], 3, tmp_path / "flow.json", *maker, "--json", PYTHONPATH=path)
    assert done.returncode == 0 and len(json.loads(done.stdout)["frames"]) == 3, done.stderr
    flow = loadfn(tmp_path / "flow.json")
    assert [job.config.manager_config["_category"] for job in flow.jobs] == ["dft"] * 3
    assert [job.metadata["frame"]["index"] for job in flow.jobs] == [frame["frame"] for frame in listed[:3]]
    outputs = run_locally(flow, root_dir=tmp_path, log=False, ensure_success=True)
    assert all(outputs[reference.uuid][1].output["output"]["energy"] > 0 for reference in flow.output)
    done = run("frames", "worst", found["uuid"][:8], 2, tmp_path / "w.xyz", *maker, "--submit", PYTHONPATH=path)
    assert done.returncode == 0 and "2 jobs of the category dft" in done.stdout, done.stderr
    assert len({image.info["job"] for image in read(tmp_path / "w.xyz", ":")}) == 2
    assert_one_line(run("frames", "worst", short, 5, tmp_path / "worst.xyz"), "no committee", "--reference")
    reference = ["--reference", tmp_path / "ends.xyz"]
    assert run("frames", "export", short, tmp_path / "ends.xyz").returncode == 0
    shown = quiet(run("frames", "worst", found["uuid"][:8], 3, tmp_path / "far.xyz", *reference))
    assert "distance" in shown and "eV/Å" in shown and "between reference frames" in shown
    listed = json.loads(run("frames", "worst", short, 3, tmp_path / "far.xyz", *reference, "--json").stdout)
    assert all(frame["distance"] < 1e-3 for frame in listed["frames"])
    assert listed["between_reference_frames"]["median"] > 0
    assert_one_line(run("frames", "worst", found["uuid"][:8], 50, tmp_path / "worst.xyz"), "40 frames")
