"""Select independent samples of a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymbar.timeseries import statistical_inefficiency, subsample_correlated_data

from alchemflows.errors import InvalidInputError
from alchemflows.schemas.samples import WindowSeries


@dataclass(frozen=True)
class Decorrelated:
    """Independent samples of a window: m of its n samples, for a ladder of K windows.

    Attributes
    ----------
    n_samples, inefficiency
        Number n of all samples, and the largest statistical inefficiency of the quantities used by the estimators.
    spread_dudl_eV
        Standard deviation of dU/dλ over all n samples (eV).
    time_fs, dudl_eV
        Time (fs) and dU/dλ (eV) of the kept samples, shape (m,).
    gaps_eV
        Energies of the kept samples at the λ of all windows minus that at their own λ (eV), shape (m, K).
    volume_A3
        Volumes of the kept samples (Å³), shape (m,).
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
    """Return independent samples of window k of a ladder.

    Parameters
    ----------
    lambdas
        λ of the K windows.
    k
        Index of the window.
    samples
        Samples of the window, with energies at all K windows.
    inefficiency
        Statistical inefficiency, by default estimated from the samples; 1 keeps all samples.

    Raises
    ------
    InvalidInputError
        If there are fewer than two samples, energies at another number of windows, or values that are not finite.
    """
    if len(samples) < 2 or samples.energies_eV.shape[1] != len(lambdas):
        raise InvalidInputError(
            f"window λ = {lambdas[k]:g}: energies_eV has the shape {samples.energies_eV.shape}; "
            f"at least 2 samples at {len(lambdas)} λ are needed"
        )
    if not (np.isfinite(samples.dudl_eV).all() and np.isfinite(samples.energies_eV).all()):
        raise InvalidInputError(f"window λ = {lambdas[k]:g}: dudl_eV and energies_eV must be finite numbers")
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
    """Return the largest statistical inefficiency of dU/dλ and of ΔU to the neighbouring windows."""
    observables = [samples.dudl_eV]
    observables += [
        samples.energies_eV[:, other] - samples.energies_eV[:, k]
        for other in (k - 1, k + 1)
        if 0 <= other < samples.energies_eV.shape[1]
    ]
    # Constant observables are skipped, since their statistical inefficiency is not defined.
    return max([1.0] + [statistical_inefficiency(a) for a in observables if np.ptp(a) > 1e-12 * np.abs(a).max()])
