"""Access to attributes of mace-torch that are not part of its documented interface; seen in mace-torch 0.3.16.

All files of this folder use them through these functions only. If a release changes one,
``tests/alchemy/test_library_internals.py`` fails and names it; :mod:`~alchemflows.alchemy.backends.selfcheck` compares
energies wherever a potential is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from ase import Atoms
from e3nn import o3
from mace.calculators import MACECalculator
from mace.modules.symmetric_contraction import Contraction

from alchemflows.alchemy.backends.precision import default_dtype

#: If this attribute of an interaction block is set, the block passes the edges to its tensor product and skips the sum.
FUSION = "conv_fusion"
TENSOR_PRODUCT = "conv_tp"
RADIAL_NETWORK = "conv_tp_weights"


def tensor_product(block: Any) -> Any:
    """Return the tensor product of features and spherical harmonics of an interaction block; None if it has none."""
    return getattr(block, TENSOR_PRODUCT, None)


def replace_tensor_product(block: Any, messages: torch.nn.Module) -> None:
    """Replace the tensor product by a module that also sums; its input is features, harmonics, path weights, edges."""
    setattr(block, FUSION, True)
    setattr(block, TENSOR_PRODUCT, messages)


def take_radial_network(block: Any) -> torch.nn.Module:
    """Remove and return the network from edge features to path weights; the block must then be given path weights."""
    network = getattr(block, RADIAL_NETWORK)
    setattr(block, RADIAL_NETWORK, torch.nn.Identity())
    return cast(torch.nn.Module, network)


def embeds_other_inputs(model: Any) -> bool:
    """Return whether a model takes total charge, spin or other inputs besides the elements."""
    return hasattr(model, "joint_embedding")


def has_pair_repulsion(model: Any) -> bool:
    """Return whether a model adds ZBL energies."""
    return hasattr(model, "pair_repulsion")


def has_distance_transform(model: Any) -> bool:
    """Return whether distances are transformed, depending on both elements, before they enter the radial basis."""
    return hasattr(model.radial_embedding, "distance_transform")


def is_agnostic(product: Any) -> bool:
    """Return whether the contraction of a product block has the same parameters for all elements."""
    return bool(getattr(product, "use_agnostic_product", False))


def n_invariant(product: Any) -> int:
    """Return the number of invariant features of the output of a product block, which are the first ones."""
    channels, irrep = product.linear.irreps_out[0]
    assert irrep.l == 0
    return int(channels)


def contractions(product: Any) -> list[Contraction]:
    """Return the contractions of a product block, one for each irreducible representation of the output."""
    return list(product.symmetric_contractions.contractions)


def coupling(part: Contraction, degree: int) -> torch.Tensor:
    """Return the coupling coefficients of one degree, shape ((O,) I, ..., I, paths)."""
    return part.U_tensors(degree)


def parameters(part: Contraction, degree: int) -> torch.Tensor:
    """Return the parameters of one degree of a contraction, shape (elements, paths, channels)."""
    return part.weights_max if degree == part.correlation else part.weights[part.correlation - degree - 1]


def correlation(product: Any) -> int:
    """Return the highest degree of a product block."""
    return len(contractions(product)[0].weights) + 1


def is_constant(name: str) -> bool:
    """Return whether a tensor of a model's state is a constant that models of earlier releases lack.

    The constructor of MACE notes which parameters of a contraction are multiplied with coefficients that are all zero.
    """
    return name.endswith("_zeroed")


def change_parameters(part: Contraction, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Replace the parameters of every degree of a contraction."""

    def changed(values: torch.Tensor) -> torch.nn.Parameter:
        return torch.nn.Parameter(change(values), requires_grad=False)

    part.weights_max = changed(part.weights_max)
    for k, values in enumerate(part.weights):
        part.weights[k] = changed(values)


def one_hot_linears(block: Any) -> list[str]:
    """Return the names of an interaction block's linear maps of one-hot encoded elements."""
    return [name for name in ("source_embedding", "target_embedding") if hasattr(block, name)]


def one_hot_products(block: Any) -> list[str]:
    """Return the names of an interaction block's tensor products with one-hot encoded elements."""
    return ["skip_tp"] if isinstance(getattr(block, "skip_tp", None), o3.FullyConnectedTensorProduct) else []


class LibraryCalculator(MACECalculator):
    """mace-torch's own calculator, which prepares atoms in the dtype of the model.

    Up to release 0.3.15, mace-torch prepares them in the default dtype of torch.
    """

    def _atoms_to_batch(self, atoms: Atoms) -> Any:
        with default_dtype(next(self.models[0].parameters()).dtype):
            return super()._atoms_to_batch(atoms)
