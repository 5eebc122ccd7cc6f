"""Effect of the noise of a mean cell on the free energy at that cell, and a test for broken symmetry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from pymbar.timeseries import statistical_inefficiency
from scipy.special import ndtr
from scipy.stats import chi2, f

#: A deviation is significant if noise alone causes it with less than this probability.
CHANCE = 1e-3


@dataclass(frozen=True)
class CellNoise:
    """Noise of the mean of a strain with d free directions.

    Attributes
    ----------
    bias_eV, error_eV
        Expected excess of F + pV at the mean cell over its minimum, and half the interval that contains the middle
        68 % of its distribution.
    n_directions
        Number of directions d.
    n_independent
        Smallest number of independent samples of any direction; infinite if there are no directions.
    """

    bias_eV: float
    error_eV: float
    n_directions: int
    n_independent: float


@dataclass(frozen=True)
class StrainDeviation:
    """Deviation of a mean strain from zero.

    Attributes
    ----------
    sigma
        Root mean square over the directions, in standard errors of the mean.
    probability
        Probability that noise alone causes a deviation of at least this size (Hotelling's T²).
    """

    sigma: float
    probability: float

    @property
    def is_real(self) -> bool:
        """Whether the deviation is significant, i.e. not explained by noise."""
        return self.probability < CHANCE


def cell_noise(strains: np.ndarray, temperature_K: float) -> CellNoise:
    """Return the effect of the noise of a mean strain on F + pV at that strain.

    F + pV is minimal at the equilibrium cell, where its curvature is H = k_B T C⁻¹; C is the covariance of the strains
    in the isothermal–isobaric ensemble (Parrinello & Rahman, J. Chem. Phys. 76, 2662, 1982). A mean over correlated
    samples has the covariance S, and the expected excess is

        ½ tr(H S) = ½ k_B T Σ_k 1/n_k,

    where n_k is the number of independent samples of direction k, for directions in which C is the unit matrix. The
    excess is a sum of squares. It is approximately c χ² with ν degrees of freedom (Satterthwaite, Biometrics Bull. 2,
    110, 1946), with c = ½ k_B T Σ 1/n_k² / Σ 1/n_k and ν = (Σ 1/n_k)² / Σ 1/n_k². It is positive and refers to the
    whole cell.

    Parameters
    ----------
    strains
        n samples of B independent replicas along d independent directions, shape (n, B, d).
    temperature_K
        Temperature (K).
    """
    white, shares = _whitened(strains, 0.5)
    kT = units.kB * temperature_K
    return CellNoise(
        bias_eV=float(0.5 * kT * shares.sum()),
        error_eV=0.5 * kT * _half_width(shares),
        n_directions=white.shape[2],
        n_independent=float(1 / shares.max()) if len(shares) else float("inf"),
    )


def _half_width(shares: np.ndarray) -> float:
    """Return half the interval with the middle 68 % of the distribution of Σ_k 1/n_k z_k², with Gaussian z_k."""
    if not len(shares):
        return 0.0
    shares = _without_noise(shares)
    scale = (shares**2).sum() / shares.sum()
    low, high = chi2.ppf([ndtr(-1), ndtr(1)], shares.sum() / scale)
    return float(scale * (high - low) / 2)


def _without_noise(shares: np.ndarray) -> np.ndarray:
    """Return estimates of 1/n_k, moved towards their mean by the part of their scatter that noise explains.

    The variance of an estimate is about 1/n_k³, since that of the correlation φ of successive samples is (1 − φ²)/n.
    """
    mean, scatter = shares.mean(), shares.var(ddof=1) if len(shares) > 1 else 0.0
    real = max(0.0, 1 - mean**3 / scatter) if scatter > 0 else 0.0
    return mean + np.sqrt(real) * (shares - mean)


def deviation(strains: np.ndarray) -> StrainDeviation | None:
    """Compare a mean strain with zero; return None if there are no directions or too few independent samples.

    Parameters
    ----------
    strains
        Strains as in :func:`cell_noise`.
    """
    white, shares = _whitened(strains, 1.0)  # the larger estimate, since small variances cause false alarms
    d = white.shape[2]
    if d == 0 or not (n := 1 / shares.mean()) > d + 1:
        return None
    squared = float((white.mean(axis=(0, 1)) ** 2 / shares).sum())
    return StrainDeviation(float(np.sqrt(squared / d)), float(f.sf(squared * (n - d) / (d * (n - 1)), d, n - d)))


def _whitened(strains: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return strains along directions of unit variance, and the variance of the mean of each direction, 1/n_k.

    `weight` is that of the second estimate in :func:`_variance_of_mean`.

    The spread about the sample mean underestimates the variance by the variance of that mean, which is corrected. A
    direction without observed motion counts as one independent sample.
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
        shares[k] = np.mean([_variance_of_mean(replica, weight) for replica in white[:, :, k].T]) / n_replicas
    return white * np.sqrt(1 - shares), shares


def _variance_of_mean(series: np.ndarray, weight: float) -> float:
    """Return the variance of the mean of a correlated series relative to the variance of the series, at most 1.

    The statistical inefficiency g of a series of few correlation times is usually underestimated. Therefore two
    estimates are used. The first sums the correlation function and corrects the variance by 1 − g/n. The second is that
    of an overdamped strain, (1 + φ) / (1 − φ), where the correlation φ of successive samples is corrected for the mean
    of the series (Marriott & Pope, Biometrika 41, 390, 1954). For series of 4 to 8 independent samples the first is on
    average too small and the second too large, by up to a quarter and a half.

    Parameters
    ----------
    series
        The series.
    weight
        Weight of the second estimate in the mean of both, if it is the larger one: ½ for the least bias, 1 for the
        larger of both. Otherwise the first estimate is returned.
    """
    n = len(series)
    if n < 4 or np.ptp(series) == 0:
        return 1.0
    summed = min(0.5, statistical_inefficiency(series) / n)
    summed = float(summed / (1 - summed))
    moved = series - series.mean()
    correlation = n / (n - 1) * float(moved[1:] @ moved[:-1] / (moved @ moved))
    correlation = min(1.0, (n * correlation + 1) / (n - 3))
    overdamped = 1.0 if correlation >= 1 else min(1.0, (1 + correlation) / (1 - correlation) / n)
    return min(1.0, summed + weight * max(0.0, overdamped - summed))
