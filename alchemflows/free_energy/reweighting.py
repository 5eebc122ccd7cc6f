"""Change of the free energy of a state when its potential is replaced, from configurations of the original potential.

With ΔU = U' − U at configurations of the potential U, and β = 1/(k_B T),

    exponential average:      F' − F = −(1/β) ln⟨exp(−β ΔU)⟩      (Zwanzig, J. Chem. Phys. 22, 1420, 1954)
    second-order cumulant:    F' − F = ⟨ΔU⟩ − (β/2) var(ΔU)       (its expansion in β, exact if ΔU is Gaussian)

The mean of ΔU is subtracted before exponentials, so that a constant difference of the potentials has no effect on
rounding. At constant pressure the same formulas give G' − G: both ensembles have the factor exp(−β p V) of the same
configuration, which cancels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
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
        Influence of each configuration on `best`, shape (n,).
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
    influences_eV: np.ndarray = field(repr=False)
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


def reweight(differences_eV: ArrayLike, temperature_K: float) -> Reweighting:
    """Estimate the change of the free energy from successive configurations.

    Errors are from the influences of the configurations on the estimate, with their correlation in time
    (:func:`~alchemflows.free_energy.errors.correlated_variance`).

    Parameters
    ----------
    differences_eV
        ΔU (eV) of each configuration in the order of time, shape (n,).
    temperature_K
        Temperature (K).

    Raises
    ------
    InvalidInputError
        If there are fewer than :data:`MIN_FRAMES` configurations, or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> found = reweight(np.random.default_rng(0).normal(-3.0, 0.01, 400), 300.0)
    >>> found.estimator, round(found.best[0], 3)
    ('exponential', -3.001)
    """
    differences = np.asarray(differences_eV, dtype=float)
    n = len(differences)
    if differences.ndim != 1 or n < MIN_FRAMES:
        raise InvalidInputError(f"at least {MIN_FRAMES} configurations are needed; got {n}")
    if not np.isfinite(differences).all():
        raise InvalidInputError("differences_eV must be finite numbers")
    kT = units.kB * temperature_K
    mean = float(differences.mean())
    x = (differences - mean) / kT
    variance = float(x.var(ddof=1))
    inefficiency = max(1.0, correlated_variance([x / n]).value * n / variance) if variance > 0 else 1.0
    n_effective = effective_size(x) / inefficiency
    estimator: Estimator = "exponential" if n_effective >= MIN_EXPONENTIAL else "cumulant"
    both = {name: _estimate(x, name) for name in ("exponential", "cumulant")}
    errors = {name: each.variance.error for name, each in both.items()}
    excess = 0.0
    if estimator == "cumulant":
        between = correlated_variance([both["exponential"].influences - both["cumulant"].influences])
        difference = both["exponential"].value - both["cumulant"].value
        excess = float(np.copysign(np.sqrt(max(0.0, difference**2 - between.value)), difference))
    error = float(np.hypot(errors[estimator], excess))
    parts = [_part(x[: int(fraction * n)], estimator) for fraction in FRACTIONS[:-1]]
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
        halves_sigma=_halves_sigma(x, estimator),
        influences_eV=kT * both[estimator].influences,
        excess_eV=kT * excess,
    )


def effective_size(x: np.ndarray) -> float:
    """Return the effective sample size of independent configurations with the weights w = exp(−x).

    It is (Σw)² / Σw² (Kish, Survey Sampling, 1965). If the two potentials hardly overlap, the configurations with the
    largest weights are missing, and this is too large. It is therefore at most n exp(−κ₂ + κ₃), from the cumulants of
    x, with κ₃ only if it is negative: a tail towards small x has the largest weights.
    """
    weights = np.exp(x.min() - x)
    third = float(((x - x.mean()) ** 3).mean())
    limit = len(x) * np.exp(-x.var(ddof=1) + min(0.0, third))
    return float(min(weights.sum() ** 2 / (weights**2).sum(), limit))


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


def _part(x: np.ndarray, estimator: Estimator) -> tuple[float, float] | None:
    """Return value and error (k_B T) of some of the configurations; None if there are too few."""
    if len(x) < MIN_FRAMES:
        return None
    found = _estimate(x, estimator)
    return found.value, found.variance.error


def _halves_sigma(x: np.ndarray, estimator: Estimator) -> float | None:
    first, second = (_part(half, estimator) for half in np.array_split(x, 2))
    if first is None or second is None:
        return None
    error = float(np.hypot(first[1], second[1]))
    return abs(first[0] - second[0]) / error if error > 0 else 0.0
