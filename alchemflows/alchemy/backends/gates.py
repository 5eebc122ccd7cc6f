"""Gated networks of CHGNet that apply their first layer before features are joined.

A message depends on the features of two atoms and a bond, or of two bonds, their angle and an atom. The first layer of
its network is linear: it is applied to each atom and each bond once, and the results are added for each message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from chgnet.model.functions import MLP, GatedMLP


class SplitGate:
    """A gated network with a first layer that is split by the parts of its input.

    Parameters
    ----------
    gate
        The original network.
    sizes
        Number of features of each part of the input.
    """

    def __init__(self, gate: GatedMLP, sizes: Sequence[int]) -> None:
        first, self.core = _split(gate.mlp_core)
        other, self.weighting = _split(gate.mlp_gate)
        joined = torch.cat([first.weight, other.weight]).detach()
        self.parts = [part.T.contiguous() for part in joined.split(list(sizes), dim=1)]
        self.bias = torch.cat([first.bias, other.bias]).detach()
        self.activation = gate.activation
        self.norms = [torch.nn.Identity() if norm is None else norm for norm in (gate.bn1, gate.bn2)]

    def part(self, k: int, features: torch.Tensor) -> torch.Tensor:
        """Return what part k of the input, shape (n, size), adds to the first layer, shape (n, h)."""
        return features @ self.parts[k] + self.bias if k == 0 else features @ self.parts[k]

    def __call__(self, first_layer: torch.Tensor) -> torch.Tensor:
        """Return the output of the network from that of its first layer, shape (n, h)."""
        if self.core:  # otherwise the first layer is the only one
            first_layer = self.activation(first_layer)
        core, weighting = first_layer.chunk(2, dim=1)
        core, weighting = self.norms[0](self.core(core)), self.norms[1](self.weighting(weighting))
        return self.activation(core) * torch.sigmoid(weighting)


def _split(mlp: MLP) -> tuple[torch.nn.Linear, torch.nn.Sequential]:
    """Return the first layer of a network, and the layers after the activation that follows it.

    Dropout is left out, since only training needs it.
    """
    first, *others = (layer for layer in mlp.layers if not isinstance(layer, torch.nn.Dropout))
    return cast(torch.nn.Linear, first), torch.nn.Sequential(*others[1:])
