"""The loop of every run: steps in blocks, with progress, checkpoints, requests to stop, and resuming."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.sampling.langevin import Langevin
from alchemflows.schemas.progress import Progress


class Resumable(Protocol):
    """A part of a run that changes with its steps, beside the dynamics."""

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return all that the part needs to go on; no other part of the run uses the same names."""
        ...

    def restore(self, snapshot: Mapping[str, np.ndarray], /) -> None:
        """Go on from the snapshot of a run, in which the names of the other parts are too."""
        ...


class Samples:
    """Samples of a batch: arrays by name, one of each appended per sample."""

    def __init__(self, *names: str) -> None:
        self._samples: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def __len__(self) -> int:
        return len(next(iter(self._samples.values()), []))

    def append(self, **values: np.ndarray) -> None:
        """Add a sample, which has all names."""
        for name, samples in self._samples.items():
            samples.append(values[name])

    def since(self, first: int) -> dict[str, np.ndarray]:
        """Return the samples from a number on; time is the first axis."""
        return {name: np.array(samples[first:]) for name, samples in self._samples.items()}

    def restore(self, samples: Mapping[str, np.ndarray]) -> None:
        """Go on from the samples of a checkpoint."""
        for name, values in samples.items():
            self._samples[name] = list(values)


class Blocks:
    """A run of Langevin dynamics in blocks of steps.

    At the end of each block it reports progress, offers a checkpoint, and stops if the checkpoint says so. A run that
    has a checkpoint of an earlier try goes on from there, to the same numbers as without a break.

    Parameters
    ----------
    langevin
        The dynamics, at their start.
    n_steps
        Steps of the run, all phases together.
    parts
        What else changes during the run and belongs into a checkpoint.
    samples
        What the run samples.
    on_progress
        Called after each block.
    checkpoint
        Where the state is kept, and whether the run is to stop.
    """

    def __init__(
        self,
        langevin: Langevin,
        n_steps: int,
        *,
        parts: Sequence[Resumable] = (),
        samples: Samples | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        checkpoint: Checkpoint = NO_CHECKPOINT,
    ) -> None:
        self._langevin = langevin
        self._n_steps = n_steps
        self._parts = (langevin, *parts)
        self._samples = Samples() if samples is None else samples
        self._on_progress = on_progress
        self._checkpoint = checkpoint
        self._began: tuple[int, float] | None = None
        if (saved := checkpoint.load()) is not None:
            for part in self._parts:
                part.restore(saved.state)
            self._samples.restore(saved.samples)

    def steps(self, phase: str, first: int, end: int, length: int) -> Iterator[tuple[int, bool]]:
        """Iterate over the steps of a phase that are still to be done.

        The caller does the step; where it is the last one of a block, the caller also takes its samples.

        Parameters
        ----------
        phase
            Name in the progress.
        first, end
            Steps of the run that were done before the phase, and that are done after it.
        length
            Steps of a block; the last block of the run may be shorter. Steps at the end of an earlier phase that make
            no whole block end none.

        Yields
        ------
        step, ends_block
            Number of the step from 1, and whether it is the last one of a block.

        Raises
        ------
        RunStoppedError
            If the run is to stop, or another worker has taken it over.
        """
        for step in range(max(self._langevin.n_steps, first) + 1, end + 1):
            ends_block = (step - first) % length == 0 or step == self._n_steps
            yield step, ends_block
            if ends_block:
                self._end_block(phase, step)

    def _end_block(self, phase: str, step: int) -> None:
        if self._on_progress is not None:
            now = time.monotonic()
            # From the end of the first block: models warm up in it.
            begun, since = self._began = self._began or (step, now)
            temperatures = tuple(self._langevin.kinetic_temperatures().tolist())
            speed = (step - begun) / (now - since) if now > since else None
            self._on_progress(
                Progress(phase, step, self._n_steps, temperatures, self._langevin.timestep_fs, steps_per_s=speed)
            )
        self._checkpoint.offer(
            step, self._snapshot, len(self._samples), self._samples.since, last=step == self._n_steps
        )

    def _snapshot(self) -> dict[str, np.ndarray]:
        return {name: values for part in self._parts for name, values in part.snapshot().items()}
