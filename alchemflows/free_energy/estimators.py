"""Estimate ΔF or ΔG from the samples of a ladder of windows by TI, BAR and MBAR, after decorrelation.

MBAR is that of alchemlyb, BAR that of pymbar. At constant pressure, F stands for the Gibbs free energy G, and reduced
energies are u = β (U + pV).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from alchemlyb.estimators import MBAR
from ase import units
from numpy.typing import ArrayLike
from pymbar import bar
from pymbar.utils import BoundsError, ConvergenceError
from scipy.special import expit, logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.decorrelation import Decorrelated, decorrelate
from alchemflows.free_energy.errors import correlated_variance, small_sample_factor
from alchemflows.free_energy.integration import integrate
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import WindowSeries

#: Smallest overlap of neighbouring windows for reliable results of MBAR (Klimovich, Shirts & Mobley, J. Comput.-Aided
#: Mol. Des. 29, 397, 2015).
MIN_OVERLAP = 0.03
#: Smallest number of independent samples of a window for a reliable error.
MIN_INDEPENDENT = 10
#: Maximum number of iterations of MBAR. Far fewer suffice if there is a solution; without overlap there may be none.
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class LadderResult:
    """Estimates of the configurational ΔF = F(last λ) − F(first λ) for a ladder of K windows, and their diagnostics.

    Attributes
    ----------
    ti, bar, mbar
        ΔF and its standard error (eV) by each estimator; `bar` is None if BAR has no solution.
    ti_statistical_eV
        Statistical part of the error of `ti`.
    ti_weights, ti_slope_weights
        Quadrature weights of ⟨dU/dλ⟩ and of its slope in TI, each of shape (K,); those of slopes are zero for a given
        quadrature.
    ti_discretisation_eV
        Part of the error of `ti` due to the quadrature rule, from its differences to other rules; 0 for a given
        quadrature, infinite for two windows.
    mean_dudl_eV, error_dudl_eV
        ⟨dU/dλ⟩ over the independent samples, as used by TI, and its standard error, shape (K,).
    slope_dudl_eV
        d⟨dU/dλ⟩/dλ = ⟨d²U/dλ²⟩ − β var(dU/dλ) of each window, shape (K,).
    inefficiency
        Statistical inefficiency g of each window, in samples, shape (K,).
    n_samples
        Number of samples of each window, shape (K,).
    overlap
        MBAR overlap matrix, shape (K, K).
    variances_eV2
        Share of each window in the variance of ΔF by MBAR (eV²), shape (K,); scaled so that their sum is the squared
        error of `mbar`, see :func:`variance_shares`.
    free_energies_eV
        Free energy of each window relative to the first by MBAR, shape (K,).
    warnings
        Warnings about the reliability of the numbers.
    """

    ti: tuple[float, float]
    bar: tuple[float, float] | None
    mbar: tuple[float, float]
    ti_statistical_eV: float
    ti_weights: np.ndarray
    ti_slope_weights: np.ndarray
    ti_discretisation_eV: float
    mean_dudl_eV: np.ndarray
    error_dudl_eV: np.ndarray
    slope_dudl_eV: np.ndarray
    inefficiency: np.ndarray
    n_samples: np.ndarray
    overlap: np.ndarray
    variances_eV2: np.ndarray
    free_energies_eV: np.ndarray
    warnings: list[str]

    def misfits_eV(self, lambdas: Sequence[float]) -> np.ndarray:
        """Return ΔF between neighbours by the corrected trapezoid rule minus that by MBAR, shape (K − 1,)."""
        means, steps = self.mean_dudl_eV, np.diff(lambdas)
        corrected = steps * (means[1:] + means[:-1]) / 2 - steps**2 / 12 * np.diff(self.slope_dudl_eV)
        return corrected - np.diff(self.free_energies_eV)

    @property
    def n_independent(self) -> np.ndarray:
        """Number of independent samples of each window, n / g, shape (K,)."""
        return self.n_samples / self.inefficiency


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
        Samples of each window; their ``energies_eV`` have K columns in the order of `lambdas`. They are read one window
        at a time, so that a generator can be passed to save memory.
    temperature_K
        Temperature (K) of all windows.
    pressure_GPa
        Pressure (GPa) of all windows; None at constant volume.
    quadrature
        Quadrature weights of ⟨dU/dλ⟩, shape (K,); by default those of the corrected trapezoid rule.

    Raises
    ------
    InvalidInputError
        If there are fewer than two windows, or λ do not increase; if a window has fewer than two samples, energies at
        another number of windows, or values that are not finite.
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
    """Estimate ΔF from the independent samples of the windows; parameters as for :func:`analyse_ladder`."""
    if (np.diff(lambdas) <= 0).any():
        raise InvalidInputError(f"lambdas must increase; got {list(lambdas)}")
    if len(lambdas) < 2 or len(windows) != len(lambdas):
        raise InvalidInputError(
            f"lambdas and series must have the same length, at least 2; got {len(lambdas)} λ and {len(windows)} series"
        )
    beta = 1 / (units.kB * temperature_K)
    inefficiency = np.array([window.inefficiency for window in windows])
    n_samples = np.array([window.n_samples for window in windows])
    integral = integrate(lambdas, windows, beta, quadrature)
    means = integral.means_eV
    guess = beta * np.concatenate([[0.0], np.cumsum(np.diff(lambdas) * (means[1:] + means[:-1]) / 2)])
    solver = MBAR(initial_f_k=guess, maximum_iterations=MAX_ITERATIONS)
    mbar = solver.fit(u_nk(lambdas, windows, temperature_K, pressure_GPa))
    free_energies = mbar.delta_f_.iloc[0].to_numpy(dtype=float)
    steps = mbar_influences([beta * w.gaps_eV for w in windows], free_energies)
    shares = _shares(steps)
    error, remaining = _mbar_error(float(mbar.d_delta_f_.iloc[0, -1]) / beta, steps, shares)
    result = LadderResult(
        ti=(integral.value_eV, integral.error_eV),
        bar=_bar([window.gaps_eV for window in windows], beta),
        mbar=(float(free_energies[-1]) / beta, error),
        ti_statistical_eV=integral.statistical_eV,
        ti_weights=integral.weights,
        ti_slope_weights=integral.slope_weights,
        ti_discretisation_eV=integral.discretisation_eV,
        mean_dudl_eV=means,
        error_dudl_eV=np.array([_error_of_window(window, remaining) for window in windows]),
        slope_dudl_eV=integral.slopes_eV,
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
    """Return the share of each window in the variance of f_K − f_1 by MBAR, shape (K,).

    The influence of sample n on the solution of the MBAR equations is −J⁺ W_n, where W is the matrix of sample weights
    of Shirts & Chodera (J. Chem. Phys. 129, 124105, 2008, eq. 9) and J = 1 − WᵀW N is the derivative of Σ_n W_ni − 1.
    The samples of a window are independent, so the variances of their influences about the mean of the window add up.
    The sum over all windows is the asymptotic variance of MBAR.

    Parameters as for :func:`mbar_influences`.
    """
    return _shares(mbar_influences(reduced, f_k))


def mbar_influences(reduced: Sequence[np.ndarray], f_k: ArrayLike) -> list[np.ndarray]:
    """Return the influence of each sample on f_K − f_1 by MBAR (k_B T), one array of shape (m,) for each window.

    Parameters
    ----------
    reduced
        Reduced energies of the samples of each window at all K windows, up to a constant for each sample; arrays of
        shape (m, K).
    f_k
        Reduced free energies by MBAR, shape (K,). If one is not finite, all influences are NaN.
    """
    counts = np.array([len(window) for window in reduced])
    u = np.concatenate(reduced)
    f = np.asarray(f_k, dtype=float)
    if not np.isfinite(f).all():
        return [np.full(count, np.nan) for count in counts]
    log_weights = f - u
    weights = np.exp(log_weights - logsumexp(log_weights, b=counts, axis=1, keepdims=True))
    jacobian = np.eye(len(counts)) - (weights.T @ weights) * counts
    influence = weights @ np.linalg.pinv(jacobian).T
    # A sample that is typical of a window increases its partition function, and so decreases f.
    return np.split(influence[:, 0] - influence[:, -1], np.cumsum(counts)[:-1])


def _shares(influences: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(step) ** 2 / max(len(step) - 1, 1) * step.var() for step in influences])


def _mbar_error(asymptotic: float, influences: Sequence[np.ndarray], shares: np.ndarray) -> tuple[float, float]:
    """Return the error of MBAR in the unit of `asymptotic`, and the ratio of variances to those of independent samples.

    The asymptotic error of MBAR assumes independent samples. Kept samples at intervals of the statistical inefficiency
    are still slightly correlated: for exponential correlations, the variance of their mean is 1.3 times larger.
    """
    if not (np.isfinite(asymptotic) and np.isfinite(shares).all()):
        return asymptotic, 1.0
    variance = correlated_variance(influences, n_fitted=1)
    remaining = variance.value / shares.sum() if shares.sum() > 0 else 1.0
    return asymptotic * float(np.sqrt(remaining)) * small_sample_factor(variance.degrees_of_freedom), remaining


def _error_of_window(window: Decorrelated, remaining: float) -> float:
    """Return the standard error of ⟨dU/dλ⟩ over the kept samples of a window (eV)."""
    m = len(window.dudl_eV)
    spread = window.spread_dudl_eV / np.sqrt(max(1 - window.inefficiency / window.n_samples, 0.5))
    return float(spread * np.sqrt(max(1.0, remaining) / m)) * small_sample_factor(m - 1)


def u_nk(
    lambdas: Sequence[float], windows: Sequence[Decorrelated], temperature_K: float, pressure_GPa: float | None = None
) -> pd.DataFrame:
    """Return the reduced energies of a ladder in the format of alchemlyb's ``MBAR`` and ``BAR``.

    Parameters
    ----------
    lambdas
        λ of the K windows.
    windows
        Independent samples of each window, m in total.
    temperature_K, pressure_GPa
        Temperature (K) and pressure (GPa); None at constant volume.

    Returns
    -------
    frame
        β (U + pV) minus β U of the same sample at its own λ (kT), shape (m, K). Columns are λ; the index is ``time``
        (ps) and ``fep-lambda``.
    """
    pressure = 0.0 if pressure_GPa is None else pressure_GPa * units.GPa
    # pV of a sample is the same at all λ, so estimates do not depend on it.
    energies = [window.gaps_eV + pressure * window.volume_A3[:, None] for window in windows]
    return _frame(lambdas, windows, np.concatenate(energies), list(lambdas), temperature_K)


def dhdl(lambdas: Sequence[float], windows: Sequence[Decorrelated], temperature_K: float) -> pd.DataFrame:
    """Return β dU/dλ of a ladder (kT) in the format of alchemlyb's ``TI``, as column ``fep``; see :func:`u_nk`."""
    return _frame(lambdas, windows, np.concatenate([window.dudl_eV for window in windows]), ["fep"], temperature_K)


def _frame(
    lambdas: Sequence[float],
    windows: Sequence[Decorrelated],
    energies_eV: np.ndarray,
    columns: list,
    temperature_K: float,
) -> pd.DataFrame:
    """Return the energies of all samples as a data frame in kT, one window after the other."""
    time_ps = np.concatenate([window.time_fs for window in windows]) * 1e-3
    own = np.repeat(lambdas, [len(window.time_fs) for window in windows])
    index = pd.MultiIndex.from_arrays([time_ps, own], names=["time", "fep-lambda"])
    frame = pd.DataFrame(energies_eV / (units.kB * temperature_K), index=index, columns=columns)
    frame.attrs = {"temperature": temperature_K, "energy_unit": "kT"}
    return frame


def _bar(gaps: list[np.ndarray], beta: float) -> tuple[float, float] | None:
    """Return the sum of BAR over all neighbours and its error (eV); None if BAR has no solution.

    `gaps` are the :attr:`Decorrelated.gaps_eV` of each window. The samples of a window contribute to ΔF on both sides
    of it, so the influences are added before the variance is computed. BAR has no solution without overlap, or if all
    ΔU are equal.
    """
    total, moved = 0.0, [np.zeros(len(g)) for g in gaps]
    try:
        with np.errstate(invalid="ignore"):
            for k in range(len(gaps) - 1):
                forward, backward = beta * gaps[k][:, k + 1], beta * gaps[k + 1][:, k]
                step = float(bar(forward, backward, compute_uncertainty=False)["Delta_f"])
                ahead, behind = bar_influences(forward, backward, step)
                moved[k] += ahead
                moved[k + 1] += behind
                total += step
    except (BoundsError, ConvergenceError):
        return None
    return total / beta, correlated_variance(moved, n_fitted=1).error / beta


def bar_influences(forward: ArrayLike, backward: ArrayLike, delta_f: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the influence of each work on ΔF by BAR, up to a constant for each direction; all in k_B T.

    ΔF solves Σ_f f(M + W_f − ΔF) = Σ_b f(−M + W_b + ΔF) with f(x) = 1/(1 + eˣ) and M = ln(n_f / n_b) (Shirts, Bair,
    Hooker & Pande, Phys. Rev. Lett. 91, 140601, 2003). The influences follow from a linearisation of this equation.
    """
    ahead, behind = np.asarray(forward, dtype=float), np.asarray(backward, dtype=float)
    m = np.log(len(ahead) / len(behind))
    one, other = expit(delta_f - ahead - m), expit(m - behind - delta_f)
    slope = (one * (1 - one)).sum() + (other * (1 - other)).sum()
    return -one / slope, other / slope


def _warnings(lambdas: Sequence[float], result: LadderResult) -> list[str]:
    thin = [
        Reason.OVERLAP.because(first=lambdas[k], second=lambdas[k + 1], overlap=overlap, least=MIN_OVERLAP)
        for k, overlap in enumerate(np.diagonal(result.overlap, offset=1))
        if overlap < MIN_OVERLAP
    ]
    short = [
        Reason.FEW_SAMPLES.because(window=lambdas[k], n=n, least=MIN_INDEPENDENT)
        for k, n in enumerate(result.n_independent)
        if n < MIN_INDEPENDENT
    ]
    unsolved = []
    if result.bar is None and (np.diagonal(result.overlap, offset=1) >= MIN_OVERLAP).all():
        unsolved = [Reason.EQUAL_ENERGIES.because()]
    elif result.bar is None:
        unsolved = [Reason.NO_SOLUTION.because()]
    unknown = []
    if not np.isfinite(result.mbar).all():
        unknown = [Reason.NO_ERROR.because()]
    return thin + short + unsolved + unknown
