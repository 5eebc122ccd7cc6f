"""Which phase is stable, and where two phases change places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import units
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError

#: Random draws for the uncertainty of a transition temperature.
N_DRAWS = 2000


@dataclass(frozen=True)
class Transition:
    """Where G_second − G_first changes its sign.

    Attributes
    ----------
    temperature_K, error_K
        The zero and its standard error; None where it does not lie between the temperatures given.
    slope_eV_per_K
        d(G_second − G_first)/dT at the zero, −ΔS.
    probability
        Share of the draws (within the errors of ΔG) that have a zero between the temperatures.
    """

    temperature_K: float | None
    error_K: float | None
    slope_eV_per_K: float | None
    probability: float


def transition(temperatures_K: Sequence[float], delta_g_eV: ArrayLike, errors_eV: ArrayLike) -> Transition:
    """Find the transition temperature of two phases by a polynomial through ΔG(T), weighted by its errors.

    The polynomial is a straight line for two temperatures, and a parabola for more: ΔS and ΔC_p.

    Parameters
    ----------
    temperatures_K
        At least two different ones.
    delta_g_eV, errors_eV
        G_second − G_first and standard errors, shape (n,).

    Raises
    ------
    InvalidInputError
        If there are fewer than two temperatures or an error is not positive.
    """
    t, y, sigma = (np.asarray(v, dtype=float) for v in (temperatures_K, delta_g_eV, errors_eV))
    if len(set(t.tolist())) < 2:
        raise InvalidInputError(f"a transition needs at least two temperatures; got {t.tolist()}")
    if not (sigma > 0).all():
        raise InvalidInputError("every ΔG needs a positive standard error")
    degree = 1 if len(set(t.tolist())) == 2 else 2
    centre, width = t.mean(), np.ptp(t)

    def zero(values: np.ndarray) -> tuple[float, float] | None:
        fit = np.polynomial.Polynomial.fit(t, values, degree, w=1 / sigma, domain=[centre - width, centre + width])
        roots = [float(r.real) for r in fit.roots() if abs(r.imag) < 1e-9 and t.min() <= r.real <= t.max()]
        if not roots:
            return None
        nearest = min(roots, key=lambda r: abs(r - centre))
        return nearest, float(fit.deriv()(nearest))

    rng = np.random.default_rng(0)
    draws = [found for _ in range(N_DRAWS) if (found := zero(y + sigma * rng.normal(size=len(y)))) is not None]
    found = zero(y)
    if found is None or len(draws) < 2:
        return Transition(None, None, None, len(draws) / N_DRAWS)
    error = float(np.std([temperature for temperature, _ in draws], ddof=1))
    return Transition(found[0], error, found[1], len(draws) / N_DRAWS)


def ideal_mixing_eV(fractions: Sequence[Sequence[float]], n_sites: Sequence[int], temperature_K: float) -> float:
    """Return −T S of ideal mixing, k_B T Σ_groups n Σ_e x_e ln x_e (a shortfall from 1 counts as vacancies).

    Parameters
    ----------
    fractions
        Weights of each channel, a sequence for each site group.
    n_sites
        Sites of each group.
    temperature_K
        Temperature.
    """
    total = 0.0
    for group, sites in zip(fractions, n_sites, strict=True):
        x = np.array([*group, max(0.0, 1.0 - sum(group))])
        x = x[x > 1e-12]
        total += sites * float((x * np.log(x)).sum())
    return float(units.kB * temperature_K * total)
