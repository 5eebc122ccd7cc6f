"""ΔF or ΔG from the samples of a ladder of windows: TI, BAR and MBAR, after decorrelation.

MBAR is alchemlyb's, BAR pymbar's. What is said of F here holds for G where the pressure is constant: reduced energies
are then u = β (U + pV).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from alchemlyb.estimators import MBAR
from ase import units
from numpy.typing import ArrayLike
from pymbar import bar
from pymbar.timeseries import statistical_inefficiency, subsample_correlated_data
from pymbar.utils import BoundsError, ConvergenceError
from scipy.interpolate import CubicSpline
from scipy.special import logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.ladders import trapezoid_weights
from alchemflows.schemas.samples import WindowSeries

# alchemlyb leaves pymbar's bootstrap solver at a value that pymbar warns of, though nothing is bootstrapped; and that a
# solver has failed says little, since another comes next.
for _name in ("pymbar.mbar", "pymbar.mbar_solvers"):
    logging.getLogger(_name).setLevel(logging.ERROR)

#: MBAR needs neighbours that overlap at least this much (Klimovich, Shirts & Mobley, J. Comput.-Aided
#: Mol. Des. 29, 397, 2015).
MIN_OVERLAP = 0.03
#: Below this many independent samples a window's error bar is itself a guess.
MIN_INDEPENDENT = 10
#: Newton's method for MBAR has converged long before, or never will, as without overlap.
MAX_ITERATIONS = 1000
#: Bootstraps for the error of BAR; the error is then itself known to about 7 %.
N_BOOTSTRAPS = 100


@dataclass(frozen=True)
class LadderResult:
    """ΔF = F(last λ) − F(first λ), configurational part, eV, with what it rests on; K windows.

    Attributes
    ----------
    ti, bar, mbar
        Each (ΔF, standard error), eV; `bar` is None where BAR finds no solution.
    ti_weights
        Weights of the windows in TI, shape (K,).
    ti_discretisation_eV
        By how much the trapezoid rule differs from the integral of a cubic spline through the same means: the size
        of its own error, which is not in that of `ti`. 0 for a Gauss–Legendre rule; infinite with two windows.
    mean_dudl_eV, error_dudl_eV
        ⟨dU/dλ⟩ over the independent samples, as TI takes it, and its standard error, shape (K,).
    inefficiency
        Statistical inefficiency g of each window, in samples, shape (K,).
    n_samples
        Samples of each window, shape (K,).
    overlap
        MBAR overlap matrix, shape (K, K).
    variances_eV2
        Share of each window in the variance of MBAR's ΔF, eV², shape (K,), scaled so that they add up to it (from few
        samples the two differ somewhat); see :func:`variance_shares`.
    free_energies_eV
        MBAR's free energy of each window above that of the first, shape (K,).
    warnings
        What a reader of the numbers must know.
    """

    ti: tuple[float, float]
    bar: tuple[float, float] | None
    mbar: tuple[float, float]
    ti_weights: np.ndarray
    ti_discretisation_eV: float
    mean_dudl_eV: np.ndarray
    error_dudl_eV: np.ndarray
    inefficiency: np.ndarray
    n_samples: np.ndarray
    overlap: np.ndarray
    variances_eV2: np.ndarray
    free_energies_eV: np.ndarray
    warnings: list[str]

    def misfits_eV(self, lambdas: Sequence[float]) -> np.ndarray:
        """Return ΔF between neighbours by the trapezoid rule less that by MBAR, shape (K − 1,)."""
        means = self.mean_dudl_eV
        return np.diff(lambdas) * (means[1:] + means[:-1]) / 2 - np.diff(self.free_energies_eV)

    @property
    def n_independent(self) -> np.ndarray:
        """Independent samples of each window, n / g, shape (K,)."""
        return self.n_samples / self.inefficiency


@dataclass(frozen=True)
class Decorrelated:
    """Samples of a window after decorrelation; m are kept of n, K windows in the ladder.

    Attributes
    ----------
    n_samples, inefficiency
        n, and the statistical inefficiency, of what the estimators read.
    spread_dudl_eV
        Standard deviation of dU/dλ over all n samples.
    time_fs, dudl_eV
        Of the kept samples, shape (m,).
    gaps_eV
        Energies at the λ of all windows less that at the window's own, shape (m, K): small exponents.
    volume_A3
        Shape (m,).
    """

    n_samples: int
    inefficiency: float
    spread_dudl_eV: float
    time_fs: np.ndarray
    dudl_eV: np.ndarray
    gaps_eV: np.ndarray
    volume_A3: np.ndarray


def analyse_ladder(
    lambdas: Sequence[float],
    series: Iterable[WindowSeries],
    temperature_K: float,
    *,
    pressure_GPa: float | None = None,
    quadrature: Sequence[float] | None = None,
) -> LadderResult:
    """Estimate ΔF along a ladder of windows.

    Parameters
    ----------
    lambdas
        λ of the K windows, increasing.
    series
        Samples of each window; their ``energies_eV`` have K columns in the order of `lambdas`. They are taken
        one at a time, so that a generator need not hold a whole ladder in memory.
    temperature_K
        Temperature of all windows.
    pressure_GPa
        Pressure of all windows; None at constant volume.
    quadrature
        Weights that integrate dU/dλ, shape (K,); the trapezoid rule if not given.

    Raises
    ------
    InvalidInputError
        If there are fewer than two windows, λ do not increase, or a window has no more than one sample,
        another number of columns, or a sample that is not finite.
    """
    windows = [decorrelate(lambdas, k, samples) for k, samples in enumerate(series) if k < len(lambdas)]
    return estimate(lambdas, windows, temperature_K, pressure_GPa=pressure_GPa, quadrature=quadrature)


def estimate(
    lambdas: Sequence[float],
    windows: Sequence[Decorrelated],
    temperature_K: float,
    *,
    pressure_GPa: float | None = None,
    quadrature: Sequence[float] | None = None,
) -> LadderResult:
    """Estimate ΔF from decorrelated windows; see :func:`analyse_ladder`."""
    if (np.diff(lambdas) <= 0).any():
        raise InvalidInputError(f"the λ of the windows must increase: {list(lambdas)}")
    if len(lambdas) < 2 or len(windows) != len(lambdas):
        raise InvalidInputError(f"{len(windows)} series for {len(lambdas)} windows; at least two are needed")
    beta = 1 / (units.kB * temperature_K)
    inefficiency = np.array([window.inefficiency for window in windows])
    n_samples = np.array([window.n_samples for window in windows])
    means = np.array([window.dudl_eV.mean() for window in windows])
    weights = trapezoid_weights(lambdas) if quadrature is None else np.asarray(quadrature, dtype=float)
    if weights.shape != means.shape:
        raise InvalidInputError(f"{len(weights)} weights of a quadrature for {len(lambdas)} windows")
    # Standard errors of the means of the kept samples, as in alchemlyb's TI. A window of weight 0 may have one sample.
    errors = [w.dudl_eV.std(ddof=1) / np.sqrt(len(w.dudl_eV)) if len(w.dudl_eV) > 1 else np.nan for w in windows]
    variance = sum(float(weight * error) ** 2 for weight, error in zip(weights, errors, strict=True) if weight)
    guess = beta * np.concatenate([[0.0], np.cumsum(np.diff(lambdas) * (means[1:] + means[:-1]) / 2)])
    solver = MBAR(initial_f_k=guess, maximum_iterations=MAX_ITERATIONS)
    mbar = solver.fit(u_nk(lambdas, windows, temperature_K, pressure_GPa))
    free_energies = mbar.delta_f_.iloc[0].to_numpy(dtype=float)
    error = float(mbar.d_delta_f_.iloc[0, -1]) / beta
    shares = variance_shares([beta * w.gaps_eV for w in windows], free_energies)
    result = LadderResult(
        ti=(float(weights @ means), float(np.sqrt(variance))),
        bar=_bar([window.gaps_eV for window in windows], beta),
        mbar=(float(free_energies[-1]) / beta, error),
        ti_weights=weights,
        ti_discretisation_eV=_discretisation(lambdas, means) if quadrature is None else 0.0,
        mean_dudl_eV=means,
        error_dudl_eV=np.array([w.spread_dudl_eV for w in windows]) * np.sqrt(inefficiency / n_samples),
        inefficiency=inefficiency,
        n_samples=n_samples,
        overlap=np.asarray(mbar.overlap_matrix),
        variances_eV2=shares * (error**2 / shares.sum() if shares.sum() > 0 else 1.0),
        free_energies_eV=free_energies / beta,
        warnings=[],
    )
    result.warnings.extend(_warnings(lambdas, result))
    return result


def variance_shares(reduced: Sequence[np.ndarray], f_k: ArrayLike) -> np.ndarray:
    """Return the share of each window in the variance of MBAR's f_K − f_1, shape (K,).

    A sample n moves the solution of the MBAR equations by −J⁺ W_n, with W the matrix of weights of Shirts & Chodera
    (J. Chem. Phys. 129, 124105, 2008, eq. 9) and J = 1 − WᵀW N the derivative of Σ_n W_ni − 1; samples of one window
    are independent of one another, so that their influences add in variance, about the window's mean. The sum is
    MBAR's asymptotic variance.

    Parameters
    ----------
    reduced
        Reduced energies of each window's samples at all K windows, up to a constant for each sample, each (m, K).
    f_k
        MBAR's reduced free energies, shape (K,).
    """
    counts = np.array([len(window) for window in reduced])
    u = np.concatenate(reduced)
    f = np.asarray(f_k, dtype=float)
    if not np.isfinite(f).all():
        return np.full(len(counts), np.nan)
    log_weights = f - u
    weights = np.exp(log_weights - logsumexp(log_weights, b=counts, axis=1, keepdims=True))
    jacobian = np.eye(len(counts)) - (weights.T @ weights) * counts
    influence = weights @ np.linalg.pinv(jacobian).T
    steps = np.split(influence[:, -1] - influence[:, 0], np.cumsum(counts)[:-1])
    return np.array([len(step) ** 2 / max(len(step) - 1, 1) * step.var() for step in steps])


def decorrelate(
    lambdas: Sequence[float], k: int, samples: WindowSeries, inefficiency: float | None = None
) -> Decorrelated:
    """Return the independent samples of window k of a ladder; see :func:`analyse_ladder` for what is refused.

    The statistical inefficiency is estimated if it is not given; 1 keeps all samples.
    """
    if len(samples) < 2 or samples.energies_eV.shape[1] != len(lambdas):
        raise InvalidInputError(
            f"window λ = {lambdas[k]:g} has samples of shape {samples.energies_eV.shape}; "
            f"at least 2 samples at {len(lambdas)} λ are needed"
        )
    if not (np.isfinite(samples.dudl_eV).all() and np.isfinite(samples.energies_eV).all()):
        raise InvalidInputError(f"window λ = {lambdas[k]:g} has samples that are not finite numbers")
    inefficiency = _inefficiency(k, samples) if inefficiency is None else inefficiency
    kept = subsample_correlated_data(samples.dudl_eV, g=inefficiency)
    return Decorrelated(
        n_samples=len(samples),
        inefficiency=inefficiency,
        spread_dudl_eV=float(samples.dudl_eV.std(ddof=1)),
        time_fs=samples.time_fs[kept],
        dudl_eV=samples.dudl_eV[kept],
        gaps_eV=samples.energies_eV[kept] - samples.energies_eV[kept, k][:, None],
        volume_A3=samples.volume_A3[kept],
    )


def _inefficiency(k: int, samples: WindowSeries) -> float:
    """Statistical inefficiency of what the estimators read: dU/dλ and the gaps to the neighbours."""
    observables = [samples.dudl_eV]
    observables += [
        samples.energies_eV[:, other] - samples.energies_eV[:, k]
        for other in (k - 1, k + 1)
        if 0 <= other < samples.energies_eV.shape[1]
    ]
    # A constant observable has no correlation time (and none is needed).
    return max([1.0] + [statistical_inefficiency(a) for a in observables if np.ptp(a) > 1e-12 * np.abs(a).max()])


def u_nk(
    lambdas: Sequence[float], windows: Sequence[Decorrelated], temperature_K: float, pressure_GPa: float | None = None
) -> pd.DataFrame:
    """Return reduced energies of a ladder as alchemlyb's ``MBAR`` and ``BAR`` take them.

    Parameters
    ----------
    lambdas
        λ of the K windows.
    windows
        Samples of each, m in all.
    temperature_K, pressure_GPa
        Conditions; no pressure at constant volume.

    Returns
    -------
    frame
        β (U + pV) less each sample's β U at its own window, kT, shape (m, K); columns λ; index (``time`` in ps,
        ``fep-lambda``).
    """
    pressure = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa
    # pV is the same for all λ of a sample, so no estimate depends on it.
    energies = [window.gaps_eV + pressure * window.volume_A3[:, None] for window in windows]
    return _frame(lambdas, windows, np.concatenate(energies), list(lambdas), temperature_K)


def dhdl(lambdas: Sequence[float], windows: Sequence[Decorrelated], temperature_K: float) -> pd.DataFrame:
    """Return β dU/dλ of a ladder, kT, as alchemlyb's ``TI`` takes it: column ``fep``; see :func:`u_nk`."""
    return _frame(lambdas, windows, np.concatenate([window.dudl_eV for window in windows]), ["fep"], temperature_K)


def _frame(
    lambdas: Sequence[float],
    windows: Sequence[Decorrelated],
    energies_eV: np.ndarray,
    columns: list,
    temperature_K: float,
) -> pd.DataFrame:
    """Return energies of all samples, one window after the other, in kT."""
    time_ps = np.concatenate([window.time_fs for window in windows]) * 1e-3
    own = np.repeat(lambdas, [len(window.time_fs) for window in windows])
    index = pd.MultiIndex.from_arrays([time_ps, own], names=["time", "fep-lambda"])
    frame = pd.DataFrame(energies_eV / (units.kB * temperature_K), index=index, columns=columns)
    frame.attrs = {"temperature": temperature_K, "energy_unit": "kT"}
    return frame


def _discretisation(lambdas: Sequence[float], means: np.ndarray) -> float:
    if len(lambdas) < 3:
        return float("inf")
    return abs(float(CubicSpline(lambdas, means).integrate(lambdas[0], lambdas[-1])) - np.trapezoid(means, lambdas))


def _bar(gaps: list[np.ndarray], beta: float) -> tuple[float, float] | None:
    """Sum BAR over neighbours; gaps[k] are the energies of window k's samples at all windows, less their own.

    The error is a bootstrap over whole ladders: estimates of neighbouring steps share a window's samples, so
    their errors do not add in quadrature. None where BAR finds no solution (no overlap, or no spread).
    """

    def total(ladder: list[np.ndarray]) -> float:
        steps = range(len(ladder) - 1)
        return sum(
            bar(
                beta * ladder[k][:, k + 1],
                beta * ladder[k + 1][:, k],
                compute_uncertainty=False,
            )["Delta_f"]
            for k in steps
        )

    rng = np.random.default_rng(0)
    try:
        with np.errstate(invalid="ignore"):
            value = total(gaps)
            resampled = [total([g[rng.integers(len(g), size=len(g))] for g in gaps]) for _ in range(N_BOOTSTRAPS)]
    except (BoundsError, ConvergenceError):
        return None
    return float(value) / beta, float(np.std(resampled, ddof=1)) / beta


def _warnings(lambdas: Sequence[float], result: LadderResult) -> list[str]:
    thin = [
        f"windows λ = {lambdas[k]:g} and {lambdas[k + 1]:g} overlap by {overlap:.3f} "
        f"(below {MIN_OVERLAP}): add windows between them"
        for k, overlap in enumerate(np.diagonal(result.overlap, offset=1))
        if overlap < MIN_OVERLAP
    ]
    short = [
        f"window λ = {lambdas[k]:g} has {n:.1f} independent samples (below {MIN_INDEPENDENT}): "
        "sample longer before trusting its error"
        for k, n in enumerate(result.n_independent)
        if n < MIN_INDEPENDENT
    ]
    unsolved = []
    if result.bar is None and (np.diagonal(result.overlap, offset=1) >= MIN_OVERLAP).all():
        unsolved = [
            "BAR finds no solution: ΔU between neighbouring windows is the same in all samples, so that sampling adds "
            "nothing to it; check that the atoms of the structure interact (its scale, the cutoff of the potential)"
        ]
    elif result.bar is None:
        unsolved = ["BAR finds no solution: neighbouring windows do not overlap"]
    unknown = [] if np.isfinite(result.mbar).all() else ["MBAR gives no finite error: the windows do not overlap"]
    return thin + short + unsolved + unknown
