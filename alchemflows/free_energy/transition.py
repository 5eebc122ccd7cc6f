"""Temperature of a transition between order and disorder, from averages as functions of the temperature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from alchemflows.free_energy.errors import small_sample_factor
from alchemflows.free_energy.influences import spread
from alchemflows.free_energy.thermal import ThermalCurves

#: Number of random draws for errors.
N_DRAWS = 200
#: Averages of the order, which is at most of the order of 1, are equal if they differ by less.
_SAME_ORDER = 1e-9


@dataclass(frozen=True)
class TransitionEstimate:
    """A transition temperature.

    Attributes
    ----------
    temperature_K
        Temperature (K); None if there is none between the sampled temperatures.
    error_K
        Standard error (K); None if many of the random draws have no transition temperature.
    draws_K
        Temperatures at random within the errors (K), shape (:data:`N_DRAWS`,); NaN where there is none.
    factor
        Factor of the spread of the draws, for the small number of blocks.
    """

    temperature_K: float | None
    error_K: float | None
    draws_K: np.ndarray = field(repr=False, compare=False)
    factor: float = field(default=1.0, repr=False, compare=False)

    @classmethod
    def of(cls, value_K: float, draws_K: np.ndarray, factor: float) -> TransitionEstimate:
        """Return the estimate of a value, which may be NaN, from draws within its errors."""
        if not np.isfinite(value_K):
            return cls.none()
        error = spread(draws_K)
        return cls(float(value_K), None if error is None else factor * error, draws_K, factor)

    @classmethod
    def none(cls) -> TransitionEstimate:
        """Return the estimate of a transition that is not there."""
        return cls(None, None, np.full(N_DRAWS, np.nan))


def is_constant(order: np.ndarray | Sequence[float]) -> bool:
    """Tell whether averages of the order parameter at several temperatures are equal, as if no sample differs."""
    return bool(np.ptp(order) < _SAME_ORDER)


def heat_capacity_peak(curves: ThermalCurves) -> TransitionEstimate:
    """Return the temperature of the largest heat capacity."""
    return _estimate(
        _peak(curves.temperatures_K, curves.quantities.heat_capacity_eV_per_K[None]),
        _peak(curves.temperatures_K, curves.draws(N_DRAWS).heat_capacity_eV_per_K),
        [curves],
    )


def steepest_order(curves: ThermalCurves) -> TransitionEstimate:
    """Return the temperature at which the order parameter decreases fastest; none if it is constant."""
    if is_constant(curves.quantities.order):
        return TransitionEstimate.none()
    return _estimate(
        _peak(curves.temperatures_K, -curves.quantities.order_slope_per_K[None]),
        _peak(curves.temperatures_K, -curves.draws(N_DRAWS).order_slope_per_K),
        [curves],
    )


def cumulant_crossing(small: ThermalCurves, large: ThermalCurves) -> TransitionEstimate:
    """Return the temperature at which the cumulants of the order of two cells are equal (Binder's crossing).

    Below the transition the larger cell has the larger cumulant, above it the smaller one. The crossing is the first
    one below the temperature at which the cumulant of the smaller cell exceeds the other by most. Far below the
    transition both cumulants are 2/3, and their difference is noise.

    Parameters
    ----------
    small, large
        Curves of two cells at the same temperatures.
    """
    values, draws = (
        [each.order_cumulant for each in found]
        for found in (
            (small.quantities, large.quantities),
            (small.draws(N_DRAWS, seed=1), large.draws(N_DRAWS, seed=2)),
        )
    )
    return _estimate(
        _crossing(small.temperatures_K, (values[1] - values[0])[None]),
        _crossing(small.temperatures_K, draws[1] - draws[0]),
        [small, large],
    )


def _estimate(value: np.ndarray, draws: np.ndarray, curves: Sequence[ThermalCurves]) -> TransitionEstimate:
    factor = small_sample_factor(min(each.n_blocks for each in curves))
    return TransitionEstimate.of(float(value[0]), draws, factor)


def _peak(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the place of the maximum of each curve, shape (n,); NaN if it is at an end.

    Parameters
    ----------
    x
        Evenly spaced places, shape (G,).
    values
        Curves, shape (n, G).
    """
    top = np.argmax(np.nan_to_num(values, nan=-np.inf), axis=1)
    inside = np.clip(top, 1, len(x) - 2)
    row = np.arange(len(values))
    left, middle, right = (values[row, inside + step] for step in (-1, 0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.nan_to_num((left - right) / (2 * (left - 2 * middle + right)))
    return np.where(top == inside, x[inside] + shift * (x[1] - x[0]), np.nan)


def _crossing(x: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """Return where each curve changes from positive to negative, the last time before its minimum, shape (n,)."""
    found = np.full(len(differences), np.nan)
    for k, difference in enumerate(differences):
        lowest = int(np.argmin(np.nan_to_num(difference, nan=np.inf)))
        above = np.flatnonzero(difference[:lowest] >= 0)
        if difference[lowest] < 0 and len(above):
            a = above[-1]
            share = difference[a] / (difference[a] - difference[a + 1])
            found[k] = x[a] + share * (x[a + 1] - x[a])
    return found
