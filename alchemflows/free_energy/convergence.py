"""Convergence tests for the estimate of a ladder: drift, equilibration, consistency of windows and other warnings.

Each test gives the probability that noise alone causes a deviation of at least the size seen. Since a ladder has many
windows and pairs, the smallest of these probabilities is compared with the rate of false alarms allowed for the whole
ladder (Šidák, J. Am. Stat. Assoc. 62, 626, 1967). Forward and backward convergence follow Klimovich, Shirts & Mobley
(J. Comput.-Aided Mol. Des. 29, 397, 2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from pymbar import MBAR
from pymbar.timeseries import statistical_inefficiency
from pymbar.utils import ConvergenceError, ParameterError
from scipy.stats import norm, t

from alchemflows.free_energy.consistency import Agreement, inflations, sigmas
from alchemflows.free_energy.decorrelation import Decorrelated, decorrelate
from alchemflows.free_energy.estimators import LadderResult
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import WindowSeries

FRACTIONS = tuple(round(0.1 * k, 1) for k in range(1, 11))
#: Largest number of independent samples per window for the convergence curve; more samples do not change it visibly.
MAX_SAMPLES = 300
#: Allowed rate of false alarms per ladder for each kind of test. The measured rate for shifts is a third of its value.
ALLOWED = {"halves": 3e-3, "shifts": 8e-3, "pairs": 2e-3, "breaks": 2e-3, "starts": 2e-3}
#: TI and MBAR disagree if they differ by more standard errors. They use the same samples, so this is rarely chance.
MAX_SIGMA = 3.0
#: With fewer independent samples in a typical window, neither the error nor the tests are meaningful.
MIN_TYPICAL = 20
#: Splits of a production run within this fraction of its ends are not considered.
_EDGE = 0.1
#: A difference counts as drift if noise alone causes it with less than this probability.
CHANCE = 1e-3
#: Number of coefficients of the parabola that removes a drift from the noise.
N_TREND = 3
#: Maximum number of iterations of MBAR. From a good guess about a dozen suffice; without overlap there is no solution.
_ITERATIONS = 100

Value = tuple[float, float]


@dataclass(frozen=True)
class Equilibration:
    """Largest shift of the mean of a series.

    Attributes
    ----------
    fraction
        Position of the shift as a fraction of the production.
    shift_sigma
        Difference of the means before and after, in standard errors.
    chance
        Probability that a stationary series has a shift of at least this size anywhere.
    """

    fraction: float
    shift_sigma: float
    chance: float

    def is_late(self, n_windows: int = 1) -> bool:
        """Return whether the production started before equilibrium, or jumped, given that `n_windows` are tested."""
        return bool(self.chance < _each("shifts", n_windows))


@dataclass(frozen=True)
class Convergence:
    """ΔF by MBAR (eV) with standard errors, from the first and from the last fractions of each window.

    An estimate is None if MBAR has no solution. `halves_sigma` is the difference between the first and the second half
    of all windows in standard errors; `degrees_of_freedom` are those of that error. Errors include the remaining
    correlation between kept samples, see :func:`~alchemflows.free_energy.consistency.inflations`.
    """

    fractions: tuple[float, ...]
    forward: list[Value | None]
    backward: list[Value | None]
    degrees_of_freedom: float = np.inf

    @property
    def halves_sigma(self) -> float | None:
        """Difference of the two halves in standard errors; None if MBAR has no solution for a half."""
        first, second = (curve[self.fractions.index(0.5)] for curve in (self.forward, self.backward))
        if first is None or second is None:
            return None
        return sigma_between(first, second)

    @property
    def halves_drift(self) -> bool:
        """Whether the halves differ by more than noise can explain."""
        sigma = self.halves_sigma
        return sigma is not None and 2 * float(t.sf(sigma, self.degrees_of_freedom)) < ALLOWED["halves"]


def sigma_between(a: Value, b: Value) -> float:
    """Return the absolute difference of two independent estimates in standard errors."""
    error = float(np.hypot(a[1], b[1]))
    return abs(a[0] - b[0]) / error if error > 0 else (0.0 if a[0] == b[0] else float("inf"))


def equilibration(observables: Sequence[np.ndarray], inefficiency: float = 1.0) -> Equilibration:
    """Search for a shift in the series of one window (dU/dλ, and the volume if it varies) and return the worst one.

    Parameters
    ----------
    observables
        Series of the production of the window.
    inefficiency
        Lower bound of the statistical inefficiency, taken from other windows, since a short series often gives too low
        a value.
    """
    found = [_shift(a, inefficiency) for a in observables if np.ptp(a) > 1e-12 * np.abs(a).max()]
    worst = min(found, key=lambda e: e.chance, default=Equilibration(0.0, 0.0, 1.0))
    return replace(worst, chance=1 - (1 - worst.chance) ** max(1, len(found)))


def drift(what: str, series: np.ndarray) -> list[str]:
    """Return a warning if a quantity of B replicas, shape (n, B), drifts during production; otherwise an empty list.

    The test compares the two halves. Their noise is measured about a parabola through the mean of the replicas, so that
    a drift does not count as noise. The threshold is larger if fewer samples are independent.
    """
    n = len(series)
    mean, time = series.mean(axis=1), np.linspace(-1, 1, n)
    if n < 2 * N_TREND or np.ptp(mean) <= 1e-12 * np.abs(mean).max():
        return []
    noise = series - np.polynomial.Polynomial.fit(time, mean, N_TREND - 1)(time)[:, None]
    noise -= noise.mean(axis=0)
    inefficiency = np.mean([statistical_inefficiency(replica) for replica in noise.T])
    error = np.sqrt(4 * noise.var() * inefficiency / noise.size)
    sigma = float(abs(mean[n // 2 :].mean() - mean[: n // 2].mean()) / error)
    if sigma < t.isf(CHANCE / 2, max(1.0, noise.size / inefficiency - N_TREND)):
        return []
    return [Reason.DRIFT.because(quantity=what, sigma=sigma)]


def _shift(series: np.ndarray, inefficiency: float) -> Equilibration:
    """Find the split of a series into two parts with the most different means.

    The probability is that of the largest shift over all splits, in the approximation of Miller & Siegmund (Biometrics
    38, 1011, 1982, eq. 8) for independent normal samples. The degrees of freedom of the error are those of the
    independent samples.
    """
    n = len(series)
    first, last = max(2, int(_EDGE * n)), min(n - 2, int((1 - _EDGE) * n))
    if n < 10 or last <= first:
        return Equilibration(0.0, 0.0, 1.0)
    before = np.arange(1, n)
    sums = np.cumsum(series - series.mean())[:-1]
    contrast = np.abs(sums) / np.sqrt(before * (1 - before / n))
    split = first + int(np.argmax(contrast[first - 1 : last]))
    residuals = np.concatenate([series[:split] - series[:split].mean(), series[split:] - series[split:].mean()])
    if not np.ptp(residuals) > 0:
        return Equilibration(split / n, float("inf"), 0.0)
    # Fitting two means removes part of the correlation, which is corrected here.
    own = statistical_inefficiency(residuals)
    g = max(own * (1 + 2 * own / n), inefficiency, 1.0)
    independent = n / g
    if independent < N_TREND + 1:
        return Equilibration(split / n, 0.0, 1.0)
    variance = residuals.var() * independent / (independent - 2)
    sigma = float(contrast[split - 1] / np.sqrt(variance * g))
    return Equilibration(split / n, sigma, _chance_of_largest(sigma, independent - 2))


def _chance_of_largest(sigma: float, degrees_of_freedom: float) -> float:
    z = float(norm.isf(min(0.5, t.sf(sigma, degrees_of_freedom))))
    if z < 1.5:
        return 1.0
    return float(min(1.0, norm.pdf(z) * ((z - 1 / z) * 2 * np.log((1 - _EDGE) / _EDGE) + 4 / z)))


def _each(test: str, n: int) -> float:
    """Return the allowed probability for each of n tests so that all of them together have the allowed rate."""
    return float(-np.expm1(np.log1p(-ALLOWED[test]) / max(n, 1)))


def steady(lambdas: Sequence[float], k: int, samples: WindowSeries) -> Decorrelated:
    """Return independent samples of window k for the comparison of halves, in which a drift is not correlation.

    The statistical inefficiency is that of the quantities used by the estimators, after a linear trend in time is
    removed.
    """
    time = np.linspace(-1, 1, len(samples))
    own = samples.energies_eV[:, k]
    neighbours = [j for j in (k - 1, k + 1) if 0 <= j < len(lambdas)]
    observables = [samples.dudl_eV, *(samples.energies_eV[:, j] - own for j in neighbours)]
    residuals = [a - np.polynomial.Polynomial.fit(time, a, 1)(time) for a in observables]
    varying = [r for r, a in zip(residuals, observables, strict=True) if np.ptp(r) > 1e-9 * np.abs(a).max()]
    return decorrelate(lambdas, k, samples, max([1.0, *(float(statistical_inefficiency(r)) for r in varying)]))


def convergence(
    windows: Sequence[Decorrelated],
    free_energies_eV: np.ndarray,
    temperature_K: float,
    shares: ArrayLike | None = None,
    fractions: Sequence[float] = FRACTIONS,
    whole: Value | None = None,
) -> Convergence:
    """Return ΔF by MBAR as a function of the fraction of each window that is used, forward and backward in time.

    Parameters
    ----------
    windows
        Independent samples of the K windows; at most :data:`MAX_SAMPLES` of each, evenly spaced in time, are used.
    free_energies_eV
        Free energies of the windows from which the solver starts, shape (K,).
    temperature_K
        Temperature (K).
    shares
        Share of each window in the variance, shape (K,), by which its degrees of freedom are weighted.
    fractions
        Fractions of the windows; they must include 0.5.
    whole
        Estimate from all samples of the ladder, which becomes the point of the fraction 1 if it is given.
    """
    beta = 1 / (units.kB * temperature_K)
    thinned = []
    for window in windows:
        n = len(window.gaps_eV)
        kept = np.unique(np.linspace(0, n - 1, min(n, MAX_SAMPLES)).round().astype(int))
        thinned.append(beta * window.gaps_eV[kept])
    counts = [[max(1, round(fraction * len(u))) for u in thinned] for fraction in fractions]
    guess = beta * np.nan_to_num(free_energies_eV)
    factor = float(np.sqrt(np.mean(inflations([window.inefficiency for window in windows]))))

    def curve(last: bool) -> list[Value | None]:
        parts = [[u[-n:] if last else u[:n] for u, n in zip(thinned, row, strict=True)] for row in counts]
        return [
            whole if whole is not None and fraction == 1 else _mbar(part, guess, beta, factor)
            for fraction, part in zip(fractions, parts, strict=True)
        ]

    forward, backward = curve(last=False), curve(last=True)
    shares = np.ones(len(thinned)) if shares is None else np.asarray(shares, dtype=float)
    freedom = np.array([max(len(u) / 2 - 1, 0.5) for u in thinned])
    together = shares.sum() ** 2 / (shares**2 / freedom).sum() if np.isfinite(shares).all() and shares.any() else np.inf
    return Convergence(tuple(fractions), forward, backward, 2 * float(together))


def _mbar(reduced: Sequence[np.ndarray], guess: np.ndarray, beta: float, factor: float) -> Value | None:
    try:
        with np.errstate(all="ignore"):
            solver = MBAR(
                np.concatenate(reduced).T,
                [len(u) for u in reduced],
                initial_f_k=guess,
                maximum_iterations=_ITERATIONS,
                solver_protocol=[
                    {"method": method, "options": {"maxiter": _ITERATIONS}} for method in ("adaptive", "L-BFGS-B")
                ],
            )
            result = solver.compute_free_energy_differences()
    except (ConvergenceError, ParameterError, np.linalg.LinAlgError):
        return None
    value, error = float(result["Delta_f"][0, -1]) / beta, factor * float(result["dDelta_f"][0, -1]) / beta
    return (value, error) if np.isfinite([value, error]).all() else None


def least_inefficiency(result: LadderResult) -> float:
    """Return the lower bound of the statistical inefficiency for tests: the median over the ladder.

    The estimate for a single short series is often too low, which would cause false alarms.
    """
    return float(np.median(result.inefficiency))


def reasons_against(
    lambdas: Sequence[float],
    result: LadderResult,
    halves: Convergence,
    equilibrations: Sequence[Equilibration],
    agreement: Agreement,
    *,
    target_eV: float | None = None,
) -> list[str]:
    """Return the reasons why the estimate of a ladder has not converged; an empty list if it has.

    Possible reasons are the warnings of the estimate (too little overlap, too few independent samples, an estimator
    without a solution), halves of the sampling that disagree, a window whose mean shifts, windows that do not sample
    one ensemble, TI and MBAR that differ by more than noise and the discretisation of TI explain, and an error above
    its target.
    """
    reasons = list(result.warnings)
    typical = float(np.median(result.n_independent))
    if typical < MIN_TYPICAL:
        reasons.append(Reason.FEW_TYPICAL.because(n=typical, least=MIN_TYPICAL))
    sigma = halves.halves_sigma
    if sigma is None:
        reasons.append(Reason.NO_HALVES.because())
    elif halves.halves_drift:
        reasons.append(Reason.HALVES.because(sigma=sigma))
    reasons += [
        Reason.SHIFT.because(window=value, sigma=found.shift_sigma, percent=100 * found.fraction)
        for value, found in zip(lambdas, equilibrations, strict=True)
        if found.is_late(len(lambdas))
    ]
    reasons += _disagreements(lambdas, agreement)
    difference, error = abs(result.ti[0] - result.mbar[0]), float(np.hypot(result.ti_statistical_eV, result.mbar[1]))
    if difference > MAX_SIGMA * error + result.ti_discretisation_eV:
        reasons.append(Reason.ESTIMATORS.because(difference=difference, sigma=difference / error))
    if target_eV is not None and not result.mbar[1] <= target_eV:
        reasons.append(Reason.TARGET_ERROR.because(error=result.mbar[1], target=target_eV))
    return reasons


def _disagreements(lambdas: Sequence[float], agreement: Agreement) -> list[str]:
    reasons = []
    if agreement.starts < ALLOWED["starts"]:
        reasons.append(Reason.STARTS.because(sigma=sigmas(agreement.starts)))
    reasons += [
        Reason.PAIR.because(first=lambdas[k], second=lambdas[k + 1], sigma=sigmas(chance))
        for k, chance in enumerate(agreement.pairs)
        if chance < _each("pairs", len(agreement.pairs))
    ]
    if agreement.breaks and min(agreement.breaks) < _each("breaks", len(agreement.breaks)):
        k = int(np.argmin(agreement.breaks))
        sigma = sigmas(agreement.breaks[k])
        reasons.append(Reason.HYSTERESIS.because(first=lambdas[k], second=lambdas[k + 1], sigma=sigma))
    return reasons
