"""Independent samples of a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymbar.timeseries import statistical_inefficiency, subsample_correlated_data

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import WindowSeries


@dataclass(frozen=True)
class Decorrelated:
    """Samples of a window after decorrelation; m are kept of n, K windows in the ladder.

    Attributes
    ----------
    n_samples, inefficiency
        n, and the statistical inefficiency, of what the estimators read.
    spread_dudl_eV
        Standard deviation of dU/dλ over all n samples.
    time_fs, dudl_eV
        Of the kept samples, shape (m,).
    gaps_eV
        Energies at the λ of all windows less that at the window's own, shape (m, K): small exponents.
    volume_A3
        Shape (m,).
    """

    n_samples: int
    inefficiency: float
    spread_dudl_eV: float
    time_fs: np.ndarray
    dudl_eV: np.ndarray
    gaps_eV: np.ndarray
    volume_A3: np.ndarray


def decorrelate(
    lambdas: Sequence[float], k: int, samples: WindowSeries, inefficiency: float | None = None
) -> Decorrelated:
    """Return the independent samples of window k of a ladder; see :func:`analyse_ladder` for what is refused.

    The statistical inefficiency is estimated if it is not given; 1 keeps all samples.
    """
    if len(samples) < 2 or samples.energies_eV.shape[1] != len(lambdas):
        raise InvalidInputError(
            f"window λ = {lambdas[k]:g} has samples of shape {samples.energies_eV.shape}; "
            f"at least 2 samples at {len(lambdas)} λ are needed"
        )
    if not (np.isfinite(samples.dudl_eV).all() and np.isfinite(samples.energies_eV).all()):
        raise InvalidInputError(f"window λ = {lambdas[k]:g} has samples that are not finite numbers")
    inefficiency = _inefficiency(k, samples) if inefficiency is None else inefficiency
    kept = subsample_correlated_data(samples.dudl_eV, g=inefficiency)
    return Decorrelated(
        n_samples=len(samples),
        inefficiency=inefficiency,
        spread_dudl_eV=float(samples.dudl_eV.std(ddof=1)),
        time_fs=samples.time_fs[kept],
        dudl_eV=samples.dudl_eV[kept],
        gaps_eV=samples.energies_eV[kept] - samples.energies_eV[kept, k][:, None],
        volume_A3=samples.volume_A3[kept],
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
