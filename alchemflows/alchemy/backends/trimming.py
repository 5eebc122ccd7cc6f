"""Reduce a MACE model to some of its elements, since the parameters of unused elements cost time.

Elements enter a model as one-hot vectors of length Z, in linear maps and tensor products that divide by √Z (e3nn's
normalisation of paths), and as the first axis of the parameters of contractions.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from math import sqrt
from typing import Any, cast

import torch
from e3nn import o3
from mace.modules import (
    RealAgnosticAttResidualInteractionBlock,
    RealAgnosticDensityInteractionBlock,
    RealAgnosticDensityResidualInteractionBlock,
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    RealAgnosticResidualNonLinearInteractionBlock,
    ScaleShiftMACE,
)

from alchemflows.alchemy.backends import mace_internals as internals

#: Interaction blocks that can be reduced.
KNOWN_BLOCKS = (
    RealAgnosticInteractionBlock,
    RealAgnosticResidualInteractionBlock,
    RealAgnosticDensityInteractionBlock,
    RealAgnosticDensityResidualInteractionBlock,
    RealAgnosticAttResidualInteractionBlock,
    RealAgnosticResidualNonLinearInteractionBlock,
)


def keep_elements(model: ScaleShiftMACE, numbers: frozenset[int]) -> ScaleShiftMACE:
    """Return a copy of a model with only some of its elements, which gives the same energies.

    Parameters
    ----------
    model
        Original model; dtype and device are kept.
    numbers
        Atomic numbers of the elements to keep.

    Raises
    ------
    ValueError
        If one part of the model is not of a known kind; it names this part.
    """
    source = cast(Any, model)
    for block in source.interactions:
        if type(block) not in KNOWN_BLOCKS:
            raise ValueError(f"unknown interaction block {type(block).__name__}")
    if type(source.node_embedding.linear) is not o3.Linear:
        raise ValueError(f"the model was converted to other kernels ({type(source.node_embedding.linear).__module__})")
    trimmed = cast(Any, deepcopy(model))
    n_elements = len(source.atomic_numbers)
    kept = [k for k, z in enumerate(source.atomic_numbers.tolist()) if z in numbers]

    def linear(old: o3.Linear) -> o3.Linear:
        """Reduce a linear map of one-hot vectors."""
        new = deepcopy(_linear(len(kept), old.irreps_out, torch.get_default_dtype()))
        _set(new, old.weight.reshape(n_elements, -1)[kept] * sqrt(len(kept) / n_elements))
        return new

    def tensor_product(old: o3.FullyConnectedTensorProduct) -> o3.FullyConnectedTensorProduct:
        """Reduce a tensor product with one-hot vectors."""
        new = deepcopy(_tensor_product(old.irreps_in1, len(kept), old.irreps_out, torch.get_default_dtype()))
        weights = [w[:, kept].reshape(-1) for w in old.weight_views()]
        _set(new, torch.cat(weights) * sqrt(len(kept) / n_elements) if weights else old.weight)
        return new

    trimmed.node_embedding.linear = linear(trimmed.node_embedding.linear)
    for block in trimmed.interactions:
        for name in internals.one_hot_products(block):
            setattr(block, name, tensor_product(getattr(block, name)))
        for name in internals.one_hot_linears(block):
            setattr(block, name, linear(getattr(block, name)))
    for product in trimmed.products:
        if not internals.is_agnostic(product):
            for part in internals.contractions(product):
                internals.change_parameters(part, lambda values: values[kept])
    references = trimmed.atomic_energies_fn.atomic_energies
    trimmed.atomic_energies_fn.atomic_energies = references[..., kept]
    trimmed.atomic_numbers = trimmed.atomic_numbers[kept]
    return cast(ScaleShiftMACE, trimmed)


@cache
def _linear(n_elements: int, irreps_out: o3.Irreps, _dtype: torch.dtype) -> o3.Linear:
    """Return a linear map of one-hot vectors, which e3nn compiles, made once for each default dtype."""
    return o3.Linear(o3.Irreps([(n_elements, (0, 1))]), irreps_out)


@cache
def _tensor_product(
    irreps_in1: o3.Irreps, n_elements: int, irreps_out: o3.Irreps, _dtype: torch.dtype
) -> o3.FullyConnectedTensorProduct:
    """Return a tensor product with one-hot vectors; see :func:`_linear`."""
    return o3.FullyConnectedTensorProduct(irreps_in1, o3.Irreps([(n_elements, (0, 1))]), irreps_out)


def _set(module: torch.nn.Module, weight: torch.Tensor) -> None:
    cast(Any, module).weight = torch.nn.Parameter(weight.reshape(-1).clone(), requires_grad=False)
    module.to(device=weight.device, dtype=weight.dtype)
