"""Stored ladders are combined: in the database, by the command, and against a ladder at a temperature between."""

from __future__ import annotations

import json

import numpy as np
import pytest
from anharmonic import EXCHANGED_K, stored_ladder
from campaigns import run_into
from command_line import assert_one_line, quiet, run_here
from pymatgen.core import Lattice, Structure

from alchemflows.analysis.stored_ladders import StoredLadder
from alchemflows.cli.inputs import grid_of
from alchemflows.errors import InvalidInputError
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.results.combination import combine_ladders
from alchemflows.results.listing import find_result, results


@pytest.mark.slow
def test_two_temperatures_give_the_ladder_between_them(database, tmp_path):
    """Short ladders of NaCl → KCl with mace-demo, which differ in their temperature and seed only."""
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(6.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    ids = []
    for seed, temperature_K in enumerate((300.0, 420.0, 360.0)):
        maker = ThermodynamicIntegrationMaker(
            potential="mace-demo",
            temperature=temperature_K,
            timestep_fs=4.0,
            n_windows=3,
            windows_per_job=3,
            n_equilibration_steps=80,
            n_production_steps=400,
            sample_interval_steps=5,
            relax_maker=None,
            n_frames=0,
            seed=seed,
        )
        ids.append(run_into(database, maker.make(salt, {"Na": "K"}), tmp_path))
    *ends, between = ids
    _, alone = find_result(database, between)
    uuid, found = combine_ladders(database, [each[:8] for each in ends], [300.0, 360.0, 420.0])
    _, stored = find_result(database, uuid)
    assert stored.points == found.points and stored.ladders == found.ladders
    first, point, last = (each.total for each in found.points)
    assert abs(point.delta_f_eV - alone.total.delta_f_eV) < 3.5 * np.hypot(point.error_eV, alone.total.error_eV)
    assert point.error_eV < 2 * alone.total.error_eV
    # The slope between both temperatures is that of the estimate between them.
    slope, middle = (first.delta_f_eV - last.delta_f_eV) / 120.0, found.points[1]
    assert abs(slope - middle.delta_s_eV_per_K) < 3 * middle.delta_s_error_eV_per_K


def store(database, ladder: StoredLadder) -> str:
    """Write the outputs of the jobs of a ladder, as jobs do; return the identifier of its analysis."""
    rows = [(ladder.uuid, ladder.document), *((each.job_uuid, each) for each in ladder.windows)]
    for uuid, output in rows:
        row = {"uuid": uuid, "index": 1, "output": output, "completed_at": "2026-01-01T00:00:00", "metadata": {}}
        database.job_store.update(row | {"hosts": [], "name": ""}, save={"data": ["series"]})
    return ladder.uuid


def test_results_are_stored_listed_and_written(database, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name, value in database.environment.items():
        monkeypatch.setenv(name, value)
    ids = [store(database, stored_ladder(t, 0.0, n=60, seed=k)) for k, t in enumerate((300.0, 320.0))]

    def run(*arguments):
        return run_here(["combine", *arguments], monkeypatch)

    done = run(*(each[:8] for each in ids), "-T", "300:320:5", "-T", "310", "--plot", "curve.png", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["temperatures_K"] == [300, 305, 310, 315, 320]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    (row,) = results(database, kinds=["combined-ladders"])
    assert row["uuid"] == printed["uuid"] and row["system"] == "NaCl → KCl" and row["quantity"] == "ΔG (300 K)"
    assert row["value"] == pytest.approx(printed["points"][0]["total"]["delta_f_eV"])
    _, document = find_result(database, printed["uuid"])
    assert [part.uuid for part in document.ladders] == ids
    # The samples in the database are those of the ladders, up to the rounding of single precision.
    shown = quiet(run(ids[0][:8]))
    assert "converged" in shown and "alchemflows show" in shown

    exchanged = store(database, stored_ladder(300.0, 0.0, n=60, exchanged=True))
    curve = json.loads(run(exchanged[:8], "-T", "370", "--json").stdout)
    assert [part["temperature_K"] for part in curve["ladders"]] == list(EXCHANGED_K)
    assert curve["points"][0]["total"]["error_eV"] > 0

    assert_one_line(run(printed["uuid"][:8]), printed["uuid"][:8], "combined-ladders")
    other = store(database, stored_ladder(320.0, n=20))
    assert_one_line(run(ids[0][:8], other[:8]), "constant volume")
    assert_one_line(run("00000000"), "00000000")
    assert_one_line(run(ids[0], "-T", "hot"), "hot")
    assert_one_line(run(ids[0], "--discard", "2"), "--discard")


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["300"], [300.0]),
        (["400", "300", "400"], [300.0, 400.0]),
        (["300:400:50", "325"], [300.0, 325.0, 350.0, 400.0]),
        (["0:0.3:0.1"], [0.0, 0.1, 0.2, 0.3]),
        (["300:310:25"], [300.0]),
    ],
)
def test_grids(texts, expected):
    assert grid_of("-T", texts) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["hot", "300:400", "400:300:10", "300:400:0", "300:400:-10", "nan", "0:1:1e-9", ""])
def test_wrong_grids(text):
    with pytest.raises(InvalidInputError, match="-T"):
        grid_of("-T", [text])
