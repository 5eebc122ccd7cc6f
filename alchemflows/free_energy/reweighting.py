"""Change of the free energy of a state when its potential is replaced, from configurations of the original potential.

With ΔU = U' − U at configurations of the potential U, and β = 1/(k_B T),

    exponential average:      F' − F = −(1/β) ln⟨exp(−β ΔU)⟩      (Zwanzig, J. Chem. Phys. 22, 1420, 1954)
    second-order cumulant:    F' − F = ⟨ΔU⟩ − (β/2) var(ΔU)       (its expansion in β, exact if ΔU is Gaussian)

The mean of ΔU is subtracted before exponentials, so that a constant difference of the potentials has no effect on
rounding. At constant pressure the same formulas give G' − G: both ensembles have the factor exp(−β p V) of the same
configuration, which cancels.

In several stages, U → U' → U'' with configurations of U, the second change is the difference of two estimates from the
same configurations, F'' − F' = (F'' − F) − (F' − F). For the exponential average this is the average of
exp(−β (U'' − U')) with the weights exp(−β (U' − U)). If U'' is close to U' its error is small with few
configurations, while F' − F may come from many more: direct upsampling (Jung, Srinivasan, Forslund and Grabowski, npj
Comput. Mater. 9, 3, 2023), here with configurations that are reweighted instead of sampled with U'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from pymbar.other_estimators import exp as exponential_average

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import Variance, correlated_variance

Estimator = Literal["exponential", "cumulant"]

#: Fewest configurations with which a correction is estimated.
MIN_FRAMES = 4
#: Effective sample size from which the exponential average is used; below it, the cumulant.
MIN_EXPONENTIAL = 20.0
#: Fractions of the frames in the convergence curve.
FRACTIONS = (0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Reweighting:
    """Change of the free energy of one state; energies in eV, pairs are a value and its standard error.

    Attributes
    ----------
    n_frames
        Number of configurations.
    inefficiency
        Statistical inefficiency of ΔU over the configurations.
    n_effective
        Effective sample size, see :func:`effective_size`.
    mean_eV, spread_eV
        Mean and standard deviation of ΔU.
    exponential, cumulant
        Both estimates.
    estimator
        The estimate that is used: the exponential average if the effective sample size is at least
        :data:`MIN_EXPONENTIAL`, otherwise the cumulant.
    best
        The estimate that is used. The error of the cumulant includes the part of its difference from the exponential
        average that chance does not explain.
    curve
        The same estimator with the first part of the frames, for each of :data:`FRACTIONS`; None with too few frames.
    halves_sigma
        Difference between the first and the second half of the frames in standard errors; None with too few frames.
    influences_eV
        Influence of each configuration on the estimate that is used, shape (n,).
    excess_eV
        Part of the error of the cumulant that is the difference of the exponential average from it beyond chance, with
        its sign; 0 for the exponential average.
    """

    n_frames: int
    inefficiency: float
    n_effective: float
    mean_eV: float
    spread_eV: float
    exponential: tuple[float, float]
    cumulant: tuple[float, float]
    estimator: Estimator
    best: tuple[float, float]
    curve: list[tuple[float, float] | None]
    halves_sigma: float | None
    influences_eV: np.ndarray = field(repr=False, compare=False)
    excess_eV: float

    @property
    def n_independent(self) -> float:
        """Number of independent configurations."""
        return self.n_frames / self.inefficiency


@dataclass(frozen=True)
class _Estimate:
    """An estimate in k_B T, and the influence of each configuration on it."""

    value: float
    influences: np.ndarray

    @property
    def variance(self) -> Variance:
        return correlated_variance([self.influences])


def reweight(differences_eV: ArrayLike, temperature_K: float, before_eV: ArrayLike | None = None) -> Reweighting:
    """Estimate the change of the free energy from successive configurations.

    Errors are from the influences of the configurations on the estimate, with their correlation in time
    (:func:`~alchemflows.free_energy.errors.correlated_variance`).

    Parameters
    ----------
    differences_eV
        ΔU (eV) of each configuration in the order of time, shape (n,).
    temperature_K
        Temperature (K).
    before_eV
        For a later stage, the difference (eV) between the potential that ΔU starts from and the one that was sampled,
        shape (n,).

    Raises
    ------
    InvalidInputError
        If there are fewer than :data:`MIN_FRAMES` configurations, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> found = reweight(np.random.default_rng(0).normal(-3.0, 0.01, 400), 300.0)
    >>> found.estimator, round(found.best[0], 3)
    ('exponential', -3.002)
    """
    differences = np.asarray(differences_eV, dtype=float)
    n = len(differences)
    if differences.ndim != 1 or n < MIN_FRAMES:
        raise InvalidInputError(f"at least {MIN_FRAMES} configurations are needed; got {n}")
    before = np.zeros(n) if before_eV is None else np.asarray(before_eV, dtype=float)
    if not (np.isfinite(differences).all() and np.isfinite(before).all()) or before.shape != (n,):
        raise InvalidInputError("differences_eV and before_eV must be finite numbers, one for each configuration")
    kT = units.kB * temperature_K
    mean = float(differences.mean())
    x, before = (differences - mean) / kT, (before - before.mean()) / kT
    inefficiency = max(_inefficiency(x), _inefficiency(before))
    n_effective = effective_size(x, before) / inefficiency
    estimator: Estimator = "exponential" if n_effective >= MIN_EXPONENTIAL else "cumulant"
    both = {name: _change(x, before, name) for name in ("exponential", "cumulant")}
    errors = {name: each.variance.error for name, each in both.items()}
    excess = 0.0
    if estimator == "cumulant":
        between = correlated_variance([both["exponential"].influences - both["cumulant"].influences])
        difference = both["exponential"].value - both["cumulant"].value
        excess = float(np.copysign(np.sqrt(max(0.0, difference**2 - between.value)), difference))
    error = float(np.hypot(errors[estimator], excess))
    firsts = [slice(int(fraction * n)) for fraction in FRACTIONS[:-1]]
    parts = [_part(x[first], before[first], estimator) for first in firsts]
    curve = [None if each is None else (mean + kT * each[0], kT * each[1]) for each in parts]
    best = mean + kT * both[estimator].value, kT * error
    return Reweighting(
        n_frames=n,
        inefficiency=inefficiency,
        n_effective=n_effective,
        mean_eV=mean,
        spread_eV=float(differences.std(ddof=1)),
        exponential=(mean + kT * both["exponential"].value, kT * errors["exponential"]),
        cumulant=(mean + kT * both["cumulant"].value, kT * errors["cumulant"]),
        estimator=estimator,
        best=best,
        curve=[*curve, best],
        halves_sigma=_halves_sigma(x, before, estimator),
        influences_eV=kT * both[estimator].influences,
        excess_eV=kT * excess,
    )


def sum_of_stages(stages: Sequence[Reweighting], rows: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return the sum of the changes of several stages and its standard error (eV).

    The stages share configurations, so their errors are correlated. The correlation of two errors is that of the
    influences of the shared configurations.

    Parameters
    ----------
    stages
        Results of successive stages.
    rows
        Indices of the configurations of each stage.
    """
    variance = float(sum(stage.best[1] ** 2 for stage in stages))
    for (one, first), (other, second) in combinations(zip(stages, rows, strict=True), 2):
        _, i, j = np.intersect1d(first, second, return_indices=True)
        norm = np.linalg.norm(one.influences_eV) * np.linalg.norm(other.influences_eV)
        if norm > 0:
            correlation = float(one.influences_eV[i] @ other.influences_eV[j] / norm)
            variance += 2 * correlation * one.best[1] * other.best[1]
    return sum(stage.best[0] for stage in stages), float(np.sqrt(max(0.0, variance)))


def effective_size(x: np.ndarray, before: np.ndarray | None = None) -> float:
    """Return the effective sample size of independent configurations with the weights w = exp(−x).

    It is (Σw)² / Σw² (Kish, Survey Sampling, 1965). If the two potentials hardly overlap, the configurations with the
    largest weights are missing, and this is too large. It is therefore at most n exp(−κ₂ + κ₃), from the cumulants of
    x, with κ₃ only if it is negative: a tail towards small x has the largest weights.

    If the configurations already have the weights v = exp(−`before`), it is the effective size of these times the share
    (Σvw)² / (Σv Σvw²) that remains of it (Zhou, Johansen and Aston, J. Comput. Graph. Stat. 25, 701, 2016).
    """
    earlier = np.ones(len(x)) if before is None else np.exp(before.min() - before)
    weights = np.exp(x.min() - x)
    share = (earlier @ weights) ** 2 / (earlier.sum() * (earlier @ weights**2))
    share = min(share, _gaussian_share(x))
    if before is None:
        return float(len(x) * share)
    known = min(earlier.sum() ** 2 / (earlier**2).sum(), len(x) * _gaussian_share(before))
    return float(known * share)


def _gaussian_share(x: np.ndarray) -> float:
    """Return exp(−κ₂ + κ₃), the share of the configurations that a nearly Gaussian x leaves."""
    third = float(((x - x.mean()) ** 3).mean())
    return float(np.exp(-x.var(ddof=1) + min(0.0, third)))


def _inefficiency(x: np.ndarray) -> float:
    variance = float(x.var(ddof=1))
    return max(1.0, correlated_variance([x / len(x)]).value * len(x) / variance) if variance > 0 else 1.0


def _change(x: np.ndarray, before: np.ndarray, estimator: str) -> _Estimate:
    """Return the estimate of the change by `x`, after the change by `before`."""
    if not before.any():
        return _estimate(x, estimator)
    after, earlier = _estimate(before + x, estimator), _estimate(before, estimator)
    return _Estimate(after.value - earlier.value, after.influences - earlier.influences)


def _estimate(x: np.ndarray, estimator: str) -> _Estimate:
    """Return an estimate from ΔU in k_B T; the mean of the configurations need not be zero."""
    n, mean = len(x), float(x.mean())
    x = x - mean
    if estimator == "exponential":
        weights = np.exp(x.min() - x)  # at most 1; only their ratios matter
        value = float(exponential_average(x, compute_uncertainty=False)["Delta_f"])
        return _Estimate(mean + value, (1 - weights / weights.mean()) / n)
    variance = float(x.var(ddof=1))
    return _Estimate(mean - variance / 2, (x - (x**2 - variance) / 2) / n)


def _part(x: np.ndarray, before: np.ndarray, estimator: Estimator) -> tuple[float, float] | None:
    """Return value and error (k_B T) of some of the configurations; None if there are too few."""
    if len(x) < MIN_FRAMES:
        return None
    found = _change(x, before, estimator)
    return found.value, found.variance.error


def _halves_sigma(x: np.ndarray, before: np.ndarray, estimator: Estimator) -> float | None:
    halves = zip(np.array_split(x, 2), np.array_split(before, 2), strict=True)
    first, second = (_part(*half, estimator) for half in halves)
    if first is None or second is None:
        return None
    error = float(np.hypot(first[1], second[1]))
    return abs(first[0] - second[0]) / error if error > 0 else 0.0
