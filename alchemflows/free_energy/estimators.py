"""ΔF from the samples of a ladder of windows: TI, BAR and MBAR through alchemlyb, after decorrelation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from alchemlyb.estimators import MBAR, TI
from ase import units
from pymbar import bar
from pymbar.timeseries import statistical_inefficiency, subsample_correlated_data
from pymbar.utils import BoundsError, ConvergenceError

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import WindowSeries

# alchemlyb leaves pymbar's bootstrap solver at a value that pymbar warns of, though nothing is bootstrapped.
logging.getLogger("pymbar.mbar").setLevel(logging.ERROR)

#: MBAR needs neighbours that overlap at least this much (Klimovich, Shirts & Mobley, J. Comput.-Aided
#: Mol. Des. 29, 397, 2015).
MIN_OVERLAP = 0.03
#: Below this many independent samples a window's error bar is itself a guess.
MIN_INDEPENDENT = 10
#: Bootstraps for the error of BAR; the error is then itself known to about 7 %.
N_BOOTSTRAPS = 100


@dataclass(frozen=True)
class LadderResult:
    """ΔF = F(last λ) − F(first λ), configurational part, eV, with what it rests on; K windows.

    Attributes
    ----------
    ti, bar, mbar
        Each (ΔF, standard error), eV; `bar` is None where BAR finds no solution.
    mean_dudl_eV, error_dudl_eV
        ⟨dU/dλ⟩ over the independent samples, as TI takes it, and its standard error, shape (K,).
    inefficiency
        Statistical inefficiency g of each window, in samples, shape (K,).
    n_samples
        Samples of each window, shape (K,).
    overlap
        MBAR overlap matrix, shape (K, K).
    warnings
        What a reader of the numbers must know.
    """

    ti: tuple[float, float]
    bar: tuple[float, float] | None
    mbar: tuple[float, float]
    mean_dudl_eV: np.ndarray
    error_dudl_eV: np.ndarray
    inefficiency: np.ndarray
    n_samples: np.ndarray
    overlap: np.ndarray
    warnings: list[str]

    @property
    def n_independent(self) -> np.ndarray:
        """Independent samples of each window, n / g, shape (K,)."""
        return self.n_samples / self.inefficiency


@dataclass(frozen=True)
class _Window:
    """A window after decorrelation; m samples are kept of n."""

    n_samples: int
    inefficiency: float
    spread_dudl_eV: float
    time_fs: np.ndarray  # (m,)
    dudl_eV: np.ndarray  # (m,)
    # Relative to the window's own energy, which keeps the exponents small; the estimators see differences only.
    gaps_eV: np.ndarray  # (m, K)


def analyse_ladder(lambdas: Sequence[float], series: Iterable[WindowSeries], temperature_K: float) -> LadderResult:
    """Estimate ΔF along a ladder of windows at constant volume.

    Parameters
    ----------
    lambdas
        λ of the K windows, increasing.
    series
        Samples of each window; their ``energies_eV`` have K columns in the order of `lambdas`. They are taken
        one at a time, so that a generator need not hold a whole ladder in memory.
    temperature_K
        Temperature of all windows.

    Raises
    ------
    InvalidInputError
        If there are fewer than two windows, λ do not increase, or a window has no more than one sample,
        another number of columns, or a sample that is not finite.
    """
    if (np.diff(lambdas) <= 0).any():
        raise InvalidInputError(f"the λ of the windows must increase: {list(lambdas)}")
    windows = [_decorrelate(lambdas, k, samples) for k, samples in enumerate(series) if k < len(lambdas)]
    if len(lambdas) < 2 or len(windows) != len(lambdas):
        raise InvalidInputError(f"{len(windows)} series for {len(lambdas)} windows; at least two are needed")
    beta = 1 / (units.kB * temperature_K)
    u_nk = _frame(lambdas, windows, [pd.DataFrame(beta * w.gaps_eV, columns=list(lambdas)) for w in windows])
    dhdl = _frame(lambdas, windows, [pd.DataFrame({"fep": beta * w.dudl_eV}) for w in windows])
    mbar = MBAR(initial_f_k=None).fit(u_nk)
    inefficiency = np.array([window.inefficiency for window in windows])
    n_samples = np.array([window.n_samples for window in windows])
    result = LadderResult(
        ti=_ends(TI().fit(dhdl), beta),
        bar=_bar([window.gaps_eV for window in windows], beta),
        mbar=_ends(mbar, beta),
        mean_dudl_eV=np.array([window.dudl_eV.mean() for window in windows]),
        error_dudl_eV=np.array([w.spread_dudl_eV for w in windows]) * np.sqrt(inefficiency / n_samples),
        inefficiency=inefficiency,
        n_samples=n_samples,
        overlap=np.asarray(mbar.overlap_matrix),
        warnings=[],
    )
    result.warnings.extend(_warnings(lambdas, result))
    return result


def _decorrelate(lambdas: Sequence[float], k: int, samples: WindowSeries) -> _Window:
    if len(samples) < 2 or samples.energies_eV.shape[1] != len(lambdas):
        raise InvalidInputError(
            f"window λ = {lambdas[k]:g} has samples of shape {samples.energies_eV.shape}; "
            f"at least 2 samples at {len(lambdas)} λ are needed"
        )
    if not (np.isfinite(samples.dudl_eV).all() and np.isfinite(samples.energies_eV).all()):
        raise InvalidInputError(f"window λ = {lambdas[k]:g} has samples that are not finite numbers")
    inefficiency = _inefficiency(k, samples)
    kept = subsample_correlated_data(samples.dudl_eV, g=inefficiency)
    return _Window(
        n_samples=len(samples),
        inefficiency=inefficiency,
        spread_dudl_eV=float(samples.dudl_eV.std(ddof=1)),
        time_fs=samples.time_fs[kept],
        dudl_eV=samples.dudl_eV[kept],
        gaps_eV=samples.energies_eV[kept] - samples.energies_eV[kept, k][:, None],
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


def _frame(lambdas: Sequence[float], windows: Sequence[_Window], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the frames of all windows into one as alchemlyb wants it: reduced energies, time in ps."""
    for value, window, frame in zip(lambdas, windows, frames, strict=True):
        frame.index = pd.MultiIndex.from_arrays(
            [window.time_fs * 1e-3, np.full(len(frame), value)], names=["time", "fep-lambda"]
        )
    joined = pd.concat(frames)
    joined.attrs = {"energy_unit": "kT", "temperature": 1.0}
    return joined


def _ends(estimator: TI | MBAR, beta: float) -> tuple[float, float]:
    return float(estimator.delta_f_.iloc[0, -1]) / beta, float(estimator.d_delta_f_.iloc[0, -1]) / beta


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
    unsolved = [] if result.bar is not None else ["BAR finds no solution: neighbouring windows do not overlap"]
    unknown = [] if np.isfinite(result.mbar).all() else ["MBAR gives no finite error: the windows do not overlap"]
    return thin + short + unsolved + unknown
