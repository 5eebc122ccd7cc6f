"""Schedules of λ during switching; a schedule that starts and ends smoothly reduces dissipation."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.choices import check_choice

DEFAULT_SCHEDULE = "ninth-order"

#: Functions λ(τ) for τ from 0 to 1, by name. `ninth-order` has four vanishing derivatives at both ends (de Koning &
#: Antonelli, Phys. Rev. E 53, 465, 1996); it is used by Nam et al., Nat. Commun. 16, 4350 (2025).
SCHEDULES: MappingProxyType[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {
        "linear": lambda t: t,
        "third-order": lambda t: t**2 * (3 - 2 * t),
        "fifth-order": lambda t: t**3 * (10 - 15 * t + 6 * t**2),
        "ninth-order": lambda t: t**5 * (70 * t**4 - 315 * t**3 + 540 * t**2 - 420 * t + 126),
    }
)


def schedule(name: str, tau: ArrayLike) -> np.ndarray:
    """Return λ at each τ in [0, 1]; λ is exactly 0 at τ = 0 and exactly 1 at τ = 1.

    Raises
    ------
    InvalidInputError
        If the name is unknown.
    """
    check_choice("schedule", name, SCHEDULES)
    return np.clip(SCHEDULES[name](np.asarray(tau, dtype=float)), 0.0, 1.0)


def geometric(ratio: float, values: ArrayLike) -> np.ndarray:
    """Return λ = (r^u − 1) / (r − 1) at each u in [0, 1], so that 1 + λ (r − 1) changes by equal factors.

    Parameters
    ----------
    ratio
        Ratio r > 0 of the changing quantity at λ = 1 and at λ = 0; λ = u if it is 1.
    values
        Values of u.
    """
    u = np.asarray(values, dtype=float)
    if np.isclose(ratio, 1.0):
        return u
    log_ratio = np.log(ratio)
    return np.clip(np.expm1(log_ratio * u) / np.expm1(log_ratio), 0.0, 1.0)
