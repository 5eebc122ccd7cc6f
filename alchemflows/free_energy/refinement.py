"""Decides where a ladder needs more windows or longer ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.free_energy.estimators import MIN_INDEPENDENT, MIN_OVERLAP

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
    independent: ArrayLike,
    *,
    target: float | None,
    budget: int,
    misfits: ArrayLike | None = None,
    tolerance: float = 0.0,
) -> Plan:
    """Plan the next round; an empty plan says that nothing is left to do, or nothing to do it with.

    Windows that overlap too little with their neighbour come first, since neither the error nor its shares can be
    trusted before: one is inserted at the grid point nearest the middle of each such gap, the worst gap first.
    Then come windows where the trapezoid rule and MBAR differ most, if together they differ by more than chance: the
    curve of ⟨dU/dλ⟩ bends there between two windows. Otherwise windows with too few independent samples get the
    runs that should give enough, the worst first; then runs go one by one to the window whose variance they lower
    most (a share v of m runs becomes v m/(m + 1)), until the variance is predicted to be small enough. No window is
    more than doubled in a round: correlation times from short runs are poor.

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
    independent
        Independent samples that each window has, shape (K,).
    target
        Standard error wanted, in the unit of the square root of `variances`; None for any.
    budget
        Window-runs left.
    misfits
        ΔF between neighbouring windows by the trapezoid rule less that by MBAR, shape (K − 1,); None where TI has
        another rule.
    tolerance
        By how much their sum may differ from 0 by chance.
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
    """Return the places of new windows in some gaps, as far as the grid has any."""
    middles = [_middle(grid, windows[k], windows[k + 1]) for k in gaps]
    return [middle for middle in middles if middle is not None]


def _middle(grid: Sequence[float], first: int, last: int) -> int | None:
    """Return the grid point nearest the middle between two windows, or None if there is no point between them."""
    between = range(first + 1, last)
    middle = (grid[first] + grid[last]) / 2
    return min(between, key=lambda k: abs(grid[k] - middle), default=None)
