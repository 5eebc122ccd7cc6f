"""Free energies of a large crystal from those of small cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.errors import InvalidInputError


@dataclass(frozen=True)
class Limit:
    """Limit of a value per atom for 1/N → 0, its standard error, and how well the line fits (None: two cells)."""

    limit: float
    error: float
    chi_squared_per_degree: float | None


def extrapolate(n_atoms: Sequence[float], values: Sequence[float], errors: Sequence[float]) -> Limit:
    """Fit values per atom by a weighted straight line in 1/N.

    With the centre of mass accounted for, the leading dependence of F/N on size is 1/N (Freitas, Asta & de Koning,
    Comput. Mater. Sci. 112, 333, 2016).

    Parameters
    ----------
    n_atoms
        Sizes, at least two different ones.
    values, errors
        Per atom, with standard errors.

    Raises
    ------
    InvalidInputError
        If there is only one size, or an error is not positive.
    """
    if len(set(n_atoms)) < 2:
        raise InvalidInputError(f"cells of at least two sizes are needed; got {list(n_atoms)} atoms")
    if not (np.asarray(errors) > 0).all():
        raise InvalidInputError("every value needs a positive standard error")
    x, y, weights = 1 / np.asarray(n_atoms, dtype=float), np.asarray(values), 1 / np.asarray(errors) ** 2
    design = np.stack([np.ones_like(x), x], axis=1)
    covariance = np.linalg.inv(design.T @ (weights[:, None] * design))
    fit = covariance @ (design.T @ (weights * y))
    degrees = len(x) - 2
    chi_squared = float((weights * (y - design @ fit) ** 2).sum())
    return Limit(float(fit[0]), float(np.sqrt(covariance[0, 0])), chi_squared / degrees if degrees > 0 else None)
