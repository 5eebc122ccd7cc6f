"""Run dynamics or Monte Carlo in blocks of steps, with progress, checkpoints, requests to stop, and resuming."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Protocol

import numpy as np
import torch

from alchemflows.sampling.checkpoint import NO_CHECKPOINT, Checkpoint
from alchemflows.schemas.progress import Progress


class Resumable(Protocol):
    """A part of a run, besides the dynamics, that changes from step to step."""

    def snapshot(self) -> Mapping[str, np.ndarray]:
        """Return all arrays from which the part can continue, by names that no other part of the run uses."""
        ...

    def restore(self, snapshot: Mapping[str, np.ndarray], /) -> None:
        """Continue from the snapshot of a run, which also contains the arrays of the other parts."""
        ...


class Watch(Resumable, Protocol):
    """A part of a run that looks at the positions from time to time."""

    def see(self, positions: torch.Tensor, cells: torch.Tensor, /) -> None:
        """Add the positions (Å) at one time, shape (B, N, 3), and the cells (Å), shape (B, 3, 3)."""
        ...


class Dynamics(Resumable, Protocol):
    """What a run advances step by step, such as :class:`~alchemflows.sampling.langevin.Langevin`."""

    @property
    def n_steps(self) -> int:
        """Number of completed steps."""
        ...

    @property
    def timestep_fs(self) -> float:
        """Time of a step (fs), for the speed in progress reports."""
        ...

    def kinetic_temperatures(self) -> torch.Tensor:
        """Return the temperature of each replica (K), shape (B,)."""
        ...

    def bath_temperatures(self) -> torch.Tensor:
        """Return the temperature of the thermostat of each replica (K), shape (B,)."""
        ...


class Samples:
    """Samples of a batch: named quantities, with one array appended for each sample."""

    def __init__(self, *names: str) -> None:
        self._samples: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def __len__(self) -> int:
        return len(next(iter(self._samples.values()), []))

    def append(self, **values: np.ndarray) -> None:
        """Add a sample: one array for each name."""
        for name, samples in self._samples.items():
            samples.append(values[name])

    def since(self, first: int) -> dict[str, np.ndarray]:
        """Return the samples from index `first` on; the first axis is time."""
        return {name: np.array(samples[first:]) for name, samples in self._samples.items()}

    def restore(self, samples: Mapping[str, np.ndarray]) -> None:
        """Continue from the samples of a checkpoint."""
        for name, values in samples.items():
            self._samples[name] = list(values)


class Blocks:
    """A run in blocks of steps.

    At the end of each block it reports progress, offers a checkpoint, and stops if this was requested. If there is a
    checkpoint of an earlier attempt, the run continues from it, with the same results as an uninterrupted run.

    Parameters
    ----------
    dynamics
        Dynamics or Monte Carlo in the initial state.
    n_steps
        Number of steps of the run, all phases together.
    parts
        Other parts of the run whose state is stored in checkpoints.
    samples
        Samples of the run; stored in checkpoints.
    on_progress
        Function called after each block.
    checkpoint
        Checkpoints of the run, which also tell it to stop.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        n_steps: int,
        *,
        parts: Sequence[Resumable] = (),
        samples: Samples | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        checkpoint: Checkpoint = NO_CHECKPOINT,
    ) -> None:
        self._dynamics = dynamics
        self._n_steps = n_steps
        self._parts = (dynamics, *parts)
        self._samples = Samples() if samples is None else samples
        self._on_progress = on_progress
        self._checkpoint = checkpoint
        self._began: tuple[int, float] | None = None
        self._reports = ("", 0, 0.0)  # phase, number of its reports, sum of the mean temperatures (K) in these
        if (saved := checkpoint.load()) is not None:
            for part in self._parts:
                part.restore(saved.state)
            self._samples.restore(saved.samples)

    def steps(self, phase: str, first: int, end: int, length: int) -> Iterator[tuple[int, bool]]:
        """Iterate over the remaining steps of a phase.

        The caller advances the dynamics and, at the end of a block, adds samples.

        Parameters
        ----------
        phase
            Name of the phase in progress reports.
        first, end
            Number of completed steps of the run before and after the phase.
        length
            Steps per block. The last block of the run may be shorter; an incomplete block at the end of an earlier
            phase is not reported.

        Yields
        ------
        step, ends_block
            Number of the step, counted from 1, and whether it is the last one of a block.

        Raises
        ------
        RunStoppedError
            If the run was asked to stop, or another worker has taken it over.
        """
        for step in range(max(self._dynamics.n_steps, first) + 1, end + 1):
            ends_block = (step - first) % length == 0 or step == self._n_steps
            yield step, ends_block
            if ends_block:
                self._end_block(phase, step)

    def _end_block(self, phase: str, step: int) -> None:
        if self._on_progress is not None:
            now = time.monotonic()
            # Measured from the end of the first block, which includes the warm-up of the potential.
            begun, since = self._began = self._began or (step, now)
            temperatures = tuple(self._dynamics.kinetic_temperatures().tolist())
            _, n, total_K = self._reports if self._reports[0] == phase else ("", 0, 0.0)
            self._reports = (phase, n + 1, total_K + fmean(temperatures))
            has_one_temperature = len(set(self._dynamics.bath_temperatures().tolist())) == 1
            self._on_progress(
                Progress(
                    phase,
                    step,
                    self._n_steps,
                    temperatures,
                    self._dynamics.timestep_fs,
                    steps_per_s=(step - begun) / (now - since) if now > since else None,
                    mean_temperature_K=self._reports[2] / self._reports[1] if has_one_temperature else None,
                )
            )
        self._checkpoint.offer(
            step, self._snapshot, len(self._samples), self._samples.since, last=step == self._n_steps
        )

    def _snapshot(self) -> dict[str, np.ndarray]:
        return {name: values for part in self._parts for name, values in part.snapshot().items()}
