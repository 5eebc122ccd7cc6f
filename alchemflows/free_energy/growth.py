"""Growth of a solid or of its liquid where both are in contact, and the melting point at which neither grows.

The enthalpy of a cell that contains both phases tells the share of the solid,

    x = (h_liquid − h) / (h_liquid − h_solid),

with the enthalpies per atom of both phases at the same temperature and pressure. The solid grows below the melting
point, and melts above it (Morris, Wang, Ho & Chan, Phys. Rev. B 49, 3109, 1994). Near the melting point the rate dx/dt
is linear in T, and it is zero at the melting point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

#: Shares of the solid below and above which the cell counts as filled with one phase, since its two interfaces meet.
FILLED = (0.15, 0.85)
#: A phase grows at a temperature if the rate there is more than this number of its errors from zero.
SIGNIFICANT = 2.0

Phase = Literal["solid", "liquid", "undecided"]


@dataclass(frozen=True)
class Growth:
    """Growth of the solid at one temperature.

    Attributes
    ----------
    rate_per_ps, error_per_ps
        Mean dx/dt of the replicas until one phase fills the cell, and its standard error; None if the phase filled the
        cell before it could be measured.
    phase
        The phase that grows.
    """

    rate_per_ps: float | None
    error_per_ps: float | None
    phase: Phase


@dataclass(frozen=True)
class MeltingOfRates:
    """The temperature at which the rate of growth is zero, and its standard error.

    Attributes
    ----------
    temperature_K, error_K
        None if the rate does not fall significantly with the temperature, or is zero outside of the temperatures.
    chi_squared_per_degree
        χ² per degree of freedom of the straight line; None without a degree of freedom. If it is above 1, the error is
        multiplied by its square root.
    """

    temperature_K: float | None = None
    error_K: float | None = None
    chi_squared_per_degree: float | None = None


def solid_fraction(enthalpy: np.ndarray, solid: np.ndarray | float, liquid: np.ndarray | float) -> np.ndarray:
    """Return the share of the solid from enthalpies per atom of a cell with both phases, and of each phase (eV)."""
    return np.asarray((liquid - enthalpy) / (liquid - solid))


def section_means(series: np.ndarray, n_sections: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the means of B series in equal sections, shape (B, m), and the middle of each section in samples, (m,).

    Parameters
    ----------
    series
        Samples of B series, shape (n, B); the first ones are left out if n is not a multiple of the sections.
    n_sections
        Largest number of sections m.
    """
    n = len(series)
    m = min(n_sections, n)
    length = n // m
    first = n - m * length
    means = series[first:].reshape(m, length, -1).mean(axis=1).T
    return means, first + (np.arange(m) + 0.5) * length


def n_measured(fractions: np.ndarray) -> np.ndarray:
    """Return the number of sections of each replica until one phase fills the cell, that section included, shape (R,).

    Parameters
    ----------
    fractions
        Share of the solid in each of m sections of the run, shape (R, m).
    """
    filled = (fractions < FILLED[0]) | (fractions > FILLED[1])
    return np.where(filled.any(axis=1), filled.argmax(axis=1) + 1, fractions.shape[1])


def growths(fractions: Sequence[np.ndarray], section_ps: float) -> list[Growth]:
    """Return the growth of the solid at each temperature.

    The rate is the mean increment between successive sections of all replicas. Interfaces move like random walkers, so
    their increments are independent, but those of means of sections are correlated with their neighbours. The variance
    of the sum of n increments is therefore n (γ₀ + 2 γ₁), where γ₀ and γ₁ are the variance and the covariance of
    neighbours. Both are means over all temperatures, and a negative γ₁ (noise of the enthalpy) counts as zero.

    Parameters
    ----------
    fractions
        Share of the solid at each temperature in each of m sections of R replicas, shape (R, m).
    section_ps
        Length of a section (ps).
    """
    steps = [_increments(each) for each in fractions]
    numbers = np.array([sum(map(len, rows)) for rows in steps])
    means = [float(np.concatenate(rows).mean()) if n else 0.0 for rows, n in zip(steps, numbers, strict=True)]
    deviations = [row - mean for rows, mean in zip(steps, means, strict=True) for row in rows if len(row)]
    degrees = int(numbers.sum() - (numbers > 0).sum())
    variance = sum(float((row**2).sum()) for row in deviations) / degrees if degrees else np.nan
    n_pairs = sum(len(row) - 1 for row in deviations)
    covariance = sum(float(row[1:] @ row[:-1]) for row in deviations) / n_pairs if n_pairs else 0.0
    spread = float(np.sqrt(variance + 2 * max(covariance, 0.0)))
    found = []
    for each, n, mean in zip(fractions, numbers, means, strict=True):
        error = spread / np.sqrt(n) if n else np.nan
        phase = _phase(each, mean, error)
        if np.isfinite(error):
            found.append(Growth(mean / section_ps, float(error) / section_ps, phase))
        else:
            found.append(Growth(None, None, phase))
    return found


def melting_of_rates(temperatures_K: Sequence[float], found: Sequence[Growth]) -> MeltingOfRates:
    """Return the temperature at which the rate is zero, by a weighted linear fit of the rates against temperature."""
    known = [
        (t, each.rate_per_ps, each.error_per_ps)
        for t, each in zip(temperatures_K, found, strict=True)
        if each.rate_per_ps is not None and each.error_per_ps
    ]
    if len({t for t, _, _ in known}) < 2:
        return MeltingOfRates()
    t, rates, errors = (np.array(values, dtype=float) for values in zip(*known, strict=True))
    weights = errors**-2
    total = weights.sum()
    centre, mean = float(weights @ t / total), float(weights @ rates / total)
    width = float(weights @ (t - centre) ** 2)
    slope = float(weights @ ((t - centre) * rates)) / width
    degrees = len(t) - 2
    chi_squared = float(weights @ (rates - mean - slope * (t - centre)) ** 2) / degrees if degrees else None
    scale = np.sqrt(max(1.0, chi_squared or 0.0))
    zero = centre - mean / slope if slope < 0 else np.nan
    if not slope < -SIGNIFICANT * scale / np.sqrt(width) or not t.min() <= zero <= t.max():
        return MeltingOfRates(chi_squared_per_degree=chi_squared)
    error = scale / abs(slope) * np.sqrt(1 / total + (zero - centre) ** 2 / width)
    return MeltingOfRates(float(zero), float(error), chi_squared)


def _increments(fractions: np.ndarray) -> list[np.ndarray]:
    """Return the changes of the share of the solid between the sections of each replica that are measured."""
    return [np.diff(row[:n]) for row, n in zip(fractions, n_measured(fractions), strict=True)]


def _phase(fractions: np.ndarray, mean: float, error: float) -> Phase:
    """Return the phase that grows, from the mean increment and its error, or because it fills all cells."""
    last = fractions[np.arange(len(fractions)), n_measured(fractions) - 1]
    if (last > FILLED[1]).all():
        return "solid"
    if (last < FILLED[0]).all():
        return "liquid"
    if np.isfinite(error) and abs(mean) > SIGNIFICANT * error:
        return "solid" if mean > 0 else "liquid"
    return "undecided"
