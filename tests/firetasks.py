"""A task that FireWorks finds by its module; in search of others it would import its own tests, markers and all."""

from __future__ import annotations

import shlex
import subprocess

from fireworks import FiretaskBase, explicit_serialize


@explicit_serialize
class Run(FiretaskBase):
    """Run a command, which must succeed."""

    required_params = ("command",)

    def run_task(self, fw_spec: dict) -> None:
        subprocess.run(shlex.split(self["command"]), check=True)
