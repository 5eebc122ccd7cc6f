"""Schedules of λ: from 0 to 1, the same both ways, gently at the ends."""

from __future__ import annotations

import numpy as np
import pytest

from alchemflows.errors import InvalidInputError
from alchemflows.sampling.schedules import DEFAULT_SCHEDULE, SCHEDULES, schedule

TAU = np.linspace(0, 1, 1001)


@pytest.mark.parametrize("name", SCHEDULES)
def test_from_zero_to_one_and_the_same_both_ways(name):
    values = schedule(name, TAU)
    assert values[0] == 0.0 and values[-1] == 1.0
    assert (np.diff(values) > -1e-13).all()  # rounding near 1
    assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(schedule(name, 1 - TAU), 1 - values, atol=1e-12)
    assert schedule(name, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(("name", "order"), [("third-order", 1), ("fifth-order", 2), ("ninth-order", 4)])
def test_derivatives_vanish_at_the_ends(name, order):
    """λ ~ τ^(order + 1) near 0, and by symmetry 1 − λ near 1."""
    small = schedule(name, [1e-3, 2e-3])
    assert np.log2(small[1] / small[0]) == pytest.approx(order + 1, abs=0.02)


def test_names():
    assert DEFAULT_SCHEDULE in SCHEDULES
    with pytest.raises(InvalidInputError, match=r"linear, third-order.*cubic"):
        schedule("cubic", [0.0])
