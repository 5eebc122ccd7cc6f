"""Checks of the chains of Monte Carlo: number of independent samples, drift, accepted moves, and different starts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from alchemflows.analysis.observables import Measured
from alchemflows.free_energy.chains import chain_estimate, chance_of_difference, mean_of
from alchemflows.free_energy.consistency import sigmas
from alchemflows.free_energy.convergence import drift
from alchemflows.schemas.monte_carlo_result import MonteCarloPoint
from alchemflows.schemas.reasons import Reason

#: With fewer independent samples of any quantity at a point, neither its error nor the tests are meaningful.
MIN_INDEPENDENT = 20
#: Smallest share of accepted moves.
MIN_ACCEPTANCE = 1e-3
#: Allowed rate of false alarms per result of the comparison of starts.
ALLOWED_STARTS = 2e-3

#: Probability of a difference between chains of two starts, and the fields of the reason against it.
Comparison = tuple[float, dict[str, str]]


def reasons_against_point(point: MonteCarloPoint, sampled: Sequence[Measured]) -> list[str]:
    """Return the reasons against a point that do not depend on the starts."""
    where = point.label
    reasons = [] if point.sites is None else point.sites.reasons(where)
    if point.acceptance.value < MIN_ACCEPTANCE:
        percent = 100 * point.acceptance.value
        reasons.append(Reason.FEW_MOVES.because(where=where, percent=percent, least=100 * MIN_ACCEPTANCE))
    varying = [each for each in sampled if each.is_checked and each.estimate.n_independent > 0]
    worst = min(varying, key=lambda each: each.estimate.n_independent, default=None)
    if worst is not None and worst.estimate.n_independent < MIN_INDEPENDENT:
        n, quantity = worst.estimate.n_independent, worst.observable.name
        reasons.append(Reason.FEW_ARRANGEMENTS.because(where=where, quantity=quantity, n=n, least=MIN_INDEPENDENT))
    for each in varying:
        if each.observable.statistic is mean_of:
            length = min(map(len, each.chains))
            series = np.stack([chain[:length] for chain in each.chains])
            # Exchanges mix the replicas, so that only their mean is a series in time.
            series = series.mean(axis=0, keepdims=True) if each.exchanged else series
            moving = series[np.ptp(series, axis=1) > 0]
            reasons += drift(f"{where}: {each.observable.name}", moving.T) if len(moving) else []
    return reasons


def comparisons_of_starts(where: str, sampled: Sequence[Measured], starts: Sequence[str]) -> list[Comparison]:
    """Compare all quantities at a point between the chains of each two starts.

    Parameters
    ----------
    where
        Name of the point.
    sampled
        Quantities at the point.
    starts
        Start of each chain.
    """
    found = []
    for first, second in combinations(sorted(set(starts)), 2):
        for each in filter(lambda each: each.is_checked, sampled):
            one, other = (
                chain_estimate(
                    [chain for chain, own in zip(each.chains, starts, strict=True) if own == start],
                    each.observable.statistic,
                )
                for start in (first, second)
            )
            if np.isfinite([one.value, other.value]).all():
                about = {"where": where, "quantity": each.observable.name, "first": first, "second": second}
                found.append((chance_of_difference(one, other), about))
    return found


def reasons_against_starts(comparisons: Sequence[Comparison]) -> list[str]:
    """Return the reasons against starts that differ: the clearest for each point and two starts."""
    allowed = -np.expm1(np.log1p(-ALLOWED_STARTS) / max(1, len(comparisons)))
    worst: dict[tuple[str, ...], Comparison] = {}
    for chance, about in comparisons:
        pair = (about["where"], about["first"], about["second"])
        if chance < min(allowed, worst.get(pair, (1.0, {}))[0]):
            worst[pair] = chance, about
    return [Reason.CHAIN_STARTS.because(**about, sigma=sigmas(chance)) for chance, about in worst.values()]
