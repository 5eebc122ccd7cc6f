"""The templates of db_config, filled in as their README says, with a real server."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import ALCHEMFLOWS, CODE, LPAD, run_command
from fireworks import Firework, LaunchPad, PyTask, Workflow
from jobflow import JobStore, job, run_locally
from pymongo import MongoClient

from alchemflows.storage.mongod import PrivateMongod

PASSWORD = "swordfish-7"

CONNECT = """
import json, time
from alchemflows.storage.database import connect
from alchemflows.errors import DatabaseError
start = time.monotonic()
try:
    database = connect()
    answer = {"place": database.place, "environment": database.environment}
    answer["launchpad"] = database.launchpad is not None and database.launchpad.db.name
    answer["outputs"] = database.outputs().full_name
except DatabaseError as error:
    answer = {"error": str(error)}
print(json.dumps(answer | {"seconds": time.monotonic() - start}))
"""


@job(data=["series"])
def sample() -> dict[str, object]:
    return {"series": list(range(1000)), "mean": 499.5}


def run(environment: dict[str, str], *words: str, folder: Path, entry: str = ALCHEMFLOWS) -> str:
    """Run a command in a process of its own: FireWorks reads its configuration once."""
    done = run_command(words, folder, environment, timeout=60, entry=entry)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def connect(environment: dict[str, str], folder: Path) -> dict:
    """Return the answer of connect()."""
    return json.loads(run(environment, CONNECT, folder=folder, entry=CODE).splitlines()[-1])


def test_nothing_is_left_to_fill_in_and_only_the_owner_can_read(filled: Path) -> None:
    assert stat.S_IMODE(filled.stat().st_mode) == 0o700
    files = list(filled.iterdir())
    assert {"my_launchpad.yaml", "jobflow.yaml", "FW_config.yaml", "pbs_gpu_template.txt"} <= {f.name for f in files}
    for file in files:
        if file.suffix == ".sh":
            assert os.access(file, os.X_OK)
            continue
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        left = set(re.findall(r"<[A-Z_]+>", file.read_text()))
        assert left == ({"<QUEUE>"} if re.match(r"pbs_.*_qadapter", file.name) else set())


def test_job_store_keeps_samples_apart(filled: Path, server: PrivateMongod) -> None:
    store = JobStore.from_dict_spec(yaml.safe_load((filled / "jobflow.yaml").read_text())["JOB_STORE"])
    store.connect()
    run_locally(made := sample(), store=store, ensure_success=True, log=False)
    assert store.get_output(made.uuid, load=True) == {"series": list(range(1000)), "mean": 499.5}
    with MongoClient(server.uri()) as client:
        database = client["alchemflows"]
        document = database["outputs"].find_one({"uuid": made.uuid})
        assert document["output"]["mean"] == 499.5
        assert "blob_uuid" in document["output"]["series"]
        assert database["samples.files"].count_documents({}) == 1


def test_launchpad_takes_a_workflow_after_a_reset_only(filled: Path) -> None:
    launchpad = LaunchPad.from_file(str(filled / "my_launchpad.yaml"))
    workflow = Workflow([Firework(PyTask(func="time.time"), name="a job")])
    with pytest.raises(ValueError, match="lpad reset"):
        launchpad.add_wf(workflow)
    launchpad.reset("", require_password=False)
    (fw_id,) = launchpad.add_wf(workflow).values()
    assert fw_id == 1
    assert launchpad.fireworks.find_one({"fw_id": fw_id})["name"] == "a job"
    assert launchpad.db.name == "alchemflows"


def test_the_first_commands_of_the_readme(filled: Path, environment: dict[str, str], tmp_path: Path) -> None:
    with MongoClient(yaml.safe_load((filled / "my_launchpad.yaml").read_text())["host"]) as client:
        client["alchemflows"]["outputs"].insert_one({"uuid": "kept"})
        reset = subprocess.run(
            ["lpad", "reset"], env=environment, cwd=tmp_path, input="alchemflows\n", capture_output=True, text=True
        )
        assert reset.returncode == 0 and "RESET" in reset.stdout, reset.stderr
        assert client["alchemflows"]["outputs"].count_documents({}) == 1
        assert "indexes are in place" in run(environment, "db", "index", folder=tmp_path)
        assert "output.temperature_K_1" in client["alchemflows"]["outputs"].index_information()
    assert run(environment, "get_wflows", folder=tmp_path, entry=LPAD).strip().endswith("[]")
    assert str(filled) in run(environment, "results", folder=tmp_path).replace("\n", "")


def test_connect_uses_both_files(filled: Path, environment: dict[str, str], tmp_path: Path) -> None:
    answer = connect(environment, tmp_path)
    assert answer["launchpad"] == "alchemflows"
    assert answer["outputs"] == "alchemflows.outputs"
    assert answer["environment"] == {name: environment[name] for name in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}


def test_password_does_not_show(
    fill: Callable[[str], Path], server: PrivateMongod, environment: dict[str, str], tmp_path: Path
) -> None:
    with MongoClient(server.uri()) as client:
        roles = [{"role": "readWrite", "db": "alchemflows"}]
        client["alchemflows"].command("createUser", "walter", pwd=PASSWORD, roles=roles)
        try:
            fill(server.uri().replace("mongodb://", f"mongodb://walter:{PASSWORD}@"))
            answer = connect(environment, tmp_path)
        finally:
            client["alchemflows"].command("dropUser", "walter")
    assert str(server.socket) in answer["place"]
    assert "launchpad" in answer
    assert PASSWORD not in json.dumps(answer)
    assert "walter" not in answer["place"]


def test_wrong_password_is_told_without_it(
    fill: Callable[[str], Path], server: PrivateMongod, environment: dict[str, str], tmp_path: Path
) -> None:
    fill(server.uri().replace("mongodb://", f"mongodb://walter:{PASSWORD}@"))
    error = connect(environment, tmp_path)["error"]
    assert str(server.socket) in error
    assert "user or password" in error
    assert PASSWORD not in error


def test_unreachable_database_is_told_soon(
    fill: Callable[[str], Path], environment: dict[str, str], tmp_path: Path
) -> None:
    fill(f"mongodb://walter:{PASSWORD}@127.0.0.1:1/alchemflows")
    environment["ALCHEMFLOWS_DATABASE_TIMEOUT_S"] = "2"
    start = time.monotonic()
    answer = connect(environment, tmp_path)
    assert "127.0.0.1:1" in answer["error"]
    assert PASSWORD not in answer["error"]
    assert answer["seconds"] < 6
    assert time.monotonic() - start < 20


def test_fireworks_prefers_other_places_to_the_variable(
    filled: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    show = "from fireworks import fw_config as c; print(c.PING_TIME_SECS, c.LAUNCHPAD_LOC)"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "my_launchpad.yaml").write_text("{}")
    (tmp_path / ".fireworks").mkdir()
    assert run(environment, show, folder=elsewhere, entry=CODE).split() == ["300", str(filled / "my_launchpad.yaml")]
    for number, place in (("1", tmp_path / ".fireworks"), ("2", elsewhere)):
        (place / "FW_config.yaml").write_text(f"PING_TIME_SECS: {number}\n")
        said = run(environment, show, folder=elsewhere, entry=CODE).splitlines()
        assert said[-1].split()[0] == number
        assert any("many potential paths for FW_CONFIG_FILE" in line for line in said)
