"""Thermodynamics of a crystal along an isobar or an isotherm, from the work of sweeps and one absolute free energy.

Along an isobar the work is that of the scaled enthalpy s (U + pV) with s = T_d / T, where T_d is the temperature of the
dynamics (de Koning, Antonelli & Yip, Phys. Rev. Lett. 83, 3973, 1999). With the work W from T₀ to T,

    G(T) = (T / T₀) G(T₀) + (T / T_d) W − ½ (3N − c) k_B T ln(T / T₀).

The last term is that of the 3N momenta, which are not sampled at T, and of c strains: the work contains ½ k_B T for
each strain of the cell that fluctuates, while G = F + pV at the mean cell does not. In this term the elastic constants
are those at T₀. With c = 0 this is the formula of Freitas, Asta & de Koning (Comput. Mater. Sci. 112, 333,
2016) and, at constant pressure, of Menon, Lysogorskiy, Rogal & Drautz (Phys. Rev. Mater. 5, 103801, 2021).

Along an isotherm, G(p) = G(p₀) + W with dW = V dp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import units
from scipy.interpolate import CubicSpline

from alchemflows.free_energy.curves import WorkCurve
from alchemflows.free_energy.errors import shared_errors
from alchemflows.free_energy.polynomials import MIN_DEGREE, FittedPolynomial, SwitchAverages, fitted

#: Highest degree of the polynomials that describe the derivative of the free energy along the path.
MAX_DEGREE = 6
#: A higher degree is used if its coefficient is larger than this number of its errors.
SIGNIFICANT = 3.0


@dataclass(frozen=True)
class Series:
    """Values at k points and their standard errors, each of shape (k,)."""

    values: np.ndarray
    errors: np.ndarray


@dataclass(frozen=True)
class Anchor:
    """An absolute free energy: where it is known (T₀ in K, or p₀ in eV/Å³), its value and its standard error (eV)."""

    place: float
    value_eV: float
    error_eV: float


@dataclass(frozen=True)
class Isobar:
    """Thermodynamics at k temperatures and constant pressure or volume; extensive, for the whole cell.

    Attributes
    ----------
    gibbs_eV, enthalpy_eV, entropy_eV_per_K, heat_capacity_eV_per_K
        G, H, S and C_p (at constant volume F, U, S and C_V).
    volume_A3, expansion_per_K
        Volume and volumetric thermal expansion (∂V/∂T)/V.
    dissipation_eV
        Dissipation between T₀ and T, multiplied by T / T_d as the work is, shape (k,).
    degree
        Degree of the polynomial in T that describes ⟨U + pV⟩.
    shares
        What each switch, and at last the anchor, adds to the errors of G, S and V, shape (n + 1, 3, k). Products of two
        of these values, added over the first axis, are the covariance: at different temperatures, and of different
        quantities.
    """

    gibbs_eV: Series
    enthalpy_eV: Series
    entropy_eV_per_K: Series
    heat_capacity_eV_per_K: Series
    volume_A3: Series
    expansion_per_K: Series
    dissipation_eV: np.ndarray
    degree: int
    shares: np.ndarray


@dataclass(frozen=True)
class Isotherm:
    """Thermodynamics at k pressures and one temperature; extensive, for the whole cell.

    Attributes
    ----------
    gibbs_eV, volume_A3, bulk_modulus_eV_per_A3
        G, V and the isothermal bulk modulus −V ∂p/∂V.
    dissipation_eV
        Dissipation between p₀ and p, shape (k,).
    degree
        Degree of the polynomial in p that describes V.
    shares
        What each switch, and at last the anchor, adds to the errors of G, shape (n + 1, k), as for :class:`Isobar`.
    """

    gibbs_eV: Series
    volume_A3: Series
    bulk_modulus_eV_per_A3: Series
    dissipation_eV: np.ndarray
    degree: int
    shares: np.ndarray


def isobar(
    work: WorkCurve,
    path_K: np.ndarray,
    volumes_A3: tuple[np.ndarray, np.ndarray],
    anchor: Anchor,
    temperatures_K: np.ndarray,
    n_momenta: float,
    n_strains: int,
) -> Isobar:
    """Return the thermodynamics along an isobar.

    Parameters
    ----------
    work
        Work of the scaled enthalpy.
    path_K
        Temperatures of the points of the work (K), ascending from that of the dynamics, shape (m,).
    volumes_A3
        Mean volume of each forward and backward switch between successive points, in the order of the temperatures, two
        arrays of shape (n, m − 1).
    anchor
        G at the temperature T₀ (at constant volume F).
    temperatures_K
        Temperatures of the results (K), within those of the path, shape (k,).
    n_momenta
        Number of momenta, 3N.
    n_strains
        Number of strains c of the cell that fluctuate; 0 at constant volume.
    """
    low, t = path_K[0], np.asarray(temperatures_K, dtype=float)
    per_K = units.kB * (n_momenta - n_strains) / 2
    steps = _steps(np.log(path_K), np.log(t), np.log(anchor.place))
    middle = np.sqrt(path_K[1:] * path_K[:-1])
    slopes = _increments(len(path_K)) / np.diff(low / path_K)[:, None]  # of the work to ⟨U + pV⟩
    # Fluctuations of the enthalpy of a harmonic crystal are proportional to T.
    fits = _fits(work, slopes, middle, 1 / middle)
    gibbs_rows = (t / low)[:, None] * steps
    gibbs = work.combined(gibbs_rows)
    values = t / anchor.place * anchor.value_eV + gibbs[0] - per_K * t * np.log(t / anchor.place)
    h, h_errors = fitted(work.combined, *(fit.at(t) for fit in fits))
    h = h + per_K * t
    entropy_rows = [(fit.at(t) - gibbs_rows) / t[:, None] for fit in fits]
    _, s_errors = fitted(work.combined, *entropy_rows)
    c, c_errors = fitted(work.combined, *(fit.derivative(t) for fit in fits))
    volume, expansion, volume_shares = _expansion(volumes_A3, middle, t)
    by_switch = [
        shared_errors([part @ gibbs_rows.T for part in work.influences_eV], gibbs[1]),
        shared_errors([part @ entropy_rows[0].T for part in work.influences_eV], s_errors),
        volume_shares,
    ]
    by_anchor = anchor.error_eV * np.stack([t / anchor.place, np.full(len(t), -1 / anchor.place), np.zeros(len(t))])
    return Isobar(
        gibbs_eV=Series(values, np.hypot(t / anchor.place * anchor.error_eV, gibbs[1])),
        enthalpy_eV=Series(h, h_errors),
        entropy_eV_per_K=Series((h - values) / t, np.hypot(anchor.error_eV / anchor.place, s_errors)),
        heat_capacity_eV_per_K=Series(c + per_K, c_errors),
        volume_A3=volume,
        expansion_per_K=expansion,
        dissipation_eV=t / low * (steps @ work.dissipation_eV),
        degree=fits[0].degree,
        shares=np.concatenate([np.stack(by_switch, axis=1), by_anchor[None]]),
    )


def isotherm(work: WorkCurve, path_eV_per_A3: np.ndarray, anchor: Anchor, pressures_eV_per_A3: np.ndarray) -> Isotherm:
    """Return the thermodynamics along an isotherm.

    Parameters
    ----------
    work
        Work of the pressure.
    path_eV_per_A3
        Pressures of the points of the work (eV/Å³), ascending, shape (m,).
    anchor
        G at the pressure p₀.
    pressures_eV_per_A3
        Pressures of the results (eV/Å³), within those of the path, shape (k,).
    """
    p = np.asarray(pressures_eV_per_A3, dtype=float)
    steps = _steps(path_eV_per_A3, p, anchor.place)
    middle = (path_eV_per_A3[1:] + path_eV_per_A3[:-1]) / 2
    slopes = _increments(len(path_eV_per_A3)) / np.diff(path_eV_per_A3)[:, None]
    fits = _fits(work, slopes, middle, np.ones(len(middle)))
    gibbs, errors = work.combined(steps)
    v, v_errors = fitted(work.combined, *(fit.at(p) for fit in fits))
    dv = work.combined(fits[0].derivative(p))[0]
    # B = −V / V'; its relative error is that of V' / V.
    ratios = (fit.derivative(p) / v[:, None] - (dv / v**2)[:, None] * fit.at(p) for fit in fits)
    ratio_errors = fitted(work.combined, *ratios)[1]
    by_switch = shared_errors([part @ steps.T for part in work.influences_eV], errors)
    return Isotherm(
        gibbs_eV=Series(anchor.value_eV + gibbs, np.hypot(anchor.error_eV, errors)),
        volume_A3=Series(v, v_errors),
        bulk_modulus_eV_per_A3=Series(-v / dv, (v / dv) ** 2 * ratio_errors),
        dissipation_eV=steps @ work.dissipation_eV,
        degree=fits[0].degree,
        shares=np.concatenate([by_switch, np.full((1, len(p)), anchor.error_eV)]),
    )


def _fits(
    work: WorkCurve, slopes: np.ndarray, x: np.ndarray, weights: np.ndarray
) -> tuple[FittedPolynomial, FittedPolynomial]:
    """Return the polynomial of the slopes of the work with the lowest sufficient degree, and that of the next degree.

    A degree is sufficient if the coefficient of the next one is not significant. There are at least four data for each
    degree above the lowest.
    """
    highest = max(MIN_DEGREE, min(MAX_DEGREE, len(x) // 4))
    for degree in range(MIN_DEGREE, highest + 1):
        own, more = (FittedPolynomial.fitted(x, weights, d) for d in (degree, degree + 1))
        (value,), (error,) = work.combined(more.solution[-1:] @ slopes)
        if abs(value) <= SIGNIFICANT * error:
            break
    first, second = (FittedPolynomial(fit.solution @ slopes, fit.scale) for fit in (own, more))
    return first, second


def _expansion(
    volumes_A3: tuple[np.ndarray, np.ndarray], x: np.ndarray, t: np.ndarray
) -> tuple[Series, Series, np.ndarray]:
    """Return V and (∂V/∂T)/V at temperatures t from both directions, and what each switch adds to the errors of V."""
    averages = SwitchAverages(volumes_A3, x, 1 / np.sqrt(x))
    volume, errors = averages.at(t)
    alpha = averages.combined(averages.fits[0].derivative(t))[0] / volume
    relative = (fit.derivative(t) / volume[:, None] - (alpha / volume)[:, None] * fit.at(t) for fit in averages.fits)
    return Series(volume, errors), Series(alpha, fitted(averages.combined, *relative)[1]), averages.shares(t, errors)


def _steps(path: np.ndarray, x: np.ndarray, start: float) -> np.ndarray:
    """Return the factors of the values at the points of a path for the differences between x and the start, (k, m)."""
    spline = CubicSpline(path, np.eye(len(path)))
    return spline(x) - spline(start)


def _increments(n_points: int) -> np.ndarray:
    """Return the matrix of differences between successive points, shape (m − 1, m)."""
    return np.diff(np.eye(n_points), axis=0)
