"""Free energy differences from the work of forward and backward nonequilibrium switches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from pymbar import bar
from pymbar.utils import BoundsError, ConvergenceError
from scipy.special import expit
from scipy.stats import t

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import Variance, independent_variance, small_sample_factor
from alchemflows.free_energy.estimators import bar_influences
from alchemflows.schemas.reasons import Reason

#: Smallest overlap of the forward and backward work distributions for which BAR is used.
MIN_WORK_OVERLAP = 0.1
#: Below this overlap the error of BAR is at least that of the mean work.
MODERATE_WORK_OVERLAP = 0.3
#: Smallest number of switches in each direction for a meaningful error.
MIN_SWITCHES = 3
#: A negative dissipation is significant if noise alone causes it with less than this probability.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class WorkResult:
    """Estimates of ΔF = F(λ=1) − F(λ=0) (eV) from switches, with measures of their reliability.

    Attributes
    ----------
    mean
        (⟨W_f⟩ − ⟨W_b⟩)/2 and its standard error; exact if both ways dissipate equally. The error includes any
        difference from BAR beyond chance.
    bar
        Bennett acceptance ratio (based on Crooks' theorem) and its standard error; None without a solution.
    dissipation_eV
        (⟨W_f⟩ + ⟨W_b⟩)/2, which is negative only because of noise.
    overlap
        Overlap of the distributions of W_f and −W_b, from 0 (none) to 1 (equal); 0 if BAR has no solution.
    warnings
        Warnings about the reliability of the numbers.
    """

    mean: tuple[float, float]
    bar: tuple[float, float] | None
    dissipation_eV: float
    overlap: float
    warnings: list[str]

    @property
    def best(self) -> tuple[float, float]:
        """Best estimate: BAR if the works overlap, otherwise the mean with an error of at least the dissipation."""
        if self.bar is not None and self.overlap >= MIN_WORK_OVERLAP:
            return self.bar
        return self.mean[0], max(self.mean[1], abs(self.dissipation_eV))


@dataclass(frozen=True)
class Solution:
    """ΔF by BAR, its error, and the influence of each work on it (up to a constant for each direction), in k_B T."""

    delta_f: float
    error: float
    influences: tuple[np.ndarray, np.ndarray]


def analyse_work(forward_work_eV: ArrayLike, backward_work_eV: ArrayLike, temperature_K: float) -> WorkResult:
    """Estimate ΔF from forward and backward switches.

    The method is that of Crooks (Phys. Rev. E 60, 2721, 1999) and Shirts et al. (PRL 91, 140601, 2003).

    Parameters
    ----------
    forward_work_eV, backward_work_eV
        Work of each switch (eV), at least two in each direction.
    temperature_K
        Temperature at the start of the switches (K).

    Raises
    ------
    InvalidInputError
        If there are fewer than two switches in each direction, or a work is not a finite number.
    """
    forward, backward = np.asarray(forward_work_eV, dtype=float), np.asarray(backward_work_eV, dtype=float)
    if min(len(forward), len(backward)) < 2:
        raise InvalidInputError(
            f"at least 2 switches in each direction are required for an error; got {len(forward)} forward and "
            f"{len(backward)} backward"
        )
    if not (np.isfinite(forward).all() and np.isfinite(backward).all()):
        raise InvalidInputError("forward_work_eV and backward_work_eV must be finite numbers")
    beta = 1 / (units.kB * temperature_K)
    spread = float(np.sqrt(sum(w.var(ddof=1) / len(w) for w in (forward, backward))) / 2)
    dissipation = float((forward.mean() + backward.mean()) / 2)
    solved = _bar(beta * forward, beta * backward)
    mean, mean_error = _mean(beta * forward, beta * backward, solved)
    overlap = 0.0 if solved is None else work_overlap(beta * forward, beta * backward, solved.delta_f)
    found = []
    if min(len(forward), len(backward)) < MIN_SWITCHES:
        found.append(Reason.FEW_SWITCHES.because(least=MIN_SWITCHES))
    if overlap < MIN_WORK_OVERLAP:
        found.append(
            Reason.WORK_OVERLAP.because(overlap=overlap, least=MIN_WORK_OVERLAP, dissipation=dissipation * beta)
        )
    noise = t.isf(NEGLIGIBLE, len(forward) + len(backward) - 2) * spread
    if dissipation < -max(noise, 1e-9 / beta):
        found.append(Reason.SECOND_LAW.because(dissipation=dissipation))
    return WorkResult(
        mean=(mean / beta, mean_error / beta),
        bar=None if solved is None else (solved.delta_f / beta, solved.error / beta),
        dissipation_eV=dissipation,
        overlap=overlap,
        warnings=found,
    )


def work_overlap(forward: np.ndarray, backward: np.ndarray, delta_f: float) -> float:
    """Return 1 minus the second eigenvalue of the MBAR overlap matrix of the two ends, from works in k_B T.

    `bar_overlap` of pymbar computes the same number, but fails if there is no overlap.
    """
    n, m = len(forward), len(backward)
    gap = np.concatenate([forward, -backward]) - delta_f
    at_end = expit(-gap - np.log(n / m))  # probability that a work is that of a backward switch
    return float((at_end * (1 - at_end)).sum() * (1 / n + 1 / m))


def _mean(forward: np.ndarray, backward: np.ndarray, solved: Solution | None) -> tuple[float, float]:
    """Return (⟨W_f⟩ − ⟨W_b⟩)/2 in k_B T, and its error.

    If BAR has a solution, the error includes a contribution for unequal dissipation: the squared difference from BAR
    minus the part that chance explains.
    """
    value = float((forward.mean() - backward.mean()) / 2)
    moved = (forward / (2 * len(forward)), -backward / (2 * len(backward)))
    error = _spread(forward, backward).error
    if solved is None:
        return value, error
    between = independent_variance([own - other for own, other in zip(moved, solved.influences, strict=True)])
    return value, float(np.sqrt(error**2 + max(0.0, (value - solved.delta_f) ** 2 - between.value)))


def _spread(forward: np.ndarray, backward: np.ndarray) -> Variance:
    """Return the variance of (⟨W_f⟩ − ⟨W_b⟩)/2."""
    return independent_variance((forward / (2 * len(forward)), backward / (2 * len(backward))))


def _bar(forward: np.ndarray, backward: np.ndarray) -> Solution | None:
    """Return the BAR estimate in k_B T with the largest of its errors, enlarged for few works; None without a solution.

    The first error is the scatter of the influences of the works. The second is the asymptotic error, which assumes
    that the works obey Crooks' theorem; with little overlap it is larger, since the decisive works were not sampled.
    With moderate overlap BAR depends on few works, and its error is at least that of the mean work.
    """
    if np.ptp(np.concatenate([forward, -backward])) < 1e-9:  # all works are equal, so the solver finds no bracket
        return Solution(float(forward[0]), 0.0, (np.zeros(len(forward)), np.zeros(len(backward))))
    try:
        with np.errstate(all="ignore"):
            result = bar(forward, backward)
    except (BoundsError, ConvergenceError, FloatingPointError):
        return None
    value, asymptotic = float(result["Delta_f"]), float(result["dDelta_f"])
    influences = bar_influences(forward, backward, value)
    variance = independent_variance(influences)
    asymptotic *= small_sample_factor(variance.degrees_of_freedom)
    least = _spread(forward, backward).error if work_overlap(forward, backward, value) < MODERATE_WORK_OVERLAP else 0.0
    return Solution(value, float(np.nanmax([variance.error, asymptotic, least])), influences)
