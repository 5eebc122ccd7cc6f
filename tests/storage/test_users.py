"""A MongoDB with users and TLS, set up as described in db_config/README.md, and the rights of each user."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gridfs
import pytest
import yaml
from bson import json_util
from command_line import ALCHEMFLOWS, LPAD, RLAUNCH, assert_one_line, run_command
from fireworks import FWorker, LaunchPad
from jobflow import Flow, Job, JobStore, Response, job
from jobflow.managers.fireworks import flow_to_workflow
from paced import pause
from pymatgen.core import Structure
from pymongo import MongoClient
from pymongo.errors import OperationFailure, ServerSelectionTimeoutError

from alchemflows.errors import DatabaseError, DatabaseUnreachableError
from alchemflows.execution.local import LocalWorkers, submit, wait
from alchemflows.storage import rights
from alchemflows.storage.database import OUTPUT_INDEXES, Database, connect, ping, store_spec
from alchemflows.storage.mongod import find_binary
from alchemflows.storage.rights import check_rights, refused
from alchemflows.storage.users import create_users, read_admin_uri

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
USERS = ("submitter", "worker", "reader")
UNAUTHORIZED = 13


@job(data=["series"])
def sample(n: int) -> dict[str, object]:
    return {"series": list(range(n)), "mean": (n - 1) / 2}


@job
def spread(mean: float) -> Response:
    """Replace this job, as a refined ladder does; the output is too large for the document of a launch."""
    return Response(replace=sample(int(mean)), stored_data={"text": "x" * 17_000_000})


@job
def fail() -> None:
    raise RuntimeError("as it should")


@dataclass(frozen=True)
class Server:
    """A running mongod with its first user, and the folders of the others."""

    port: int
    log: Path
    ca: Path
    admin: Path
    config: Path

    def uri(self, user: str) -> str:
        if user == "admin":
            return self.admin.read_text()
        return yaml.safe_load((self.config / user / "my_launchpad.yaml").read_text())["host"]

    def passwords(self) -> list[str]:
        return [str(urlsplit(self.uri(user)).password) for user in ("admin", *USERS)]

    def launchpad(self, user: str) -> LaunchPad:
        return LaunchPad(self.uri(user), name="alchemflows", uri_mode=True, strm_lvl="CRITICAL")

    def environment(self, user: str) -> dict[str, str]:
        """Return the environment of somebody who has exported the variables as `db init` says."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("FW_", "JOBFLOW_", "ALCHEMFLOWS_"))}
        folder = self.config / user
        return kept | {
            "JOBFLOW_CONFIG_FILE": str(folder / "jobflow.yaml"),
            "FW_CONFIG_FILE": str(folder / "FW_config.yaml"),
            "HOME": str(self.config),
            "COLUMNS": "160",
            "PYTHONWARNINGS": "ignore",
            "OMP_NUM_THREADS": "1",
            # Workers import this module, and what it imports.
            "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", Path(__file__).parent))),
        }


def run(
    server: Server, user: str, *words: object, folder: Path, entry: str = ALCHEMFLOWS, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = run_command(words, folder, server.environment(user) | environment, timeout=120, entry=entry)
    assert not any(password in done.stdout + done.stderr for password in server.passwords())
    return done


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_user(folder: Path, port: int, ca: Path) -> Path:
    """Run the commands of the README that make it, on the server itself."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "db_config" / "README.md").read_text(), re.DOTALL)
    (block,) = (block for block in blocks if "createUser" in block)
    script = block.replace("27017", str(port)).replace("<HOST>", "localhost").replace("<TLS_DIR>", str(ca.parent))
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", script], cwd=folder, env=os.environ | {"PATH": path}, check=True)
    return folder / "admin-uri"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start mongod with the template's settings, at other places, and make its users."""
    try:
        binary = find_binary()
    except DatabaseError:
        pytest.skip("no mongod on this machine")
    folder = tmp_path_factory.mktemp("server")
    certificates = folder / "certificates"
    subprocess.run([ROOT / "db_config" / "make_certificates.sh", certificates, "localhost"], check=True)
    (folder / "data").mkdir()
    port = free_port()
    text = (ROOT / "db_config" / "mongod.conf").read_text().replace("localhost,<HOST>", "127.0.0.1")
    text = text.replace("<DATA_DIR>", str(folder / "data")).replace("<TLS_DIR>", str(certificates))
    (folder / "mongod.conf").write_text(text.replace("port: 27017", f"port: {port}"))
    log = folder / "data" / "mongod.log"
    # No socket file in /tmp, which other servers may want.
    command = [binary, "--fork", "--nounixsocket", "--pidfilepath", folder / "pid", "--config", folder / "mongod.conf"]
    subprocess.run([*map(str, command)], stdout=subprocess.DEVNULL, check=True, timeout=60)
    try:
        admin = first_user(folder, port, certificates / "ca.pem")
        create_users(read_admin_uri(admin), "alchemflows", folder / "config")
        yield Server(port, log, certificates / "ca.pem", admin, folder / "config")
    finally:
        os.kill(int((folder / "pid").read_text()), signal.SIGTERM)


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[dict[str, MongoClient]]:
    clients = {user: MongoClient(server.uri(user)) for user in ("admin", *USERS)}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture(scope="module")
def worked(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Job]:
    """Let a submitter submit and a worker work; return the worker's folder, and a job that has run."""
    folder = tmp_path_factory.mktemp("worked")
    launchpad = server.launchpad("submitter")
    launchpad.add_wf(flow_to_workflow(Flow([first := sample(1000), spread(first.output["mean"])])))
    launchpad.add_wf(flow_to_workflow(fail()))
    launchpad.connection.close()
    done = run(server, "worker", "rapidfire", folder=folder, entry=RLAUNCH)
    assert done.returncode == 0, done.stderr
    (folder / "said").write_text(done.stdout + done.stderr)
    return folder, first


def states(client: MongoClient) -> list[tuple[str, str]]:
    return sorted((fw["name"], fw["state"]) for fw in client["alchemflows"]["fireworks"].find())


# Each user can do its work


def test_a_worker_works(worked: tuple[Path, Job], clients: dict[str, MongoClient]) -> None:
    _, first = worked
    done = [("sample", "COMPLETED"), ("sample", "COMPLETED"), ("spread", "COMPLETED")]
    assert states(clients["admin"]) == [("fail", "FIZZLED"), *done]
    database = clients["admin"]["alchemflows"]
    assert database["outputs"].find_one({"uuid": first.uuid})["output"]["mean"] == 499.5
    assert database["samples.files"].count_documents({}) == 2
    assert database["fw_gridfs.files"].count_documents({}) == 1


def test_a_reader_reads(worked: tuple[Path, Job], server: Server, tmp_path: Path) -> None:
    _, first = worked
    store = JobStore.from_dict_spec(
        yaml.safe_load((server.config / "reader" / "jobflow.yaml").read_text())["JOB_STORE"]
    )
    with store:
        assert store.get_output(first.uuid, load=True) == {"series": list(range(1000)), "mean": 499.5}
    launchpad = server.launchpad("reader")
    (fw_id,) = launchpad.get_fw_ids({"name": "spread"})
    assert len(launchpad.get_fw_dict_by_id(fw_id)["launches"][0]["action"]["stored_data"]["text"]) == 17_000_000
    launchpad.connection.close()
    done = run(server, "reader", "get_wflows", folder=tmp_path, entry=LPAD)
    assert done.returncode == 0, done.stderr
    assert '"state": "FIZZLED"' in done.stdout
    assert "no results yet" in run(server, "reader", "results", folder=tmp_path).stdout


def test_the_doctor_names_the_user_and_the_database(server: Server, tmp_path: Path) -> None:
    done = run(server, "reader", "doctor", "--json", folder=tmp_path, ALCHEMFLOWS_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["database user"]["state"] == "ok"
    assert found["database user"]["text"].startswith("reader")
    assert found["LaunchPad"]["state"] == "ok"
    assert found["rights"]["state"] == "optional" and "worker" in found["rights"]["remedy"]
    assert str(server.config / "reader") in found["FireWorks configuration"]["text"]
    assert not (tmp_path / "home").exists()


def test_a_submitter_reruns_failed_jobs(
    worked: tuple[Path, Job], server: Server, clients: dict[str, MongoClient], tmp_path: Path
) -> None:
    def lpad(*arguments: str) -> str:
        done = run(server, "submitter", *arguments, folder=tmp_path, entry=LPAD)
        assert done.returncode == 0, done.stderr
        return done.stdout

    lpad("rerun_fws", "-s", "FIZZLED")
    assert ("fail", "READY") in states(clients["admin"])
    worker = server.launchpad("worker")
    worker.checkout_fw(FWorker(), str(tmp_path), host="a host", ip="an address")  # and then it dies
    worker.connection.close()
    assert ("fail", "RUNNING") in states(clients["admin"])
    lpad("detect_lostruns", "--time", "0", "--rerun")
    assert ("fail", "READY") in states(clients["admin"])
    lpad("defuse_fws", "-s", "READY")
    assert ("fail", "DEFUSED") in states(clients["admin"])


@pytest.mark.slow
def test_a_worker_returns_an_unfinished_job(server: Server, clients: dict[str, MongoClient], tmp_path: Path) -> None:
    launchpad = server.launchpad("submitter")
    (fw_id,) = launchpad.add_wf(flow_to_workflow(Flow([pause(100)]))).values()
    done = run(server, "worker", "worker", "--stop-after", 8, folder=tmp_path)
    assert f"job {fw_id} is returned to the queue" in done.stdout, done.stderr
    assert ("pause", "READY") in states(clients["admin"])
    launchpad.defuse_fw(fw_id)
    launchpad.connection.close()


def run_a_flow_here() -> None:
    """Submit a flow and run it with a local worker, in a process that knows one user's configuration."""
    database = connect()
    fw_ids = submit(database, Flow([sample(3)]))
    with LocalWorkers(database, fw_ids, 1, Path("runs")) as workers:
        print(wait(database, fw_ids, lambda jobs: None, check=workers.check))


def test_one_user_with_two_roles_runs_flows_here(server: Server, tmp_path: Path) -> None:
    create_users(server.uri("admin"), "alchemflows", server.config, {"ada": ["submitter", "worker"]})
    done = run(server, "ada", folder=tmp_path, entry="test_users:run_a_flow_here")
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


# and nothing else

Act = Callable[[MongoClient], Any]

CHANGES: dict[str, Act] = {
    "insert an output": lambda c: c["alchemflows"]["outputs"].insert_one({"uuid": "forged"}),
    "change an output": lambda c: c["alchemflows"]["outputs"].update_one({}, {"$set": {"output": 0}}),
    "insert samples": lambda c: gridfs.GridFS(c["alchemflows"], "samples").put(b"forged"),
}
SUBMISSIONS: dict[str, Act] = {
    "insert a workflow": lambda c: c["alchemflows"]["workflows"].insert_one({"nodes": []}),
    "delete a job": lambda c: c["alchemflows"]["fireworks"].delete_one({"fw_id": -1}),
}
JOBS: dict[str, Act] = {
    "insert a job": lambda c: c["alchemflows"]["fireworks"].insert_one({"fw_id": -1}),
    "change a workflow": lambda c: c["alchemflows"]["workflows"].update_one({}, {"$set": {"state": "READY"}}),
    "take a number": lambda c: c["alchemflows"]["fw_id_assigner"].update_one({}, {"$inc": {"next_fw_id": 1}}),
}
NEVER: dict[str, Act] = {
    "delete an output": lambda c: c["alchemflows"]["outputs"].delete_one({}),
    "delete samples": lambda c: c["alchemflows"]["samples.chunks"].delete_many({}),
    "delete a workflow": lambda c: c["alchemflows"]["workflows"].delete_one({}),
    "delete launches": lambda c: c["alchemflows"]["launches"].delete_many({}),
    "drop outputs": lambda c: c["alchemflows"]["outputs"].drop(),
    "drop samples": lambda c: c["alchemflows"]["samples.chunks"].drop(),
    "drop jobs": lambda c: c["alchemflows"]["fireworks"].drop(),
    "drop the database": lambda c: c.drop_database("alchemflows"),
    "rename outputs": lambda c: c["alchemflows"]["outputs"].rename("mine"),
    "make a collection": lambda c: c["alchemflows"]["mine"].insert_one({}),
    "make an index": lambda c: c["alchemflows"]["outputs"].create_index("output"),
    "drop indexes": lambda c: c["alchemflows"]["outputs"].drop_indexes(),
    "make a user": lambda c: c["alchemflows"].command("createUser", "eve", pwd="eve", roles=["worker"]),
    "list users": lambda c: c["alchemflows"].command("usersInfo"),
    "become an owner": lambda c: c["alchemflows"].command("grantRolesToUser", "reader", roles=["dbOwner"]),
    "use another database": lambda c: c["other"]["notes"].find_one(),
    "stop the server": lambda c: c.admin.command("shutdown"),
}


@pytest.mark.parametrize(
    ("user", "acts"),
    [
        ("reader", CHANGES | SUBMISSIONS | JOBS | NEVER),
        ("worker", SUBMISSIONS | NEVER),
        ("submitter", CHANGES | NEVER),
    ],
)
def test_no_user_can_do_more(
    worked: tuple[Path, Job], clients: dict[str, MongoClient], user: str, acts: dict[str, Act]
) -> None:
    for name, act in acts.items():
        try:
            act(clients[user])
        except OperationFailure as error:
            assert error.code == UNAUTHORIZED, name
        else:
            pytest.fail(f"the {user} can {name}")
    assert clients["admin"]["alchemflows"]["outputs"].count_documents({}) >= 3


def test_refused_actions_are_possible_with_the_right(worked: tuple[Path, Job], clients: dict[str, MongoClient]) -> None:
    """Each action succeeds for a user with the right, so only the right is missing elsewhere."""
    for name, act in CHANGES.items():
        assert act(clients["worker"]) is not None, name
    for name, act in (SUBMISSIONS | JOBS).items():
        assert act(clients["submitter"]) is not None, name
    database = clients["admin"]["alchemflows"]
    database["outputs"].delete_many({"uuid": "forged"})
    database["fireworks"].delete_many({"fw_id": -1})
    database["workflows"].delete_many({"nodes": []})


def test_nobody_reads(server: Server) -> None:
    with MongoClient("localhost", server.port, tls=True, tlsCAFile=str(server.ca)) as nobody:
        assert nobody.admin.command("ping")["ok"] == 1
        for act in (nobody["alchemflows"]["outputs"].find_one, nobody.list_database_names, *_acts(NEVER, nobody)):
            with pytest.raises(OperationFailure) as caught:
                act()
            assert caught.value.code == UNAUTHORIZED


def _acts(acts: dict[str, Act], client: MongoClient) -> list[Callable[[], Any]]:
    return [lambda act=act: act(client) for act in acts.values()]


@pytest.mark.parametrize(
    ("options", "hint"),
    [({}, "tls=true"), ({"tls": True}, "tlsCAFile")],
    ids=["without TLS", "without the authority"],
)
def test_connections_that_are_not_safe_are_refused(server: Server, options: dict[str, Any], hint: str) -> None:
    client: MongoClient = MongoClient("localhost", server.port, serverSelectionTimeoutMS=500, **options)
    with client:
        with pytest.raises(ServerSelectionTimeoutError):
            client.admin.command("ping")
        with pytest.raises(DatabaseUnreachableError, match=hint) as caught:
            ping(client, 1.0)
    assert "imeout" not in str(caught.value)


# Passwords


def test_passwords_are_nowhere(worked: tuple[Path, Job], server: Server, clients: dict[str, MongoClient]) -> None:
    folder, _ = worked
    database = clients["admin"]["alchemflows"]
    stored = {name: json_util.dumps(database[name].find()) for name in database.list_collection_names()}
    assert {"outputs", "fireworks", "launches", "samples.chunks"} <= set(stored)
    assert "as it should" in stored["launches"]
    written = {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
    log = server.log.read_text()
    assert "worker" in log
    for password in server.passwords():
        assert len(password) == 32
        assert not [place for place, text in (stored | written | {"log": log}).items() if password in text]


def test_only_the_owner_can_read_the_files(server: Server) -> None:
    folders = [server.config / user for user in USERS]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    files = [file for folder in folders for file in folder.iterdir()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in [*files, server.admin]} == {0o600}


@pytest.mark.parametrize("user", USERS)
def test_the_files_are_the_templates_filled_in(server: Server, user: str) -> None:
    folder = server.config / user
    names = {file.name for file in folder.iterdir()}
    assert {"jobflow.yaml", "my_launchpad.yaml", "FW_config.yaml"} <= names
    assert ("my_fworker_gpu.yaml" in names) == (user == "worker")
    for name in names:
        text = (ROOT / "db_config" / name).read_text()
        template = yaml.safe_load(text.replace("<MONGODB_URI>", server.uri(user)).replace("<CONFIG_DIR>", str(folder)))
        if name == "FW_config.yaml" and user != "worker":
            del template["FWORKER_LOC"], template["QUEUEADAPTER_LOC"]
        assert yaml.safe_load((folder / name).read_text()) == template


def test_a_wrong_password_is_reported_but_not_shown(server: Server, tmp_path: Path) -> None:
    shutil.copytree(server.config / "reader", tmp_path / "reader")
    path = tmp_path / "reader" / "jobflow.yaml"
    path.write_text(path.read_text().replace("//reader:", "//reader:swordfish-7"))
    done = run(server, "reader", "results", folder=tmp_path, JOBFLOW_CONFIG_FILE=str(path))
    assert_one_line(done, "user or password")
    assert "swordfish" not in done.stdout + done.stderr
    uri = server.uri("admin").replace("//admin:", "//admin:swordfish-7")
    done = run(server, "reader", "db", "init", "config", folder=tmp_path, ALCHEMFLOWS_ADMIN_URI=uri)
    assert_one_line(done, "user or password")
    assert "swordfish" not in done.stdout + done.stderr
    assert not (tmp_path / "config").exists()


def test_the_command_line_reports_missing_rights(server: Server, tmp_path: Path) -> None:
    done = run(server, "reader", "db", "index", folder=tmp_path)
    assert_one_line(done, "does not let the user reader (roles: reader of alchemflows)", "localhost:", "db init")


def test_a_refusal_names_the_right_and_the_role(clients: dict[str, MongoClient]) -> None:
    reader = clients["reader"]["alchemflows"]
    for act, words in (
        (lambda: reader["outputs_reanalysed"].insert_one({"uuid": "secret"}), ("insert", "role submitter may")),
        (lambda: reader["outputs"].update_one({}, {"$set": {"output": "secret"}}), ("update", "role worker may")),
        (lambda: reader["outputs"].create_index("output"), ("createIndexes on outputs", "an administrator")),
        (lambda: reader.command("usersInfo"), ("docs/security.md",)),
    ):
        with pytest.raises(OperationFailure) as caught:
            act()
        said = refused(caught.value)
        assert all(word in said for word in words) and "secret" not in said


@pytest.mark.parametrize(
    ("user", "words", "role"),
    [
        ("reader", ["worker", "--until-idle"], "worker"),
        ("submitter", ["worker", "--until-idle"], "worker"),
        ("reader", ["ti", "CsPbI3.cif", "Pb:Sn", "-T", 300, "--submit"], "submitter"),
        ("submitter", ["ti", "CsPbI3.cif", "Pb:Sn", "-T", 300], "worker"),
        ("worker", ["ti", "CsPbI3.cif", "Pb:Sn", "-T", 300], "submitter"),
        ("reader", ["campaign", "submit", "campaign.yaml"], "submitter"),
    ],
)
def test_rights_are_checked_before_any_work(
    server: Server, perovskite: Structure, tmp_path: Path, user: str, words: list[object], role: str
) -> None:
    """The potential cannot be loaded, which would be the first error of the work."""
    (tmp_path / "broken.model").write_text("not a model")
    perovskite.to(str(tmp_path / "CsPbI3.cif"))
    campaign = {
        "name": "a",
        "structures": {"cell": {"file": "CsPbI3.cif"}},
        "transformations": {"PbSn": {"Pb": "Sn"}},
        "temperatures_K": [300],
        "method": {"kind": "thermodynamic-integration"},
        "potential": {"name": "broken.model"},
    }
    (tmp_path / "campaign.yaml").write_text(yaml.safe_dump(campaign))
    potential = ["--potential", "broken.model"] if words[0] == "ti" else []
    done = run(server, user, *words, *potential, folder=tmp_path)
    assert_one_line(done, "localhost:", f"does not let the user {user} (roles: {user} of alchemflows)", f"role {role}")
    assert re.search("let .* (insert|update|remove) .* in alchemflows", done.stderr)


def test_rights_of_other_roles_count(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner of the database has no role of this package; a server can also hide the rights of its users."""

    def database(user: str) -> Database:
        store = JobStore.from_dict_spec(store_spec(server.uri(user)))
        store.connect()
        return Database(store, server.launchpad(user), "here", {})

    check_rights(database("admin"), "submitter", "worker")
    with pytest.raises(DatabaseError, match="fw_id_assigner"):
        check_rights(database("reader"), "submitter")
    monkeypatch.setattr(rights, "_privileges", lambda client: None)
    check_rights(database("reader"), "submitter", "worker")


# Making users


def test_again_changes_nothing(server: Server, clients: dict[str, MongoClient], tmp_path: Path) -> None:
    """Run the command again, as an administrator of this database only."""
    admin = clients["admin"]
    owner = {"pwd": "swordfish-7", "roles": [{"role": "dbOwner", "db": "alchemflows"}]}
    admin["admin"].command("createUser", "owner", **owner)
    uri = server.uri("admin").replace(f"admin:{server.passwords()[0]}", "owner:swordfish-7")

    def everything() -> list[Any]:
        files = sorted((path, path.read_bytes()) for path in server.config.rglob("*") if path.is_file())
        numbers = admin["alchemflows"]["fw_id_assigner"].find_one()
        return [files, numbers, admin["alchemflows"].command("rolesInfo", showPrivileges=True)["roles"]]

    before = everything()
    done = run(server, "worker", "db", "init", server.config, folder=tmp_path, ALCHEMFLOWS_ADMIN_URI=uri)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if str(server.config / "worker") in line)
    variables = dict(word.split("=") for word in shlex.split(line)[1:])
    assert set(variables) == {"JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE"}
    assert all(Path(file).is_file() for file in variables.values())
    assert "swordfish" not in done.stdout
    assert everything() == before
    for user in USERS:
        with MongoClient(server.uri(user)) as client:
            client["alchemflows"]["outputs"].find_one()


def test_rights_added_by_hand_are_removed(server: Server, clients: dict[str, MongoClient]) -> None:
    database = clients["admin"]["alchemflows"]
    more = [{"resource": {"db": "alchemflows", "collection": "outputs"}, "actions": ["remove"]}]
    database.command("grantPrivilegesToRole", "reader", privileges=more)
    clients["reader"]["alchemflows"]["outputs"].delete_one({"uuid": "none"})
    create_users(server.uri("admin"), "alchemflows", server.config)
    with pytest.raises(OperationFailure, match="not authorized"):
        clients["reader"]["alchemflows"]["outputs"].delete_one({"uuid": "none"})
    database.command("grantRolesToRole", "reader", roles=["worker"])
    create_users(server.uri("admin"), "alchemflows", server.config)
    with pytest.raises(OperationFailure, match="not authorized"):
        clients["reader"]["alchemflows"]["outputs"].insert_one({"uuid": "forged"})


def test_indexes_are_there(clients: dict[str, MongoClient]) -> None:
    def indexes(collection: str) -> set[tuple[str, ...]]:
        return {tuple(index["key"]) for index in clients["admin"]["alchemflows"][collection].list_indexes()}

    assert {(i,) if isinstance(i, str) else i for i in OUTPUT_INDEXES} <= indexes("outputs")
    assert {("fw_id",), ("spec._category",)} <= indexes("fireworks")
    assert {("files_id", "n")} <= indexes("samples.chunks") and {("metadata.blob_uuid",)} <= indexes("samples.files")


def test_new_passwords_on_request_only(server: Server, tmp_path: Path) -> None:
    def init(*options: str) -> subprocess.CompletedProcess[str]:
        command = ("db", "init", tmp_path / "config", "--admin-uri-file", server.admin, "--user", "bob=reader")
        return run(server, "reader", *command, *options, folder=tmp_path)

    def uri() -> str:
        return yaml.safe_load((tmp_path / "config" / "bob" / "my_launchpad.yaml").read_text())["host"]

    assert init().returncode == 0
    old = uri()
    assert init("--renew").returncode == 0
    assert uri() != old
    with MongoClient(uri()) as client:
        client["alchemflows"]["outputs"].find_one()
    with MongoClient(old) as client, pytest.raises(OperationFailure, match="Authentication failed"):
        client["alchemflows"]["outputs"].find_one()
    create_users(server.uri("admin"), "alchemflows", tmp_path / "config", {"bob": ["reader", "submitter"]})
    with MongoClient(uri()) as client:
        client["alchemflows"]["offline_runs"].find_one()  # which a submitter may and a reader may not
    shutil.rmtree(tmp_path / "config" / "bob")
    assert_one_line(init(), "bob exists", "--renew")
    assert not (tmp_path / "config" / "bob").exists()


def test_a_file_that_others_can_read_is_refused(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "admin-uri"
    path.write_text(server.uri("admin"))
    for mode in (0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(DatabaseError, match="chmod 600"):
            read_admin_uri(path)
    path.chmod(0o600)
    assert read_admin_uri(path) == server.uri("admin")
    with pytest.raises(DatabaseError, match="FileNotFoundError"):
        read_admin_uri(tmp_path / "none")
