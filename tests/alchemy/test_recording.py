"""Recorded evaluations give the results of usual ones; work is recorded here without a GPU, by doing it again."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from comparison import batch
from models import interior, perovskite_system

from alchemflows.alchemy.interfaces import Backend
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.recording import Recordings, Results
from alchemflows.alchemy.system import AlchemicalSystem

FIELDS = ("energy", "forces", "stress", "weight_gradients")


class Again:
    """Records work as a CUDA graph does: it reads from the same memory, and writes its results to the same."""

    def __init__(self) -> None:
        self.n_recorded = self.n_repeated = 0

    def __call__(self, work: Callable[[], Results]) -> tuple[Results, Callable[[], None]]:
        self.n_recorded += 1
        results = work()

        def repeat() -> None:
            self.n_repeated += 1
            for own, new in zip(results, work(), strict=True):
                own.copy_(new)

        return results, repeat


def both(system: AlchemicalSystem, backend: Backend, recorder: object) -> tuple[AlchemicalPotential, ...]:
    """Return a potential with recordings after two evaluations, and one without."""
    recorded, usual = (AlchemicalPotential(system, backend, static_shapes=True) for _ in range(2))
    recorded._recordings = Recordings(recorder, n_before=2)  # type: ignore[arg-type]
    return recorded, usual


@pytest.mark.parametrize("model", ["residual", "heads-zbl-non-linear"])
def test_results_are_those_of_usual_evaluations(model, backend):
    """Atoms, cells and weights change and neighbour lists are built again; earlier results stay as they are."""
    system, again = perovskite_system("several groups", "mean-field"), Again()
    recorded, usual = both(system, backend(model), again)
    positions, cells, _ = batch(system, 2)
    generator = np.random.default_rng(5)
    n_pairs, results = set(), []
    for step in range(7):
        positions = positions + (0.3 if step == 4 else 0.01) * generator.normal(size=positions.shape)
        weights = interior(system, seed=step, n=2)
        results.append([each.evaluate(positions, cells, weights) for each in (recorded, usual)])
        n_pairs.add(tuple(recorded._n_pairs()))
    for pair in results:
        for field in FIELDS:
            torch.testing.assert_close(*(getattr(each, field) for each in pair), rtol=0, atol=0)
    assert len(n_pairs) == 2
    assert (again.n_recorded, again.n_repeated) == (2, 3)


def test_derivatives_that_were_not_requested_are_none(backend):
    system = perovskite_system("one group")
    recorded, usual = both(system, backend("residual"), Again())
    for _ in range(4):
        results = [each.evaluate(*batch(system, 2), stress=False, weight_gradients=False) for each in (recorded, usual)]
    torch.testing.assert_close(*(each.forces for each in results), rtol=0, atol=0)
    assert results[0].stress is None
    assert results[0].weight_gradients is None


@pytest.mark.parametrize("model", ["residual", "heads-zbl-non-linear"])
def test_new_neighbour_lists_of_the_same_size_are_copied(model, backend):
    """A crystal that moves by a part of its cell has as many pairs as before, in another order."""
    system, again = perovskite_system("one group"), Again()
    recorded, usual = both(system, backend(model), again)
    positions, cells, weights = batch(system, 2)
    for step in range(6):
        moved = positions + 0.21 * step * cells.sum(axis=1)[:, None]
        results = [each.evaluate(moved, cells, weights) for each in (recorded, usual)]
        for field in FIELDS:
            torch.testing.assert_close(*(getattr(each, field) for each in results), rtol=0, atol=0)
    assert (again.n_recorded, again.n_repeated) == (1, 4)


class Wrong(Again):
    """Repeats something else than it recorded."""

    def __call__(self, work: Callable[[], Results]) -> tuple[Results, Callable[[], None]]:
        results, repeat = super().__call__(work)
        results[0].add_(1.0)
        return results, repeat


def refused(_work: object) -> None:
    raise RuntimeError("operation not permitted when stream is capturing\nmore lines")


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [(refused, "operation not permitted when stream is capturing"), (Wrong(), "its results differ from those")],
    ids=["refused", "wrong"],
)
def test_what_cannot_be_recorded_is_evaluated_as_usual(recorder, reason, backend, caplog):
    system = perovskite_system("one group")
    recorded, usual = both(system, backend("residual"), recorder)
    arguments = batch(system, 2)
    with caplog.at_level(logging.WARNING):
        results = [recorded.evaluate(*arguments) for _ in range(6)]
    (message,) = caplog.messages
    assert message.startswith("the evaluation is not repeated as a CUDA graph")
    assert reason in message
    assert "more lines" not in message
    for result in results:
        torch.testing.assert_close(result.energy, usual.evaluate(*arguments).energy, rtol=0, atol=0)
