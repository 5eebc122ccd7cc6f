"""A MongoDB server, and the templates filled in for it as their README says."""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fireworks import LaunchPad

from alchemflows.storage.mongod import PrivateMongod

ROOT = Path(__file__).parents[2]
Fill = Callable[[str], Path]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateMongod]:
    """Run a MongoDB server for the tests of this folder."""
    server = PrivateMongod(tmp_path_factory.mktemp("mongod"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user who has no configuration yet."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FW_", "JOBFLOW_", "ALCHEMFLOWS_"))}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"HOME": str(tmp_path), "PATH": programs, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


@pytest.fixture
def fill(environment: dict[str, str], tmp_path: Path) -> Fill:
    """Return what runs the commands of the README on a terminal and sets its variables; gives the folder."""
    text = (ROOT / "db_config" / "README.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    (fill_in,) = (block for block in blocks if "getpass" in block)
    (export,) = (block for block in blocks if "export" in block)

    def run(uri: str) -> Path:
        # Not subprocess: getpass wants a terminal.
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(ROOT)
            os.execve("/bin/bash", ["bash", "-e", "-c", fill_in], environment)
        said = b""
        try:
            while b"MongoDB URI: " not in said:
                said += os.read(terminal, 1024)
            os.write(terminal, f"{uri}\n".encode())
            while True:
                said += os.read(terminal, 1024)
        except OSError:  # how a terminal says that its other side has gone
            pass
        finally:
            status = os.waitpid(pid, 0)[1]
            os.close(terminal)
        assert status == 0, said.decode()
        assert uri not in said.decode()
        for name, value in re.findall(r"export (\w+)=~/(\S+)", export):
            environment[name] = str(tmp_path / value)
        return Path(environment["FW_CONFIG_FILE"]).parent

    return run


@pytest.fixture
def filled(fill: Fill, server: PrivateMongod) -> Iterator[Path]:
    """Return the folder of templates filled in for the server, and empty the database afterwards."""
    folder = fill(server.uri())
    yield folder
    connection = LaunchPad.from_file(str(folder / "my_launchpad.yaml")).connection
    connection.drop_database("alchemflows")
    connection.close()
