"""Evaluate spherical harmonics as one matrix product.

The harmonics up to degree L of a unit vector (x, y, z) are polynomials of degree L, so they are linear in the L-fold
tensor power of (1, x, y, z). The modules of e3nn evaluate each component by itself, with tens of operations on short
rows, and many more for the gradient.
"""

from __future__ import annotations

import torch
from e3nn import o3

#: Largest degree; the tensor power has 4^L components.
MAX_DEGREE = 3


class Harmonics(torch.nn.Module):
    """Spherical harmonics of all degrees up to L, which replace an :class:`e3nn.o3.SphericalHarmonics`.

    Parameters
    ----------
    original
        The module of e3nn, which normalizes its input.

    Raises
    ------
    ValueError
        If it has other harmonics, does not normalize, or its degree is above :data:`MAX_DEGREE`.
    """

    coefficients: torch.Tensor

    def __init__(self, original: o3.SphericalHarmonics) -> None:
        super().__init__()
        self.degree = original.irreps_out.lmax
        degrees = [irrep.l for n, irrep in original.irreps_out for _ in range(n)]
        if degrees != list(range(self.degree + 1)) or not original.normalize or self.degree > MAX_DEGREE:
            raise ValueError(f"these spherical harmonics are not supported: {original}")
        # More directions than components, so that the coefficients follow from the values of the original.
        generator = torch.Generator().manual_seed(0)
        vectors = torch.randn(4 * 4**self.degree, 3, dtype=torch.float64, generator=generator)
        values = original(vectors).to(torch.float64)
        # The components are symmetric and thus linearly dependent; lstsq gives the smallest coefficients.
        coefficients = torch.linalg.lstsq(self._power(vectors), values, driver="gelsd").solution
        self.register_buffer("coefficients", coefficients)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the harmonics of vectors, shape (P, (L + 1)²), for vectors of any length, shape (P, 3)."""
        return self._power(vectors) @ self.coefficients

    def _power(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the L-fold tensor power of (1, x, y, z) of the unit vectors, shape (P, 4^L)."""
        unit = torch.nn.functional.pad(torch.nn.functional.normalize(vectors, dim=-1), (1, 0), value=1.0)
        power = unit
        for _ in range(self.degree - 1):
            power = (power[:, :, None] * unit[:, None, :]).flatten(1)
        return power if self.degree else unit[:, :1]
