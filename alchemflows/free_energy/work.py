"""ΔF from the work of nonequilibrium switches, forward and backward."""

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

#: Forward and backward work distributions that overlap less than this say little about where they cross.
MIN_WORK_OVERLAP = 0.1
#: Below this overlap the error of BAR is at least that of the mean work.
MODERATE_WORK_OVERLAP = 0.3
#: The scatter of fewer switches says hardly anything of their error.
MIN_SWITCHES = 3
#: Dissipation that is so far below zero that noise alone makes it with this probability is no noise.
NEGLIGIBLE = 1e-3


@dataclass(frozen=True)
class WorkResult:
    """ΔF = F(λ=1) − F(λ=0), eV, and what it rests on.

    Attributes
    ----------
    mean
        (⟨W_f⟩ − ⟨W_b⟩)/2 and its standard error; right where both ways dissipate the same. What it differs from BAR by
        beyond chance is in its error.
    bar
        Bennett's acceptance ratio (Crooks' theorem) and its standard error; None where it finds no solution.
    dissipation_eV
        (⟨W_f⟩ + ⟨W_b⟩)/2, never negative but for noise.
    overlap
        Of the distributions of W_f and −W_b: 0 none, 1 the same; 0 where BAR has no solution.
    warnings
        What a reader of the numbers must know.
    """

    mean: tuple[float, float]
    bar: tuple[float, float] | None
    dissipation_eV: float
    overlap: float
    warnings: list[str]

    @property
    def best(self) -> tuple[float, float]:
        """BAR where the works overlap; else the mean, with the dissipation as its error at least."""
        if self.bar is not None and self.overlap >= MIN_WORK_OVERLAP:
            return self.bar
        return self.mean[0], max(self.mean[1], abs(self.dissipation_eV))


@dataclass(frozen=True)
class Solution:
    """BAR's ΔF and its error, and by how much each work moves it (up to a constant for each way); k_B T."""

    delta_f: float
    error: float
    influences: tuple[np.ndarray, np.ndarray]


def analyse_work(forward_work_eV: ArrayLike, backward_work_eV: ArrayLike, temperature_K: float) -> WorkResult:
    """Estimate ΔF from switches each way (Crooks, Phys. Rev. E 60, 2721, 1999; Shirts et al., PRL 91, 140601, 2003).

    Parameters
    ----------
    forward_work_eV, backward_work_eV
        Work of each switch, at least two each way.
    temperature_K
        Temperature at the start of the switches.

    Raises
    ------
    InvalidInputError
        If there are fewer than two switches each way, or a work is not a finite number.
    """
    forward, backward = np.asarray(forward_work_eV, dtype=float), np.asarray(backward_work_eV, dtype=float)
    if min(len(forward), len(backward)) < 2:
        raise InvalidInputError("at least two switches each way are needed for an error bar")
    if not (np.isfinite(forward).all() and np.isfinite(backward).all()):
        raise InvalidInputError("a work is not a finite number")
    beta = 1 / (units.kB * temperature_K)
    spread = float(np.sqrt(sum(w.var(ddof=1) / len(w) for w in (forward, backward))) / 2)
    dissipation = float((forward.mean() + backward.mean()) / 2)
    solved = _bar(beta * forward, beta * backward)
    mean, mean_error = _mean(beta * forward, beta * backward, solved)
    overlap = 0.0 if solved is None else _overlap(beta * forward, beta * backward, solved.delta_f)
    found = []
    if min(len(forward), len(backward)) < MIN_SWITCHES:
        found.append(f"fewer than {MIN_SWITCHES} switches each way: the error bar is itself a guess; take more repeats")
    if overlap < MIN_WORK_OVERLAP:
        found.append(
            f"forward and backward work overlap by {overlap:.3f} (below {MIN_WORK_OVERLAP}; dissipation "
            f"{dissipation * beta:.1f} k_B T): switch more slowly"
        )
    noise = t.isf(NEGLIGIBLE, len(forward) + len(backward) - 2) * spread
    if dissipation < -max(noise, 1e-9 / beta):
        found.append(
            f"both ways together gain {-dissipation:.4f} eV, against the second law: the switches did not begin in "
            "equilibrium"
        )
    return WorkResult(
        mean=(mean / beta, mean_error / beta),
        bar=None if solved is None else (solved.delta_f / beta, solved.error / beta),
        dissipation_eV=dissipation,
        overlap=overlap,
        warnings=found,
    )


def _overlap(forward: np.ndarray, backward: np.ndarray, delta_f: float) -> float:
    """Return 1 − the second eigenvalue of MBAR's overlap matrix of the two ends, all in k_B T.

    pymbar's `bar_overlap` is the same number, but fails where there is no overlap.
    """
    n, m = len(forward), len(backward)
    gap = np.concatenate([forward, -backward]) - delta_f
    at_end = expit(-gap - np.log(n / m))  # how likely a work is from a backward switch
    return float((at_end * (1 - at_end)).sum() * (1 / n + 1 / m))


def _mean(forward: np.ndarray, backward: np.ndarray, solved: Solution | None) -> tuple[float, float]:
    """Return (⟨W_f⟩ − ⟨W_b⟩)/2 in k_B T, and its error.

    Where BAR has a solution, the error has a part for what both ways dissipate differently: the square of the
    difference from BAR, less what chance explains of it.
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
    """BAR in k_B T, with the largest of its errors, enlarged for few works.

    One is the scatter of what each work adds to the estimate; the other is the asymptotic one, which takes the works
    to obey Crooks' theorem: where they hardly overlap it is the larger, for works that decide have not been seen.
    Where they overlap only moderately, BAR rests on few of the works, and its error is at least that of the mean work.
    """
    if np.ptp(np.concatenate([forward, -backward])) < 1e-9:  # there is no bracket for the solution
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
    least = _spread(forward, backward).error if _overlap(forward, backward, value) < MODERATE_WORK_OVERLAP else 0.0
    return Solution(value, float(np.nanmax([variance.error, asymptotic, least])), influences)
