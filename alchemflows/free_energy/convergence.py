"""Whether the estimate of a ladder has converged: drift, equilibration, one ensemble, and what else speaks against it.

Each test gives the probability that noise alone makes so large a deviation. A ladder has many windows and pairs, so the
least of these probabilities is compared with the share of false alarms that the whole ladder may have (Šidák, J. Am.
Stat. Assoc. 62, 626, 1967). Forward and backward convergence as Klimovich, Shirts & Mobley (J. Comput.-Aided Mol. Des.
29, 397, 2015) have it.
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
from alchemflows.schemas.samples import WindowSeries

FRACTIONS = tuple(round(0.1 * k, 1) for k in range(1, 11))
#: Independent samples of a window that the curve takes; more would cost more and show the same.
MAX_SAMPLES = 300
#: Shares of good ladders that each kind of test may refuse; that of shifts refuses a third of its share, as measured.
ALLOWED = {"halves": 3e-3, "shifts": 8e-3, "pairs": 2e-3, "breaks": 2e-3, "starts": 2e-3}
#: TI and MBAR that differ by more standard errors disagree. They share their samples: chance hardly ever does it.
MAX_SIGMA = 3.0
#: Below this many independent samples in most windows, neither the error nor a test of it means much.
MIN_TYPICAL = 20
#: A production is not split nearer to its ends than this share of it.
_EDGE = 0.1
#: A difference that noise alone makes with this probability is a drift.
CHANCE = 1e-3
#: Coefficients of the parabola that takes a drift out of the noise.
N_TREND = 3
#: From a good guess a solution takes a dozen; without overlap there is none.
_ITERATIONS = 100

Value = tuple[float, float]


@dataclass(frozen=True)
class Equilibration:
    """Where the mean of one series changes most.

    Attributes
    ----------
    fraction
        Where in the production that is.
    shift_sigma
        By how many standard errors the means before and after differ.
    chance
        Probability that a stationary series has so large a shift anywhere.
    """

    fraction: float
    shift_sigma: float
    chance: float

    def is_late(self, n_windows: int = 1) -> bool:
        """Whether the production began before equilibrium, or jumped; `n_windows` windows are looked at."""
        return bool(self.chance < _each("shifts", n_windows))


@dataclass(frozen=True)
class Convergence:
    """MBAR's ΔF, eV, with errors, from the first and from the last part of each window, against that part.

    An estimate is None where MBAR has no solution. `halves_sigma` says by how many standard errors the first and the
    second half of all windows differ; `degrees_of_freedom` are those of that error. Errors count the
    correlation that is left between kept samples, see :func:`~alchemflows.free_energy.consistency.inflations`.
    """

    fractions: tuple[float, ...]
    forward: list[Value | None]
    backward: list[Value | None]
    degrees_of_freedom: float = np.inf

    @property
    def halves_sigma(self) -> float | None:
        """Difference of the two halves in units of its standard error."""
        first, second = (curve[self.fractions.index(0.5)] for curve in (self.forward, self.backward))
        if first is None or second is None:
            return None
        return sigma_between(first, second)

    @property
    def halves_drift(self) -> bool:
        """Whether the halves differ by more than noise explains."""
        sigma = self.halves_sigma
        return sigma is not None and 2 * float(t.sf(sigma, self.degrees_of_freedom)) < ALLOWED["halves"]


def sigma_between(a: Value, b: Value) -> float:
    """Return the difference of two independent estimates in units of its standard error."""
    error = float(np.hypot(a[1], b[1]))
    return abs(a[0] - b[0]) / error if error > 0 else (0.0 if a[0] == b[0] else float("inf"))


def equilibration(observables: Sequence[np.ndarray], inefficiency: float = 1.0) -> Equilibration:
    """Look for a shift in the series of one window, dU/dλ and perhaps the volume; return the worst.

    Parameters
    ----------
    observables
        Series of its production.
    inefficiency
        Statistical inefficiency at least, as other windows of the ladder have it: that of a short series is often low.
    """
    found = [_shift(a, inefficiency) for a in observables if np.ptp(a) > 1e-12 * np.abs(a).max()]
    worst = min(found, key=lambda e: e.chance, default=Equilibration(0.0, 0.0, 1.0))
    return replace(worst, chance=1 - (1 - worst.chance) ** max(1, len(found)))


def drift(what: str, series: np.ndarray) -> list[str]:
    """Return what speaks against a production in which a quantity of B replicas, shape (n, B), drifts.

    The two halves are compared. Their noise is that about a parabola through the replicas' mean, for a drift must not
    count as noise; the fewer samples of it are independent, the larger the difference that chance explains.
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
    return [f"{what} drifts: the halves of the production differ by {sigma:.1f} σ"]


def _shift(series: np.ndarray, inefficiency: float) -> Equilibration:
    """Find the split of a series whose parts have the most different means.

    The chance is that of the largest of all splits, for which Miller & Siegmund (Biometrics 38, 1011, 1982, eq. 8) give
    an approximation for independent normal samples; the error has the degrees of freedom of its independent samples.
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
    # Two means that were fitted take a part of the correlation with them.
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
    """Return the chance that one of n tests may have, so that all of them together have what is allowed."""
    return float(-np.expm1(np.log1p(-ALLOWED[test]) / max(n, 1)))


def steady(lambdas: Sequence[float], k: int, samples: WindowSeries) -> Decorrelated:
    """Return the independent samples of window k as the halves are compared by: a drift does not count as correlation.

    The statistical inefficiency is that of what the estimators read less its straight line in time.
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
    """Return MBAR's ΔF against the part of each window that it is computed from, forward and backward in time.

    Each window gives at most :data:`MAX_SAMPLES` of its independent samples, evenly over its time. The solver begins
    at the free energies of the windows. The degrees of freedom of each window count by its share in the variance.
    Fractions, one half among them, are the parts of the windows; `whole` is the estimate from all samples of the
    ladder, the point of the fraction 1 if it is given.
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
    """Return the statistical inefficiency that tests take for each window at least: the median of the ladder.

    That of a short series is often too low by chance, and tests that trust it then see what is not there.
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
    """Return what speaks against the estimate of a ladder, in words; nothing if it has converged.

    These are too little overlap, too few independent samples and estimators without a solution (the warnings of the
    estimate); halves of the sampling that disagree; windows whose mean shifts; windows whose samples are not of one
    ensemble; TI and MBAR that disagree by more than chance and the discretisation of TI allow; and an error above its
    target.
    """
    reasons = list(result.warnings)
    typical = float(np.median(result.n_independent))
    if typical < MIN_TYPICAL:
        reasons.append(
            f"windows have some {typical:.0f} independent samples (below {MIN_TYPICAL}): too few for the error and for "
            "the checks of convergence; sample longer"
        )
    sigma = halves.halves_sigma
    if sigma is None:
        reasons.append("halves of the sampling cannot be compared: MBAR finds no solution for them")
    elif halves.halves_drift:
        reasons.append(f"drift: the first and the second half of the sampling disagree by {sigma:.1f} σ")
    reasons += [
        f"window λ = {value:g} began before equilibrium, drifts or jumped: ⟨∂U/∂λ⟩ or the volume shifts by "
        f"{found.shift_sigma:.1f} σ after {100 * found.fraction:.0f} % of its production"
        for value, found in zip(lambdas, equilibrations, strict=True)
        if found.is_late(len(lambdas))
    ]
    reasons += _disagreements(lambdas, agreement)
    difference, error = abs(result.ti[0] - result.mbar[0]), float(np.hypot(result.ti_statistical_eV, result.mbar[1]))
    if difference > MAX_SIGMA * error + result.ti_discretisation_eV:
        reasons.append(f"TI and MBAR disagree by {difference:.4f} eV, {difference / error:.1f} σ")
    if target_eV is not None and not result.mbar[1] <= target_eV:
        reasons.append(f"the error of MBAR is {result.mbar[1]:.2g} eV, above its target of {target_eV:.2g} eV")
    return reasons


def _disagreements(lambdas: Sequence[float], agreement: Agreement) -> list[str]:
    reasons = []
    if agreement.starts < ALLOWED["starts"]:
        reasons.append(
            "windows that started from λ = 0 and from λ = 1 are in different states "
            f"({sigmas(agreement.starts):.1f} σ): they remember their start; sample longer, or use replica exchange"
        )
    reasons += [
        f"windows λ = {lambdas[k]:g} and {lambdas[k + 1]:g} do not sample one ensemble: P₁(ΔU)/P₀(ΔU) is not "
        f"exp[−β(ΔU − ΔF)] ({sigmas(chance):.1f} σ); one of them is in another state of the crystal"
        for k, chance in enumerate(agreement.pairs)
        if chance < _each("pairs", len(agreement.pairs))
    ]
    if agreement.breaks and min(agreement.breaks) < _each("breaks", len(agreement.breaks)):
        k = int(np.argmin(agreement.breaks))
        reasons.append(
            f"hysteresis: windows up to λ = {lambdas[k]:g} and from λ = {lambdas[k + 1]:g} on do not sample one "
            f"ensemble ({sigmas(agreement.breaks[k]):.1f} σ); the state of the crystal may change at another λ"
        )
    return reasons
