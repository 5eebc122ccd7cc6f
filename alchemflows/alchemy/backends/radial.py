"""Evaluate radial networks, from radial functions to path weights, and cutoff functions with fewer operations."""

from __future__ import annotations

from math import sqrt
from typing import Any, cast

import torch
from e3nn.nn import FullyConnectedNet
from mace.modules.radial import PolynomialCutoff


class RadialNetwork(torch.nn.Module):
    """A :class:`e3nn.nn.FullyConnectedNet` with fixed parameters.

    e3nn divides the parameters of each layer by their normalization in every call, and multiplies the values of each
    activation function by theirs. Here both are part of the matrices.

    Parameters
    ----------
    network
        The original network.

    Raises
    ------
    ValueError
        If its last layer has an activation function.
    """

    def __init__(self, network: FullyConnectedNet) -> None:
        super().__init__()
        layers = [cast(Any, layer) for layer in network]
        if layers[-1].act is not None:
            raise ValueError(f"this radial network is not supported: {network}")
        self.activations = [layer.act.f for layer in layers[:-1]]
        scale = 1.0  # of the values of the previous activation function
        for k, layer in enumerate(layers):
            normalization = sqrt(layer.h_in * layer.var_in)
            if layer.act is None:
                normalization /= sqrt(layer.var_out)
            self.register_buffer(f"matrix_{k}", layer.weight.detach() * (scale / normalization))
            if layer.act is not None:
                scale = layer.act.cst * sqrt(layer.var_out)

    def forward(self, radial: torch.Tensor) -> torch.Tensor:
        """Return the path weights of each vector, shape (P, n_weights), from its radial functions, shape (P, n)."""
        matrices = [getattr(self, f"matrix_{k}") for k in range(len(self.activations) + 1)]
        values = radial @ matrices[0]
        for activation, matrix in zip(self.activations, matrices[1:], strict=True):
            values = activation(values) @ matrix
        return values


class Cutoff(torch.nn.Module):
    """A :class:`mace.modules.radial.PolynomialCutoff` with one power of the distance.

    It is 1 − r^p (a − b r + c r²) with r = x / r_max below r_max, and zero beyond, with a = (p + 1)(p + 2)/2,
    b = p (p + 2) and c = p (p + 1)/2.
    """

    def __init__(self, original: PolynomialCutoff) -> None:
        super().__init__()
        self.p, self.r_max_A = int(original.p), float(original.r_max)

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return the values at distances (Å), shape (P, 1)."""
        p, r = self.p, distances / self.r_max_A
        factor = (p + 1) * (p + 2) / 2 - r * (p * (p + 2) - p * (p + 1) / 2 * r)
        return (1 - r**p * factor) * (distances < self.r_max_A)
