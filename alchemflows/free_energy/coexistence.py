"""Coexistence of two compositions in a finite cell, from its free energy at each composition.

At the chemical potential of coexistence, the distribution of compositions has two peaks of equal weight. For
interactions of short range, the error of this rule decreases exponentially with the size of the cell (Borgs &
Kotecký, J. Stat. Phys. 61, 79, 1990). The common tangent makes the two peaks equally high; its error decreases with the
inverse of the size. Neither resolves a gap that is narrower than the fluctuations of the composition: close to the
consolute point, the two peaks of a small cell merge, or there are still two above it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

#: Smallest barrier between two peaks (k_B T) with which they are separate phases.
MIN_BARRIER = 1.0


@dataclass(frozen=True)
class Peaks:
    """Two peaks of equal weight in the distribution of compositions.

    Attributes
    ----------
    delta_mu
        β Δμ of coexistence.
    left, right
        Mean composition of each peak.
    barrier
        Logarithm of the lower peak over the least probability between the peaks; infinite if no sample is between them.
    """

    delta_mu: float
    left: float
    right: float
    barrier: float


def coexistence(free_energies: np.ndarray) -> Peaks | None:
    """Return the two peaks of equal weight, or None if there is no barrier between two compositions.

    Parameters
    ----------
    free_energies
        β A(N) for N = 0, ..., M, shape (M + 1,); NaN for compositions without samples.
    """
    known = np.flatnonzero(np.isfinite(free_energies))
    height = np.where(np.isfinite(free_energies), free_energies, np.inf)
    n = np.arange(len(height))
    edges = [(i, j) for i, j in _hull_edges(known, free_energies[known]) if j - i > 1]
    if not edges:
        return None
    i, j = max(edges, key=lambda edge: _barrier(height, *edge))
    delta = float((height[j] - height[i]) / (j - i))
    for _ in range(3):  # the least probable composition depends on Δμ
        top = _top(height - delta * n, i, j)
        delta = _equal_weights(height, top, delta)
    tilted = height - delta * n
    barrier = float(tilted[top] - max(tilted[:top].min(), tilted[top + 1 :].min()))
    if not barrier > 0:
        return None
    return Peaks(delta, _mean(tilted, slice(0, top)), _mean(tilted, slice(top + 1, None)), barrier)


def _barrier(height: np.ndarray, i: int, j: int) -> float:
    """Return the height between two vertices of the hull above their common tangent."""
    between = np.arange(i + 1, j)
    return float((height[between] - height[i] - (height[j] - height[i]) * (between - i) / (j - i)).max())


def _top(tilted: np.ndarray, i: int, j: int) -> int:
    """Return the least probable composition between two; the middle one of several."""
    between = tilted[i + 1 : j]
    return i + 1 + int(np.median(np.flatnonzero(between == between.max())))


def _hull_edges(n: np.ndarray, values: np.ndarray) -> list[tuple[int, int]]:
    """Return neighbouring vertices of the lower convex hull."""
    hull: list[int] = []
    for k in range(len(n)):
        while len(hull) > 1:
            i, j = hull[-2:]
            if (values[j] - values[i]) * (n[k] - n[i]) < (values[k] - values[i]) * (n[j] - n[i]):
                break
            hull.pop()
        hull.append(k)
    return [(int(n[i]), int(n[j])) for i, j in pairwise(hull)]


def _equal_weights(height: np.ndarray, top: int, guess: float) -> float:
    """Return the β Δμ at which the compositions below and above `top` have equal weights."""
    n = np.arange(len(height))
    sides = slice(0, top), slice(top + 1, None)
    delta = guess
    for _ in range(50):  # Newton's method; the difference increases with Δμ by that of the mean N of both sides
        tilted = height - delta * n
        left, right = (np.exp(tilted[side].min() - tilted[side]) for side in sides)
        difference = np.log(right.sum() / left.sum()) + tilted[sides[0]].min() - tilted[sides[1]].min()
        slope = right @ n[sides[1]] / right.sum() - left @ n[sides[0]] / left.sum()
        delta -= float(difference / slope)
        if abs(difference) < 1e-12:
            break
    return delta


def _mean(tilted: np.ndarray, part: slice) -> float:
    weights = np.exp(tilted[part].min() - tilted[part])
    return float(weights @ np.arange(len(tilted))[part] / weights.sum() / (len(tilted) - 1))
