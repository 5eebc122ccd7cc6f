"""Ladders of λ: where windows stand, the weights that integrate dU/dλ over them, and where others may be put.

Every sample is evaluated at the λ of a *grid*; windows are sampled at some of its points. A window that is inserted
later stands at a grid point too, so that the samples of the older windows need not be evaluated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from alchemflows.errors import InvalidInputError

Spacing = Literal["even", "gauss-legendre"]
#: A grid for refinement has midpoints of midpoints, up to so many λ, but midpoints at least. On one CPU core an energy
#: costs 0.4 of a step with forces (16 atoms, mace-demo), so a sample at 21 λ costs as much as 8 steps.
MAX_GRID = 21


@dataclass(frozen=True)
class Ladder:
    """Planned windows on a grid of λ.

    Attributes
    ----------
    grid
        λ at which samples are evaluated, increasing from 0 to 1.
    windows
        Which of them are sampled, increasing; the first and the last always are.
    quadrature
        Weights of ⟨dU/dλ⟩ at the windows that integrate it; None for the trapezoid rule.
    """

    grid: tuple[float, ...]
    windows: tuple[int, ...]
    quadrature: tuple[float, ...] | None = None

    def refinable(self) -> Ladder:
        """Return the same windows on a grid with points between them: midpoints, and midpoints of those, ..."""
        grid, windows = list(self.grid), list(self.windows)
        while True:
            between = [(a + b) / 2 for a, b in pairwise(grid)]
            grid = [value for pair in zip(grid, [*between, 1.0], strict=True) for value in pair][:-1]
            windows = [2 * index for index in windows]
            if 2 * len(grid) - 1 > MAX_GRID:
                return Ladder(tuple(grid), tuple(windows), self.quadrature)


def ladder(n_windows: int, spacing: Spacing = "even", lambdas: Sequence[float] | None = None) -> Ladder:
    """Return a ladder.

    Parameters
    ----------
    n_windows
        Number of windows; with ``gauss-legendre`` the number of nodes, to which the end points come.
    spacing
        ``even`` (trapezoid rule), or ``gauss-legendre``: the nodes of that rule on (0, 1), exact for polynomials of
        degree 2 n − 1, and two windows of weight 0 at λ = 0 and 1, without which MBAR and BAR do not reach the ends.
    lambdas
        λ of the windows instead; trapezoid rule.

    Raises
    ------
    InvalidInputError
        If there are too few windows, or λ do not increase from 0 to 1.
    """
    if spacing not in ("even", "gauss-legendre"):
        raise InvalidInputError(f"spacing must be even or gauss-legendre; got {spacing!r}")
    if lambdas is not None:
        if spacing != "even":
            raise InvalidInputError(f"lambdas are given, so they cannot be spaced {spacing}")
        values = [float(v) for v in lambdas]
        if len(values) < 2 or values[0] != 0 or values[-1] != 1 or not (np.diff(values) > 0).all():
            raise InvalidInputError(f"lambdas must increase from 0 to 1; got {values}")
        return Ladder(tuple(values), tuple(range(len(values))))
    fewest = 2 if spacing == "even" else 1
    if n_windows < fewest:
        raise InvalidInputError(f"n_windows must be at least {fewest}; got {n_windows}")
    if spacing == "even":
        return Ladder(tuple(np.linspace(0, 1, n_windows).tolist()), tuple(range(n_windows)))
    nodes, weights = np.polynomial.legendre.leggauss(n_windows)
    # From [−1, 1] to [0, 1].
    grid = (0.0, *((nodes + 1) / 2).tolist(), 1.0)
    return Ladder(grid, tuple(range(n_windows + 2)), (0.0, *(weights / 2).tolist(), 0.0))


def trapezoid_weights(lambdas: Sequence[float]) -> np.ndarray:
    """Return the weights of the trapezoid rule, shape (K,)."""
    steps = np.diff(lambdas)
    return (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2
