"""Processes of `alchemflows worker`, and what happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from command_line import COMMAND, StartedCommand

from alchemflows.storage.database import Database
from alchemflows.storage.fireworks import LOCKS

T = TypeVar("T")


#: FireWorks reads the file in its folder before any other. Killed processes leave locks.
_FIREWORKS = {"PING_TIME_SECS": 1, "RUN_EXPIRATION_SECS": 10, **LOCKS, "WFLOCK_EXPIRATION_SECS": 5}


def _prepared(database: Database, folder: Path, **more: str) -> dict[str, str]:
    """Make the folder of a process, with FireWorks' settings in it, and return the environment of the process."""
    folder.mkdir(parents=True)
    (folder / "FW_config.yaml").write_text(yaml.safe_dump(_FIREWORKS))
    common = {
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        # For the tasks of tests.
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    return os.environ | database.environment | common | more


class SupervisorProcess:
    """A supervisor who looks every second, and takes jobs for lost after ten without a sign of life."""

    def __init__(self, database: Database, folder: Path, *options: str) -> None:
        self.log = folder / "log"
        often = ["--interval", "1", "--lost-after", "10"]
        environment = _prepared(database, folder)
        self.process = StartedCommand(["supervise", *often, *options], folder, environment, self.log)

    def said(self) -> list[str]:
        """Return the lines of its log, and make sure that it still looks."""
        assert self.process.poll() is None, self.log.read_text()
        return self.log.read_text().splitlines()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class WorkerProcess:
    """A worker with a folder of its own, whose jobs say that they live every second.

    Parameters
    ----------
    database
        Where it finds jobs.
    folder
        Of its launches and its log.
    options
        Of the command.
    before
        Words before the command, such as those that give it another view of the disk.
    """

    def __init__(
        self, database: Database, folder: Path, *options: str, before: Sequence[str] = (), **environment: str
    ) -> None:
        self.folder = folder
        self.log = folder / "log"
        environment = _prepared(database, folder, **{"ALCHEMFLOWS_CHECKPOINT_INTERVAL_S": "0.2"} | environment)
        words = ["worker", "--sleep", "0.5", "-d", str(folder), *options]
        self.process: StartedCommand | subprocess.Popen
        if before:
            with self.log.open("w") as log:
                self.process = subprocess.Popen(
                    [*before, *COMMAND, *words], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder
                )
        else:
            self.process = StartedCommand(words, folder, environment, self.log)

    def end(self, number: int | None = None) -> int:
        """Send a signal, wait for the end, and return the status."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(timeout=240)

    def running(self, database: Database) -> dict | None:
        """Return the job that it has, if it has one."""
        if self.process.poll() is not None:
            return None
        mine = {"state": "RUNNING", "launch_dir": {"$regex": f"^{self.folder}/"}}
        launch = database.launchpad.launches.find_one(mine, {"fw_id": 1, "launch_dir": 1})
        return None if launch is None else database.launchpad.fireworks.find_one({"fw_id": launch["fw_id"]})

    def kill(self) -> None:
        """End it as a lost machine would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def wait_for(condition: Callable[[], T], seconds: float = 120.0) -> T:
    """Return what a condition gives once it gives something."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.1)
    return found


def checkpoints(database: Database) -> Path:
    """Return where the checkpoints of all jobs are."""
    return Path(database.environment["ALCHEMFLOWS_HOME"]) / "checkpoints"
