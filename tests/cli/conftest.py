"""A private database that the commands of a module share, and how to run them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from command_line import run_command, run_here

from alchemflows.storage.mongod import PrivateMongod


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Return the home of a private database that the commands of this module share."""
    folder = tmp_path_factory.mktemp("home")
    yield folder
    PrivateMongod(folder).stop()


@pytest.fixture
def run(home, tmp_path):
    def command(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
        clean = {k: v for k, v in os.environ.items() if k not in ("JOBFLOW_CONFIG_FILE", "FW_CONFIG_FILE")}
        ours = {"ALCHEMFLOWS_HOME": str(home), "HOME": str(tmp_path), "COLUMNS": "160"}
        return run_command(arguments, tmp_path, clean | ours | environment)

    return command


@pytest.fixture
def run_refused(tmp_path, monkeypatch):
    """Return what runs a command in this process, where a database cannot be connected."""

    def no_database(*_: object) -> None:
        raise AssertionError("a database was connected")

    monkeypatch.setattr("alchemflows.storage.database.connect", no_database)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: run_here(arguments, monkeypatch)
