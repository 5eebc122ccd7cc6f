"""Covariance of two estimates that use samples of the same trajectory."""

from __future__ import annotations

import math

import numpy as np

#: Length of a block in statistical inefficiencies of the samples: longer ones are more independent, but fewer.
BLOCK_INEFFICIENCIES = 2.0


def shared_covariance(
    times: np.ndarray,
    influences: np.ndarray,
    other_times: np.ndarray,
    others: np.ndarray,
    correlated_time: float,
) -> float:
    """Return the covariance of two sums over samples of one trajectory.

    It is that of their sums over blocks of time, so that it contains the correlations within a block. Blocks are
    centred at one or several samples of the first sum, which are fewer.

    Parameters
    ----------
    times, influences
        Times of the samples of the first sum, increasing, and their contributions to it, shape (n,).
    other_times, others
        The same of the second sum, shape (m,).
    correlated_time
        Time in which samples are correlated: their statistical inefficiency times their spacing.
    """
    if len(times) < 2:
        return 0.0
    spacing = float(np.median(np.diff(times)))
    per_block = max(1, math.ceil(BLOCK_INEFFICIENCIES * correlated_time / spacing))
    n_blocks = len(times) // per_block
    if n_blocks < 2:
        return 0.0
    firsts = np.array([part[0] for part in np.array_split(np.arange(len(times)), n_blocks)])[1:]
    edges = (times[firsts] + times[firsts - 1]) / 2
    one, other = (
        np.bincount(np.searchsorted(edges, at), values - values.mean(), minlength=n_blocks)
        for at, values in ((times, influences), (other_times, others))
    )
    return float(one @ other) * n_blocks / (n_blocks - 1)
