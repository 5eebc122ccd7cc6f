"""Mean and spread of a free-energy difference over the members of a committee of potentials.

The free energy of each member k is that of the ladder plus its correction c_k, by reweighting the same frames. The
statistical errors of the members are therefore correlated. Those of their mean and of their sample standard deviation

    σ_model = √[Σ_k (c_k − ⟨c⟩)² / (K − 1)]

follow from the influences ψ_k of each frame on c_k, which are added with the weights ∂⟨c⟩/∂c_k = 1/K and
∂σ_model/∂c_k = (c_k − ⟨c⟩) / [(K − 1) σ_model]. The error of the ladder is common to all members and drops out of
σ_model. A member with a ladder of its own has the independent error of this ladder instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import correlated_variance
from alchemflows.free_energy.influences import spread as spread_of
from alchemflows.free_energy.reweighting import Reweighting

#: Fewest members with a sample standard deviation.
MIN_MEMBERS = 2
#: Sums of weights of rounding errors.
_CANCELS = 1e-9


@dataclass(frozen=True)
class MemberChange:
    """Change of the free energy difference when the sampled potential is replaced by one member.

    Attributes
    ----------
    value_eV
        Correction: change at λ = 1 minus change at λ = 0 (eV).
    influences_eV
        Influence of each frame on it, one array for each end; 0 for frames that were left out.
    excess_eV
        Part of the error of each end that does not come from the scatter of frames (eV), with its sign.
    own_error_eV
        For a member with a ladder of its own the error of this ladder (eV): the value is the difference of both
        ladders, and no frame has an influence. Otherwise None.
    """

    value_eV: float
    influences_eV: tuple[np.ndarray, np.ndarray]
    excess_eV: tuple[float, float] = (0.0, 0.0)
    own_error_eV: float | None = None

    @classmethod
    def of(cls, ends: tuple[Reweighting, Reweighting], kept: tuple[np.ndarray, np.ndarray]) -> MemberChange:
        """Return the change from the reweighting of both ends.

        Parameters
        ----------
        ends
            Reweighting at λ = 0 and 1.
        kept
            Which frames of each end were evaluated, two arrays of booleans.
        """
        signs = (-1.0, 1.0)
        influences = []
        for sign, end, rows in zip(signs, ends, kept, strict=True):
            each = np.zeros(len(rows))
            each[rows] = sign * end.influences_eV
            influences.append(each)
        first, last = ends
        return cls(last.best[0] - first.best[0], (influences[0], influences[1]), (-first.excess_eV, last.excess_eV))


@dataclass(frozen=True)
class CommitteeSpread:
    """Mean and spread over the members of a committee; pairs are a value and its standard error.

    Attributes
    ----------
    mean
        Mean over the members, of a free energy that of the corrections; its error contains that of the ladder.
    spread
        σ_model: sample standard deviation.
    noise
        Sample standard deviation that is expected from the statistical errors alone, for members with equal values.
    """

    mean: tuple[float, float]
    spread: tuple[float, float]
    noise: float


def committee_spread(members: Sequence[MemberChange], ladder_error_eV: float = 0.0) -> CommitteeSpread:
    """Return mean and spread over the members; both errors are statistical, not those of having few members.

    Parameters
    ----------
    members
        Members, all of which were evaluated at the same frames or have ladders of their own. The sampled potential has
        a change of zero.
    ladder_error_eV
        Error of the ladder (eV).

    Raises
    ------
    InvalidInputError
        If there are fewer than two members.

    Examples
    --------
    >>> import numpy as np
    >>> frames = (np.zeros(10), np.zeros(10))
    >>> committee_spread([MemberChange(0.02, frames), MemberChange(0.04, frames)]).mean[0]
    0.03
    """
    values = np.array([member.value_eV for member in members])
    return _spread(values, lambda weights: _error(members, weights, ladder_error_eV))


def spread_of_values(values: ArrayLike, influences: ArrayLike) -> CommitteeSpread:
    """Return mean and spread of any quantity over the members of a committee.

    Parameters
    ----------
    values
        Value of each of K members, shape (K,).
    influences
        Influences of B independent sources of error on each value, shape (B, K): the covariance of two values is the
        sum of the products of their influences.

    Raises
    ------
    InvalidInputError
        If there are fewer than two members.

    Examples
    --------
    >>> found = spread_of_values([0.20, 0.24], [[0.01, 0.01]])  # an error that both have in common
    >>> round(found.mean[0], 3), round(found.mean[1], 3), round(found.spread[1], 3)
    (0.22, 0.01, 0.0)
    """
    rows = np.asarray(influences, dtype=float)
    return _spread(np.asarray(values, dtype=float), lambda weights: float(np.linalg.norm(rows @ weights)))


def spread_of_draws(values: ArrayLike, draws: ArrayLike, factor: float = 1.0) -> CommitteeSpread:
    """Return mean and spread over the members of a quantity that is no linear function of its sources of error.

    Parameters
    ----------
    values
        Value of each of K members, shape (K,).
    draws
        Values of all members at random within their errors, shape (D, K); members have the same random numbers for the
        errors that they have in common. NaN where a value is not known; an error is NaN if this is often so.
    factor
        Factor of all errors, for the small number of independent sources.

    Raises
    ------
    InvalidInputError
        If there are fewer than two members.

    Examples
    --------
    >>> common = np.random.default_rng(0).normal(size=(200, 1))  # an error that both have in common
    >>> found = spread_of_draws([600.0, 640.0], [600.0, 640.0] + 10 * common)
    >>> found.mean[0], round(found.mean[1]), round(found.spread[1], 6)
    (620.0, 10, 0.0)
    """
    rows = np.asarray(draws, dtype=float)

    def error(weights: np.ndarray) -> float:
        found = spread_of(rows @ weights)
        return np.nan if found is None else factor * found

    return _spread(np.asarray(values, dtype=float), error)


def _spread(values: np.ndarray, error: Callable[[np.ndarray], float]) -> CommitteeSpread:
    """Return mean and spread of the values of the members, from the error of a sum of them with given weights."""
    n = len(values)
    if n < MIN_MEMBERS:
        raise InvalidInputError(f"a committee needs at least {MIN_MEMBERS} members; got {n}")
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    slopes = (values - mean) / ((n - 1) * spread) if spread > 0 else np.zeros(n)
    noise = sum(error(row) ** 2 for row in np.eye(n) - 1 / n)
    return CommitteeSpread(
        mean=(mean, error(np.full(n, 1 / n))),
        spread=(spread, error(slopes)),
        noise=float(np.sqrt(noise / (n - 1))),
    )


def _error(members: Sequence[MemberChange], weights: np.ndarray, ladder_error_eV: float) -> float:
    """Return the error of the sum of the free energies with these weights."""
    pairs = list(zip(weights, members, strict=True))
    influences = [sum(weight * member.influences_eV[end] for weight, member in pairs) for end in (0, 1)]
    excess = [sum(weight * member.excess_eV[end] for weight, member in pairs) for end in (0, 1)]
    own = [weight * member.own_error_eV for weight, member in pairs if member.own_error_eV is not None]
    on_ladder = sum(weight for weight, member in pairs if member.own_error_eV is None)
    if abs(on_ladder) > _CANCELS:  # otherwise the ladder drops out, even if its error is not known
        own.append(on_ladder * ladder_error_eV)
    of_frames = correlated_variance([np.asarray(end) for end in influences]).error
    return float(np.linalg.norm([of_frames, *excess, *own]))
