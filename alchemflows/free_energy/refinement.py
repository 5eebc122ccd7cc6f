"""Decides where a ladder needs more windows or longer ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.free_energy.estimators import MIN_OVERLAP

#: Extensions aim at this share of the target's variance: the error after them is predicted from one before them,
#: which is itself a guess.
AIM = 0.9


@dataclass(frozen=True)
class Plan:
    """What to add to a ladder.

    Attributes
    ----------
    insert
        Indices in the grid of new windows.
    extend
        Production runs to be added to windows, by their index in the grid.
    """

    insert: list[int] = field(default_factory=list)
    extend: dict[int, int] = field(default_factory=dict)

    @property
    def n_runs(self) -> int:
        """Window-runs that it costs."""
        return len(self.insert) + sum(self.extend.values())


def plan_round(
    grid: Sequence[float],
    windows: Sequence[int],
    overlaps: ArrayLike,
    variances: ArrayLike,
    n_runs: Sequence[int],
    *,
    target: float | None,
    budget: int,
) -> Plan:
    """Plan the next round; an empty plan says that nothing is left to do, or nothing to do it with.

    Windows that overlap too little with their neighbour come first, since neither the error nor its shares can be
    trusted before: one is inserted at the grid point nearest the middle of each such gap, the worst gap first.
    Otherwise runs go one by one to the window whose variance they lower most (a share v of m runs becomes
    v m/(m + 1)), until the variance is predicted to be small enough. No window is more than doubled in a round:
    correlation times from short runs are poor.

    Parameters
    ----------
    grid
        λ that samples were evaluated at.
    windows
        Indices of the K sampled windows in it, increasing.
    overlaps
        MBAR overlap between neighbouring windows, shape (K − 1,).
    variances
        Share of each window in the variance of ΔF, shape (K,); not finite where nothing overlaps.
    n_runs
        Production runs that each window has.
    target
        Standard error wanted, in the unit of the square root of `variances`; None for any.
    budget
        Window-runs left.
    """
    gaps = np.asarray(overlaps, dtype=float)
    poor = [k for k in np.argsort(gaps) if not gaps[k] >= MIN_OVERLAP]
    middles = [_middle(grid, windows[k], windows[k + 1]) for k in poor]
    insert = [middle for middle in middles if middle is not None][: max(budget, 0)]
    if insert:
        return Plan(insert=sorted(insert))
    shares = np.asarray(variances, dtype=float)
    if target is None or not np.isfinite(shares).all() or math.sqrt(shares.sum()) <= target:
        return Plan()
    added = np.zeros(len(windows), dtype=int)
    runs = np.asarray(n_runs, dtype=float)
    while added.sum() < budget:
        now = shares * runs / (runs + added)
        if now.sum() <= AIM * target**2:
            break
        gain = np.where(added < runs, now - shares * runs / (runs + added + 1), 0.0)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        added[best] += 1
    return Plan(extend={windows[k]: int(n) for k, n in enumerate(added) if n})


def _middle(grid: Sequence[float], first: int, last: int) -> int | None:
    """Return the grid point nearest the middle between two windows, or None if there is no point between them."""
    between = range(first + 1, last)
    middle = (grid[first] + grid[last]) / 2
    return min(between, key=lambda k: abs(grid[k] - middle), default=None)
