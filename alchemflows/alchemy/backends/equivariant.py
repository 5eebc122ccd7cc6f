"""Evaluate linear maps and gates of e3nn with fewer operations.

The modules of e3nn multiply each path by its normalization, and slice their input once for each path, so that its
gradient is a sum of padded slices. Here the normalization is part of the matrices, and the input is split.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

import torch
from e3nn import nn, o3


class Linear(torch.nn.Module):
    """A :class:`e3nn.o3.Linear` with fixed parameters.

    Parameters
    ----------
    original
        The module of e3nn.

    Raises
    ------
    ValueError
        If it has biases or no parameters of its own, or no input for one of its outputs.
    """

    def __init__(self, original: o3.Linear) -> None:
        super().__init__()
        self.irreps_in, self.irreps_out = original.irreps_in, original.irreps_out
        if not original.internal_weights or original.bias_numel:
            raise ValueError(f"this linear map is not supported: {original}")
        self._sizes = [n * irrep.dim for n, irrep in original.irreps_in]
        self._dims = [irrep.dim for _, irrep in original.irreps_in]
        #: Inputs of each output; matrix i_j leads from input i to output j.
        self._inputs: dict[int, list[int]] = defaultdict(list)
        for _, path, matrix in original.weight_views(yield_instruction=True):
            self._inputs[path.i_out].append(path.i_in)
            self.register_buffer(f"matrix_{path.i_in}_{path.i_out}", path.path_weight * matrix.detach())
        if sorted(self._inputs) != list(range(len(original.irreps_out))):
            raise ValueError(f"this linear map is not supported: {original}")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the mapped features, shape (n, d'), of features of shape (n, d)."""
        columns = [
            # The components of an irrep become rows, so that its channels are mapped by one product.
            part if dim == 1 else part.reshape(len(part), -1, dim).transpose(1, 2).reshape(dim * len(part), -1)
            for part, dim in zip(features.split(self._sizes, dim=1), self._dims, strict=True)
        ]
        outputs = []
        for j in range(len(self._inputs)):
            mapped = sum(columns[i] @ getattr(self, f"matrix_{i}_{j}") for i in self._inputs[j])
            dim = self._dims[self._inputs[j][0]]
            outputs.append(mapped if dim == 1 else mapped.view(len(features), dim, -1).transpose(1, 2).flatten(1))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)


class Gate(torch.nn.Module):
    """A :class:`e3nn.nn.Gate` with one activation function for scalars and one for gates.

    Parameters
    ----------
    original
        The module of e3nn.

    Raises
    ------
    ValueError
        If it has other activation functions, or its input is in another order than scalars, gates, gated features.
    """

    def __init__(self, original: nn.Gate) -> None:
        super().__init__()
        gate = cast(Any, original)
        self._activation, self._opening = (_only(each.acts) for each in (gate.act_scalars, gate.act_gates))
        self._counts = [n for n, _ in gate.irreps_gated]
        gated = [n * irrep.dim for n, irrep in gate.irreps_gated]
        self._sizes = [gate.irreps_scalars.dim, gate.irreps_gates.dim, *gated]
        parts = gate.irreps_scalars + gate.irreps_gates + gate.irreps_gated
        if parts.simplify() != gate.irreps_in.simplify():
            raise ValueError(f"this gate is not supported: {original}")

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the gated features, shape (n, d'), of features of shape (n, d)."""
        scalars, gates, *parts = features.split(self._sizes, dim=1)
        gated = [
            (part.reshape(*gate.shape, -1) * gate[:, :, None]).flatten(1)
            for part, gate in zip(parts, self._opening(gates).split(self._counts, dim=1), strict=True)
        ]
        return torch.cat([self._activation(scalars), *gated], dim=1)


def _only(activations: Any) -> torch.nn.Module:
    """Return the activation function that all irreps have."""
    functions = {activation.f for activation in activations}
    if len(functions) != 1:
        raise ValueError("a gate with several activation functions is not supported")
    return cast(torch.nn.Module, activations[0])


def replace_modules(model: torch.nn.Module) -> None:
    """Replace all linear maps and gates within a model that are supported."""
    faster = {o3.Linear: Linear, nn.Gate: Gate}
    for name, module in model.named_children():
        if type(module) not in faster:
            replace_modules(module)
            continue
        try:
            setattr(model, name, faster[type(module)](module))
        except ValueError:
            continue
