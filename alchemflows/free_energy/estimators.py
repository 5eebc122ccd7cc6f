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
from pymbar.utils import BoundsError, ConvergenceError
from scipy.special import expit, logsumexp

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.decorrelation import Decorrelated, decorrelate
from alchemflows.free_energy.errors import correlated_variance, small_sample_factor
from alchemflows.free_energy.integration import integrate
from alchemflows.schemas.samples import WindowSeries

# alchemlyb leaves pymbar's bootstrap solver at a value that pymbar warns of, though nothing is bootstrapped; and that a
# solver has failed says little, since another comes next. Names of loggers as seen in pymbar 4.
for _name in ("pymbar.mbar", "pymbar.mbar_solvers"):
    logging.getLogger(_name).setLevel(logging.ERROR)

#: MBAR needs neighbours that overlap at least this much (Klimovich, Shirts & Mobley, J. Comput.-Aided
#: Mol. Des. 29, 397, 2015).
MIN_OVERLAP = 0.03
#: Below this many independent samples a window's error bar is itself a guess.
MIN_INDEPENDENT = 10
#: Newton's method for MBAR has converged long before, or never will, as without overlap.
MAX_ITERATIONS = 1000


@dataclass(frozen=True)
class LadderResult:
    """ΔF = F(last λ) − F(first λ), configurational part, eV, with what it rests on; K windows.

    Attributes
    ----------
    ti, bar, mbar
        Each (ΔF, standard error), eV; `bar` is None where BAR finds no solution.
    ti_statistical_eV
        The part of the error of `ti` that is not that of its rule.
    ti_weights, ti_slope_weights
        Weights of ⟨dU/dλ⟩ and of its slope in TI, each shape (K,); the slopes have none in a given quadrature.
    ti_discretisation_eV
        The error of TI's rule, from its difference with every other window; part of the error of `ti`. 0 for a given
        quadrature; infinite with two windows.
    mean_dudl_eV, error_dudl_eV
        ⟨dU/dλ⟩ over the independent samples, as TI takes it, and its standard error, shape (K,).
    slope_dudl_eV
        d⟨dU/dλ⟩/dλ of each window, ⟨d²U/dλ²⟩ − β var(dU/dλ), shape (K,).
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
        """Return ΔF between neighbours by the corrected trapezoid rule less that by MBAR, shape (K − 1,)."""
        means, steps = self.mean_dudl_eV, np.diff(lambdas)
        corrected = steps * (means[1:] + means[:-1]) / 2 - steps**2 / 12 * np.diff(self.slope_dudl_eV)
        return corrected - np.diff(self.free_energies_eV)

    @property
    def n_independent(self) -> np.ndarray:
        """Independent samples of each window, n / g, shape (K,)."""
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
    """Return the share of each window in the variance of MBAR's f_K − f_1, shape (K,).

    A sample n moves the solution of the MBAR equations by −J⁺ W_n, with W the matrix of weights of Shirts & Chodera
    (J. Chem. Phys. 129, 124105, 2008, eq. 9) and J = 1 − WᵀW N the derivative of Σ_n W_ni − 1; samples of one window
    are independent of one another, so that their influences add in variance, about the window's mean. The sum is
    MBAR's asymptotic variance.

    See :func:`mbar_influences` for the parameters.
    """
    return _shares(mbar_influences(reduced, f_k))


def mbar_influences(reduced: Sequence[np.ndarray], f_k: ArrayLike) -> list[np.ndarray]:
    """Return by how much each sample moves MBAR's f_K − f_1, k_B T, an array (m,) for each window.

    Parameters
    ----------
    reduced
        Reduced energies of each window's samples at all K windows, up to a constant for each sample, each (m, K).
    f_k
        MBAR's reduced free energies, shape (K,); where they are not finite, neither are the influences.
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
    return np.split(influence[:, -1] - influence[:, 0], np.cumsum(counts)[:-1])


def _shares(influences: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(step) ** 2 / max(len(step) - 1, 1) * step.var() for step in influences])


def _mbar_error(asymptotic: float, influences: Sequence[np.ndarray], shares: np.ndarray) -> tuple[float, float]:
    """Return MBAR's error, and by which factor variances exceed those of independent samples.

    Kept samples are a statistical inefficiency apart, at which an exponential memory still makes the variance of their
    mean 1.3 times that of independent ones. The asymptotic error takes them to be independent.
    """
    if not (np.isfinite(asymptotic) and np.isfinite(shares).all()):
        return asymptotic, 1.0
    variance = correlated_variance(influences, n_fitted=1)
    remaining = variance.value / shares.sum() if shares.sum() > 0 else 1.0
    return asymptotic * float(np.sqrt(remaining)) * small_sample_factor(variance.degrees_of_freedom), remaining


def _error_of_window(window: Decorrelated, remaining: float) -> float:
    """Return the standard error of a window's mean of its kept samples, eV."""
    m = len(window.dudl_eV)
    spread = window.spread_dudl_eV / np.sqrt(max(1 - window.inefficiency / window.n_samples, 0.5))
    return float(spread * np.sqrt(max(1.0, remaining) / m)) * small_sample_factor(m - 1)


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


def _bar(gaps: list[np.ndarray], beta: float) -> tuple[float, float] | None:
    """Sum BAR over neighbours; gaps[k] are the energies of window k's samples at all windows, less their own.

    A window's samples move the steps to both of its neighbours; its error is that of the sum of both. None where BAR
    finds no solution (no overlap, or no spread).
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
    """Return by how much each work moves BAR's ΔF, up to a constant for each direction; all in k_B T.

    ΔF solves Σ_f f(M + W_f − ΔF) = Σ_b f(−M + W_b + ΔF), f(x) = 1/(1 + eˣ), M = ln(n_f / n_b) (Shirts, Bair, Hooker
    & Pande, Phys. Rev. Lett. 91, 140601, 2003); the influences are those of its linear form.
    """
    ahead, behind = np.asarray(forward, dtype=float), np.asarray(backward, dtype=float)
    m = np.log(len(ahead) / len(behind))
    one, other = expit(delta_f - ahead - m), expit(m - behind - delta_f)
    slope = (one * (1 - one)).sum() + (other * (1 - other)).sum()
    return -one / slope, other / slope


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
