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
from scipy.optimize import brentq
from scipy.special import logsumexp

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
    if len(known) < 2:
        return None
    height = np.where(np.isfinite(free_energies), free_energies, np.inf)
    n = np.arange(len(height))
    edges = [(i, j) for i, j in _hull_edges(known, free_energies[known]) if j - i > 1]
    best: Peaks | None = None
    for i, j in edges:
        delta = (height[j] - height[i]) / (j - i)
        for _ in range(3):  # the least probable composition depends on Δμ
            between = slice(i + 1, j)
            tilted = height - delta * n
            top = i + 1 + int(np.median(np.flatnonzero(tilted[between] == tilted[between].max())))
            delta = _equal_weights(height, top, float(delta))
        tilted = height - delta * n
        peaks = tilted[:top].min(), tilted[top + 1 :].min()
        barrier = float(tilted[top] - max(peaks))
        if best is None or barrier > best.barrier:
            best = Peaks(delta, _mean(tilted, slice(0, top)), _mean(tilted, slice(top + 1, None)), barrier)
    return best if best is not None and best.barrier > 0 else None


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

    def difference(delta: float) -> float:
        log_weights = delta * n - height
        return float(logsumexp(log_weights[top + 1 :]) - logsumexp(log_weights[:top]))

    width = 1.0
    while difference(guess - width) > 0 or difference(guess + width) < 0:
        width *= 2
    return float(brentq(difference, guess - width, guess + width, xtol=1e-12))


def _mean(tilted: np.ndarray, part: slice) -> float:
    weights = np.exp(tilted[part].min() - tilted[part])
    return float(weights @ np.arange(len(tilted))[part] / weights.sum() / (len(tilted) - 1))
