"""Evaluate MACE's symmetric contraction as a polynomial with precomputed coefficients.

For each element and channel the contraction (Batatia et al., NeurIPS 2022, Eqs. 10, 11) is a polynomial in the
few components x_i of that channel: f = Σ_ν Σ_{i1 ≤ ... ≤ iν} c_{i1...iν} x_i1 ... x_iν. The modules of mace-torch
multiply coupling coefficients and parameters again for each atom and in each step; here c is computed once. The part
of degree ν is stored in the form f_ν = Σ_k x_k g_k, where g_k is a sum over monomials of degree ν − 1. By Euler's
theorem, ∂f_ν/∂x_k = ν g_k, so that the derivative costs no extra products.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, permutations
from math import comb, factorial
from typing import Any

import torch
from mace.modules.blocks import EquivariantProductBasisBlock
from mace.modules.symmetric_contraction import Contraction

from alchemflows.alchemy.backends import mace_internals as internals

#: Maximum number of coefficients (1 GB in float32, 2 GB in float64); larger contractions are not replaced.
MAX_COEFFICIENTS = 2**28
#: Size of the monomials that are multiplied at a time on a CPU, so that they stay in its cache.
BLOCK_BYTES = 2**20


class _Polynomial(torch.autograd.Function):
    """Evaluate f = Σ_k x_k Σ_ν g_νk with its analytic derivative; twice differentiable.

    Shapes: x (C, I, n), f (C, O, n). The n nodes are sorted by element; coefficients of degree ν are given for each of
    their elements, shape (C, O·I, monomials of degree ν − 1).
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, counts: list[int], monomials: list[torch.Tensor], *coefficients: list[torch.Tensor]
    ) -> torch.Tensor:
        value, slope = _in_blocks(x, counts, monomials, coefficients, ctx.needs_input_grad[0])
        ctx.save_for_backward(x, slope)
        ctx.constants = counts, monomials, coefficients
        return value

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, slope = ctx.saved_tensors
        counts, monomials, coefficients = ctx.constants
        if torch.is_grad_enabled():  # for second derivatives
            _, slope = _in_blocks(x, counts, monomials, coefficients, True)
        return (upstream[:, :, None] * slope).sum(dim=1), None, None, *(None for _ in coefficients)


def _in_blocks(
    x: torch.Tensor,
    counts: list[int],
    monomials: list[torch.Tensor],
    coefficients: tuple[list[torch.Tensor], ...],
    with_slope: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the results of :func:`_value_and_slope`; on a CPU for a few channels at a time."""
    n_channels = len(x)
    bytes_of_channel = max(index.shape[1] for index in monomials) * x.shape[2] * x.element_size()
    size = max(1, BLOCK_BYTES // max(1, bytes_of_channel)) if x.device.type == "cpu" else n_channels
    if size >= n_channels:
        return _value_and_slope(x, counts, monomials, coefficients, with_slope)
    values, slopes = [], []
    for start in range(0, n_channels, size):
        block = slice(start, start + size)
        of_block = tuple([c[block] for c in of_elements] for of_elements in coefficients)
        value, slope = _value_and_slope(x[block], counts, monomials, of_block, with_slope)
        values.append(value)
        if slope is not None:
            slopes.append(slope)
    return torch.cat(values), torch.cat(slopes) if slopes else None


def _value_and_slope(
    x: torch.Tensor,
    counts: list[int],
    monomials: list[torch.Tensor],
    coefficients: tuple[list[torch.Tensor], ...],
    with_slope: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return f (C, O, n) and, if requested, ∂f/∂x (C, O, I, n)."""
    n_channels, n_in, n_nodes = x.shape
    total = slope = None
    for degree, (index, of_elements) in enumerate(zip(monomials, coefficients, strict=True), start=1):
        if degree == 1:
            parts = [c.expand(-1, -1, n) for c, n in zip(of_elements, counts, strict=True)]
        else:
            product = x if degree == 2 else x.index_select(1, index[0])
            for factor in index[1:]:
                product = product * x.index_select(1, factor)
            nodes = product.split(counts, dim=2)
            parts = [torch.bmm(c, part) for c, part in zip(of_elements, nodes, strict=True)]
        g = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
        g = g.reshape(n_channels, -1, n_in, n_nodes)
        total = g if total is None else total + g
        if with_slope:
            slope = degree * g if slope is None else torch.add(slope, g, alpha=degree)
    assert total is not None
    return (x[:, None] * total).sum(dim=2), slope


class FoldedContraction(torch.nn.Module):
    """A :class:`mace.modules.symmetric_contraction.SymmetricContraction` with precomputed coefficients.

    Parameters
    ----------
    parts
        Original contractions, one for each output.
    """

    def __init__(self, parts: list[Contraction]) -> None:
        super().__init__()
        self.n_outputs = len(parts)
        self.degree = max(part.correlation for part in parts)
        example = internals.coupling(parts[0], 1)
        for degree in range(1, self.degree + 1):
            tuples = list(combinations_with_replacement(range(example.shape[-2]), degree - 1))
            table = torch.tensor(tuples, dtype=torch.int64, device=example.device)
            self.register_buffer(f"monomials_{degree}", table.reshape(len(tuples), degree - 1).T)
        for k, part in enumerate(parts):
            for degree in range(1, part.correlation + 1):
                self.register_buffer(f"coefficients_{k}_{degree}", _coefficients(part, degree))

    def forward(self, x: torch.Tensor, element_counts: list[tuple[int, int]]) -> torch.Tensor:
        """Return the contracted features of each node.

        Parameters
        ----------
        x
            Features, shape (nodes, C, I), sorted by element.
        element_counts
            Index of each element in the potential, and its number of nodes.

        Returns
        -------
        out
            Contracted features, shape (nodes, Σ C·O), in the order of the original module.
        """
        elements, counts = [element for element, _ in element_counts], [n for _, n in element_counts]
        columns = x.permute(1, 2, 0).contiguous()
        outputs = [
            _Polynomial.apply(columns, counts, *self._polynomials(k, elements)).permute(2, 0, 1).flatten(1)
            for k in range(self.n_outputs)
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def _polynomials(self, k: int, elements: list[int]) -> tuple[Any, ...]:
        """Return the monomials of each degree of an output, and the coefficients of these elements."""
        monomials, coefficients = [], []
        for degree in range(1, self.degree + 1):
            c = getattr(self, f"coefficients_{k}_{degree}", None)
            if c is not None:
                monomials.append(getattr(self, f"monomials_{degree}"))
                coefficients.append([c[element] for element in elements])
        return monomials, *coefficients


def fold(product: EquivariantProductBasisBlock) -> FoldedContraction | None:
    """Return the contraction of a product block with precomputed coefficients; None if they need too much memory."""
    parts = internals.contractions(product)
    n_in = internals.coupling(parts[0], 1).shape[-2]
    largest = 0
    for part in parts:
        n_elements, _, n_channels = internals.parameters(part, part.correlation).shape
        n_monomials = comb(n_in + part.correlation - 2, part.correlation - 1)
        largest += n_elements * n_channels * internals.coupling(part, 1).numel() * n_monomials
    if largest > MAX_COEFFICIENTS:
        return None
    return FoldedContraction(parts)


def _coefficients(part: Contraction, degree: int) -> torch.Tensor:
    """Return the coefficients of one degree, shape (elements, C, O·I, monomials of degree − 1)."""
    weights = internals.parameters(part, degree)
    tensor: Any = internals.coupling(part, degree).to(torch.float64)  # (O,) I, ..., I, paths
    if tensor.dim() == degree + 1:  # scalars have no O
        tensor = tensor[None]
    axes = range(1, degree + 1)
    symmetric = sum(tensor.permute(0, *order, degree + 1) for order in permutations(axes)) / factorial(degree)
    n_in = tensor.shape[1]
    tuples = list(combinations_with_replacement(range(n_in), degree - 1))
    columns = []
    for indices in tuples:
        # The last index is k of g_k; a monomial with different factors represents all their permutations.
        multiplicity = factorial(degree - 1)
        for i in set(indices):
            multiplicity //= factorial(indices.count(i))
        columns.append(multiplicity * symmetric[(slice(None), *indices)])  # (O, I, paths)
    table = torch.stack(columns, dim=2)  # (O, I, monomials, paths)
    folded = torch.einsum("oimk,ekc->ecoim", table, weights.to(torch.float64))
    return folded.flatten(2, 3).to(weights.dtype)
