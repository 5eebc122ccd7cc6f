"""A MongoDB server, and the templates of db_config and launchers filled in for it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fireworks import LaunchPad

import alchemflows
from alchemflows.storage.mongod import PrivateMongod

ROOT = Path(__file__).parents[2]
#: The package that is tested, wherever it was installed from, and the jobs of the tests.
PYTHONPATH = os.pathsep.join([str(Path(alchemflows.__file__).parents[1]), str(ROOT / "tests")])


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a MongoDB server; return a folder of files filled in for it, and an environment to activate."""
    folder = tmp_path_factory.mktemp("config")
    server = PrivateMongod(tmp_path_factory.mktemp("mongod"))
    values = {
        "<MONGODB_URI>": server.uri(),
        "<CONFIG_DIR>": str(folder),
        "<ENVIRONMENT>": str(folder),
        "<QUEUE>": "gpu-queue",
    }
    for file in (f for room in ("db_config", "launchers") for f in (ROOT / room).iterdir()):
        if file.suffix in (".yaml", ".txt"):
            text = file.read_text()
            for placeholder, value in values.items():
                text = text.replace(placeholder, value)
            (folder / file.name).write_text(text)
        elif file.suffix == ".sh":
            shutil.copy(file, folder)
    (folder / "bin").mkdir()
    (folder / "bin" / "activate").write_text(
        f'export PATH="$HOME/bin:{Path(sys.executable).parent}:$PATH" PYTHONPATH="{PYTHONPATH}"\n'
    )
    try:
        server.start()
        yield folder
    finally:
        server.stop()


@pytest.fixture
def launchpad(config: Path) -> Iterator[LaunchPad]:
    """Return a LaunchPad without jobs."""
    launchpad = LaunchPad.from_file(str(config / "my_launchpad.yaml"))
    launchpad.reset("", require_password=False)
    yield launchpad
    launchpad.connection.close()


@pytest.fixture
def environment(config: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a user with this configuration; programs in `bin` go first."""
    (tmp_path / "bin").mkdir()
    programs = os.pathsep.join([str(tmp_path / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES" and not k.startswith("ALCHEMFLOWS_")}
    files = {"FW_CONFIG_FILE": str(config / "FW_config.yaml"), "JOBFLOW_CONFIG_FILE": str(config / "jobflow.yaml")}
    return kept | files | {"PATH": programs, "HOME": str(tmp_path), "PYTHONPATH": PYTHONPATH}
