"""The convolution that MACE and SevenNet share: senders' features times spherical harmonics, summed at receivers.

m_r = Σ_(edges s → r) Σ_paths w ⊙ (h_s ⊗ Y): a tensor product with a weight for each path and channel, which comes
from the distance. e3nn's own product makes the message of each edge, which is many times larger than what goes in
and what comes out. Here the edges of each receiver lie side by side (padded to the largest number of them), so that
product and sum together are one batched matrix multiplication for each path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from e3nn import o3

from alchemflows.alchemy.graph import Slots


@dataclass(frozen=True)
class _Path:
    """One path: where its operands lie, and the name of the buffer with its coupling coefficients."""

    features: slice
    angular: slice
    weights: slice
    output: slice
    n_channels: int
    coupling: str


class Convolution(torch.nn.Module):
    """Sends messages along the edges of a graph.

    Parameters
    ----------
    product
        The model's tensor product: of `uvu` paths, with weights from outside.

    Raises
    ------
    ValueError
        If the product is of another kind.
    """

    def __init__(self, product: o3.TensorProduct) -> None:
        super().__init__()
        self.dim = product.irreps_out.dim
        paths = product.instructions
        usual = all(p.connection_mode == "uvu" and p.has_weight and product.irreps_in2[p.i_in2][0] == 1 for p in paths)
        if not usual or sorted(p.i_out for p in paths) != list(range(len(product.irreps_out))):
            raise ValueError(f"a tensor product of another kind than is known: {product}")
        features, angular, output = (
            irreps.slices() for irreps in (product.irreps_in1, product.irreps_in2, product.irreps_out)
        )
        self.paths = []
        weights = 0
        for n, path in enumerate(paths):
            n_channels = product.irreps_in1[path.i_in1][0]
            self.paths.append(
                _Path(
                    features[path.i_in1],
                    angular[path.i_in2],
                    slice(weights, weights + n_channels),
                    output[path.i_out],
                    n_channels,
                    f"coupling_{n}",
                )
            )
            weights += n_channels
        for path, coupling in zip(self.paths, self._couplings(product), strict=True):
            self.register_buffer(path.coupling, coupling)

    def _couplings(self, product: o3.TensorProduct) -> list[torch.Tensor]:
        """Coupling coefficients of each path, shape (harmonics, features, output), as the product itself has them.

        They are what comes out for unit vectors that go in: models differ in normalisation and in rounding.
        """
        example = next(iter(product.buffers()))
        unit = torch.eye(product.irreps_in2.dim, dtype=example.dtype, device=example.device)
        ones = torch.ones(len(unit), product.weight_numel, dtype=example.dtype, device=example.device)
        outputs: dict[int, torch.Tensor] = {}
        for path in self.paths:
            start, n_components = path.features.start, (path.features.stop - path.features.start) // path.n_channels
            if start not in outputs:
                features = torch.zeros(n_components, product.irreps_in1.dim, dtype=example.dtype, device=example.device)
                features[:, start : start + n_components].fill_diagonal_(1)
                outputs[start] = torch.stack([product(f.expand(len(unit), -1), unit, ones) for f in features], dim=1)
        return [
            outputs[p.features.start][
                p.angular, :, p.output.start : p.output.start + (p.output.stop - p.output.start) // p.n_channels
            ]
            for p in self.paths
        ]

    def forward(
        self, features: torch.Tensor, angular: torch.Tensor, path_weights: torch.Tensor, slots: Slots
    ) -> torch.Tensor:
        """Convolve.

        Parameters
        ----------
        features
            What each row sends, shape (R, d).
        angular, path_weights
            Spherical harmonics and weights of the paths on each of the graph's vectors, shape (P, ...).
        slots
            What goes where.

        Returns
        -------
        received
            Shape (R, d').
        """
        n_rows, n_slots = len(features), slots.n_slots
        if n_slots == 0:
            # depends on what goes in, so that forces are zero, not an error of autograd
            return features.new_zeros(n_rows, self.dim) + 0 * path_weights.sum()
        # Empty slots have the zero vector that is appended.
        angular, path_weights = (
            torch.cat([values, values.new_zeros(1, values.shape[1])]).index_select(0, slots.vector)
            for values in (angular, path_weights)
        )
        senders: dict[int, torch.Tensor] = {}
        outputs: list[tuple[int, torch.Tensor]] = []
        for path in self.paths:
            if path.features.start not in senders:
                irrep = features[:, path.features].reshape(n_rows, path.n_channels, -1).transpose(1, 2)
                senders[path.features.start] = irrep.index_select(0, slots.sender)
            coupling = getattr(self, path.coupling)
            sent = senders[path.features.start] * path_weights[:, None, path.weights]
            harmonics = angular[:, path.angular] @ coupling.flatten(1)
            inner = n_slots * coupling.shape[1]
            received = torch.bmm(harmonics.reshape(n_rows, inner, -1).transpose(1, 2), sent.reshape(n_rows, inner, -1))
            outputs.append((path.output.start, received.transpose(1, 2).flatten(1)))
        return torch.cat([output for _, output in sorted(outputs, key=lambda item: item[0])], dim=1)
