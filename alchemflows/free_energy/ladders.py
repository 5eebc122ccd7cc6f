"""Ladders of λ: positions of windows, quadrature weights for TI, and grids for windows inserted later.

Every sample is evaluated at all λ of a *grid*, and windows are sampled at some of its points. Windows that are inserted
later are also at grid points, so that earlier samples need not be evaluated again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from alchemflows.errors import InvalidInputError

Spacing = Literal["even", "gauss-legendre"]
#: Largest number of λ in a grid for refinement, which is bisected repeatedly, but at least once. On one CPU core an
#: energy costs 0.4 of a step with forces (16 atoms, mace-demo), so a sample at 21 λ costs as much as 8 steps.
MAX_GRID = 21


@dataclass(frozen=True)
class Ladder:
    """Windows on a grid of λ.

    Attributes
    ----------
    grid
        λ at which samples are evaluated, increasing from 0 to 1.
    windows
        Indices of the grid points that are sampled, increasing; they include the first and the last point.
    quadrature
        Quadrature weights for the integral of ⟨dU/dλ⟩ over the windows; None for the trapezoid rule.
    """

    grid: tuple[float, ...]
    windows: tuple[int, ...]
    quadrature: tuple[float, ...] | None = None

    def refinable(self) -> Ladder:
        """Return the same windows on a finer grid, made by repeated bisection."""
        grid, windows = list(self.grid), list(self.windows)
        while True:
            between = [(a + b) / 2 for a, b in pairwise(grid)]
            grid = [value for pair in zip(grid, [*between, 1.0], strict=True) for value in pair][:-1]
            windows = [2 * index for index in windows]
            if 2 * len(grid) - 1 > MAX_GRID:
                return Ladder(tuple(grid), tuple(windows), self.quadrature)


def ladder(n_windows: int, spacing: Spacing = "even", lambdas: Sequence[float] | None = None) -> Ladder:
    """Return a ladder with the given number and spacing of windows, or at given λ.

    Parameters
    ----------
    n_windows
        Number of windows; for ``gauss-legendre`` the number of nodes, to which the two end points are added.
    spacing
        ``even`` (trapezoid rule) or ``gauss-legendre`` (nodes on (0, 1), exact for polynomials of degree 2n − 1). The
        latter adds windows with the quadrature weight 0 at λ = 0 and 1, which MBAR and BAR need to reach the ends.
    lambdas
        λ of the windows, instead of `n_windows` and `spacing`; integrated by the trapezoid rule.

    Raises
    ------
    InvalidInputError
        If there are too few windows, or `lambdas` do not increase from 0 to 1.
    """
    if spacing not in ("even", "gauss-legendre"):
        raise InvalidInputError(f"spacing must be even or gauss-legendre; got {spacing!r}")
    if lambdas is not None:
        if spacing != "even":
            raise InvalidInputError(f"spacing {spacing} cannot be combined with lambdas; omit one of them")
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
    # Map the nodes from [−1, 1] to [0, 1].
    grid = (0.0, *((nodes + 1) / 2).tolist(), 1.0)
    return Ladder(grid, tuple(range(n_windows + 2)), (0.0, *(weights / 2).tolist(), 0.0))


def trapezoid_weights(lambdas: Sequence[float]) -> np.ndarray:
    """Return the quadrature weights of the trapezoid rule, shape (K,)."""
    steps = np.diff(lambdas)
    return (np.append(steps, 0.0) + np.insert(steps, 0, 0.0)) / 2
