"""Tests of gradient descent on simplices: projection, rounding, convergence and bounds."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.optimize.simplex import Domain, descend

TERNARY = Domain((0, 0, 0), (0.0,) * 3, (1.0,) * 3, (1.0,))
METHODS = ["projected", "exponentiated", "softmax"]


def in_domain(domain: Domain, weights: np.ndarray) -> bool:
    sums = np.bincount(domain.group_of_weight, weights=weights)
    inside = (weights >= np.array(domain.lower) - 1e-9) & (weights <= np.array(domain.upper) + 1e-9)
    return bool(inside.all() and np.allclose(sums, domain.totals, atol=1e-9))


def test_projection_returns_the_nearest_point_of_the_domain():
    rng = np.random.default_rng(0)
    domain = Domain((0, 0, 0, 1, 1), (0.1, 0, 0, 0, 0.2), (1, 0.5, 1, 1, 1), (1.0, 0.7))
    for _ in range(20):
        outside = rng.normal(size=5)
        nearest = domain.project(outside)
        assert in_domain(domain, nearest)
        np.testing.assert_allclose(domain.project(nearest), nearest, atol=1e-12)
        for _ in range(50):  # no other point of the domain is closer
            other = domain.project(rng.normal(size=5))
            assert np.linalg.norm(outside - nearest) <= np.linalg.norm(outside - other) + 1e-12


def test_rounding_returns_the_nearest_composition_of_whole_atoms():
    """Compared with all compositions of whole atoms, with bounds, several groups and vacancies."""
    rng = np.random.default_rng(2)
    domain = Domain((0, 0, 0, 1, 1), (0.1, 0, 0, 0, 0.2), (1, 0.4, 1, 1, 1), (1.0, 0.7))
    n_sites = [7, 4]
    three = [c for c in product(range(8), repeat=3) if sum(c) == 7 and c[0] >= 1 and c[1] <= 2]
    two = [c for c in product(range(5), repeat=2) if sum(c) == 3 and c[1] >= 1]  # 0.7 of 4 sites are 3
    every = np.array([[*(np.array(a) / 7), *(np.array(b) / 4)] for a, b in product(three, two)])
    for _ in range(50):
        weights = domain.project(rng.normal(0.3, 0.5, size=5))
        found = domain.rounded(weights, n_sites)
        assert np.abs(every - found).max(axis=1).min() < 1e-12
        assert np.linalg.norm(found - weights) <= np.linalg.norm(every - weights, axis=1).min() + 1e-9
    np.testing.assert_allclose(TERNARY.rounded(np.array([0.25, 0.25, 0.5]), [8]), [0.25, 0.25, 0.5], atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "n"),
    [
        (((0, 0), (0.0, 0.3), (1.0, 0.45), (1.0,)), 4),  # 1.2 to 1.8 of 4 sites: no whole number
        (((0, 0), (0.0, 0.0), (0.6, 0.6), (1.0,)), 3),  # at most 1 atom of each element on 3 sites
        (((0,), (0.0,), (1.0,), (0.1,)), 4),  # 0.4 of an atom is rounded to none
    ],
)
def test_rounding_is_refused_if_no_whole_atoms_are_within_the_bounds(arguments, n):
    domain = Domain(*arguments)
    with pytest.raises(InvalidInputError, match=f"{n} sites of group 0"):
        domain.rounded(domain.project(np.array(domain.upper)), [n])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_target_is_reached_from_random_starts_in_few_evaluations(method, seed):
    """The target property is not linear in the composition, like a lattice parameter."""
    calls = []

    def evaluate(w):
        calls.append(w)
        value = 5.1 * w[0] + 5.7 * w[1] + 6.4 * w[2] - 0.4 * w[0] * w[2]
        slope = np.array([5.1 - 0.4 * w[2], 5.7, 6.4 - 0.4 * w[0]])
        return (value - 5.6) ** 2, 2 * (value - 5.6) * slope

    start = np.random.default_rng(seed).dirichlet(np.ones(3))
    trace = descend(evaluate, start, TERNARY, method=method, tolerance=1e-8)
    assert trace[-1].objective <= 1e-8
    assert len(calls) <= 12
    assert all(in_domain(TERNARY, step.weights) for step in trace)
    assert all(b.objective < a.objective for a, b in pairwise(trace))


@pytest.mark.parametrize("method", METHODS)
def test_descent_finds_minima_inside_the_simplex_and_at_a_vertex(method):
    goal = np.array([0.2, 0.5, 0.3])
    trace = descend(
        lambda w: (float((w - goal) @ (w - goal)), 2 * (w - goal)),
        [0.8, 0.1, 0.1], TERNARY, method=method, least=None, rate=0.3, max_steps=200, tolerance=1e-10,
    )  # fmt: skip
    np.testing.assert_allclose(trace[-1].weights, goal, atol=1e-3)
    slope = np.array([1.0, 2.0, 3.0])
    trace = descend(lambda w: (float(slope @ w), slope), [0.3, 0.3, 0.4], TERNARY, method=method, least=None)
    np.testing.assert_allclose(trace[-1].weights, [1, 0, 0], atol=0.02)


def test_descent_stops_at_the_bound_if_the_target_is_out_of_reach():
    """The objective of the last step measures the remaining distance to the target."""
    domain = Domain((0, 0), (0.0, 0.0), (1.0, 0.3), (1.0,))

    def evaluate(w):
        return (w[1] - 0.5) ** 2, np.array([0.0, 2 * (w[1] - 0.5)])

    for method in METHODS:
        trace = descend(evaluate, [0.9, 0.1], domain, method=method)
        np.testing.assert_allclose(trace[-1].weights, [0.7, 0.3], atol=1e-6)
        assert trace[-1].objective == pytest.approx(0.04, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (((0, 0), (0.0, 0.0), (0.4, 0.4), (1.0,)), r"group 0 .* 0 to 0\.8"),
        (((0, 0), (0.6, 0.6), (1.0, 1.0), (1.0,)), r"group 0 .* 1\.2 "),
        (((0, 0), (0.5, 0.0), (0.4, 1.0), (1.0,)), "0 ≤ lower ≤ upper ≤ 1"),
        (((0, 0), (0.0, -0.1), (1.0, 1.0), (1.0,)), "0 ≤ lower ≤ upper ≤ 1"),
        (((0, 0), (0.0,), (1.0,), (1.0,)), "2 bounds"),
        (((0, 1), (0.0, 0.0), (1.0, 1.0), (1.0,)), "2 sums"),
        (((0, 0), (0.0, 0.0), (1.0, 1.0), (1.2,)), r"group 0 .* 1\.2"),
    ],
)
def test_empty_domains_are_refused(arguments, reason):
    with pytest.raises(InvalidInputError, match=reason):
        Domain(*arguments)


def test_unknown_method_is_refused():
    with pytest.raises(InvalidInputError, match="projected, exponentiated, softmax"):
        descend(lambda w: (0.0, w), [1.0, 0, 0], TERNARY, method="newton")  # type: ignore[arg-type]
