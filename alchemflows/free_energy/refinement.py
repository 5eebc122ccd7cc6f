"""Plan where a ladder needs additional or longer windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP

#: Extensions aim at this fraction of the target variance, since the predicted error is itself uncertain.
AIM = 0.9


@dataclass(frozen=True)
class Plan:
    """Windows and production runs to add to a ladder.

    Attributes
    ----------
    insert
        Grid indices of new windows.
    extend
        Number of additional production runs of existing windows, by grid index.
    """

    insert: list[int] = field(default_factory=list)
    extend: dict[int, int] = field(default_factory=dict)

    @property
    def n_runs(self) -> int:
        """Number of additional window runs."""
        return len(self.insert) + sum(self.extend.values())


def plan_round(
    grid: Sequence[float],
    windows: Sequence[int],
    overlaps: ArrayLike,
    variances: ArrayLike,
    n_runs: Sequence[int],
    independent: ArrayLike,
    *,
    target: float | None,
    budget: int,
    misfits: ArrayLike | None = None,
    tolerance: float = 0.0,
) -> Plan:
    """Plan the next round of refinement; the plan is empty if the target is reached or the budget is spent.

    1. If neighbouring windows overlap too little, a window is inserted at the grid point closest to the middle of each
       such gap, worst gap first. Without overlap, neither the error nor its shares are reliable.
    2. If the trapezoid rule and MBAR differ by more than chance, windows are inserted where they differ most, since
       ⟨dU/dλ⟩ is curved there.
    3. Otherwise, windows with too few independent samples get additional runs, worst first. Further runs are then
       assigned one by one to the window whose variance decreases most (a share v of m runs becomes v m/(m + 1)), until
       the predicted variance is small enough. The length of a window is at most doubled in a round, since correlation
       times from short runs are uncertain.

    Parameters
    ----------
    grid
        λ at which samples were evaluated.
    windows
        Grid indices of the K sampled windows, increasing.
    overlaps
        MBAR overlap between neighbouring windows, shape (K − 1,).
    variances
        Share of each window in the variance of ΔF, shape (K,); not finite without overlap.
    n_runs
        Number of production runs of each window.
    independent
        Number of independent samples of each window, shape (K,).
    target
        Target standard error, in the unit of the square root of `variances`; None for no target.
    budget
        Number of window runs left.
    misfits
        ΔF between neighbouring windows by the trapezoid rule minus that by MBAR, shape (K − 1,); None if TI uses
        another rule.
    tolerance
        Largest absolute value of the sum of `misfits` that is attributed to chance.
    """
    gaps = np.asarray(overlaps, dtype=float)
    poor = [int(k) for k in np.argsort(gaps) if not gaps[k] >= MIN_OVERLAP]
    insert = _between(grid, windows, poor)
    if not insert and misfits is not None and abs(np.sum(misfits)) > tolerance:
        sizes = np.abs(misfits)
        insert = _between(grid, windows, [int(k) for k in np.argsort(-sizes) if sizes[k] > 0.5 * sizes.max()])
    if insert and budget > 0:
        return Plan(insert=sorted(insert[:budget]))
    added = np.zeros(len(windows), dtype=int)
    samples = np.asarray(independent, dtype=float)
    runs = np.asarray(n_runs, dtype=float)
    for k in np.argsort(samples):
        wanted = math.ceil(runs[k] * min(MIN_INDEPENDENT / max(samples[k], 1.0) - 1, 1.0))
        added[k] = max(0, min(wanted, budget - added.sum()))
    shares = np.asarray(variances, dtype=float)
    unmet = target is not None and np.isfinite(shares).all() and math.sqrt(shares.sum()) > target
    while target is not None and unmet and added.sum() < budget:
        now = shares * runs / (runs + added)
        if now.sum() <= AIM * target**2:
            break
        gain = np.where(added < runs, now - shares * runs / (runs + added + 1), 0.0)
        best = int(gain.argmax())
        if gain[best] <= 0:
            break
        added[best] += 1
    return Plan(extend={windows[k]: int(n) for k, n in enumerate(added) if n})


def _between(grid: Sequence[float], windows: Sequence[int], gaps: Sequence[int]) -> list[int]:
    """Return grid indices of new windows for some gaps; gaps without a grid point inside are skipped."""
    middles = [_middle(grid, windows[k], windows[k + 1]) for k in gaps]
    return [middle for middle in middles if middle is not None]


def _middle(grid: Sequence[float], first: int, last: int) -> int | None:
    """Return the index of the grid point closest to the middle between two windows; None if there is none between."""
    between = range(first + 1, last)
    middle = (grid[first] + grid[last]) / 2
    return min(between, key=lambda k: abs(grid[k] - middle), default=None)
