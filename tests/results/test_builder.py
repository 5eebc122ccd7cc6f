"""Reanalysis of stored windows: the same free energies, only for new ladders, and with other settings."""

from __future__ import annotations

import logging
import pickle

import pytest
from campaigns import CAMPAIGN, run_into

from alchemflows.errors import InvalidInputError
from alchemflows.results import builder as module
from alchemflows.results import readout
from alchemflows.results.builder import FreeEnergyBuilder

#: What a second analysis of the same samples makes anew.
NEW = ("provenance",)


def build(database, campaign=CAMPAIGN, **settings) -> FreeEnergyBuilder:
    builder = FreeEnergyBuilder.of(database, campaign, **settings)
    builder.run(log_level=logging.ERROR)
    return builder


def reanalysed(database) -> dict[str, dict]:
    collection = database.outputs().database[database.reanalysed_store().collection_name]
    return {row["uuid"]: row for row in collection.find()}


@pytest.fixture
def run(database, ladder_flow, tmp_path):
    return lambda repeat, **settings: run_into(database, ladder_flow(repeat, **settings), tmp_path)


@pytest.mark.slow
def test_only_new_ladders_are_analysed_and_give_the_stored_numbers(database, run, monkeypatch):
    gauss = {"n_windows": 2, "spacing": "gauss-legendre", "windows_per_job": 2, "target_error": 1e-7, "budget": 2}
    first, second = run(0), run(1, pressure_GPa=0.5, barostat_time_ps=50.0, **gauss)
    builder = build(database)
    assert (builder.n_ladders, builder.failures) == (2, {})
    made = reanalysed(database)
    for uuid in (first, second):
        stored = database.outputs().find_one({"uuid": uuid, "output.@class": "FreeEnergyDocument"})
        for name, value in stored["output"].items():
            if name not in NEW:
                assert (
                    made[uuid]["output"][name] == pytest.approx(value, abs=1e-10, nan_ok=True)
                    if isinstance(value, float)
                    else made[uuid]["output"][name] == value
                ), name
        assert made[uuid]["metadata"] == stored["metadata"]
        provenance = made[uuid]["output"]["provenance"]
        assert (
            provenance["versions"]["pymbar"] and provenance["created_at"] > stored["output"]["provenance"]["created_at"]
        )
    frame = readout.free_energies(database, CAMPAIGN, reanalysed=True).set_index("uuid")
    assert frame["delta_f_eV"].to_dict() == readout.free_energies(database).set_index("uuid")["delta_f_eV"].to_dict()

    # no ladder is new; then one more repeat is added, and only its samples are read
    assert build(database).n_ladders == 0
    third = run(2)
    monkeypatch.setattr(module, "window_documents", spy := _Spy(module.window_documents))
    assert build(database).n_ladders == 1
    window_jobs = database.outputs().find_one({"uuid": third})["output"]["window_jobs"]
    assert spy.jobs == [window_jobs] and len(window_jobs) == 3
    after = reanalysed(database)
    assert set(after) == {first, second, third} and all(after[uuid] == made[uuid] for uuid in made)

    # a window job that ran again makes only its own ladder outdated
    database.outputs().update_one({"uuid": window_jobs[0]}, {"$set": {"completed_at": "2999-01-01T00:00:00"}})
    assert build(database).n_ladders == 1
    assert reanalysed(database)[third]["sources_completed_at"] == "2999-01-01T00:00:00"
    assert build(database, rebuild=True).n_ladders == 3
    assert build(database, "another").n_ladders == 0


class _Spy:
    def __init__(self, function):
        self.function, self.jobs = function, []

    def __call__(self, outputs, samples, jobs):
        self.jobs.append(jobs)
        return self.function(outputs, samples, jobs)


@pytest.mark.slow
def test_other_settings_give_other_numbers(database, run):
    uuid = run(0)
    build(database)
    before = reanalysed(database)[uuid]["output"]
    assert build(database, discard=0.25).n_ladders == 1
    row = reanalysed(database)[uuid]
    assert row["estimator"]["discard"] == 0.25
    assert [window["n_samples"] for window in row["output"]["windows"]] == [15] * 3
    assert row["output"]["total"]["delta_f_eV"] != before["total"]["delta_f_eV"]
    # TI from the remaining samples: all independent samples of the last three quarters
    dhdl = readout.samples(database)
    assert (dhdl.groupby("lambda_value")["time_fs"].count() == 20).all()
    late = dhdl[dhdl["time_fs"] > 100.0].groupby("lambda_value")["dudl_eV"].mean()
    for window in row["output"]["windows"]:
        spread = 4 * window["error_dudl_eV"] * (window["statistical_inefficiency"] > 1) + 1e-10
        assert window["mean_dudl_eV"] == pytest.approx(late[window["lambda_value"]], abs=spread)
    # returning to the old settings is also a change
    assert build(database).n_ladders == 1
    assert reanalysed(database)[uuid]["output"]["total"] == before["total"]


@pytest.mark.slow
def test_one_bad_ladder_does_not_stop_the_others(database, run):
    lost, kept = run(0), run(1)
    job = database.outputs().find_one({"uuid": lost})["output"]["window_jobs"][1]
    blob = database.outputs().find_one({"uuid": job})["output"]["windows"][0]["series"]["blob_uuid"]
    database.outputs().database["samples.files"].delete_one({"metadata.blob_uuid": blob})
    builder = build(database)
    assert builder.n_ladders == 2 and list(builder.failures) == [lost]
    assert blob in builder.failures[lost]
    assert set(reanalysed(database)) == {kept}
    # too few samples are left, which is reported for each ladder
    assert "2 samples" in build(database, discard=0.99).failures[kept]


def test_settings(database):
    with pytest.raises(InvalidInputError, match=r"1\.0"):
        FreeEnergyBuilder.of(database, discard=1.0)
    builder = FreeEnergyBuilder.of(database, CAMPAIGN, discard=0.1)
    back = pickle.loads(pickle.dumps(builder))  # as maggma's parallel runner does
    assert (back.campaign, back.discard, back.outputs, back.free_energies) == (
        CAMPAIGN,
        0.1,
        builder.outputs,
        builder.free_energies,
    )
