"""Mean and spread of a free-energy difference over the members of a committee of potentials.

The free energy of each member k is that of the ladder plus its correction c_k, by reweighting the same frames. The
statistical errors of the members are therefore correlated. Those of their mean and of their sample standard deviation

    σ_model = √[Σ_k (c_k − ⟨c⟩)² / (K − 1)]

follow from the influences ψ_k of each frame on c_k, which are added with the weights ∂⟨c⟩/∂c_k = 1/K and
∂σ_model/∂c_k = (c_k − ⟨c⟩) / [(K − 1) σ_model]. The error of the ladder is common to all members and drops out of
σ_model. A member with a ladder of its own has the independent error of this ladder instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.errors import InvalidInputError
from alchemflows.free_energy.errors import correlated_variance
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
    """Mean and spread over the members of a committee (eV); pairs are a value and its standard error.

    Attributes
    ----------
    mean
        Mean correction; its error contains that of the ladder.
    spread
        σ_model: sample standard deviation.
    noise_eV
        Sample standard deviation that is expected from the statistical errors alone, for members with equal free
        energies.
    """

    mean: tuple[float, float]
    spread: tuple[float, float]
    noise_eV: float


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
    n = len(members)
    if n < MIN_MEMBERS:
        raise InvalidInputError(f"a committee needs at least {MIN_MEMBERS} members; got {n}")
    values = np.array([member.value_eV for member in members])
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    slopes = (values - mean) / ((n - 1) * spread) if spread > 0 else np.zeros(n)
    noise = sum(_error(members, row, ladder_error_eV) ** 2 for row in np.eye(n) - 1 / n)
    return CommitteeSpread(
        mean=(mean, _error(members, np.full(n, 1 / n), ladder_error_eV)),
        spread=(spread, _error(members, slopes, ladder_error_eV)),
        noise_eV=float(np.sqrt(noise / (n - 1))),
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
