"""Checkpoints of a run: where it is and what it has sampled, in files that survive whatever ends the process.

A run offers its state at the end of each block of steps; now and then it is written. Samples go into files of their
own, those since the last checkpoint into each, so that a long run does not write its past again and again. Every file
is written under a temporary name and renamed when it is whole, and holds checksums (those of the zip format); the last
two states are kept. What is found damaged is passed over, and the run goes on from before it. Trajectories are
deterministic, so that samples found twice, after a run that was taken over by another worker, are the same ones.
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

#: States that are kept, the last ones: the one before the last is used where the last is damaged.
N_STATES = 2
_OWNER = "owner"


@dataclass(frozen=True)
class Saved:
    """What a checkpoint holds.

    Attributes
    ----------
    state
        Arrays by name.
    samples
        All samples until then: arrays by name, the first axis of each is time; empty where nothing was sampled.
    """

    state: dict[str, np.ndarray]
    samples: dict[str, np.ndarray]


class Checkpoint:
    """Checkpoints of one run in a folder, and whether the run is to stop.

    Parameters
    ----------
    folder
        Where they are, made when needed; None keeps none.
    interval_s
        Seconds between two of them.
    should_stop
        Asked at the end of each block whether the run is to stop, in good order.
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
        """Seconds that earlier tries had taken until the checkpoints that were loaded, stages included."""
        return self._spent_s + sum(stage.spent_s for stage in self._stages)

    def stage(self, name: str) -> Checkpoint:
        """Return the checkpoints of a part of the run, in a folder within this one."""
        folder = None if self.folder is None else self.folder / name
        self._stages.append(Checkpoint(folder, self.interval_s, self._should_stop))
        return self._stages[-1]

    def load(self) -> Saved | None:
        """Return the last checkpoint that is whole, if there is any, and take the run over from who wrote it."""
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._replace(_OWNER, lambda path: path.write_text(self._token))
        except OSError as error:  # as when the disk is full: what is there can be read all the same
            logger.warning("checkpoints cannot be written to %s: %s", self.folder, error.strerror)
            # Who had the run before must not count as one that has it now; to remove a file needs no room.
            with contextlib.suppress(OSError):
                (self.folder / _OWNER).unlink()
        for path in self._files("state"):
            state = _read(path)
            samples = None if state is None else self._samples(int(state["n_samples"]))
            if state is None or samples is None:
                logger.warning("the checkpoint %s is damaged; the one before it is used", path)
                # Out of the way: the states that follow are of earlier steps, and must not count as older than it.
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
        """Write a checkpoint if it is time to, and stop if that is asked for.

        A disk that is full, or away, is logged, and the run goes on.

        Parameters
        ----------
        step
            Steps done.
        state
            Returns what the run needs to go on, by name.
        n_samples
            Samples taken so far.
        samples
            Returns those from a number on, by name.
        last
            Whether the run is at its end: then a checkpoint is written in any case.

        Raises
        ------
        RunStoppedError
            If the run is to stop, or another worker has taken it over.
        """
        stop = not last and self._should_stop()
        if not (stop or last or time.monotonic() - self._written_at >= self.interval_s):
            return
        kept = "nothing is kept"
        if self.folder is not None:
            try:
                self._write(step, state(), n_samples, samples(self._n_written))
                kept = f"it goes on from the checkpoint in {self.folder}"
            except OSError as error:
                kept = f"this checkpoint could not be written to {self.folder}: {error.strerror}"
                logger.warning("step %d: %s; the run goes on", step, kept)
        self._written_at = time.monotonic()
        if stop:
            raise RunStoppedError(f"stopped in good order at step {step}; {kept}")

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
        """Return the files of a kind, the newest first."""
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


#: Keeps no checkpoints and never stops.
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
