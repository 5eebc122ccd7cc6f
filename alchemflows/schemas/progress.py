"""How far a job is, and the small file in its folder that says so to whoever watches."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

PROGRESS_FILE = "progress.json"


@dataclass(frozen=True)
class Progress:
    """How far a batch of replicas is.

    Attributes
    ----------
    phase
        ``equilibration``, ``production`` or ``switching``.
    step, n_steps
        Steps done and to do, both phases together.
    temperatures_K
        Kinetic temperature of each replica at this moment.
    timestep_fs
        Time step.
    steps_per_s
        Speed since the run began, or went on, here; None if it is not known yet.
    """

    phase: str
    step: int
    n_steps: int
    temperatures_K: tuple[float, ...]
    timestep_fs: float
    steps_per_s: float | None = None

    @property
    def ns_per_day(self) -> float | None:
        """Speed of all replicas together."""
        if self.steps_per_s is None:
            return None
        return len(self.temperatures_K) * self.steps_per_s * self.timestep_fs * 1e-6 * 86400

    @property
    def seconds_left(self) -> float | None:
        """Time until the last step at this speed."""
        return None if not self.steps_per_s else (self.n_steps - self.step) / self.steps_per_s


class ProgressFile:
    """Writes :class:`Progress` to a file, at most every `interval_s` seconds.

    The file is replaced as a whole, so that a reader never sees half of it.
    """

    def __init__(self, folder: Path, interval_s: float = 1.0) -> None:
        self._path = folder / PROGRESS_FILE
        self._interval_s = interval_s
        self._written_at = -float("inf")

    def __call__(self, progress: Progress) -> None:
        """Write, unless it was done a moment ago and the job is not at its end."""
        now = time.monotonic()
        if now - self._written_at < self._interval_s and progress.step < progress.n_steps:
            return
        self._written_at = now
        temporary = self._path.with_suffix(".tmp")
        # A full disk must not cost the samples that the progress is about.
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(vars(progress)))
            temporary.replace(self._path)


def read_progress(folder: Path) -> Progress | None:
    """Return the progress written in a job's folder, if there is any."""
    try:
        return Progress(**json.loads((folder / PROGRESS_FILE).read_text()))
    except (OSError, ValueError, TypeError):  # TypeError: of another version
        return None
