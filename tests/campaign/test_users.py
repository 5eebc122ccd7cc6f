"""A MongoDB with users and TLS, made as db_config/README.md says, and what each user can do in it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import gridfs
import pytest
import yaml
from bson import json_util
from command_line import COMMAND, assert_one_line
from fireworks import LaunchPad
from jobflow import Flow, JobStore, Response, job
from jobflow.managers.fireworks import flow_to_workflow
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from alchemflows.campaign.database import OUTPUT_INDEXES
from alchemflows.campaign.mongod import find_binary
from alchemflows.campaign.users import create_users, read_admin_uri
from alchemflows.errors import DatabaseError, InvalidInputError

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


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
        return [str(urlsplit(self.uri(user)).password) for user in ("admin", "submitter", "worker", "reader")]

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
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
        }


def run(
    server: Server, user: str, *command: object, folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*map(str, command)],
        env=server.environment(user) | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
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


@pytest.fixture
def clients(server: Server) -> Iterator[dict[str, MongoClient]]:
    clients = {user: MongoClient(server.uri(user)) for user in ("admin", "submitter", "worker", "reader")}
    yield clients
    for client in clients.values():
        client.close()
