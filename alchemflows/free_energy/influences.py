"""Errors of MBAR estimates from correlated samples, by the influence of each sample on the estimate.

An estimate is a function of sums over samples. Its *influences*, the derivatives with respect to the weights of the
samples, are known in closed form. Samples are correlated in time, and with replica exchange across states: influences,
less their mean in each state, are summed over blocks of time that are several correlation times long. The blocks are
independent, so that sums of products of their influences are covariances of all estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from alchemflows.free_energy.errors import correlated_variance, small_sample_factor

#: Length of a block in units of the statistical inefficiency; the remaining correlation of blocks is corrected for.
BLOCK = 4
#: Share of the draws that must have a value for it to have an error.
MOST = 0.84
#: Directions in which states are not connected have an eigenvalue of the MBAR equations below this value, and no error.
_DISCONNECTED = 1e-12


def solver() -> dict[str, Any]:
    """Return the settings of pymbar by Newton's method, more precise than any error; pymbar writes into them."""
    return {"method": "adaptive", "tol": 1e-8, "options": {"min_sc_iter": 0}}


@dataclass(frozen=True)
class SampleBlocks:
    """Independent blocks of samples, all states one after the other.

    Attributes
    ----------
    of_state
        State of each sample.
    index
        Block of each sample.
    first_half
        Whether a sample is in the first half of its state.
    scale
        Factor of the influences of blocks, for what centring and remaining correlations take away.
    n_blocks
        Number of blocks B.
    """

    of_state: np.ndarray
    index: np.ndarray
    first_half: np.ndarray
    scale: float
    n_blocks: int

    @classmethod
    def of(cls, lengths: np.ndarray, inefficiency: float, chain: np.ndarray | None = None) -> SampleBlocks:
        """Return the blocks of states.

        Parameters
        ----------
        lengths
            Number of samples of each state.
        inefficiency
            Statistical inefficiency, in samples.
        chain
            Chain of each sample, if samples of several states are correlated because they belong to one chain, or to
            chains that exchange configurations. A block then has the samples of all states of a chain at one time.
        """
        state = np.repeat(np.arange(len(lengths)), lengths)
        time = np.concatenate([np.arange(length) for length in lengths])
        chain = state if chain is None else chain
        n_blocks = np.maximum(2, (lengths / (BLOCK * inefficiency)).astype(int))
        fewest = np.full(chain.max() + 1, n_blocks.max())
        np.minimum.at(fewest, chain, n_blocks[state])
        n_blocks = fewest[chain[np.cumsum(lengths) - lengths]]
        in_time = time * n_blocks[state] // lengths[state]
        _, index = np.unique(chain * (in_time.max() + 1) + in_time, return_inverse=True)
        length = float(np.median(lengths / n_blocks))
        # Neighbouring blocks are still correlated; the share of the variance that is lost is that of an AR(1) process.
        lost = (inefficiency - 1 / inefficiency) / (2 * length)
        kept = max(1 - lost, 0.25) * (1 - 1 / float(np.median(n_blocks)))
        return cls(state, index, time < lengths[state] / 2, 1 / np.sqrt(kept), int(index.max()) + 1)

    def of_samples(self, chosen: np.ndarray) -> SampleBlocks:
        """Return the same blocks, with some of the samples only; blocks without a sample have no influence.

        Estimates from all samples and from some of them then have the same sources of error.

        Parameters
        ----------
        chosen
            Indices of the samples.
        """
        return replace(
            self, of_state=self.of_state[chosen], index=self.index[chosen], first_half=self.first_half[chosen]
        )

    def sums(self, influences: np.ndarray) -> np.ndarray:
        """Return the influence of each block, shape (B, ...), from those of samples, shape (n, ...)."""
        return self.scale * _sums(self.index, self._centred(influences), self.n_blocks)

    def halves(self, influences: np.ndarray) -> np.ndarray:
        """Return the influence of the first half of all samples minus that of the second half."""
        sign = np.where(self.first_half, 1.0, -1.0)
        return sign @ self._centred(influences)

    def _centred(self, influences: np.ndarray) -> np.ndarray:
        counts = np.maximum(np.bincount(self.of_state), 1)
        means = _sums(self.of_state, influences, len(counts)) / counts[:, None]
        return influences - means[self.of_state]


def _sums(index: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Return sums of the rows with each index below n."""
    return np.stack([np.bincount(index, column, minlength=n) for column in values.T], axis=1)


def guess_along(reduced: np.ndarray, n_samples: Sequence[int] | np.ndarray, order: Sequence[int]) -> np.ndarray:
    """Return first values of reduced free energies, from mean differences of reduced energies between neighbours.

    Parameters
    ----------
    reduced
        Reduced energies of all samples in each state, shape (K, n), the samples of one state after those of another.
    n_samples
        Number of samples of each state, shape (K,).
    order
        States in an order in which neighbours are similar.
    """
    ends = np.cumsum(n_samples)
    guess = np.zeros(len(reduced))
    for first, second in pairwise(order):
        step = reduced[second] - reduced[first]
        sides = [float(step[ends[k] - n_samples[k] : ends[k]].mean()) for k in (first, second)]
        guess[second] = guess[first] + sum(sides) / 2
    return guess


def influences_on_states(weights: np.ndarray, n_samples: np.ndarray) -> np.ndarray:
    """Return the influence of each sample on the reduced free energies of the sampled states by MBAR, shape (n, K).

    It is −J⁺ W_n, see :func:`~alchemflows.free_energy.estimators.variance_shares`.

    Parameters
    ----------
    weights
        Weight of each sample in each state, W, shape (n, K); the sum over samples is 1.
    n_samples
        Number of samples of each state, shape (K,).
    """
    jacobian = np.eye(len(n_samples)) - (weights.T @ weights) * n_samples
    return -weights @ np.linalg.pinv(jacobian, rcond=_DISCONNECTED).T


def pair_overlaps(weights: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return ∫ p_i p_j / (p_i + p_j) of states i and j, shape (I, J): 0.5 if they are equal, 0 without overlap.

    Parameters
    ----------
    weights, others
        Weights of the same samples in the states i, shape (n, I), and in the states j, shape (n, J).
    """
    overlaps = np.empty((weights.shape[1], others.shape[1]))
    tiny = np.finfo(float).tiny
    for k, own in enumerate(weights.T):
        overlaps[k] = (own[:, None] * others / (own[:, None] + others + tiny)).sum(axis=0)
    return overlaps


def standard_errors(deviations: np.ndarray) -> np.ndarray:
    """Return standard errors from the influences of B independent blocks, shape (B, ...).

    The degrees of freedom of an error follow from the distribution of the squared influences,
    ν = 2 (Σ δ²)² / [Σ δ⁴ − (Σ δ²)² / B], which is B for a normal distribution, and small if a few blocks have most of
    the variance; see :func:`~alchemflows.free_energy.errors.small_sample_factor`.
    """
    variance = (deviations**2).sum(axis=0)
    spread = (deviations**4).sum(axis=0) - variance**2 / len(deviations)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.minimum(2 * variance**2 / spread, len(deviations))
    factor = np.vectorize(small_sample_factor, otypes=[float])(np.nan_to_num(degrees, nan=len(deviations)))
    return np.sqrt(variance) * factor


def random_draws(values: np.ndarray, deviations: np.ndarray, n_draws: int, seed: int = 0) -> np.ndarray:
    """Return estimates at random within their errors, shape (n_draws, ...).

    The influences of the blocks are multiplied by independent standard normal numbers (a multiplier bootstrap), so that
    the errors of different estimates have their correlations.

    Parameters
    ----------
    values
        Estimates, shape (...).
    deviations
        Influence of each of B blocks, shape (B, ...).
    n_draws
        Number of draws.
    seed
        Seed of the random numbers.
    """
    z = np.random.default_rng(seed).normal(size=(n_draws, len(deviations)))
    return values + np.tensordot(z, deviations, axes=1)


def spread(draws: np.ndarray) -> float | None:
    """Return half of the interval that contains 68 % of the draws; None if fewer than :data:`MOST` are not NaN."""
    known = draws[np.isfinite(draws)]
    if len(known) < MOST * len(draws):
        return None
    low, high = np.quantile(known, [0.1587, 0.8413])
    return float((high - low) / 2)


def joint_inefficiency(parts: Sequence[np.ndarray]) -> float:
    """Return the statistical inefficiency of an observable over several time series; 1 if it is constant."""
    total = sum(float(part @ part) - len(part) * part.mean() ** 2 for part in parts)
    if not total > 1e-20 * sum(map(len, parts)):
        return 1.0
    return max(1.0, correlated_variance(parts).value / total)
