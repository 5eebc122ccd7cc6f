"""What the noise of a mean cell does to the free energy at that cell, and whether the cell has broken its symmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from pymbar.timeseries import statistical_inefficiency
from scipy.stats import f

#: A deviation that noise alone makes with this probability is one.
CHANCE = 1e-3


@dataclass(frozen=True)
class CellNoise:
    """Noise of the mean of a strain with d free directions.

    Attributes
    ----------
    bias_eV, error_eV
        By how much F + pV at the mean cell is expected to lie above its minimum, and the standard deviation of that.
    n_directions
        d.
    n_independent
        Independent samples of the direction that has fewest; infinite if nothing moves.
    """

    bias_eV: float
    error_eV: float
    n_directions: int
    n_independent: float


@dataclass(frozen=True)
class StrainDeviation:
    """How far a mean strain is from zero.

    Attributes
    ----------
    sigma
        Root mean square over its directions, in standard errors of the mean.
    probability
        With which noise alone makes a deviation as large (Hotelling's T²).
    """

    sigma: float
    probability: float

    @property
    def is_real(self) -> bool:
        """Whether noise does not explain it."""
        return self.probability < CHANCE


def cell_noise(strains: np.ndarray, temperature_K: float) -> CellNoise:
    """Return what the noise of a mean strain does to F + pV at that strain.

    F + pV has its minimum at the equilibrium cell, where its curvature is H = k_B T C⁻¹ with C the covariance of the
    strains in the isothermal–isobaric ensemble (Parrinello & Rahman, J. Chem. Phys. 76, 2662, 1982). A mean over
    correlated samples has the covariance S, and the expected excess is

        ½ tr(H S) = ½ k_B T Σ_k 1/n_k,

    with n_k the number of independent samples of direction k, in the directions in which C is the unit matrix. It is a
    sum of squares: its variance is ½ (k_B T)² Σ_k 1/n_k². The excess is that of the whole cell, and positive.

    Parameters
    ----------
    strains
        n samples of B independent replicas along d independent directions, shape (n, B, d).
    temperature_K
        Temperature.
    """
    white, shares = _whitened(strains)
    kT = units.kB * temperature_K
    return CellNoise(
        bias_eV=float(0.5 * kT * shares.sum()),
        error_eV=float(kT * np.sqrt(0.5 * (shares**2).sum())),
        n_directions=white.shape[2],
        n_independent=float(1 / shares.max()) if len(shares) else float("inf"),
    )


def deviation(strains: np.ndarray) -> StrainDeviation | None:
    """Compare a mean strain with zero; None where there is no direction, or too few independent samples.

    Parameters
    ----------
    strains
        As for :func:`cell_noise`.
    """
    white, shares = _whitened(strains)
    d = white.shape[2]
    if d == 0 or not (n := 1 / shares.mean()) > d + 1:
        return None
    squared = float((white.mean(axis=(0, 1)) ** 2 / shares).sum())
    return StrainDeviation(float(np.sqrt(squared / d)), float(f.sf(squared * (n - d) / (d * (n - 1)), d, n - d)))


def _whitened(strains: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return strains along directions of unit variance, and the variance of the mean of each, 1/n_k.

    The spread about the mean of the same samples is too small by the variance of that mean. A direction in which
    nothing is seen to move has one sample.
    """
    _, n_replicas, d = strains.shape
    if d == 0 or strains.size < 2 * d:
        return np.zeros_like(strains), np.ones(d)
    series = strains.reshape(-1, d)
    values, vectors = np.linalg.eigh(np.cov(series, rowvar=False).reshape(d, d))
    moving = values > 1e-12 * values[-1]
    white = (series @ vectors / np.sqrt(np.where(moving, values, np.inf))).reshape(strains.shape)
    shares = np.ones(d)
    for k in np.flatnonzero(moving):
        shares[k] = np.mean([_variance_of_mean(replica) for replica in white[:, :, k].T]) / n_replicas
    return white * np.sqrt(1 - shares), shares


def _variance_of_mean(series: np.ndarray) -> float:
    """Return the variance of the mean of a correlated series, in units of its own variance, at most 1.

    The statistical inefficiency g of a series of few correlation times is estimated too low. Here it is the larger of
    two estimates: the sum of the correlation function, the variance corrected by 1 − g/n, and that of an overdamped
    strain, (1 + φ) / (1 − φ), with the correlation φ of successive samples corrected for the mean of the series
    (Marriott & Pope, Biometrika 41, 390, 1954).
    """
    n = len(series)
    if n < 4 or np.ptp(series) == 0:
        return 1.0
    summed = min(0.5, statistical_inefficiency(series) / n)
    moved = series - series.mean()
    correlation = n / (n - 1) * float(moved[1:] @ moved[:-1] / (moved @ moved))
    correlation = min(1.0, (n * correlation + 1) / (n - 3))
    overdamped = 1.0 if correlation >= 1 else (1 + correlation) / (1 - correlation) / n
    return float(min(1.0, max(summed / (1 - summed), overdamped)))
