r"""Redlich–Kister polynomials of the excess free energy of mixing, and the phase diagram that follows from them.

The excess is the free energy of mixing of a cell minus that of the same cell without interaction. Its polynomial

    G_ex(x, T) = x (1 − x) Σ_i L_i(T) (1 − 2x)^i,  L_i(T) = h_i − T s_i

(Redlich & Kister, Ind. Eng. Chem. 40, 345, 1948) is a regular solution with one term and a subregular one with two.
With the ideal mixing of a large crystal, G_mix = k_B T [x ln x + (1 − x) ln(1 − x)] + G_ex, one has

- the *spinodal*, where ∂²G_mix/∂x² = 0. It is at T_s(x) = −H''(x) / [k_B / (x (1 − x)) − S''(x)], with the
  second derivatives of H and S in G_ex = H − T S;
- the *consolute point*, the maximum of T_s(x);
- the *binodal*, the compositions with a common tangent.

A polynomial cannot describe the free energy within a gap of a large crystal with interactions of short range, which is
the common tangent itself. That of a cell contains the energy of the interfaces between the phases.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Protocol

import numpy as np
from ase import units
from numpy.polynomial import Polynomial
from scipy.special import expit, logit, xlogy

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.influences import standard_errors

#: Largest number of terms that is tried.
MAX_TERMS = 5
#: Largest mean squared deviation of the curves from a fit, in standard errors, with which no term is added.
GOOD_FIT = 2.0
#: Compositions at which curvatures are computed.
_X = np.linspace(0.0, 1.0, 1001)[1:-1]


class ExcessCurves(Protocol):
    """Excess free energies at T temperatures and M + 1 compositions (eV per mixing site), and their errors."""

    @property
    def temperatures_K(self) -> np.ndarray:
        """Temperatures (K), shape (T,)."""

    @property
    def x(self) -> np.ndarray:
        """Fractions of the second species, shape (M + 1,)."""

    @property
    def excess_eV_per_site(self) -> np.ndarray:
        """Excess free energies, shape (T, M + 1); NaN where they are not known."""

    @property
    def mixing_errors_eV_per_site(self) -> np.ndarray:
        """Standard errors, shape (T, M + 1)."""

    @property
    def mixing_deviations_eV_per_site(self) -> np.ndarray:
        """Influences of B blocks of samples, shape (B, T, M + 1)."""


@dataclass(frozen=True)
class RedlichKister:
    """Redlich–Kister coefficients, of one set or of D sets.

    Attributes
    ----------
    enthalpies_eV
        h_i (eV per mixing site), shape (..., n).
    entropies_eV_per_K
        s_i (eV/K per mixing site), shape (..., n).
    """

    enthalpies_eV: np.ndarray
    entropies_eV_per_K: np.ndarray

    def excess_eV(self, x: np.ndarray, temperature_K: float, derivative: int = 0) -> np.ndarray:
        """Return G_ex, or one of its derivatives with respect to x (eV per mixing site), shape (..., len(x)).

        If x has two dimensions, its rows belong to the sets, and the shape is that of x.
        """
        coefficients = self.enthalpies_eV - temperature_K * self.entropies_eV_per_K
        basis = _basis(x, coefficients.shape[-1], derivative)
        return coefficients @ basis if x.ndim == 1 else np.einsum("dn,ndx->dx", coefficients, basis)

    def mixing_eV(self, x: np.ndarray, temperature_K: float) -> np.ndarray:
        """Return G_mix of a large crystal (eV per mixing site); shapes as in :meth:`excess_eV`."""
        ideal = units.kB * temperature_K * (xlogy(x, x) + xlogy(1 - x, 1 - x))
        return ideal + self.excess_eV(x, temperature_K)

    def consolute(self) -> tuple[np.ndarray, np.ndarray]:
        """Return temperature (K) and composition of the consolute point, each of shape (...).

        Both are NaN if the mixture is stable at all temperatures.
        """
        basis = _basis(_X, self.enthalpies_eV.shape[-1], 2)
        drive = -(self.enthalpies_eV @ basis)
        resistance = units.kB / (_X * (1 - _X)) - self.entropies_eV_per_K @ basis
        spinodal = np.where((drive > 0) & (resistance > 0), drive / np.where(resistance > 0, resistance, 1.0), 0.0)
        top = spinodal.argmax(axis=-1)
        highest = np.take_along_axis(spinodal, top[..., None], axis=-1)[..., 0]
        return np.where(highest > 0, highest, np.nan), np.where(highest > 0, _X[top], np.nan)

    def spinodal(self, temperature_K: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the outermost compositions of zero curvature, each of shape (...); NaN if there are none."""
        curvature = units.kB * temperature_K / (_X * (1 - _X)) + self.excess_eV(_X, temperature_K, 2)
        unstable = curvature < 0
        none = ~unstable.any(axis=-1)
        left = _crossing(curvature, np.maximum(unstable.argmax(axis=-1), 1))
        last = len(_X) - 1 - unstable[..., ::-1].argmax(axis=-1)
        right = _crossing(curvature, np.minimum(last + 1, len(_X) - 1))
        return np.where(none, np.nan, left), np.where(none, np.nan, right)

    def binodal(self, temperature_K: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the two compositions with a common tangent, each of shape (...); NaN if there is no gap.

        The common tangent is refined by Newton's method from the spinodal outwards. With several gaps it joins the
        outermost spinodal compositions.
        """
        left, right = (np.atleast_1d(each) for each in self.spinodal(temperature_K))
        ratio = RedlichKister(np.atleast_2d(self.enthalpies_eV), np.atleast_2d(self.entropies_eV_per_K))
        x = np.stack([left, right], axis=-1)
        gap = np.isfinite(x).all(axis=-1)
        x = np.where(gap[:, None], x, 0.5)
        # Outside the spinodal the tangent is steeper than that of the ideal term alone; start well outside.
        u = logit(x) + np.array([-1.0, 1.0])
        thermal = units.kB * temperature_K
        for _ in range(100):
            x = np.clip(expit(u), 1e-15, 1 - 1e-15)
            slope = thermal * u + ratio.excess_eV(x, temperature_K, 1)
            curvature = thermal / (x * (1 - x)) + ratio.excess_eV(x, temperature_K, 2)
            intercept = ratio.mixing_eV(x, temperature_K) - x * slope
            first, second = slope[:, 1] - slope[:, 0], intercept[:, 1] - intercept[:, 0]
            # δ(slope) = g'' δx, δ(intercept) = −x g'' δx, solved for equal slopes and intercepts.
            width = np.maximum(x[:, 1] - x[:, 0], 1e-9)
            change = np.stack([second + x[:, 1] * first, second + x[:, 0] * first], axis=-1) / width[:, None]
            step = change / (curvature * x * (1 - x))
            u = u + np.clip(np.nan_to_num(step), -0.5, 0.5)
            if (np.abs(step[gap]) < 1e-10).all():
                break
        x = expit(u)
        residual = np.abs(first) + np.abs(second)
        found = gap & (residual < 1e-8 * thermal) & (x[:, 0] < left) & (x[:, 1] > right)
        x = np.where(found[:, None], x, np.nan)
        shape = self.enthalpies_eV.shape[:-1]
        return x[:, 0].reshape(shape), x[:, 1].reshape(shape)


@dataclass(frozen=True)
class RedlichKisterFit:
    """Fit of the excess free energies at all temperatures.

    Attributes
    ----------
    values
        The coefficients.
    covariance_factor
        Influence of each block of samples on (h, s), shape (B, 2 n).
    mean_squared_deviation
        Mean of [(curve − fit) / error]² over all points; about 1 for a good fit, or less if errors are correlated.
    """

    values: RedlichKister
    covariance_factor: np.ndarray
    mean_squared_deviation: float

    @property
    def n_terms(self) -> int:
        """Number n of terms."""
        return self.values.enthalpies_eV.shape[-1]

    @cached_property
    def errors(self) -> RedlichKister:
        """Standard errors of the coefficients."""
        return RedlichKister(*np.split(standard_errors(self.covariance_factor), 2))

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of (h, s), shape (2 n, 2 n), with the standard errors of :attr:`errors`."""
        found = self.covariance_factor.T @ self.covariance_factor
        scale = np.sqrt(np.diag(found))
        errors = standard_errors(self.covariance_factor)
        ratio = np.divide(errors, scale, out=np.zeros_like(errors), where=scale > 0)
        return found * np.outer(ratio, ratio)

    def draws(self, n_draws: int, seed: int = 0) -> RedlichKister:
        """Return sets of coefficients at random within their errors.

        The seed is as in :meth:`~alchemflows.free_energy.mixing.MixingCurves.draws`.
        """
        z = np.random.default_rng(seed).normal(size=(n_draws, len(self.covariance_factor)))
        both = np.concatenate([self.values.enthalpies_eV, self.values.entropies_eV_per_K]) + z @ self.covariance_factor
        return RedlichKister(*np.split(both, 2, axis=-1))


def fit_excess(curves: ExcessCurves, n_terms: int | None = None) -> RedlichKisterFit:
    """Fit a Redlich–Kister polynomial to the excess free energies.

    With one temperature, s_i = 0. Each point has the statistical weight 1/(σ² + median σ²), since a small error may be
    small by chance.

    Parameters
    ----------
    curves
        Free energies of mixing.
    n_terms
        Number of terms n; by default the smallest, up to five, with which the curves deviate from the fit by their
        errors (mean squared deviation below 2).

    Raises
    ------
    InvalidInputError
        If there are fewer points with known excess and error than coefficients.
    """
    thermal = 2 if len(curves.temperatures_K) > 1 else 1
    errors = curves.mixing_errors_eV_per_site
    known = np.isfinite(curves.excess_eV_per_site) & (errors > 0)
    known[:, [0, -1]] = False
    least = thermal * (n_terms or 1)
    if known.sum() <= least or (known.any(axis=1).sum() < thermal):
        raise InvalidInputError(
            f"curves: {known.sum()} points at {known.any(axis=1).sum()} temperatures are known; a fit of {least} "
            "coefficients needs more"
        )
    trials = range(1, MAX_TERMS + 1) if n_terms is None else [n_terms]
    best: RedlichKisterFit | None = None
    for n in trials:
        if known.sum() <= thermal * n:
            break
        trial = _fit(curves, known, errors[known], n)
        if best is None or trial.mean_squared_deviation < best.mean_squared_deviation:
            best = trial
        if trial.mean_squared_deviation < GOOD_FIT:
            break
    assert best is not None
    return best


def _fit(curves: ExcessCurves, known: np.ndarray, errors: np.ndarray, n_terms: int) -> RedlichKisterFit:
    of_temperature, of_composition = np.nonzero(known)
    basis = _basis(curves.x, n_terms, 0)[:, of_composition].T
    mean_K = curves.temperatures_K.mean()
    relative = curves.temperatures_K[of_temperature, None] / mean_K - 1
    single = len(curves.temperatures_K) == 1
    # Columns: L_i at the mean temperature, and −s_i times it.
    design = basis if single else np.concatenate([basis, relative * basis], axis=1)
    root = 1 / np.sqrt(errors**2 + np.median(errors) ** 2)
    solve = np.linalg.pinv(root[:, None] * design) * root
    both = np.concatenate([curves.excess_eV_per_site[known][None], curves.mixing_deviations_eV_per_site[:, known]])
    found = both @ solve.T
    deviations = (both[0] - design @ found[0]) / errors
    at_mean, slope = (found, np.zeros_like(found)) if single else np.split(found, 2, axis=1)
    entropies = -slope / mean_K
    enthalpies = at_mean + mean_K * entropies
    return RedlichKisterFit(
        RedlichKister(enthalpies[0], entropies[0]),
        np.concatenate([enthalpies[1:], entropies[1:]], axis=1),
        float(np.mean(deviations**2)),
    )


def _basis(x: np.ndarray, n_terms: int, derivative: int) -> np.ndarray:
    """Return x (1 − x) (1 − 2x)^i or a derivative, shape (n, *x.shape)."""
    return np.stack([term(x) for term in _polynomials(n_terms, derivative)])


@cache
def _polynomials(n_terms: int, derivative: int) -> list[Polynomial]:
    terms = [Polynomial([0, 1, -1]) * Polynomial([1, -2]) ** i for i in range(n_terms)]
    return [term.deriv(derivative) for term in terms]


def _crossing(curvature: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Return where the curvature is zero between the grid points upper − 1 and upper, shape (...)."""
    before, after = (np.take_along_axis(curvature, (upper + d)[..., None], axis=-1)[..., 0] for d in (-1, 0))
    share = np.clip(before / np.where(before == after, 1.0, before - after), 0.0, 1.0)
    return _X[upper - 1] + share * (_X[upper] - _X[upper - 1])
