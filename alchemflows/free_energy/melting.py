"""Melting point: where the free energies of a solid and of its liquid cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from alchemflows.free_energy.isolines import Series


@dataclass(frozen=True)
class PerAtomCurve:
    """Thermodynamics of one phase per atom at k temperatures (K), each of shape (k,)."""

    temperatures_K: np.ndarray
    gibbs_eV: Series
    enthalpy_eV: Series
    volume_A3: Series


@dataclass(frozen=True)
class MeltingPoint:
    """The melting point and the changes from solid to liquid there, per atom, each with its standard error.

    Attributes
    ----------
    temperature_K
        Melting point.
    latent_heat_eV, volume_change_A3
        H(liquid) − H(solid) and V(liquid) − V(solid).
    """

    temperature_K: tuple[float, float]
    latent_heat_eV: tuple[float, float]
    volume_change_A3: tuple[float, float]


def common_range_K(solid: PerAtomCurve, liquid: PerAtomCurve) -> tuple[float, float]:
    """Return the lowest and the highest temperature of both curves; the first is above the second if there is none."""
    ends = [(curve.temperatures_K[0], curve.temperatures_K[-1]) for curve in (solid, liquid)]
    return float(max(low for low, _ in ends)), float(min(high for _, high in ends))


def gibbs_difference(solid: PerAtomCurve, liquid: PerAtomCurve, temperatures_K: np.ndarray) -> Series:
    """Return G(liquid) − G(solid) at temperatures within both curves, whose errors are independent."""
    return _difference(solid, liquid, "gibbs_eV", temperatures_K)


def melting_point(solid: PerAtomCurve, liquid: PerAtomCurve) -> MeltingPoint | None:
    """Return where G(liquid) − G(solid) falls through zero; None if it does not within the common range.

    The error of the temperature is that of the difference, divided by the difference of the entropies.
    """
    low, high = common_range_K(solid, liquid)
    if not low < high:
        return None
    grid = np.linspace(low, high, 201)
    difference = CubicSpline(grid, gibbs_difference(solid, liquid, grid).values)
    roots = [root for root in difference.roots(extrapolate=False) if difference(root, 1) < 0]
    if not roots:
        return None
    at = np.array([roots[0]])
    (gibbs_error,) = gibbs_difference(solid, liquid, at).errors
    heat, volume = (_difference(solid, liquid, name, at) for name in ("enthalpy_eV", "volume_A3"))
    return MeltingPoint(
        temperature_K=(float(roots[0]), float(gibbs_error * roots[0] / abs(heat.values[0]))),
        latent_heat_eV=(float(heat.values[0]), float(heat.errors[0])),
        volume_change_A3=(float(volume.values[0]), float(volume.errors[0])),
    )


def _difference(solid: PerAtomCurve, liquid: PerAtomCurve, name: str, temperatures_K: np.ndarray) -> Series:
    """Return liquid − solid of a quantity, with the errors of both in quadrature."""
    values, errors = [], []
    for curve in (solid, liquid):
        series: Series = getattr(curve, name)
        values.append(CubicSpline(curve.temperatures_K, series.values)(temperatures_K))
        errors.append(np.interp(temperatures_K, curve.temperatures_K, series.errors))
    return Series(values[1] - values[0], np.hypot(*errors))
