"""Checkpoints of a run: its state and its samples, in files from which it can continue after the process ends.

A run offers its state at the end of each block of steps, and a checkpoint is written at regular intervals. Each
checkpoint writes only the samples since the previous one, to a separate file, so that a long run does not rewrite its
earlier samples. Every file is written under a temporary name, renamed when it is complete, and contains checksums (zip
format). The last two states are kept. Damaged files are skipped, and the run continues from an earlier
checkpoint. Trajectories are deterministic: if another worker takes a run over, samples that are stored twice are
identical.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alchemflows.errors import RunStoppedError

logger = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]

#: Number of states to keep; the previous one is used if the last one is damaged.
N_STATES = 2
_OWNER = "owner"


@dataclass(frozen=True)
class Saved:
    """Content of a checkpoint.

    Attributes
    ----------
    state
        Arrays of the state, by name.
    samples
        Arrays of all samples up to the checkpoint, by name; the first axis is time. Empty if there are no samples.
    """

    state: dict[str, np.ndarray]
    samples: dict[str, np.ndarray]


class Checkpoint:
    """Checkpoints of one run in a folder; they also stop the run on request.

    Parameters
    ----------
    folder
        Folder of the checkpoints, created when needed; None writes no checkpoints.
    interval_s
        Time between two checkpoints (s).
    should_stop
        Function called at the end of each block; if it returns True, the run writes a checkpoint and stops.
    """

    def __init__(
        self,
        folder: Path | None = None,
        interval_s: float = 300.0,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.folder = folder
        self.interval_s = interval_s
        self._should_stop = should_stop
        self._token = uuid.uuid4().hex
        self._n_written = 0
        self._began_at = self._written_at = time.monotonic()
        self._spent_s = 0.0
        self._stages: list[Checkpoint] = []

    @property
    def spent_s(self) -> float:
        """Computing time of earlier attempts (s) up to the loaded checkpoints, including stages."""
        return self._spent_s + sum(stage.spent_s for stage in self._stages)

    def stage(self, name: str) -> Checkpoint:
        """Return the checkpoints of a stage of the run, in a subfolder."""
        folder = None if self.folder is None else self.folder / name
        self._stages.append(Checkpoint(folder, self.interval_s, self._should_stop))
        return self._stages[-1]

    def reached(self) -> int:
        """Return the step of the last checkpoint, without taking over the run; 0 if there is none."""
        files = [] if self.folder is None else self._files("state")
        return int(files[0].stem.split("-")[1]) if files else 0

    def load(self) -> Saved | None:
        """Return the last undamaged checkpoint, or None, and take over the run from the worker that wrote it."""
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._replace(_OWNER, lambda path: path.write_text(self._token))
        except OSError as error:  # for example if the disk is full; existing checkpoints can still be read
            logger.warning("checkpoints cannot be written to %s: %s", self.folder, error.strerror)
            # The previous worker must no longer own the run; removing a file works even if the disk is full.
            with contextlib.suppress(OSError):
                (self.folder / _OWNER).unlink()
        for path in self._files("state"):
            state = _read(path)
            samples = None if state is None else self._samples(int(state["n_samples"]))
            if state is None or samples is None:
                logger.warning("the checkpoint %s is damaged; using the previous one", path)
                # Renamed, since new states will have smaller step numbers and would otherwise count as older.
                with contextlib.suppress(OSError):
                    path.rename(path.with_name(f"damaged-{path.name}"))
                continue
            self._n_written = int(state.pop("n_samples"))
            self._spent_s = float(state.pop("spent_s"))
            return Saved(state, samples)
        return None

    def offer(
        self,
        step: int,
        state: Callable[[], Arrays],
        n_samples: int = 0,
        samples: Callable[[int], Arrays] = lambda first: {},
        *,
        last: bool = False,
    ) -> None:
        """Write a checkpoint if it is due, and stop the run if this is requested.

        If the disk is full or unreachable, a warning is logged and the run continues.

        Parameters
        ----------
        step
            Number of completed steps.
        state
            Function that returns the arrays from which the run can continue, by name.
        n_samples
            Number of samples so far.
        samples
            Function that returns the arrays of all samples from a given index on, by name.
        last
            Whether the run is complete; then a checkpoint is always written.

        Raises
        ------
        RunStoppedError
            If the run was asked to stop, or another worker has taken it over.
        """
        stop = not last and self._should_stop()
        if not (stop or last or time.monotonic() - self._written_at >= self.interval_s):
            return
        kept = "no checkpoint is kept, so it restarts from the beginning"
        if self.folder is not None:
            try:
                self._write(step, state(), n_samples, samples(self._n_written))
                kept = f"it continues from the checkpoint in {self.folder}"
            except OSError as error:
                kept = f"the checkpoint could not be written to {self.folder}: {error.strerror}"
                logger.warning("step %d: %s; the run continues", step, kept)
        self._written_at = time.monotonic()
        if stop:
            raise RunStoppedError(f"the run was stopped on request at step {step}; {kept}")

    def remove(self) -> None:
        """Remove all checkpoints."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, step: int, state: Arrays, n_samples: int, new: Arrays) -> None:
        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        owner = self.folder / _OWNER
        if owner.exists() and owner.read_text() not in ("", self._token):
            raise RunStoppedError(f"stopped at step {step}: another worker has taken over the run in {self.folder}")
        if n_samples > self._n_written:
            name = f"samples-{self._n_written:012d}-{n_samples:012d}.npz"
            self._replace(name, lambda path: _save(path, new))
        spent_s = self._spent_s + time.monotonic() - self._began_at
        about = {"n_samples": np.array(n_samples), "spent_s": np.array(spent_s)}
        self._replace(f"state-{step:012d}.npz", lambda path: _save(path, {**state, **about}))
        self._n_written = n_samples
        for old in self._files("state")[N_STATES:]:
            old.unlink(missing_ok=True)

    def _replace(self, name: str, write: Callable[[Path], object]) -> None:
        assert self.folder is not None
        temporary = self.folder / f".{name}.{self._token}"
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(self.folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def _files(self, kind: str) -> list[Path]:
        """Return the files of a kind, newest first."""
        assert self.folder is not None
        return sorted(self.folder.glob(f"{kind}-*.npz"), reverse=True)

    def _samples(self, n: int) -> dict[str, np.ndarray] | None:
        """Return the first n samples, or None if some are missing or damaged."""
        parts: list[dict[str, np.ndarray]] = []
        done = 0
        for path in reversed(self._files("samples")):
            first, end = (int(number) for number in path.stem.split("-")[1:])
            if done < n and first <= done < end and (part := _read(path)) is not None:
                parts.append({name: values[done - first : n - first] for name, values in part.items()})
                done = min(end, n)
        if done < n:
            return None
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


#: Writes no checkpoints and never stops a run.
NO_CHECKPOINT = Checkpoint()


def _save(path: Path, arrays: Arrays) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error):
        return None
