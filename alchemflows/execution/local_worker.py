"""A worker that ends with the process that started it, and how to start one."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_CODE = f"from {__name__} import main; main()"


def start(
    launchpad: Path, fworker: Path, folder: Path, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a worker.

    Parameters
    ----------
    launchpad, fworker
        Files of FireWorks: where jobs are, and which ones the worker takes.
    folder
        Folder of the launch directories.
    log
        File to which its output is added.
    environment
        All its environment variables.
    """
    command = [sys.executable, "-c", _CODE, str(launchpad), str(fworker)]
    with log.open("a") as out:
        # A session of its own: Ctrl-C is for the one who waits, who stops the workers then.
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )


def main() -> None:
    """Run jobs in the working directory until a signal comes; the two files are the arguments of the command."""
    # Linux ends the worker with its parent, however the parent ends; elsewhere only its regular end does.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    from fireworks import FWorker, LaunchPad

    from alchemflows.execution.worker import Worker

    launchpad, fworker = sys.argv[1:]
    Worker(LaunchPad.from_file(launchpad), FWorker.from_file(fworker), Path(), sleep_s=1.0).run()
