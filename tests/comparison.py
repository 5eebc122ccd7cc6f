"""Evaluations of a batch in one way and in another, to be compared in float64."""

from __future__ import annotations

import numpy as np
import torch
from models import interior

from alchemflows.alchemy.interfaces import Backend, Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem

RELATIVE = 1e-10


class AsItIs:
    """A backend that is not specialised further."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def specialised(self, _numbers: frozenset[int]) -> Backend:
        return self._backend


def batch(system: AlchemicalSystem, n: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    positions = system.structure.cart_coords + rng.normal(0, 0.05, (n, system.n_sites, 3))
    return positions, np.tile(system.structure.lattice.matrix, (n, 1, 1)), interior(system, seed=2, n=n)


def evaluated(backend: Backend, system: AlchemicalSystem) -> Evaluation:
    return AlchemicalPotential(system, AsItIs(backend)).evaluate(*batch(system))


def assert_same(result: Evaluation, expected: Evaluation) -> None:
    for name in ("energy", "forces", "stress", "weight_gradients"):
        value, reference = getattr(result, name), getattr(expected, name)
        scale = float(reference.abs().max())
        assert scale > 0
        torch.testing.assert_close(value, reference, rtol=RELATIVE, atol=RELATIVE * scale)
