"""Which frames of both ends of a path are evaluated, so that an error needs few evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats.qmc import Halton

from alchemflows.errors import InvalidInputError

#: Frames of each end that are evaluated first.
N_PILOT = 10
#: Largest factor by which the number of evaluated frames of an end grows at once, since errors of few frames are noisy.
MAX_GROWTH = 2.0
#: The same factor if the other end has no more frames.
LEAST_GROWTH = 1.25


def spread_order(n: int) -> list[int]:
    """Return the indices of n frames in an order in which those before any place are spread over the whole.

    It is the order of the sequence of van der Corput in base 2 (Halton in one dimension).

    Examples
    --------
    >>> spread_order(8)
    [0, 4, 2, 6, 1, 5, 3, 7]
    """
    if n < 1:
        return []
    points = Halton(1, scramble=False).random(2 ** math.ceil(math.log2(n)) if n > 1 else 1)[:, 0]
    return list(dict.fromkeys(int(point * n) for point in points))


def next_counts(
    done: Sequence[int],
    available: Sequence[int],
    errors: Sequence[float] | None,
    goal: float | None = None,
    max_total: int | None = None,
) -> tuple[int, int]:
    """Return how many frames of each end should be evaluated next, counting those that are; `done` if no more are.

    The variance of a difference is s₀²/n₀ + s₁²/n₁. The numbers of frames with the smallest sum n₀ + n₁ are
    proportional to the spreads s (Neyman, J. R. Stat. Soc. 97, 558, 1934): n = s (s₀ + s₁) / goal².

    Parameters
    ----------
    done
        Number of evaluated frames of each end.
    available
        Number of frames of each end.
    errors
        Standard error of each end from these frames; None if there are too few.
    goal
        Target standard error of the difference, in the same unit; None for no target.
    max_total
        Largest sum of both numbers; None for no limit. Without both, all frames are evaluated.

    Raises
    ------
    InvalidInputError
        If the goal or the limit is not positive.

    Examples
    --------
    >>> next_counts([10, 10], [100, 100], errors=[0.1, 0.3], goal=0.2)
    (10, 20)
    >>> next_counts([10, 20], [100, 100], errors=[0.1, 0.15], goal=0.2)
    (10, 20)
    """
    if goal is not None and not goal > 0:
        raise InvalidInputError(f"the target error must be positive; got {goal:g}")
    if max_total is not None and max_total < 2:
        raise InvalidInputError(f"the number of evaluations must be at least 2; got {max_total}")
    counts, limits = np.array(done, dtype=int), np.array(available, dtype=int)
    if goal is None and max_total is None:
        return _pair(limits)
    if errors is None:
        wanted = counts + N_PILOT
    else:
        spreads = np.asarray(errors, dtype=float) * np.sqrt(counts)
        if not spreads.sum() > 0 or (goal is not None and np.hypot(errors[0], errors[1]) <= goal):
            return _pair(counts)
        ideal = spreads * (spreads.sum() / goal**2 if goal is not None else (max_total or 0) / spreads.sum())
        wanted = np.clip(np.ceil(ideal), counts, MAX_GROWTH * counts).astype(int)
        if goal is not None and np.array_equal(np.minimum(wanted, limits), counts):  # one end has no more frames
            wanted = np.ceil(LEAST_GROWTH * counts).astype(int)
    added = np.minimum(wanted, limits) - counts
    if max_total is not None and added.sum() > (allowed := max(0, max_total - int(counts.sum()))):
        added = added * allowed // added.sum()
    return _pair(counts + added)


def _pair(counts: np.ndarray) -> tuple[int, int]:
    return int(counts[0]), int(counts[1])
