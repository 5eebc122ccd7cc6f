"""Stability of phases: transition temperatures and ideal mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError

#: Number of random draws for the uncertainty of a transition temperature.
N_DRAWS = 2000


#: Number of temperatures at which two curves are compared, between the ends of their common range.
N_TEMPERATURES = 101


@dataclass(frozen=True)
class Transition:
    """Transition between two phases, where ΔG = G_second − G_first is zero.

    Each value stands with its standard error, half of the interval that contains 68 % of the draws. All but the last
    two are None if there is no transition between the given temperatures.

    Attributes
    ----------
    temperature_K, error_K
        Transition temperature and its standard error.
    entropy_eV_per_K
        ΔS at the transition, and its standard error.
    latent_heat_eV
        T ΔS, which is ΔH at the transition.
    volume_A3
        ΔV at the transition; None also if volumes are not known.
    boundary_K_per_GPa
        dT/dp = ΔV / ΔS of the boundary between both phases (Clausius–Clapeyron); None also if volumes are not known.
    second_above
        Whether the second phase is stable above the transition. Without a transition: whether ΔG is smaller at the
        highest temperature than at the lowest.
    probability
        Fraction of the draws (within the errors of ΔG) with a transition between the given temperatures.
    """

    temperature_K: float | None
    error_K: float | None
    entropy_eV_per_K: tuple[float, float] | None
    latent_heat_eV: tuple[float, float] | None
    volume_A3: tuple[float, float] | None
    boundary_K_per_GPa: tuple[float, float] | None
    second_above: bool
    probability: float

    @property
    def slope_eV_per_K(self) -> float | None:
        """Slope dΔG/dT = −ΔS at the transition; None without a transition."""
        return None if self.entropy_eV_per_K is None else -self.entropy_eV_per_K[0]


@dataclass(frozen=True)
class PhaseIsobar:
    """G, S and V of one phase at k temperatures and constant pressure.

    Attributes
    ----------
    temperatures_K
        Temperatures, ascending, shape (k,).
    values
        G (eV), S (eV/K) and V (Å³), shape (3, k).
    shares
        What each of n independent samples adds to the errors, shape (n, 3, k); see
        :class:`~alchemflows.free_energy.isolines.Isobar`.
    n_shared
        Number of the last samples that curves of the phase at other pressures share: those of the anchor.
    """

    temperatures_K: np.ndarray
    values: np.ndarray
    shares: np.ndarray
    n_shared: int = 0

    @property
    def errors(self) -> np.ndarray:
        """Standard errors of the values, shape (3, k)."""
        return np.sqrt((self.shares**2).sum(axis=0))

    def per(self, number: float) -> PhaseIsobar:
        """Return the values and errors divided by a number, such as that of the atoms."""
        return PhaseIsobar(self.temperatures_K, self.values / number, self.shares / number, self.n_shared)

    def draws(self, rng: np.random.Generator, shared: np.ndarray | None = None) -> np.ndarray:
        """Return random deviations of the values within their correlated errors, shape (:data:`N_DRAWS`, 3, k).

        Parameters
        ----------
        rng
            Random numbers.
        shared
            Standard normal numbers for the shared samples, shape (:data:`N_DRAWS`, n_shared), if they are given.
        """
        normal = rng.normal(size=(N_DRAWS, len(self.shares)))
        if shared is not None:
            normal[:, len(self.shares) - self.n_shared :] = shared
        return np.tensordot(normal, self.shares, axes=1)


@dataclass(frozen=True)
class Boundary:
    """Transitions between two phases at several pressures, and whether their slopes agree with their temperatures.

    Attributes
    ----------
    transitions
        The transition at each pressure.
    deviations_K
        Difference between two successive transition temperatures, minus the integral of dT/dp between them (trapezoidal
        rule), and its standard error; None if one of the transitions is not within the temperatures.
    """

    transitions: list[Transition]
    deviations_K: list[tuple[float, float] | None]


def transition_of_curves(first: PhaseIsobar, second: PhaseIsobar) -> Transition:
    """Find the transition between two phases from the crossing of their curves G(T).

    The errors are those of random draws of both curves. Values along one curve share the anchor and the switches, so a
    draw moves them together, and G, S and V of a phase as well. The two phases are independent.

    Parameters
    ----------
    first, second
        The phases, at the same temperatures.

    Raises
    ------
    InvalidInputError
        If the temperatures differ, or are fewer than two.
    """
    rng = np.random.default_rng(0)
    return _crossing(first, second, second.draws(rng) - first.draws(rng))[0]


def boundary(pressures_GPa: Sequence[float], pairs: Sequence[tuple[PhaseIsobar, PhaseIsobar]]) -> Boundary:
    """Find the transition between two phases at several pressures.

    Parameters
    ----------
    pressures_GPa
        Pressures, ascending.
    pairs
        The first and the second phase at each pressure, see :func:`transition_of_curves`. The curves of one phase share
        their anchor, so one draw of it moves the transition at all pressures.

    Raises
    ------
    InvalidInputError
        If the temperatures of a pair differ, or are fewer than two.
    """
    rng = np.random.default_rng(0)
    shared = [rng.normal(size=(N_DRAWS, phase.n_shared)) for phase in pairs[0]]
    found = [
        _crossing(first, second, second.draws(rng, shared[1]) - first.draws(rng, shared[0])) for first, second in pairs
    ]
    deviations: list[tuple[float, float] | None] = []
    for k, step in enumerate(np.diff(pressures_GPa)):
        before, after = found[k], found[k + 1]
        if before[0].boundary_K_per_GPa is None or after[0].boundary_K_per_GPa is None:
            deviations.append(None)
            continue
        draws = after[1] - before[1] - (before[2] + after[2]) / 2 * step
        slopes = before[0].boundary_K_per_GPa[0] + after[0].boundary_K_per_GPa[0]
        assert before[0].temperature_K is not None and after[0].temperature_K is not None
        value = after[0].temperature_K - before[0].temperature_K - slopes / 2 * step
        deviations.append((float(value), _half_interval(draws)))
    return Boundary([each[0] for each in found], deviations)


def _crossing(
    first: PhaseIsobar, second: PhaseIsobar, deviations: np.ndarray
) -> tuple[Transition, np.ndarray, np.ndarray]:
    """Return the transition between two curves, and its temperature and dT/dp in each draw; NaN where there is none.

    The deviations are those of the draws of both curves, shape (:data:`N_DRAWS`, 3, k).
    """
    t = first.temperatures_K
    if len(t) < 2 or not np.array_equal(t, second.temperatures_K):
        raise InvalidInputError("temperatures_K: both curves need the same temperatures, at least two")
    best = (second.values - first.values)[None]
    draws = best + deviations
    none = np.full(N_DRAWS, np.nan)
    probability = float(np.isfinite(_crossings(t, draws[:, 0])).any(axis=0).mean())
    place = _nearest(_crossings(t, best[:, 0]), (t[0] + t[-1]) / 2)
    falling = bool(best[0, 0, -1] < best[0, 0, 0])
    if not np.isfinite(place[0]):
        return Transition(None, None, None, None, None, None, falling, probability), none, none
    # Draws that cross beyond the ends are included, since the error would otherwise be too small near the ends.
    places = _nearest(np.concatenate([_crossings(t, draws[:, 0]), _crossings_beyond(t, draws)]), place[0])
    known = np.isfinite(places)
    numbers = _at_crossing(t, best, place)
    drawn = _at_crossing(t, draws[known], places[known])
    errors = [_half_interval(each) for each in drawn]
    slopes = none
    slopes[known] = drawn[-1]
    entropy, heat, volume, slope = ((float(v[0]), e) for v, e in zip(numbers, errors, strict=True))
    before = float(np.interp(place[0] - 1e-6 * np.ptp(t), t, best[0, 0]))
    after = float(np.interp(place[0] + 1e-6 * np.ptp(t), t, best[0, 0]))
    found = Transition(
        temperature_K=float(place[0]),
        error_K=_half_interval(places[known]),
        entropy_eV_per_K=entropy,
        latent_heat_eV=heat,
        volume_A3=volume,
        boundary_K_per_GPa=slope,
        second_above=after < before,
        probability=probability,
    )
    return found, places, slopes


def _crossings(t: np.ndarray, delta_g: np.ndarray) -> np.ndarray:
    """Return the zeros of n curves of shape (n, k), which are straight between the temperatures, shape (k − 1, n)."""
    before, after = delta_g[:, :-1], delta_g[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        zeros = t[:-1] + np.diff(t) * before / (before - after)
    return np.where((before * after <= 0) & np.isfinite(zeros), zeros, np.nan).T


def _crossings_beyond(t: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return the zeros of n curves (n, 3, k) that continue straight beyond both ends, with their S there, (2, n)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = (draws[:, 0, [0, -1]] / draws[:, 1, [0, -1]]).T
    return np.where(np.isfinite(steps) & (steps * [[-1], [1]] > 0), t[[0, -1], None] + steps, np.nan)


def _at_crossing(t: np.ndarray, curves: np.ndarray, places: np.ndarray) -> list[np.ndarray]:
    """Return ΔS, T ΔS, ΔV and ΔV/ΔS of n curves (n, 3, k) at n temperatures, those of the nearest end beyond it."""
    k = np.clip(np.searchsorted(t, places) - 1, 0, len(t) - 2)
    share = np.clip((places - t[k]) / (t[k + 1] - t[k]), 0, 1)[:, None]
    n = np.arange(len(curves))
    entropy, volume = ((1 - share) * curves[n, 1:, k] + share * curves[n, 1:, k + 1]).T
    return [entropy, places * entropy, volume, volume / entropy * units.GPa]


def _half_interval(draws: np.ndarray) -> float:
    """Return half of the interval that contains 68 % of the draws."""
    low, high = np.nanquantile(draws, [NormalDist().cdf(-1), NormalDist().cdf(1)])
    return float(high - low) / 2


def transition(temperatures_K: Sequence[float], delta_g_eV: ArrayLike, errors_eV: ArrayLike) -> Transition:
    """Find the transition temperature of two phases from a polynomial fit of ΔG(T).

    The polynomial is a straight line (constant ΔS) for two temperatures and a parabola (ΔS and ΔC_p) for more. Each ΔG
    has the statistical weight 1/(σ² + ⟨σ²⟩).

    Parameters
    ----------
    temperatures_K
        Temperatures, at least two different ones, shape (n,).
    delta_g_eV, errors_eV
        G_second − G_first and standard errors, shape (n,).

    Raises
    ------
    InvalidInputError
        If there are fewer than two temperatures or an error is not positive.
    """
    t, y, sigma = (np.asarray(v, dtype=float) for v in (temperatures_K, delta_g_eV, errors_eV))
    if len(set(t.tolist())) < 2:
        raise InvalidInputError(f"temperatures_K: a transition needs at least two temperatures; got {t.tolist()}")
    if not (sigma > 0).all():
        raise InvalidInputError(f"errors_eV: standard errors must be positive; got {sigma.tolist()}")
    degree = 1 if len(set(t.tolist())) == 2 else 2
    centre, width = t.mean(), np.ptp(t)
    x = (t - centre) / width
    # Errors from few switches are noisy; statistical weights of 1/σ² would favour errors that are small by chance.
    weights = 1 / np.sqrt(sigma**2 + np.mean(sigma**2))
    fit = np.linalg.pinv(weights[:, None] * np.vander(x, degree + 1)) * weights
    noise = sigma * np.random.default_rng(0).normal(size=(N_DRAWS, len(t)))
    best, draws = _zeros(fit @ y[:, None]), _zeros(fit @ (y + noise).T)
    inside = [np.where((each >= x.min()) & (each <= x.max()), each, np.nan) for each in (best, draws)]
    probability = float(np.isfinite(inside[1]).any(axis=0).mean())
    zero = _nearest(inside[0], 0.0)[0]
    if not np.isfinite(zero):
        return Transition(None, None, None, None, None, None, bool(y[-1] < y[0]), probability)
    # Zeros outside the given temperatures are included, since the error would otherwise be too small near their ends.
    zeros = _nearest(draws, zero)
    coefficients = np.concatenate([fit @ y[:, None], fit @ (y + noise).T], axis=1)
    entropies = -_derivative(coefficients, np.concatenate([[zero], zeros])) / width
    heats = (centre + width * np.concatenate([[zero], zeros])) * entropies
    return Transition(
        temperature_K=float(centre + width * zero),
        error_K=width * _half_interval(zeros),
        entropy_eV_per_K=(float(entropies[0]), _half_interval(entropies[1:])),
        latent_heat_eV=(float(heats[0]), _half_interval(heats[1:])),
        volume_A3=None,
        boundary_K_per_GPa=None,
        second_above=bool(entropies[0] > 0),
        probability=probability,
    )


def _derivative(coefficients: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the derivatives of n polynomials (degree + 1, n) at n places."""
    degree = len(coefficients) - 1
    return np.asarray(sum((degree - k) * coefficients[k] * x ** (degree - k - 1) for k in range(degree)))


def _zeros(coefficients: np.ndarray) -> np.ndarray:
    """Return the real zeros of n polynomials of first or second degree, shape (1 or 2, n); NaN if there is none.

    The coefficients have the shape (2 or 3, n), with the highest power first.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if len(coefficients) == 2:
            return -coefficients[1:] / coefficients[:1]
        a, b, c = coefficients
        # The formula with −b ± √(b² − 4ac) would lose digits for small a.
        sum_ = -(b + np.copysign(np.sqrt(b**2 - 4 * a * c), b)) / 2
        zeros = np.stack([sum_ / a, c / sum_])
    return np.where(np.isfinite(zeros), zeros, np.nan)


def _nearest(zeros: np.ndarray, place: float) -> np.ndarray:
    """Return the value closest to `place` in each column; NaN if the column has none."""
    distance = np.where(np.isnan(zeros), np.inf, np.abs(zeros - place))
    return np.take_along_axis(zeros, distance.argmin(axis=0)[None], axis=0)[0]


def ideal_mixing_eV(fractions: Sequence[Sequence[float]], n_sites: Sequence[int], temperature_K: float) -> float:
    """Return −T S of ideal mixing (eV), k_B T Σ_groups n Σ_e x_e ln x_e.

    Weights that sum to less than 1 imply vacancies.

    Parameters
    ----------
    fractions
        Weights of the channels, one sequence for each site group.
    n_sites
        Number of sites of each group.
    temperature_K
        Temperature (K).
    """
    total = 0.0
    for group, sites in zip(fractions, n_sites, strict=True):
        x = np.array([*group, max(0.0, 1.0 - sum(group))])
        x = x[x > 1e-12]
        total += sites * float((x * np.log(x)).sum())
    return float(units.kB * temperature_K * total)
