"""Change of the free energy of a state when its potential is replaced, from configurations of both potentials.

With ΔU = U' − U at configurations of the potential U and of the target U', the Bennett acceptance ratio (BAR;
J. Comput. Phys. 22, 245, 1976) gives F' − F. Unlike an exponential average over configurations of U alone
(:mod:`~alchemflows.free_energy.reweighting`), it needs no configurations of U that are typical of U': it suffices that
the two distributions of ΔU overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from ase import units
from numpy.typing import ArrayLike
from pymbar import bar
from pymbar.utils import BoundsError, ConvergenceError

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import Variance, correlated_variance, sum_of_variances
from alchemflows.free_energy.estimators import bar_influences
from alchemflows.free_energy.influences import joint_inefficiency
from alchemflows.free_energy.reweighting import FRACTIONS, MIN_FRAMES
from alchemflows.free_energy.work import MIN_WORK_OVERLAP, work_overlap

#: Smallest overlap of both distributions with which the result is used.
MIN_BRIDGE_OVERLAP = MIN_WORK_OVERLAP


@dataclass(frozen=True)
class Bridge:
    """Change of the free energy of one state by BAR; energies in eV, pairs are a value and its standard error.

    Attributes
    ----------
    n_frames
        Number of configurations of the target, of all runs.
    inefficiency
        Statistical inefficiency of ΔU over the configurations of a run with the target.
    mean_eV, spread_eV
        Mean and standard deviation of ΔU at the configurations of the target.
    overlap
        Overlap of both distributions of ΔU, from 0 (none) to 1 (equal); 0 if BAR has no solution.
    best
        BAR; None without a solution.
    curve
        BAR with the first part of the configurations of the sampled potential, for each of
        :data:`~alchemflows.free_energy.reweighting.FRACTIONS`; None with too few of them.
    halves_sigma
        Difference between the first halves of all runs and the second halves in standard errors; None if it is not
        known.
    influences_eV
        Influence of each configuration of the sampled potential on the estimate, shape (n,).
    """

    n_frames: int
    inefficiency: float
    mean_eV: float
    spread_eV: float
    overlap: float
    best: tuple[float, float] | None
    curve: list[tuple[float, float] | None]
    halves_sigma: float | None
    influences_eV: np.ndarray = field(repr=False, compare=False)

    @property
    def n_independent(self) -> float:
        """Number of independent configurations of the target."""
        return self.n_frames / self.inefficiency

    @property
    def suffices(self) -> bool:
        """Whether both distributions overlap enough for BAR."""
        return self.best is not None and self.overlap >= MIN_BRIDGE_OVERLAP


def bridge(source_eV: ArrayLike, target_eV: Sequence[ArrayLike], temperature_K: float) -> Bridge:
    """Estimate the change of the free energy from configurations of both potentials.

    The error is from the influences of the configurations on BAR, with their correlation in time
    (:func:`~alchemflows.free_energy.errors.correlated_variance`).

    Parameters
    ----------
    source_eV
        ΔU (eV) at successive configurations of the sampled potential, shape (n,).
    target_eV
        ΔU (eV) at successive configurations of the target, one series for each of its runs.
    temperature_K
        Temperature (K).

    Raises
    ------
    InvalidInputError
        If there are fewer than :data:`~alchemflows.free_energy.reweighting.MIN_FRAMES` configurations of a potential,
        or a value is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> found = bridge(rng.normal(0.05, 0.05, 200), [rng.normal(-0.047, 0.05, 100)], 300.0)
    >>> round(found.best[0], 2), found.suffices
    (0.0, True)
    """
    source, runs = np.asarray(source_eV, dtype=float), [np.asarray(run, dtype=float) for run in target_eV]
    target = np.concatenate(runs) if runs else np.empty(0)
    if min(len(source), len(target)) < MIN_FRAMES:
        raise InvalidInputError(
            f"at least {MIN_FRAMES} configurations of each potential are needed; got {len(source)} and {len(target)}"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise InvalidInputError("source_eV and target_eV must be finite numbers")
    kT, middle = units.kB * temperature_K, float(source.mean() + target.mean()) / 2
    x, parts = (source - middle) / kT, [(run - middle) / kT for run in runs]
    solved = _solve(x, parts)
    firsts = [_solve(x[: int(fraction * len(x))], parts) for fraction in FRACTIONS[:-1]]
    curve = [
        None if each is None else (middle + kT * each.value, kT * each.variance.error) for each in (*firsts, solved)
    ]
    return Bridge(
        n_frames=len(target),
        inefficiency=joint_inefficiency([part - part.mean() for part in parts]),
        mean_eV=float(target.mean()),
        spread_eV=float(target.std(ddof=1)),
        overlap=0.0 if solved is None else work_overlap(x, -np.concatenate(parts), solved.value),
        best=curve[-1],
        curve=curve,
        halves_sigma=_halves_sigma(x, parts),
        influences_eV=np.zeros(len(x)) if solved is None else kT * solved.influences,
    )


@dataclass(frozen=True)
class _Solution:
    """BAR in k_B T, the influence of each configuration of the sampled potential, and its variance."""

    value: float
    influences: np.ndarray
    variance: Variance


def _solve(x: np.ndarray, parts: Sequence[np.ndarray]) -> _Solution | None:
    """Return BAR from ΔU in k_B T at configurations of both potentials; None without a solution."""
    backward = -np.concatenate(parts)
    if min(len(x), len(backward)) < MIN_FRAMES:
        return None
    if np.ptp(np.concatenate([x, -backward])) < 1e-9:  # all are equal, so the solver finds no bracket
        return _Solution(float(x.mean()), np.zeros(len(x)), Variance(0.0, float(len(x))))
    try:
        with np.errstate(all="ignore"):
            value = float(bar(x, backward, compute_uncertainty=False)["Delta_f"])
    except (BoundsError, ConvergenceError, FloatingPointError):
        return None
    ahead, behind = bar_influences(x, backward, value)
    of_runs = np.split(behind, np.cumsum([len(part) for part in parts])[:-1])
    return _Solution(value, ahead, sum_of_variances([correlated_variance([ahead]), correlated_variance(of_runs)]))


def _halves_sigma(x: np.ndarray, parts: Sequence[np.ndarray]) -> float | None:
    halves = zip(np.array_split(x, 2), zip(*(np.array_split(part, 2) for part in parts), strict=True), strict=True)
    first, second = (_solve(*half) for half in halves)
    if first is None or second is None:
        return None
    error = float(np.hypot(first.variance.error, second.variance.error))
    return abs(first.value - second.value) / error if error > 0 else 0.0
