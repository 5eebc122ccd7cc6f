"""Precision of torch: the default in which libraries create tensors, and parameters too small for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set torch's default dtype within a with block."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def drop_tiny_parameters(model: torch.nn.Module) -> None:
    """Set parameters of a model to zero that are too small to change its results.

    Training with weight decay leaves parameters of 1e-36 and less. Their products with features are subnormal numbers,
    with which CPUs compute many times more slowly. Parameters are dropped below the smallest normal number divided by
    the relative precision: 1e-31 in float32, and none in practice in float64.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            limits = torch.finfo(parameter.dtype)
            parameter[parameter.abs() < limits.tiny / limits.eps] = 0
