"""Names inside mace-torch's blocks that are no part of its documented interface; seen in mace-torch 0.3.16.

All files of this folder reach them through these functions. ``tests/alchemy/test_library_internals.py`` fails by name
if a release changes one, and :mod:`~alchemflows.alchemy.backends.selfcheck` compares energies wherever a model is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from e3nn import o3
from mace.modules.symmetric_contraction import Contraction

#: Set on an interaction block, it makes the block pass the edges to its tensor product, which then also sums.
FUSION = "conv_fusion"
TENSOR_PRODUCT = "conv_tp"
RADIAL_NETWORK = "conv_tp_weights"


def tensor_product(block: Any) -> Any:
    """Return the tensor product of features and spherical harmonics of an interaction block; None if it has none."""
    return getattr(block, TENSOR_PRODUCT, None)


def replace_tensor_product(block: Any, messages: torch.nn.Module) -> None:
    """Let a module compute messages and sum them; it is called with features, harmonics, path weights and edges."""
    setattr(block, FUSION, True)
    setattr(block, TENSOR_PRODUCT, messages)


def take_radial_network(block: Any) -> torch.nn.Module:
    """Remove and return the network that makes path weights of edge features; the block then gets path weights."""
    network = getattr(block, RADIAL_NETWORK)
    setattr(block, RADIAL_NETWORK, torch.nn.Identity())
    return cast(torch.nn.Module, network)


def embeds_other_inputs(model: Any) -> bool:
    """Whether a model takes total charge, spin or other inputs besides the elements."""
    return hasattr(model, "joint_embedding")


def has_pair_repulsion(model: Any) -> bool:
    """Whether a model adds ZBL energies."""
    return hasattr(model, "pair_repulsion")


def has_distance_transform(model: Any) -> bool:
    """Whether distances are transformed by the elements at both ends before they enter the radial basis."""
    return hasattr(model.radial_embedding, "distance_transform")


def is_agnostic(product: Any) -> bool:
    """Whether the contraction of a product block has the same parameters for all elements."""
    return bool(getattr(product, "use_agnostic_product", False))


def contractions(product: Any) -> list[Contraction]:
    """Return the contractions of a product block, one for each irreducible representation that comes out."""
    return list(product.symmetric_contractions.contractions)


def coupling(part: Contraction, degree: int) -> torch.Tensor:
    """Coupling coefficients of one degree, shape ((O,) I, ..., I, paths)."""
    return part.U_tensors(degree)


def parameters(part: Contraction, degree: int) -> torch.Tensor:
    """Parameters of one degree of a contraction, shape (elements, paths, channels)."""
    return part.weights_max if degree == part.correlation else part.weights[part.correlation - degree - 1]


def correlation(product: Any) -> int:
    """Return the highest degree of a product block."""
    return len(contractions(product)[0].weights) + 1


def change_parameters(part: Contraction, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace the parameters of every degree of a contraction."""

    def changed(values: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter(change(values), requires_grad=False)

    part.weights_max = changed(part.weights_max)
    for k, values in enumerate(part.weights):
        part.weights[k] = changed(values)


def one_hot_linears(block: Any) -> list[str]:
    """Names of the linear maps of one-hot elements that an interaction block has."""
    return [name for name in ("source_embedding", "target_embedding") if hasattr(block, name)]


def one_hot_products(block: Any) -> list[str]:
    """Names of the tensor products with one-hot elements that an interaction block has."""
    return ["skip_tp"] if isinstance(getattr(block, "skip_tp", None), o3.FullyConnectedTensorProduct) else []
