r"""Rules by which Monte Carlo proposes moves: probabilities of the candidates, and number of tries.

``informed`` proposals are locally balanced (Zanella, J. Am. Stat. Assoc. 115, 852, 2020): the candidate y is proposed
from x with the probability

    q(y|x) ∝ g(exp(−β ΔÊ)),    g(t) = t g(1/t),

where ΔÊ is the estimated change of the energy. Gradients give ΔÊ of all candidates at once (Grathwohl et al., ICML
2021). Metropolis–Hastings with q(x|y) from the gradient at y makes the result exact for any estimate; a good estimate
makes nearly all moves accepted.

An attempt draws one candidate, or several of which one is chosen (multiple-try Metropolis, Liu, Liang & Wong, J. Am.
Stat. Assoc. 95, 121, 2000), see :class:`~alchemflows.sampling.monte_carlo.MonteCarlo`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from alchemflows.choices import check_choice
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.monte_carlo import Balancing, ProposalKind

#: ln g(exp(−d)) of each balancing function: g(t) = √t, and g(t) = t / (1 + t).
_LOG_BALANCING: dict[Balancing, Callable[[np.ndarray], np.ndarray]] = {
    "sqrt": lambda d: -d / 2,
    "barker": lambda d: -np.logaddexp(0.0, d),
}


@dataclass(frozen=True)
class Proposal:
    """Rule by which one of the candidates is proposed.

    Parameters
    ----------
    kind
        ``informed``: with probabilities from ∂E/∂w. ``uniform``: all possible candidates are equally probable.
    balancing
        Balancing function g of informed proposals: ``sqrt``, g(t) = √t, or ``barker``, g(t) = t / (1 + t), which is
        bounded and therefore less sensitive to estimates that are far too low.
    n_tries
        Number of candidates that an attempt draws.

    Raises
    ------
    InvalidInputError
        If the kind or the balancing function is unknown, or the number of tries is not positive.
    """

    kind: ProposalKind = "informed"
    balancing: Balancing = "sqrt"
    n_tries: int = 1

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(ProposalKind))
        check_choice("balancing", self.balancing, get_args(Balancing))
        if self.n_tries < 1:
            raise InvalidInputError(f"n_tries must be at least 1; got {self.n_tries}")

    @property
    def informed(self) -> bool:
        """Whether the proposal needs ∂E/∂w."""
        return self.kind == "informed"

    def log_probabilities(self, changes: np.ndarray, possible: np.ndarray) -> np.ndarray:
        """Return ln q of each candidate, shape (B, M); −∞ where it is not possible.

        Parameters
        ----------
        changes
            Estimated changes β (ΔÊ + ΔΦ), shape (B, M).
        possible
            Whether a candidate is possible, shape (B, M); at least one of each replica.
        """
        scores = _LOG_BALANCING[self.balancing](changes) if self.informed else np.zeros(changes.shape)
        scores = np.where(possible, scores, -np.inf)
        scores = scores - scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


def draw(log_probabilities: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the index of a candidate of each replica, drawn by inversion.

    Parameters
    ----------
    log_probabilities
        ln q, shape (B, M).
    uniform
        Uniform random numbers in [0, 1), shape (B,).
    """
    cumulative = np.exp(log_probabilities).cumsum(axis=1)
    total = cumulative[:, -1]
    # Rounding must not reach the total, beyond which there is no candidate.
    threshold = np.minimum(uniform * total, np.nextafter(total, 0.0))
    return (cumulative > threshold[:, None]).argmax(axis=1)
