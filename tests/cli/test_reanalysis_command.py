"""The commands that correct ladders to a new potential and run them again, through FireWorks and a real MongoDB."""

from __future__ import annotations

import json

import pytest
from command_line import assert_one_line, quiet
from models import GENTLE, save_mace
from pymatgen.core import Structure

ID = "a3c0be9d"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reanalyse", ID], ["ID", "--to"]),
        (["reanalyse", "--head", "pbe"], ["--head", "--to"]),
        (["reanalyse", "--submit"], ["--submit", "--to"]),
        (["reanalyse", ID, "--to", "mace-demo", "--all"], ["--all", "--to"]),
        (["reanalyse", ID, "--to", "mace-demo", "--discard", 0.1], ["--discard"]),
        (["reanalyse", "--to", "mace-demo"], ["--campaign"]),
        (["reanalyse", ID, "--campaign", "halides", "--to", "mace-demo"], ["--campaign"]),
        (["reanalyse", ID, "--to", "mace-demo", "--max-failed", 1], ["--max-failed"]),
        (["reanalyse", ID, "--to", "mace-demo", "--argument", "a=1"], ["--argument"]),
        (["reanalyse", ID, "--to", "mace-demo", "--plot", "figure.doc"], [".png"]),
        (["rerun", ID, "--potential", "mace-demo", "--dtype", "float16"], ["float16"]),
    ],
)
def test_bad_input_is_one_line(run_refused, arguments, words):
    assert_one_line(run_refused(*arguments), *words)


CAMPAIGN = """
name: handed
structures: {CsPbI3: {file: CsPbI3.cif}}
transformations: {PbSn: {Pb: Sn}}
temperatures_K: [200]
pressures_GPa: [null]
method:
  kind: thermodynamic-integration
  settings: {n_windows: 2, n_equilibration_steps: 20, n_production_steps: 400, relax: false, windows_per_job: 2}
potential: {name: old.model, device: cpu}
"""


@pytest.mark.slow
def test_a_ladder_is_handed_over_to_a_new_potential(run, perovskite: Structure, tmp_path):
    """Its campaign is corrected; for a potential that does not overlap, the line that is printed runs it again."""
    perovskite.to(str(tmp_path / "CsPbI3.cif"))
    models = {
        name: save_mace(tmp_path / f"{name}.model", "scalars", **GENTLE | {"seed": seed, "atomic_inter_scale": scale})
        for name, seed, scale in (("old", 5, 0.3), ("new", 5, 0.301), ("far", 6, 4.0))
    }
    (tmp_path / "handed.yaml").write_text(CAMPAIGN)
    assert run("campaign", "submit", tmp_path / "handed.yaml").returncode == 0
    worked = run("worker", "--until-idle")
    assert worked.returncode == 0, worked.stderr
    (row,) = json.loads(run("results", "--campaign", "handed", "--json").stdout)
    short = row["uuid"][:8]
    ladder = json.loads(run("show", short, "--json").stdout)
    done = run("reanalyse", "--campaign", "handed", "--to", models["new"], "--plot", tmp_path / "r.png", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")
    (row,) = found["ladders"]
    assert row["ladder"] == ladder["uuid"] and row["overlaps"] and row["rerun"] is None
    total = ladder["total"]["delta_f_eV"] + row["correction"]["delta_f_eV"]
    assert row["total"]["delta_f_eV"] == pytest.approx(total)
    rows = json.loads(run("results", "--campaign", "handed", "--json").stdout)
    assert sorted(each["kind"] for each in rows) == ["correction", "ladder", "reanalysis"]
    reported = json.loads(run("campaign", "report", "handed", tmp_path / "handed.html", "--json").stdout)
    assert reported["n_results"] == 3
    far = quiet(run("reanalyse", short, "--to", models["far"]))
    (line,) = [line.strip() for line in far.splitlines() if "alchemflows rerun" in line]
    assert line == f"alchemflows rerun {short} --potential {models['far']}"
    listed = json.loads(run("results", "--kind", "reanalysis", "--json").stdout)
    assert [each["value"] for each in listed] == [0, 1] and listed[1]["uuid"] == found["uuid"]
    again = run(*line.split()[1:], "--windows-per-job", 2, "--json")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert result["provenance"]["potential"]["name"] == str(models["far"])
    assert result["volume_A3"] == pytest.approx(ladder["volume_A3"])
    for name in ("temperature_K", "initial_formula", "final_formula", "weight_labels", "dynamics"):
        assert result[name] == ladder[name]
    rows = json.loads(run("results", "--campaign", "handed", "--json").stdout)
    assert {row["uuid"] for row in rows if row["kind"] == "ladder"} == {ladder["uuid"], result["uuid"]}
