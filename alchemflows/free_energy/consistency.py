"""Statistical tests that the samples of different windows belong to one ensemble.

Samples x of windows at equilibrium, with the energies U_k, have the densities p_k(x) = exp[f_k − βU_k(x)]. The
probability that a given sample comes from window k is then that of a logistic regression with unit slopes,

    P(k | x) ∝ n_k exp[f_k − βU_k(x)],

and the free energies of MBAR are the intercepts of maximum likelihood. For two windows this is the ratio
P₁(ΔU)/P₀(ΔU) = exp[−β(ΔU − ΔF)], which Shirts (J. Chem. Theory Comput. 9, 909, 2013) tests by the slope of the
regression. This module uses the score test (Rao, Math. Proc. Cambridge Philos. Soc. 44, 50, 1948), which tests whether
an additional term in the exponent increases the likelihood, without a second fit. The terms are

- ΔU and its square for two neighbours (:func:`pairs`), which detect that the ratio of distributions is not exponential;
- ±β∂U/∂λ for all windows, with opposite signs below and above some λ (:func:`breaks`), which detects that the state of
  the crystal changes there instead of at the λ where both states are equally probable;
- ±β∂U/∂λ with the sign of the end from which a window started (:func:`starts`), which detects that windows have not
  forgotten their start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from pymbar import bar
from pymbar.utils import BoundsError, ConvergenceError, ParameterError
from scipy.special import softmax
from scipy.stats import norm, t

from alchemflows.free_energy.decorrelation import Decorrelated
from alchemflows.free_energy.estimators import LadderResult

#: Probability returned if a test is not possible.
_UNTESTED = 1.0


@dataclass(frozen=True)
class Agreement:
    """Results of all tests of a ladder: two-sided probabilities that noise alone causes the deviation seen.

    Attributes
    ----------
    pairs, breaks
        Probabilities for each of the K − 1 pairs of neighbours, and for a change of state between them.
    starts
        Probability for windows that have not forgotten the end from which they started.
    """

    pairs: list[float]
    breaks: list[float]
    starts: float

    @classmethod
    def of(
        cls,
        windows: Sequence[Decorrelated],
        result: LadderResult,
        temperature_K: float,
        ends: Sequence[float | None] | None = None,
    ) -> Agreement:
        """Test a ladder.

        Parameters
        ----------
        windows
            Independent samples of the K windows.
        result
            Free energies estimated from these samples.
        temperature_K
            Temperature (K).
        ends
            λ of the structure from which each window started; None if unknown.
        """
        inflation = inflations(result.inefficiency)
        mixture = Mixture.of(windows, result.free_energies_eV, temperature_K, inflation)
        return cls(
            pairs(windows, temperature_K, inflation),
            [] if mixture is None else breaks(mixture),
            _UNTESTED if mixture is None or ends is None else starts(mixture, ends),
        )


def inflations(inefficiencies: ArrayLike) -> np.ndarray:
    """Return the ratio of the variance of the mean of the kept samples to that of independent samples, for each window.

    Samples at intervals of g with an exponential correlation, g = (1 + a)/(1 − a), still have the correlation a^g. In
    addition, g is set to at least its median over the ladder, since the estimate for a short series is often too low,
    which would cause false alarms.
    """
    g = np.asarray(inefficiencies, dtype=float)
    left = ((g - 1) / (g + 1)) ** g
    return np.maximum(1.0, np.median(g) / g) * (1 + left) / (1 - left)


def sigmas(chance: float) -> float:
    """Convert a two-sided probability to a deviation of a normal distribution in standard errors, at most 37."""
    return float(norm.isf(max(chance, 1e-300) / 2))


def pairs(windows: Sequence[Decorrelated], temperature_K: float, inflation: ArrayLike) -> list[float]:
    """Test each pair of neighbouring windows by the ratio of their distributions of ΔU.

    Parameters
    ----------
    windows
        Independent samples of the K windows.
    temperature_K
        Temperature (K).
    inflation
        Ratio of variances of each window from :func:`inflations`, shape (K,).

    Returns
    -------
    chances
        Two-sided probability, for each of the K − 1 pairs, that noise alone causes the deviation seen, or a larger one.
        It is 1 if no test is possible, for example without overlap. The worse of the two terms counts, and the
        probability is that of either of them being as bad.
    """
    beta = 1 / (units.kB * temperature_K)
    found = []
    for k in range(len(windows) - 1):
        gaps = [beta * windows[k].gaps_eV[:, k + 1], -beta * windows[k + 1].gaps_eV[:, k]]
        found.append(_pair(gaps, np.asarray(inflation)[k : k + 2]))
    return found


@dataclass(frozen=True)
class Mixture:
    """Samples of all windows of a ladder, treated as draws from one mixture as in MBAR.

    Attributes
    ----------
    chances
        P(k | x) of all samples, one window after the other, shape (n, K).
    slopes
        β∂U/∂λ, up to a factor for each window, from the energies at the two adjacent windows, shape (n, K).
    counts
        Number of samples of each window, shape (K,).
    inflation
        Ratio of variances of each window from :func:`inflations`, shape (K,).
    """

    chances: np.ndarray
    slopes: np.ndarray
    counts: np.ndarray
    inflation: ArrayLike

    @classmethod
    def of(
        cls,
        windows: Sequence[Decorrelated],
        free_energies_eV: np.ndarray,
        temperature_K: float,
        inflation: ArrayLike,
    ) -> Mixture | None:
        """Return the mixture for free energies of MBAR, shape (K,); None if MBAR has no solution."""
        if not np.isfinite(free_energies_eV).all():
            return None
        beta = 1 / (units.kB * temperature_K)
        counts = np.array([len(window.gaps_eV) for window in windows])
        u = beta * np.concatenate([window.gaps_eV for window in windows])
        k = np.arange(len(windows))
        upper, lower = np.minimum(k + 1, k[-1]), np.maximum(k - 1, 0)
        logits = np.log(counts) + beta * free_energies_eV - u
        return cls(softmax(logits, axis=1), (u[:, upper] - u[:, lower]) / (upper - lower), counts, inflation)

    def chance(self, signs: np.ndarray) -> float:
        """Return the probability for the term ±β∂U/∂λ with the given signs, shape (K,)."""
        return _chance(*_score(self.chances, self.counts, signs * self.slopes, self.inflation))


def breaks(mixture: Mixture) -> list[float]:
    """Test whether windows below and above some λ are consistent with each other; return the K − 1 probabilities."""
    k = np.arange(len(mixture.counts))
    return [mixture.chance(np.where(k > b, 1.0, -1.0)) for b in k[:-1]]


def starts(mixture: Mixture, ends: Sequence[float | None]) -> float:
    """Test whether windows that started from λ = 0 and from λ = 1 agree; return the probability.

    Parameters
    ----------
    mixture
        The samples.
    ends
        λ of the structure from which each window started; None if unknown.
    """
    signs = np.array([0.0 if end is None else 2.0 * end - 1.0 for end in ends])
    return mixture.chance(signs) if (signs > 0).any() and (signs < 0).any() else _UNTESTED


def _pair(gaps: Sequence[np.ndarray], inflation: ArrayLike) -> float:
    counts = np.array([len(gap) for gap in gaps])
    joined = np.concatenate(gaps)
    if counts.min() < 2 or np.ptp(joined) < 1e-9:
        return _UNTESTED
    try:
        with np.errstate(all="ignore"):
            delta_f = float(bar(gaps[0], -gaps[1], compute_uncertainty=False)["Delta_f"])
    except (BoundsError, ConvergenceError, ParameterError):
        return _UNTESTED
    logit = np.log(counts[1] / counts[0]) + delta_f - joined
    chances = softmax(np.stack([np.zeros_like(logit), logit], axis=1), axis=1)
    weight = chances[:, 0] * chances[:, 1]
    if weight.sum() < 1e-3:
        return _UNTESTED
    gap = joined - float(weight @ joined / weight.sum())
    terms = [np.stack([np.zeros_like(gap), gap**power], axis=1) for power in (1, 2)]
    worst = min(_chance(*_score(chances, counts, term, inflation)) for term in terms)
    return 1 - (1 - worst) ** len(terms)


def _score(chances: np.ndarray, counts: np.ndarray, term: np.ndarray, inflation: ArrayLike) -> tuple[float, float]:
    """Return the score of an additional term in standard errors, and the degrees of freedom of its error.

    Parameters
    ----------
    chances
        P(k | x) of all samples, one window after the other, shape (n, K).
    counts
        Number of samples of each window, shape (K,).
    term
        Term added to the exponent of each window, shape (n, K).
    inflation
        Ratio of variances of each window from :func:`inflations`, shape (K,).
    """
    own = np.repeat(np.arange(len(counts)), counts)
    residual = -chances.copy()
    residual[np.arange(len(own)), own] += 1
    score = (residual * term).sum(axis=1)
    # Subtract the part of the term that the free energies absorb, since they are fitted to the same samples.
    centred = chances * (term - (chances * term).sum(axis=1, keepdims=True))
    information = np.diag(chances.sum(axis=0)) - chances.T @ chances
    score = score - residual @ (np.linalg.pinv(information) @ centred.sum(axis=0))
    parts = np.split(score, np.cumsum(counts)[:-1])
    usable = np.array([max(len(part) / factor, 1.5) for part, factor in zip(parts, np.asarray(inflation), strict=True)])
    variances = np.array(
        [len(part) * part.var() * factor for part, factor in zip(parts, np.asarray(inflation), strict=True)]
    )
    variances *= usable / (usable - 1)
    total = float(variances.sum())
    if not total > 0:
        return 0.0, 1.0
    return float(score.sum()) / np.sqrt(total), total**2 / float((variances**2 / (usable - 1)).sum())


def _chance(statistic: float, dof: float) -> float:
    return float(2 * t.sf(abs(statistic), max(dof, 1.0))) if np.isfinite(statistic) else _UNTESTED
