"""Whether the estimate of a ladder has converged: equilibration, drift in time, and what else speaks against it.

Forward and backward convergence as Klimovich, Shirts & Mobley (J. Comput.-Aided Mol. Des. 29, 397, 2015) have it;
equilibration by Chodera (J. Chem. Theory Comput. 12, 1799, 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from pymbar import MBAR
from pymbar.timeseries import detect_equilibration, statistical_inefficiency
from pymbar.utils import ConvergenceError, ParameterError
from scipy.stats import t

from alchemflows.free_energy.estimators import Decorrelated, LadderResult
from alchemflows.schemas.samples import WindowSeries

FRACTIONS = tuple(round(0.1 * k, 1) for k in range(1, 11))
#: Independent samples of a window that the curve takes; more would cost more and show the same.
MAX_SAMPLES = 300
#: Share of the production that equilibration may take.
MAX_EQUILIBRATION = 0.2
#: Two estimates that differ by more standard errors disagree. For the halves one test decides, and their errors are
#: known less well; equilibration is looked for in each window, and TI and MBAR share their samples.
MAX_SIGMA_HALVES = 2.5
MAX_SIGMA = 3.0
_EQUILIBRATION_POINTS = 50
#: A difference that noise alone makes with this probability is a drift.
CHANCE = 1e-3
#: Coefficients of the parabola that takes a drift out of the noise.
N_TREND = 3
#: From a good guess a solution takes a dozen; without overlap there is none.
_ITERATIONS = 100

Value = tuple[float, float]


@dataclass(frozen=True)
class Equilibration:
    """Of one series.

    Attributes
    ----------
    fraction
        Where in the production the equilibrated part begins, as the number of its independent samples is greatest
        there. In short stationary series this often lies late by chance: `shift_sigma` tells.
    shift_sigma
        By how many standard errors the means before and after differ.
    """

    fraction: float
    shift_sigma: float

    @property
    def is_late(self) -> bool:
        """Whether the production began before equilibrium."""
        return self.fraction > MAX_EQUILIBRATION and self.shift_sigma > MAX_SIGMA


@dataclass(frozen=True)
class Convergence:
    """MBAR's ΔF, eV, with errors, from the first and from the last part of each window, against that part.

    An estimate is None where MBAR has no solution. `halves_sigma` says by how many standard errors the first and the
    second half of all windows differ.
    """

    fractions: tuple[float, ...]
    forward: list[Value | None]
    backward: list[Value | None]

    @property
    def halves_sigma(self) -> float | None:
        """Difference of the two halves in units of its standard error."""
        first, second = (curve[self.fractions.index(0.5)] for curve in (self.forward, self.backward))
        return None if first is None or second is None else sigma_between(first, second)


def sigma_between(a: Value, b: Value) -> float:
    """Return the difference of two independent estimates in units of its standard error."""
    error = float(np.hypot(a[1], b[1]))
    return abs(a[0] - b[0]) / error if error > 0 else (0.0 if a[0] == b[0] else float("inf"))


def equilibration(samples: WindowSeries, *, constant_pressure: bool = False) -> Equilibration:
    """Look for equilibration in dU/dλ, and in the volume where the pressure is constant; return the worse."""
    observables = [samples.dudl_eV] + ([samples.volume_A3] if constant_pressure else [])
    found = [_equilibration(a) for a in observables if np.ptp(a) > 1e-12 * np.abs(a).max()]
    return max(found, key=lambda e: (e.is_late, e.fraction), default=Equilibration(0.0, 0.0))


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


def _equilibration(series: np.ndarray) -> Equilibration:
    start, inefficiency, _ = detect_equilibration(series, nskip=max(1, len(series) // _EQUILIBRATION_POINTS))
    before, after = series[:start], series[start:]
    if len(before) < 2 or len(after) < 4:
        return Equilibration(int(start) / len(series), 0.0)
    residuals = np.concatenate([before - before.mean(), after - after.mean()])
    inefficiency = max(float(inefficiency), statistical_inefficiency(residuals) if np.ptp(residuals) > 0 else 1.0)
    error = np.sqrt(residuals.var() * inefficiency * (1 / len(before) + 1 / len(after)))
    shift = abs(before.mean() - after.mean())
    return Equilibration(int(start) / len(series), float(shift / error) if error > 0 else float("inf"))


def convergence(windows: Sequence[Decorrelated], free_energies_eV: np.ndarray, temperature_K: float) -> Convergence:
    """Return MBAR's ΔF against the part of each window that it is computed from, forward and backward in time.

    Each window gives at most :data:`MAX_SAMPLES` of its independent samples, evenly over its time. The solver begins
    at the free energies of the windows.
    """
    beta = 1 / (units.kB * temperature_K)
    thinned = []
    for window in windows:
        n = len(window.gaps_eV)
        kept = np.unique(np.linspace(0, n - 1, min(n, MAX_SAMPLES)).round().astype(int))
        thinned.append(beta * window.gaps_eV[kept])
    counts = [[max(1, round(fraction * len(u))) for u in thinned] for fraction in FRACTIONS]
    guess = beta * np.nan_to_num(free_energies_eV)
    forward = [_mbar([u[:n] for u, n in zip(thinned, row, strict=True)], guess, beta) for row in counts]
    backward = [_mbar([u[-n:] for u, n in zip(thinned, row, strict=True)], guess, beta) for row in counts]
    return Convergence(FRACTIONS, forward, backward)


def _mbar(reduced: Sequence[np.ndarray], guess: np.ndarray, beta: float) -> Value | None:
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
    value, error = float(result["Delta_f"][0, -1]) / beta, float(result["dDelta_f"][0, -1]) / beta
    return (value, error) if np.isfinite([value, error]).all() else None


def reasons_against(
    lambdas: Sequence[float],
    result: LadderResult,
    curve: Convergence,
    equilibrations: Sequence[Equilibration],
    *,
    target_eV: float | None = None,
) -> list[str]:
    """Return what speaks against the estimate of a ladder, in words; nothing if it has converged.

    These are too little overlap, too few independent samples and estimators without a solution (the warnings of the
    estimate); halves of the sampling that disagree; windows that began before equilibrium; TI and MBAR that disagree
    by more than chance and the discretisation of TI allow; and an error above its target.
    """
    reasons = list(result.warnings)
    halves = curve.halves_sigma
    if halves is None:
        reasons.append("halves of the sampling cannot be compared: MBAR finds no solution for them")
    elif halves > MAX_SIGMA_HALVES:
        reasons.append(f"drift: the first and the second half of the sampling disagree by {halves:.1f} σ")
    reasons += [
        f"window λ = {value:g} equilibrates within its production, until {100 * found.fraction:.0f} % of it "
        f"(⟨∂U/∂λ⟩ or the volume shifts by {found.shift_sigma:.1f} σ)"
        for value, found in zip(lambdas, equilibrations, strict=True)
        if found.is_late
    ]
    difference, error = abs(result.ti[0] - result.mbar[0]), float(np.hypot(result.ti[1], result.mbar[1]))
    if difference > MAX_SIGMA * error + result.ti_discretisation_eV:
        reasons.append(f"TI and MBAR disagree by {difference:.4f} eV, {difference / error:.1f} σ")
    if target_eV is not None and not result.mbar[1] <= target_eV:
        reasons.append(f"the error of MBAR is {result.mbar[1]:.2g} eV, above its target of {target_eV:.2g} eV")
    return reasons
