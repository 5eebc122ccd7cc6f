"""The private database as used by other tools, and the size limit of documents."""

from __future__ import annotations

import os

import numpy as np
import pytest
from command_line import CODE, run_command
from jobflow import job

from alchemflows.errors import DatabaseError
from alchemflows.execution.local import submit
from alchemflows.results.query import RESULT_FIELDS, free_energies
from alchemflows.schemas.samples import PackedSeries, WindowSeries
from alchemflows.settings import Settings
from alchemflows.storage.database import OUTPUT_INDEXES, connect, start_private


@job(data=["series"])
def store_series(series):
    return {"windows": [{"series": series}]}


def test_long_series_go_past_the_document_limit(database, tmp_path, monkeypatch):
    """120,000 samples of 41 windows: 39 MB in one window, more than twice MongoDB's limit."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n, k = 120_000, 41
    names = ("time_fs", "energy_eV", "dudl_eV", "temperature_K", "volume_A3")
    columns = {name: rng.normal(size=n) for name in names}
    series = WindowSeries(**columns, energies_eV=rng.normal(size=(n, k)))
    stored = store_series(PackedSeries.pack(series))
    stored.run(database.job_store)
    in_database = database.outputs().find_one({"uuid": stored.uuid})
    assert set(in_database["output"]["windows"][0]["series"]) >= {"blob_uuid", "store"}
    loaded = database.job_store.get_output(stored.uuid, load=True)["windows"][0]["series"]
    back = PackedSeries.model_validate({key: value for key, value in loaded.items() if key[0] != "@"}).unpack()
    for name in names:
        assert np.array_equal(getattr(back, name), getattr(series, name)), name
    np.testing.assert_allclose(back.energies_eV, series.energies_eV, atol=1e-6)


def test_a_second_start_keeps_data_and_ids(database, tmp_path):
    @job
    def nothing():
        return 1

    from jobflow import Flow

    first = submit(database, Flow([nothing()]))
    again = start_private(Settings(home=tmp_path / "home"))
    assert again.launchpad.get_fw_ids() == first
    assert submit(again, Flow([nothing()])) == [first[0] + 1]


def test_its_exported_configuration_starts_it_again(database, tmp_path, monkeypatch):
    from alchemflows.storage.mongod import PrivateMongod

    PrivateMongod(tmp_path / "home").stop()
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", database.environment["JOBFLOW_CONFIG_FILE"])
    assert connect(Settings(home=tmp_path / "home")).is_private


def test_indexes_are_there(shared_database):
    keys = [tuple(index["key"]) for index in shared_database.outputs().list_indexes()]
    assert {(each,) if isinstance(each, str) else each for each in OUTPUT_INDEXES} <= set(keys)


def test_plain_tools_find_it(shared_database, tmp_path):
    """The variables printed by the quickstart are sufficient for FireWorks and jobflow."""
    script = (
        "from fireworks import LaunchPad; from jobflow import SETTINGS; "
        "SETTINGS.JOB_STORE.connect(); print(LaunchPad.auto_load().get_fw_ids(), SETTINGS.JOB_STORE.count())"
    )
    run = run_command([script], tmp_path, os.environ | shared_database.environment, entry=CODE)
    assert run.stdout.strip().splitlines()[-1] == "[] 0", run.stderr


def test_no_results_is_an_empty_list(shared_database):
    assert free_energies(shared_database) == []
    assert "delta_f_eV" in RESULT_FIELDS


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "jobflow.yaml"),
        ("JOB_STORE: 3", "jobflow.yaml"),
        ("JOB_STORE: {docs_store: {type: MemoryStore}}", "docs_store.*MemoryStore"),
        (
            "JOB_STORE: {docs_store: {type: MongoStore, database: a, collection_name: b, host: localhost}}",
            "data",
        ),
    ],
)
def test_bad_configurations_are_named(tmp_path, monkeypatch, text, reason):
    path = tmp_path / "jobflow.yaml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(path))
    with pytest.raises(DatabaseError, match=reason):
        connect(Settings(home=tmp_path))


def test_an_unreachable_database_is_named_without_its_password(tmp_path, monkeypatch):
    uri = "mongodb://somebody:secret@127.0.0.1:9/alchemflows"
    store = f"uri: {uri}, database: alchemflows"
    path = tmp_path / "jobflow.yaml"
    path.write_text(
        f"JOB_STORE: {{docs_store: {{type: MongoStore, collection_name: outputs, {store}}}, "
        f"additional_stores: {{data: {{type: GridFSStore, collection_name: samples, {store}}}}}}}"
    )
    monkeypatch.setenv("JOBFLOW_CONFIG_FILE", str(path))
    with pytest.raises(DatabaseError, match=r"127\.0\.0\.1:9") as caught:
        connect(Settings(home=tmp_path, database_timeout_s=1.0))
    assert "secret" not in str(caught.value) and "somebody" not in str(caught.value)
    assert "\n" not in str(caught.value) and "imeout" not in str(caught.value)


@pytest.mark.parametrize(
    ("launchpad", "reason"),
    [
        ("host: 'mongodb://user:se/cret@host/db'\nname: db\nuri_mode: true", "my_launchpad.yaml"),
        (None, "FW_CONFIG_FILE"),
    ],
)
def test_bad_fireworks_configurations_are_named(shared_database, tmp_path, launchpad, reason):
    """Run in a separate process, since FireWorks reads its configuration when it is imported."""
    config = tmp_path / "FW_config.yaml"
    if launchpad is not None:
        (tmp_path / "my_launchpad.yaml").write_text(launchpad)
        config.write_text(f"LAUNCHPAD_LOC: {tmp_path / 'my_launchpad.yaml'}")
    script = (
        "from alchemflows.storage.database import connect; from alchemflows.errors import DatabaseError\n"
        "try: connect()\n"
        "except DatabaseError as error: print(error)"
    )
    (home := tmp_path / "home").mkdir()
    changed = {"FW_CONFIG_FILE": str(config), "HOME": str(home)}
    run = run_command([script], home, os.environ | shared_database.environment | changed, entry=CODE)
    assert reason in run.stdout.splitlines()[-1], run.stderr
    assert "cret" not in run.stdout
