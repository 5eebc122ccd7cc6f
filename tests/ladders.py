"""Synthetic ladders with known free energies: good ones, and ones with each kind of fault.

A window holds 30 harmonic coordinates r whose stiffness rises with λ, one coordinate q whose centre moves with λ, and a
basin s that is 0 or 1. In units of k_B T

    U(r, q, s; λ) = ½ (1 + STIFFENING λ) Σ r² + ½ (q − shift λ)² − tilt (s − ½)(λ − ½)

so that ΔF = 15 k_B T ln(1 + STIFFENING): the two basins have the same weight at λ = ½, and exchange their weights
between λ = 0 and 1. Coordinates are AR(1) series with a correlation time of `tau` samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase import units
from scipy.signal import lfilter
from scipy.special import expit

from alchemflows.free_energy.consistency import Agreement
from alchemflows.free_energy.convergence import (
    convergence,
    equilibration,
    least_inefficiency,
    reasons_against,
    steady,
)
from alchemflows.free_energy.decorrelation import decorrelate
from alchemflows.free_energy.estimators import LadderResult, estimate
from alchemflows.schemas.samples import WindowSeries

T = 300.0
KT = units.kB * T
N_SPRINGS = 30
STIFFENING = 0.5
EXACT_EV = 0.5 * N_SPRINGS * KT * float(np.log(1 + STIFFENING))

Fault = Literal["drift", "relaxation", "jump"]


@dataclass(frozen=True)
class Kind:
    """One kind of ladder.

    Attributes
    ----------
    n_windows, n_samples, tau
        Size, and the correlation time in samples.
    shift
        How far the centre of q moves between λ = 0 and 1.
    tilt
        Difference of the basins' slopes ∂U/∂λ, k_B T; 0 for a system without basins.
    flip_time
        Mean time between flips at λ = ½, samples; None where no window ever leaves the basin that it starts in.
    jump_at
        λ at which the basin changes where there are no flips: 0.5 is right.
    alternate
        Whether windows start alternately in the basin of λ = 0 and of λ = 1.
    fault
        What happens to q in time: all windows drift, one window relaxes, or one window jumps.
    size
        How large the fault is, in standard deviations of q.
    """

    n_windows: int = 11
    n_samples: int = 1000
    tau: float = 4.0
    shift: float = 5.0
    tilt: float = 0.0
    flip_time: float | None = None
    jump_at: float = 0.5
    alternate: bool = False
    fault: Fault | None = None
    size: float = 0.0


#: Kinds whose verdict should be `converged`.
GOOD = {
    "good": Kind(),
    "good, 5 windows": Kind(n_windows=5, shift=3.0),
    "good, strongly correlated": Kind(tau=15.0, n_samples=2000),
    "good, 21 long windows": Kind(n_windows=21, n_samples=4000, tau=8.0),
    "good, two basins": Kind(tilt=6.0, flip_time=5.0, n_samples=2000),
    "good, started from both ends": Kind(tilt=6.0, flip_time=5.0, n_samples=2000, alternate=True),
}
#: Kinds that are right or not by luck: few independent samples.
SHORT = {
    "short (15 independent samples)": Kind(n_windows=5, n_samples=120, tau=4.0, shift=3.0),
    "very short (6 independent samples)": Kind(n_windows=5, n_samples=50, tau=4.0, shift=3.0),
}
#: Kinds whose verdict must not be `converged`.
BAD = {
    "no overlap": Kind(shift=60.0),
    "drifting": Kind(fault="drift", size=2.0),
    "one window relaxes": Kind(fault="relaxation", size=3.0),
    "one window jumps": Kind(fault="jump", size=2.0),
    "slowly flipping": Kind(tilt=8.0, flip_time=500.0),
    "hysteretic, small": Kind(tilt=4.0, jump_at=0.8),
    "hysteretic, medium": Kind(tilt=8.0, jump_at=0.8),
    "hysteretic, large": Kind(tilt=14.0, jump_at=0.8),
    "hysteretic, started from both ends": Kind(tilt=8.0, jump_at=0.8, alternate=True),
    "stuck, started from both ends": Kind(tilt=8.0, alternate=True),
}
#: Wrong, and the samples show nothing of it, or too little.
UNSEEN = {
    "hysteretic, small, few samples": Kind(tilt=4.0, jump_at=0.8, tau=10.0),
    "stuck, all started from one state": Kind(tilt=8.0, jump_at=2.0),
}


def correlated(shape: tuple[int, ...], tau: float, rng: np.random.Generator) -> np.ndarray:
    """Stationary noise of unit variance along the first axis, whose correlation falls as exp(−t/τ)."""
    decay = np.exp(-1 / tau)
    noise = rng.normal(size=shape)
    noise[1:] *= np.sqrt(1 - decay**2)
    return lfilter([1.0], [1.0, -decay], noise, axis=0)


def starts(kind: Kind) -> list[float] | None:
    """Return the end that each window of a kind starts from; None if all start from one state."""
    return [float(k % 2) for k in range(kind.n_windows)] if kind.alternate else None


def _basins(kind: Kind, value: float, start: float | None, rng: np.random.Generator) -> np.ndarray:
    n = kind.n_samples
    if kind.flip_time is None:
        if start is not None and kind.jump_at == 0.5:
            return np.full(n, start)  # for ever where it started
        if start is not None:
            # A window that starts in a basin stays in it unless it is far on the other side.
            limit = kind.jump_at if start == 0 else 1 - kind.jump_at
            return np.full(n, float(value > limit))
        return np.full(n, float(value >= kind.jump_at))
    share = expit(kind.tilt * (value - 0.5))  # of basin 1
    rates = 2 * share / kind.flip_time, 2 * (1 - share) / kind.flip_time  # into basin 1, and out of it
    basin = np.empty(n)
    draws = rng.random(n)
    at = float(rng.random() < share)
    for i in range(n):
        if draws[i] < -np.expm1(-rates[int(at)]):
            at = 1.0 - at
        basin[i] = at
    return basin


def sample(kind: Kind, seed: int) -> tuple[list[float], list[WindowSeries]]:
    """Return the λ and the samples of one ladder of a kind."""
    rng = np.random.default_rng([seed, 7])
    lambdas = np.linspace(0, 1, kind.n_windows)
    n, ends = kind.n_samples, starts(kind)
    time = np.arange(n) / n
    faulty = int(rng.integers(kind.n_windows))
    series = []
    for k, value in enumerate(lambdas):
        basin = _basins(kind, value, None if ends is None else ends[k], rng)
        squares = (correlated((n, N_SPRINGS), 2 * kind.tau, rng) ** 2).sum(axis=1) / (1 + STIFFENING * value)
        q = kind.shift * value + correlated((n,), kind.tau, rng)
        if kind.fault == "drift":
            q += kind.size * (time - 0.5)
        elif kind.fault == "relaxation" and k == faulty:
            q += kind.size * np.exp(-time / 0.3)
        elif kind.fault == "jump" and k == faulty:
            q += kind.size * (time > rng.uniform(0.25, 0.75))

        def energies(at, squares=squares, q=q, basin=basin):
            at = np.asarray(at)
            return KT * (
                0.5 * (1 + STIFFENING * at) * squares[:, None]
                + 0.5 * (q[:, None] - kind.shift * at) ** 2
                - kind.tilt * (basin[:, None] - 0.5) * (at - 0.5)
            )

        dudl = KT * (0.5 * STIFFENING * squares - kind.shift * (q - kind.shift * value) - kind.tilt * (basin - 0.5))
        table = energies(lambdas)
        series.append(WindowSeries(20.0 * np.arange(1, n + 1), table[:, k], dudl, np.full(n, T), table, np.ones(n)))
    return lambdas.tolist(), series


@dataclass(frozen=True)
class Analysed:
    """What the analysis says of one ladder whose free energy is known."""

    result: LadderResult
    reasons: list[str]
    exact_eV: float = EXACT_EV

    @property
    def converged(self) -> bool:
        return not self.reasons

    @property
    def z(self) -> float:
        """Deviation of MBAR from the exact value in its standard errors."""
        return (self.result.mbar[0] - self.exact_eV) / self.result.mbar[1]


def analysed(kind: Kind, seed: int) -> Analysed:
    """Sample a ladder, and judge it."""
    return judged(*sample(kind, seed), starts(kind))


def judged(lambdas: list[float], series: list[WindowSeries], ends: list[float] | None = None) -> Analysed:
    """Judge the samples of a ladder as the analysis job does."""
    windows = [decorrelate(lambdas, k, samples) for k, samples in enumerate(series)]
    result = estimate(lambdas, windows, T)
    compared = [steady(lambdas, k, samples) for k, samples in enumerate(series)]
    curve = convergence(compared, result.free_energies_eV, T, result.variances_eV2, fractions=(0.5,))
    least = least_inefficiency(result)
    found = [equilibration([samples.dudl_eV], least) for samples in series]
    agreement = Agreement.of(windows, result, T, ends)
    return Analysed(result, reasons_against(lambdas, result, curve, found, agreement))
