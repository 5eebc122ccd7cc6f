"""Alchemical systems and evaluations that several files of tests share."""

from __future__ import annotations

import numpy as np
import torch
from models import perovskite_system

from alchemflows.alchemy.interfaces import Backend, Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem

COUPLINGS = ("paired", "mean-field")
#: Lattice parameter (Å) at which SevenNet-0 and CHGNet still see periodic images but no absurdly short distances.
FOUNDATION_A = 4.7
FOUNDATION_MODELS = ("sevennet", "chgnet")


def system_for(model: str, groups: str, coupling: str) -> AlchemicalSystem:
    return perovskite_system(groups, coupling, FOUNDATION_A if model in FOUNDATION_MODELS else 3.9)


def evaluate(backend: Backend, system: AlchemicalSystem, weights: np.ndarray, **wanted: bool) -> Evaluation:
    """Evaluate the host structure at one (C,) or several (B, C) sets of weights."""
    weights = np.atleast_2d(weights)
    positions, cells = (
        np.repeat(array[None], len(weights), axis=0)
        for array in (system.structure.cart_coords, system.structure.lattice.matrix)
    )
    return AlchemicalPotential(system, backend).evaluate(positions, cells, weights, **wanted)


def present(system: AlchemicalSystem, weights: np.ndarray) -> list[int]:
    """Atoms that exist at a vertex."""
    gone = {
        site
        for index, group in enumerate(system.groups)
        if weights[system.group_of_weight == index].sum() == 0
        for site in group.sites
    }
    return [i for i in range(system.n_sites) if i not in gone]


def assert_same(result: Evaluation, expected: Evaluation, atol: float = 1e-11) -> None:
    for name in ("energy", "forces", "stress", "weight_gradients"):
        torch.testing.assert_close(getattr(result, name), getattr(expected, name), rtol=1e-11, atol=atol)
