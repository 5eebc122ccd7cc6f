"""Frames of real runs from a real MongoDB: comparison with alchemlyb, exported files, and the documented queries."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import alchemlyb.estimators
import numpy as np
import pandas as pd
import pytest
from ase import units
from ase.io import read
from campaigns import CAMPAIGN, campaign_metadata, run_into
from pymatgen.core import Lattice, Structure

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.free_energy.errors import correlated_variance, independent_variance, small_sample_factor
from alchemflows.free_energy.estimators import mbar_influences, variance_shares
from alchemflows.report.details import details
from alchemflows.report.results import read_results
from alchemflows.results import export as exports
from alchemflows.results import readout
from alchemflows.results.export import export
from alchemflows.results.frames import end_states, frames_of, states_of, write_frames
from alchemflows.results.worst_frames import farthest_frames, write_worst_frames
from alchemflows.schemas.potential import PotentialSpec

DOCS = Path(__file__).parents[2] / "docs/database.md"
SHORT = {"n_repeats": 2, "n_equilibration_steps": 10, "n_switching_steps": 20, "timestep_fs": 4.0, "relax_maker": None}


@pytest.fixture(scope="module")
def stored(shared_database, ladder_flow, tmp_path_factory):
    """Two ladders, one of which has refined itself at a pressure; a switching and an absolute free energy."""
    folder = tmp_path_factory.mktemp("runs")
    demo = PotentialSpec(name="mace-demo", device="cpu")
    salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.69), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    refining = {"pressure_GPa": 0.5, "barostat_time_ps": 50.0, "windows_per_job": 2, "target_error": 1e-7, "budget": 2}
    vacant = salt.replace_species({"Na": {"Na": 0.75}}, in_place=False)
    switching = SwitchingMaker(potential=demo, temperature=300.0, **SHORT).make(vacant, {"Na": "K"})
    switching.update_metadata(campaign_metadata(2))
    absolute = FrenkelLaddMaker(potential=demo, temperature=300.0, n_cell_steps=60, n_sampling_steps=40, **SHORT)
    return SimpleNamespace(
        database=shared_database,
        plain=run_into(shared_database, ladder_flow(0), folder),
        refined=run_into(shared_database, ladder_flow(1, **refining), folder),
        switching=run_into(shared_database, switching, folder),
        absolute=run_into(shared_database, absolute.make(salt), folder),
    )


def document(stored, uuid: str) -> dict:
    return stored.database.outputs().find_one({"uuid": uuid, "output.verdict": {"$exists": True}})["output"]


def test_free_energies(stored):
    frame = readout.free_energies(stored.database).set_index("uuid")
    assert set(frame.index) == {stored.plain, stored.refined, stored.switching, stored.absolute}
    assert frame["kind"].to_dict() == {
        stored.plain: "ladder",
        stored.refined: "ladder",
        stored.switching: "switching",
        stored.absolute: "frenkel-ladd",
    }
    for uuid in (stored.plain, stored.refined, stored.switching):
        total = document(stored, uuid)["total"]
        assert frame.loc[uuid, ["delta_f_eV", "error_eV"]].tolist() == [total["delta_f_eV"], total["error_eV"]]
        assert frame.loc[uuid, "verdict"] == document(stored, uuid)["verdict"]["status"]
    assert frame.loc[stored.absolute, "gibbs_eV"] == document(stored, stored.absolute)["gibbs"]["value_eV"]
    assert np.isnan(frame.loc[stored.absolute, "delta_f_eV"]) and np.isnan(frame.loc[stored.plain, "gibbs_eV"])
    assert frame.loc[stored.refined, ["repeat", "pressure_GPa", "structure"]].tolist() == [1, 0.5, "CsPbI3"]
    # results without a campaign are not included
    named = readout.free_energies(stored.database, CAMPAIGN)
    assert set(named["uuid"]) == {stored.plain, stored.refined, stored.switching}
    assert readout.free_energies(stored.database, "another").empty


def test_vacant_sites_are_no_atoms_of_a_result(stored):
    row = readout.free_energies(stored.database).set_index("uuid").loc[stored.switching]
    assert (row["n_atoms"], row["n_sites"]) == (7, 8)
    assert row["delta_f_eV_per_atom"] == pytest.approx(row["delta_f_eV"] / 7)
    assert row["error_eV_per_atom"] == pytest.approx(row["error_eV"] / 7)
    (result,) = [each for each in read_results(stored.database, CAMPAIGN) if each.uuid == stored.switching]
    assert result.crystal.n_atoms == 7
    assert result.values[0].value_eV_per_atom == pytest.approx(row["delta_f_eV"] / 7)
    shown = details(stored.database, result)
    assert [value.value_eV_per_atom for value in shown.terms] == pytest.approx([v.value_eV / 7 for v in shown.terms])


def test_windows(stored, monkeypatch):
    monkeypatch.setattr(readout, "ROWS_AT_ONCE", 2)  # parts are joined
    frame = readout.windows(stored.database, CAMPAIGN)
    plain = frame[frame["task"] == "task-0"]
    assert plain["lambda_value"].tolist() == [0.0, 0.5, 1.0] and plain["n_samples"].tolist() == [20] * 3
    assert np.allclose(plain["simulated_ns"] * 1e6, 220 * 2.0) and plain["seed"].nunique() == 3
    assert np.allclose(plain["ns_per_day"], 86400 * plain["simulated_ns"] / plain["job_wall_time_s"], rtol=1e-12)
    refined = frame[frame["repeat"] == 1]
    assert len(refined) == 5 and set(refined["job"]) == set(document(stored, stored.refined)["window_jobs"])
    continued = refined[refined["first_run"] > 0]
    # continued windows have no second equilibration
    assert np.allclose(continued["simulated_ns"] * 1e6, 200 * 2.0 * continued["n_runs"])
    assert refined["n_windows_in_job"].max() == 2
    chosen = readout.windows(stored.database, CAMPAIGN, where={"lambda_value": 0.5, "repeat": 1})
    assert set(chosen["lambda_value"]) == {0.5} and set(chosen["repeat"]) == {1}
    pd.testing.assert_frame_equal(readout.windows(stored.database), frame)
    assert readout.windows(stored.database, "another").empty
    with pytest.raises(InvalidInputError, match="ns_per_day"):
        readout.windows(stored.database, where={"ns_per_day": 1})


def test_samples(stored):
    frame = readout.samples(stored.database, CAMPAIGN, where={"repeat": 0})
    means = frame.groupby("lambda_value")[["dudl_eV", "energy_eV", "temperature_K", "volume_A3"]].mean()
    windows = readout.windows(stored.database, where={"repeat": 0}).set_index("lambda_value")
    assert len(frame) == 60 and frame["time_fs"].max() == pytest.approx(400.0)
    for name in means:
        assert np.allclose(means[name], windows[f"mean_{name}"], rtol=1e-12), name
    row, series = next(readout.window_samples(stored.database, where={"repeat": 0, "lambda_value": 1.0}))
    assert row["lambda_value"] == 1.0 and np.allclose(series.energies_eV[:, 2], series.energy_eV, atol=1e-5)


@pytest.mark.parametrize("which", ["plain", "refined"])
def test_alchemlyb_gives_the_stored_numbers(stored, which):
    uuid = getattr(stored, which)
    known = document(stored, uuid)
    kt = units.kB * known["temperature_K"]
    u_nk, dhdl = readout.u_nk(stored.database, uuid), readout.dhdl(stored.database, uuid)
    for frame in (u_nk, dhdl):
        assert frame.attrs == {"temperature": 200.0, "energy_unit": "kT"}
        assert frame.index.names == ["time", "fep-lambda"]
    lambdas = [window["lambda_value"] for window in known["windows"]]
    assert u_nk.columns.tolist() == lambdas and dhdl.columns.tolist() == ["fep"]
    mbar = alchemlyb.estimators.MBAR().fit(u_nk)
    ti = alchemlyb.estimators.TI().fit(dhdl)
    assert mbar.delta_f_.iloc[0, -1] * kt == pytest.approx(known["mbar"]["delta_f_eV"], abs=1e-8)
    # The stored error is alchemlyb's, times the correlations that are left and the factor for few samples.
    reduced = [window.to_numpy() for _, window in u_nk.groupby(level="fep-lambda")]
    reached = mbar.delta_f_.iloc[0].to_numpy()
    variance = correlated_variance(mbar_influences(reduced, reached), n_fitted=1)
    correlations = np.sqrt(variance.value / variance_shares(reduced, reached).sum())
    asymptotic = known["mbar"]["error_eV"] / correlations / small_sample_factor(variance.degrees_of_freedom)
    assert asymptotic == pytest.approx(mbar.d_delta_f_.iloc[0, -1] * kt, rel=1e-6)
    # TI of alchemlyb is the trapezoid rule, without the correction by slopes of the stored value.
    trapezoid = sum(window["ti_weight"] * window["mean_dudl_eV"] for window in known["windows"])
    slopes = sum(window["ti_slope_weight"] * window["slope_dudl_eV"] for window in known["windows"])
    assert ti.delta_f_.iloc[0, -1] * kt == pytest.approx(trapezoid, abs=1e-10)
    # Its error is what ours is made of before correlations, the slopes and the error of the rule.
    weights = [window["ti_weight"] for window in known["windows"]]
    groups = [window["fep"].to_numpy() for _, window in dhdl.groupby(level="fep-lambda")]
    parts = [weight * kt * values / len(values) for weight, values in zip(weights, groups, strict=True)]
    assert np.sqrt(independent_variance(parts).value) == pytest.approx(ti.d_delta_f_.iloc[0, -1] * kt, rel=1e-6)
    assert known["ti"]["error_eV"] > known["ti_discretisation_eV"]
    assert known["ti"]["delta_f_eV"] == pytest.approx(trapezoid + slopes, abs=1e-10)
    whole = readout.dhdl(stored.database, uuid, decorrelated=False)
    assert len(whole) == sum(window["n_samples"] for window in known["windows"]) > len(dhdl)


def test_missing_ladders_are_named(stored):
    with pytest.raises(DatabaseError, match="nobody"):
        readout.u_nk(stored.database, "nobody")
    with pytest.raises(DatabaseError, match=stored.switching):
        readout.dhdl(stored.database, stored.switching)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".json"])
def test_files(stored, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(exports, "ROWS_AT_ONCE", 50)  # samples come in several parts
    read = {".parquet": pd.read_parquet, ".csv": pd.read_csv, ".json": pd.read_json}[suffix]
    path = tmp_path / f"table{suffix}"
    path.write_text("from another time")
    for frames in (
        lambda: iter([readout.free_energies(stored.database)]),
        lambda: readout.window_frames(stored.database, CAMPAIGN),
        lambda: readout.sample_frames(stored.database, CAMPAIGN),
    ):
        whole = pd.concat(frames(), ignore_index=True)
        assert export(frames(), path) == len(whole)
        back = read(path)
        assert back.columns.tolist() == whole.columns.tolist()
        for name in whole.select_dtypes("float64"):
            assert np.allclose(back[name].astype(float), whole[name], rtol=1e-14, atol=1e-15, equal_nan=True), name
        assert back["task"].dropna().tolist() == whole["task"].dropna().tolist()
        content = path.read_bytes()
        # neither the location of the database nor a password
        assert b"mongodb" not in content and str(stored.database.place).encode() not in content
    if suffix == ".parquet":
        assert (back.dtypes == whole.dtypes).all()
    assert sorted(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_written(stored, tmp_path):
    frames = [readout.free_energies(stored.database)]
    for path, reason in (
        (tmp_path / "table.xlsx", ".parquet, .csv, .json"),
        (tmp_path / "nowhere/table.csv", "nowhere"),
    ):
        with pytest.raises(InvalidInputError, match=reason):
            export(frames, path)
    kept = tmp_path / "kept.csv"
    kept.write_text("kept")
    for nothing in ([], [frames[0].head(0)]):
        with pytest.raises(InvalidInputError, match=r"kept.csv"):
            export(nothing, kept)
    assert kept.read_text() == "kept" and list(tmp_path.iterdir()) == [kept]


def test_frames_are_written_as_extended_xyz(stored, tmp_path):
    """Also those of a ladder at constant pressure whose windows were extended."""
    for uuid in (stored.plain, stored.refined):
        ladder, initial, final = frames_of(stored.database, uuid[:13])
        path = tmp_path / "ends.xyz"
        n_frames = write_frames(ladder, end_states(ladder, initial, final), path)
        images = read(path, ":")
        assert len(images) == n_frames == len(initial.frames) + len(final.frames) >= 40
        for atoms, energy, cell in zip(images, initial.frames.energy_eV, initial.frames.cells_A, strict=False):
            assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-6)
            np.testing.assert_allclose(atoms.cell.array, cell, atol=1e-7)
            assert atoms.info["lambda"] == 0.0 and sorted(set(atoms.get_chemical_symbols())) == ["Cs", "I", "Pb"]
        assert "Sn" in images[-1].get_chemical_symbols() and images[-1].info["lambda"] == 1.0
        assert (np.diff(initial.frames.time_fs) > 0).all() and initial.spacing_fs == 20.0
    with pytest.raises(InvalidInputError, match="not a ladder"):
        frames_of(stored.database, stored.absolute)
    absolute, (state,) = states_of(stored.database, stored.absolute)
    assert absolute.mean_cell_job and write_frames(absolute, [state], path) == len(state.frames) > 1
    with pytest.raises(InvalidInputError, match=r"\.cif"):
        write_frames(ladder, [], tmp_path / "ends.cif")


def test_frames_are_compared_with_reference_frames(stored, tmp_path):
    """Half of the frames of a ladder are the reference: these have the distance zero, all others are farther."""
    _, initial, final = frames_of(stored.database, stored.plain)
    reference = [*initial.frames.atoms()[::2], *final.frames.atoms()[::2]]
    n = len(initial.frames) + len(final.frames)
    found, atoms = farthest_frames(stored.database, stored.plain, n, reference, device="cpu")
    scores = [frame.distance for frame in found]
    assert scores == sorted(scores, reverse=True)
    assert all((frame.distance < 1e-3) == (frame.index % 2 == 0) for frame in found)
    assert 0 < np.median(atoms.between_frames) < 3 * scores[0]
    assert {(frame.conditions["lambda"], frame.atoms.info["state"]) for frame in found} == {(0.0, 1), (1.0, 2)}
    write_worst_frames(found[:3], tmp_path / "far.xyz")
    assert read(tmp_path / "far.xyz", 1).info["distance"] == pytest.approx(scores[1])
    (farthest,), _ = farthest_frames(stored.database, stored.plain[:9], 1, reference, device="cpu")
    assert farthest.distance == pytest.approx(scores[0]) and farthest.atoms == found[0].atoms
    with pytest.raises(InvalidInputError, match="reference has no Sn"):
        farthest_frames(stored.database, stored.plain, 1, reference[:3])
    strange = reference[0].copy()
    strange.symbols[0] = "Xe"
    with pytest.raises(InvalidInputError, match="Xe of the reference"):
        farthest_frames(stored.database, stored.plain, 1, [*reference, strange], device="cpu")
    with pytest.raises(InvalidInputError, match=f"{n} frames"):
        farthest_frames(stored.database, stored.plain, n + 1, reference)
    _, (state,) = states_of(stored.database, stored.absolute)
    (only,), _ = farthest_frames(stored.database, stored.absolute, 1, state.frames.atoms()[:-1], device="cpu")
    assert only.index == len(state.frames) - 1 and only.state == state.name and only.spread_eV is None


def test_queries_use_indexes(stored):
    outputs = stored.database.outputs()
    for criteria, sort in (
        ({"metadata.campaign.name": CAMPAIGN, "output.@class": "WindowsDocument"}, "completed_at"),
        ({"output.@class": "WindowsDocument"}, "completed_at"),
        ({"metadata.campaign.name": CAMPAIGN, "metadata.campaign.task": "task-0"}, "metadata.campaign.task"),
    ):
        plan = json.dumps(outputs.find(criteria).sort(sort).explain()["queryPlanner"]["winningPlan"], default=str)
        assert '"IXSCAN"' in plan and '"SORT"' not in plan, plan
    files = outputs.database["samples.files"].find({"metadata.blob_uuid": "x"})
    assert "IXSCAN" in json.dumps(files.explain()["queryPlanner"]["winningPlan"], default=str)


def test_the_documented_queries_run_as_they_are_written(stored, tmp_path, monkeypatch, capsys):
    home = Path(stored.database.environment["JOBFLOW_CONFIG_FILE"]).parents[1]
    (tmp_path / ".alchemflows").symlink_to(home)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", stored.database.environment["JOBFLOW_CONFIG_FILE"])
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict = {}
    printed = []
    for block in blocks:
        exec(block, names)
        printed.append(capsys.readouterr().out)
    assert len(printed) == 6 and all(printed[1:]), printed
    assert len(names["windows"]) and len(names["samples"]) and names["ladder"]["uuid"] == stored.refined
    # compare the three pipelines with pandas on the same documents
    energies = readout.free_energies(stored.database, CAMPAIGN)
    ladders = energies[energies["kind"] == "ladder"]
    by_condition = {row["pressure_GPa"]: row for row in names["means"]}
    assert len(by_condition) == 2 and all(row["n_repeats"] == 1 for row in by_condition.values())
    for row in ladders.to_dict("records"):
        pressure = None if np.isnan(row["pressure_GPa"]) else row["pressure_GPa"]
        assert by_condition[pressure]["delta_f_eV_per_atom"] == pytest.approx(row["delta_f_eV_per_atom"])
    windows = readout.windows(stored.database, CAMPAIGN)
    assert sum(row["n_windows"] for row in names["costs"]) == len(windows)
    assert sum(row["ns"] for row in names["costs"]) == pytest.approx(windows["simulated_ns"].sum())
    suspect = {row["task"]: row["reasons"] for row in names["suspects"]}
    assert suspect == {
        row["task"]: document(stored, row["uuid"])["verdict"]["reasons"]
        for row in energies.to_dict("records")
        if row["verdict"] != "converged"
    }
