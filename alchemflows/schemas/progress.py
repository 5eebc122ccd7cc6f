"""Progress of a job, and the file in its folder that reports it."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Progress:
    """Progress of a batch of replicas.

    Attributes
    ----------
    phase
        ``equilibration``, ``production`` or ``switching``.
    step, n_steps
        Completed steps and total number of steps, all phases together.
    temperatures_K
        Current kinetic temperature of each replica.
    timestep_fs
        Time step.
    steps_per_s
        Speed since the run was started or resumed; None if it is not known yet.
    mean_temperature_K
        Mean of the temperatures of all replicas over the reports of this phase, since the run was started or resumed;
        None if there are no temperatures, or if the thermostats of the replicas have several.
    """

    phase: str
    step: int
    n_steps: int
    temperatures_K: tuple[float, ...]
    timestep_fs: float
    steps_per_s: float | None = None
    mean_temperature_K: float | None = None

    @property
    def ns_per_day(self) -> float | None:
        """Speed of all replicas together (ns/day)."""
        if self.steps_per_s is None:
            return None
        return len(self.temperatures_K) * self.steps_per_s * self.timestep_fs * 1e-6 * 86400

    @property
    def seconds_left(self) -> float | None:
        """Estimated time until the last step (s)."""
        return None if not self.steps_per_s else (self.n_steps - self.step) / self.steps_per_s


class ProgressFile:
    """Write :class:`Progress` to a file, at most every `interval_s` seconds.

    The file is replaced atomically, so that a reader never sees an incomplete file.
    """

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        self._path = folder / PROGRESS_FILE
        self._interval_s = interval_s
        self._written_at = -float("inf")

    def __call__(self, progress: Progress) -> None:
        """Write the progress, except if less than `interval_s` has passed and the job is not at its last step."""
        now = time.monotonic()
        if now - self._written_at < self._interval_s and progress.step < progress.n_steps:
            return
        self._written_at = now
        temporary = self._path.with_suffix(".tmp")
        # A failure to write, for example on a full disk, must not stop the sampling.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(vars(progress)))
            temporary.replace(self._path)


def read_progress(folder: Path) -> Progress | None:
    """Return the progress in a job's folder; None if there is none that can be read."""
    try:
        return Progress(**json.loads((folder / PROGRESS_FILE).read_text()))
    except (OSError, ValueError, TypeError):  # TypeError: written by another version
        return None
