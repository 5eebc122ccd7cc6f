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

#: Forward and backward work distributions that overlap less than this say little about where they cross.
MIN_WORK_OVERLAP = 0.1
#: Dissipation that is so far below zero that noise alone makes it with this probability is no noise.
NEGLIGIBLE = 1e-3
#: Bootstraps for the error of BAR.
N_BOOTSTRAPS = 200


@dataclass(frozen=True)
class WorkResult:
    """ΔF = F(λ=1) − F(λ=0), eV, and what it rests on.

    Attributes
    ----------
    mean
        (⟨W_f⟩ − ⟨W_b⟩)/2 and its standard error; right where both ways dissipate the same.
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
    errors = [w.var(ddof=1) / len(w) for w in (forward, backward)]
    mean = float((forward.mean() - backward.mean()) / 2), float(np.sqrt(sum(errors)) / 2)
    dissipation = float((forward.mean() + backward.mean()) / 2)
    solved = _bar(beta * forward, beta * backward)
    overlap = 0.0 if solved is None else _overlap(beta * forward, beta * backward, solved[0])
    found = []
    if overlap < MIN_WORK_OVERLAP:
        found.append(
            f"forward and backward work overlap by {overlap:.3f} (below {MIN_WORK_OVERLAP}; dissipation "
            f"{dissipation * beta:.1f} k_B T): switch more slowly"
        )
    noise = t.isf(NEGLIGIBLE, len(forward) + len(backward) - 2) * mean[1]
    if dissipation < -max(noise, 1e-9 / beta):
        found.append(
            f"both ways together gain {-dissipation:.4f} eV, against the second law: the switches did not begin in "
            "equilibrium"
        )
    return WorkResult(
        mean=mean,
        bar=None if solved is None else (solved[0] / beta, solved[1] / beta),
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


def _bar(forward: np.ndarray, backward: np.ndarray) -> tuple[float, float] | None:
    """BAR in k_B T, with the larger of a bootstrap's error and the asymptotic one."""
    if np.ptp(np.concatenate([forward, -backward])) < 1e-9:  # there is no bracket for the solution
        return float(forward[0]), 0.0
    rng = np.random.default_rng(0)
    try:
        with np.errstate(all="ignore"):
            result = bar(forward, backward)
            repeats = [
                bar(
                    forward[rng.integers(len(forward), size=len(forward))],
                    backward[rng.integers(len(backward), size=len(backward))],
                    compute_uncertainty=False,
                )["Delta_f"]
                for _ in range(N_BOOTSTRAPS)
            ]
    except (BoundsError, ConvergenceError, FloatingPointError):
        return None
    error = np.std(repeats, ddof=1) * np.sqrt(len(forward) / (len(forward) - 1))
    return float(result["Delta_f"]), float(np.nanmax([error, result["dDelta_f"]]))
