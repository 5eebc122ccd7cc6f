"""Replica exchange between neighbours of ladders (Sugita, Kitao & Okamoto, J. Chem. Phys. 113, 6042, 2000)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


class NeighbourExchange:
    """Exchange of the replicas in neighbouring places of ladders; even and odd pairs are tried alternately.

    Parameters
    ----------
    ladders
        Places of each ladder, from one end to the other. A place may be in several ladders, whose pairs are then tried
        one after the other.
    seed
        Seed of the decisions.

    Attributes
    ----------
    replicas
        Initial index of the replica in each place.

    Examples
    --------
    >>> from alchemflows.sampling.exchange import NeighbourExchange
    >>> exchange = NeighbourExchange(range(3), seed=0)
    >>> exchange.swap(lambda first, second: 1.0), exchange.swap(lambda first, second: 1.0)
    ([(0, 1)], [(1, 2)])
    >>> exchange.replicas.tolist()
    [1, 2, 0]
    """

    def __init__(self, ladders: Sequence[Sequence[int]], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._odd = False
        self.replicas = np.arange(len({place for ladder in ladders for place in ladder}))
        self._neighbours = [list(pairwise(ladder)) for ladder in ladders]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Pairs of places that :meth:`swap` tries next."""
        return [pair for neighbours in self._neighbours for pair in neighbours[int(self._odd) :: 2]]

    def swap(self, log_ratio: Callable[[int, int], float]) -> list[tuple[int, int]]:
        """Try to exchange every second pair of neighbours; return the pairs that were exchanged.

        Parameters
        ----------
        log_ratio
            Function of two places that returns the logarithm of the ratio of the probabilities after and before an
            exchange.
        """
        swapped = []
        for first, second in self.pairs:
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
    """How replicas move along L ladders of K places.

    Attributes
    ----------
    ladders
        Places of each ladder, shape (L, K).
    acceptance
        Share of the attempted exchanges of each pair of neighbours that were accepted, mean of all ladders, (K − 1,).
    round_trips
        Number of times that each replica went from one end of its ladder to the other and back, shape (L K,).
    """

    ladders: np.ndarray
    acceptance: np.ndarray
    round_trips: np.ndarray

    @classmethod
    def of(cls, walkers: np.ndarray, ladders: Sequence[Sequence[int]], n_before: int = 0) -> ExchangeStatistics:
        """Return the statistics of a run with one attempt after each sample.

        Parameters
        ----------
        walkers
            Index of the replica in each place at n samples, shape (n, L K).
        ladders
            Places of each ladder, as many in each.
        n_before
            Number of attempts before the first sample.

        Examples
        --------
        >>> import numpy as np
        >>> from alchemflows.sampling.exchange import ExchangeStatistics
        >>> statistics = ExchangeStatistics.of(np.array([[0, 1], [1, 0], [1, 0], [0, 1]]), [[0, 1]])
        >>> statistics.acceptance.tolist(), statistics.round_trips.tolist()
        ([1.0], [1, 1])
        """
        places = np.array(ladders)
        moved = (walkers[1:] != walkers[:-1])[:, places[:, :-1]]
        pair = np.arange(places.shape[1] - 1)
        tried = (np.arange(len(moved))[:, None] + n_before) % 2 == pair % 2
        accepted = (moved & tried[:, None]).mean(axis=1).sum(axis=0)
        trips = np.zeros(places.size, dtype=np.int64)
        for ladder in places:
            trips[ladder] = [_round_trips(walkers[:, ladder], walker) for walker in ladder]
        return cls(places, accepted / np.maximum(tried.sum(axis=0), 1), trips)


def _round_trips(walkers: np.ndarray, walker: int) -> int:
    """Return the number of round trips of one replica on a ladder, from the replicas there, shape (n, K)."""
    place = (walkers == walker).argmax(axis=1)
    ends = place[(place == 0) | (place == walkers.shape[1] - 1)]
    return int((ends[1:] != ends[:-1]).sum()) // 2
