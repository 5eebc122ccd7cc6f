"""Replica exchange between neighbours of a ladder (Sugita, Kitao & Okamoto, J. Chem. Phys. 113, 6042, 2000)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


class NeighbourExchange:
    """Exchange of the replicas in neighbouring places of a ladder; even and odd pairs are tried alternately.

    Parameters
    ----------
    order
        Places of the ladder, from one end to the other.
    seed
        Seed of the decisions.

    Attributes
    ----------
    replicas
        Initial index of the replica in each place.
    """

    def __init__(self, order: Sequence[int], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._odd = False
        self.replicas = np.arange(len(order))
        self._neighbours = list(pairwise(order))

    def swap(self, log_ratio: Callable[[int, int], float]) -> list[tuple[int, int]]:
        """Try to exchange every second pair of neighbours; return the pairs that were exchanged.

        Parameters
        ----------
        log_ratio
            Function of two places that returns the logarithm of the ratio of the probabilities after and before an
            exchange.
        """
        swapped = []
        for first, second in self._neighbours[int(self._odd) :: 2]:
            if np.log(self._rng.random()) < log_ratio(first, second):
                self.replicas[[first, second]] = self.replicas[[second, first]]
                swapped.append((first, second))
        self._odd = not self._odd
        return swapped

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the complete state, from which :meth:`restore` continues bit for bit."""
        return {
            "exchange_random": np.frombuffer(json.dumps(self._rng.bit_generator.state).encode(), dtype=np.uint8),
            "exchange_odd": np.array(self._odd),
            "exchange_replicas": self.replicas.copy(),
        }

    def restore(self, snapshot: Mapping[str, np.ndarray]) -> None:
        """Continue from a :meth:`snapshot` of the same run."""
        self._rng.bit_generator.state = json.loads(snapshot["exchange_random"].tobytes())
        self._odd = bool(snapshot["exchange_odd"])
        self.replicas = snapshot["exchange_replicas"].copy()


@dataclass(frozen=True)
class ExchangeStatistics:
    """How replicas move along a ladder of B places.

    Attributes
    ----------
    acceptance
        Share of the attempted exchanges of each pair of neighbours that were accepted, shape (B − 1,).
    round_trips
        Number of times that each replica went from one end of the ladder to the other and back, shape (B,).
    """

    acceptance: np.ndarray
    round_trips: np.ndarray

    @classmethod
    def of(cls, walkers: np.ndarray, n_before: int = 0) -> ExchangeStatistics:
        """Return the statistics of a run with one attempt after each sample.

        Parameters
        ----------
        walkers
            Index of the replica in each place at n samples, shape (n, B).
        n_before
            Number of attempts before the first sample.

        Examples
        --------
        >>> import numpy as np
        >>> from alchemflows.sampling.exchange import ExchangeStatistics
        >>> statistics = ExchangeStatistics.of(np.array([[0, 1], [1, 0], [1, 0], [0, 1]]))
        >>> statistics.acceptance.tolist(), statistics.round_trips.tolist()
        ([1.0], [1, 1])
        """
        moved = walkers[1:] != walkers[:-1]
        pair = np.arange(walkers.shape[1] - 1)
        tried = (np.arange(len(moved))[:, None] + n_before) % 2 == pair % 2
        acceptance = (moved[:, :-1] & tried).sum(axis=0) / np.maximum(tried.sum(axis=0), 1)
        return cls(acceptance, np.array([_round_trips(walkers, walker) for walker in range(walkers.shape[1])]))


def _round_trips(walkers: np.ndarray, walker: int) -> int:
    """Return the number of round trips of one replica."""
    place = (walkers == walker).argmax(axis=1)
    ends = place[(place == 0) | (place == walkers.shape[1] - 1)]
    return int((ends[1:] != ends[:-1]).sum()) // 2
