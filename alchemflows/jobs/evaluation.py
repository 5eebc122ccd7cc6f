"""Evaluate frames with a target in rounds, with progress and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alchemflows.schemas.progress import Progress, ProgressFile

if TYPE_CHECKING:
    from alchemflows.alchemy.targets import EnergyTarget
    from alchemflows.analysis.correction import EvaluatedEnd
    from alchemflows.sampling.checkpoint import Checkpoint


def evaluate_frames(
    target: EnergyTarget,
    ends: Sequence[EvaluatedEnd],
    checkpoint: Checkpoint,
    max_failed: float,
    following: Callable[[], tuple[int, ...]],
) -> None:
    """Evaluate frames of some states in rounds; energies and errors are written to them.

    Parameters
    ----------
    target
        The target.
    ends
        The states.
    checkpoint
        From which the evaluation continues.
    max_failed
        Largest share of the frames of a state that may fail.
    following
        Returns the number of frames of each state that should be evaluated after the next round; the evaluation ends
        when it does not change.

    Raises
    ------
    PotentialError
        If the target fails on more frames than allowed; the message names them.
    RunStoppedError
        If the job was asked to stop.
    """
    images = [end.sampled.frames.atoms() for end in ends]
    counts: tuple[int, ...] = (0,) * len(ends)
    if (saved := checkpoint.load()) is not None:
        counts = _restored(saved.state, ends)
    report, begun, size, done = ProgressFile(Path.cwd()), time.monotonic(), target.n_at_once, 0
    while True:
        batches = []
        for k, end in enumerate(ends):
            tried = set(end.tried)
            rows = sorted(row for row in end.order[: counts[k]] if row not in tried)
            batches += [(k, rows[start : start + size]) for start in range(0, len(rows), size)]
        of_round = done + len(batches)
        for k, rows in batches:
            done += 1
            for row, energy in zip(rows, target.energies([images[k][row] for row in rows]), strict=True):
                ends[k].record(row, energy)
            ends[k].check_failures(target.name, max_failed, counts[k])
            speed = done / max(time.monotonic() - begun, 1e-9)
            report(Progress("evaluation", done, of_round, (), 0.0, steps_per_s=speed))
            checkpoint.offer(done, partial(_state, counts, ends), last=done == of_round)
        more = following()
        if more == counts:
            return
        counts = more


def _state(counts: Sequence[int], ends: Sequence[EvaluatedEnd]) -> dict[str, np.ndarray]:
    """Return the arrays from which the evaluation can continue.

    Parameters
    ----------
    counts
        Number of frames of each state that are evaluated in this round and in those before.
    ends
        The states.
    """
    state = {"counts": np.array(counts)}
    for k, end in enumerate(ends):
        failed = sorted(end.errors)
        state[f"energies_{k}"] = end.target_eV
        state[f"failed_{k}"] = np.array(failed, dtype=int)
        state[f"errors_{k}"] = np.array([end.errors[row] for row in failed], dtype=str)
    return state


def _restored(state: Mapping[str, np.ndarray], ends: Sequence[EvaluatedEnd]) -> tuple[int, ...]:
    """Write energies and errors of a checkpoint to the states, and return the numbers of frames of its round."""
    for k, end in enumerate(ends):
        end.target_eV[:] = state[f"energies_{k}"]
        end.errors.update(zip(state[f"failed_{k}"].tolist(), state[f"errors_{k}"].tolist(), strict=True))
    # Checkpoints of earlier releases have no counts; they evaluated all frames.
    return tuple(int(n) for n in state.get("counts", [len(end.order) for end in ends]))
