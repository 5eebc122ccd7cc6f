"""Evaluate the convolution of MACE and SevenNet: features of senders times spherical harmonics, summed at receivers.

m_r = Σ_(edges s → r) Σ_paths w ⊙ (h_s ⊗ Y) is a tensor product with path weights w, one for each path and channel,
which depend on the distance. e3nn stores the message of each edge, which needs many times more memory than the input
and the output. Here the edges of each receiver are stored next to each other (padded to the largest number of edges),
so that product and sum are one batched matrix multiplication for each path.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from e3nn import o3

from alchemflows.alchemy.graph import Slots


@dataclass(frozen=True)
class _Path:
    """One path: which irreps it multiplies, which one it makes, and the name of its coupling coefficients."""

    features: int
    angular: int
    output: int
    n_channels: int
    coupling: str


class Convolution(torch.nn.Module):
    """Convolution along the edges of a graph, which replaces the tensor product of an interaction block.

    Parameters
    ----------
    product
        Original tensor product, with `uvu` paths and external path weights.

    Raises
    ------
    ValueError
        If the product is of another kind.
    """

    order: torch.Tensor | None

    def __init__(self, product: o3.TensorProduct) -> None:
        super().__init__()
        self.dim = product.irreps_out.dim
        paths = product.instructions
        usual = all(p.connection_mode == "uvu" and p.has_weight and product.irreps_in2[p.i_in2][0] == 1 for p in paths)
        if not usual or sorted(p.i_out for p in paths) != list(range(len(product.irreps_out))):
            raise ValueError(f"this kind of tensor product is not supported: {product}")
        self.paths = [
            _Path(p.i_in1, p.i_in2, p.i_out, product.irreps_in1[p.i_in1][0], f"coupling_{n}")
            for n, p in enumerate(paths)
        ]
        #: Numbers of columns of the irreps of features and of harmonics, and of the weights of each path.
        self._feature_sizes, self._angular_sizes = (
            [part.stop - part.start for part in irreps.slices()] for irreps in (product.irreps_in1, product.irreps_in2)
        )
        self._n_channels = [n_channels for n_channels, _ in product.irreps_in1]
        #: Paths by the irrep of the features, and the columns of the path weights in their order, if it is another one.
        self._paths_of = [[path for path in self.paths if path.features == k] for k in range(len(self._n_channels))]
        columns = dict(
            zip(self.paths, torch.arange(product.weight_numel).split([p.n_channels for p in self.paths]), strict=True)
        )
        order = torch.cat([columns[path] for paths in self._paths_of for path in paths])
        self.register_buffer("order", order if (order.diff() != 1).any() else None)
        self._weight_sizes = [sum(path.n_channels for path in paths) for paths in self._paths_of]
        for path, coupling in zip(self.paths, self._couplings(product), strict=True):
            self.register_buffer(path.coupling, coupling)

    def _couplings(self, product: o3.TensorProduct) -> list[torch.Tensor]:
        """Return the coupling coefficients of each path, shape (harmonics, features · output).

        They are the output of the original product for unit vectors as input, since potentials differ in normalisation
        and rounding.
        """
        example = next(iter(product.buffers()))
        unit = torch.eye(product.irreps_in2.dim, dtype=example.dtype, device=example.device)
        ones = torch.ones(len(unit), product.weight_numel, dtype=example.dtype, device=example.device)
        starts, harmonics, output = (
            irreps.slices() for irreps in (product.irreps_in1, product.irreps_in2, product.irreps_out)
        )
        outputs: dict[int, torch.Tensor] = {}
        couplings = []
        for path in self.paths:
            if path.features not in outputs:
                start, n_components = starts[path.features].start, product.irreps_in1[path.features].ir.dim
                features = torch.zeros(n_components, product.irreps_in1.dim, dtype=example.dtype, device=example.device)
                features[:, start : start + n_components].fill_diagonal_(1)
                outputs[path.features] = torch.stack(
                    [product(f.expand(len(unit), -1), unit, ones) for f in features], dim=1
                )
            start, n_components = output[path.output].start, product.irreps_out[path.output].ir.dim
            coupling = outputs[path.features][harmonics[path.angular], :, start : start + n_components]
            couplings.append(coupling.flatten(1).contiguous())
        return couplings

    def forward(
        self, features: torch.Tensor, angular: torch.Tensor, path_weights: torch.Tensor, slots: Slots
    ) -> torch.Tensor:
        """Return the sum of the messages at each row.

        Parameters
        ----------
        features
            Features of each row as a sender, shape (R, d).
        angular
            Spherical harmonics in each slot, shape (R·S, d''); the same in all layers.
        path_weights
            Path weights of each vector of the graph, shape (P, n_weights).
        slots
            Sender and vector of each message, and its receiver.

        Returns
        -------
        received
            Sum of the messages at each row, shape (R, d').
        """
        n_rows, n_slots = len(features), slots.n_slots
        if n_slots == 0:
            # Zero, but connected to the input, so that autograd returns zero forces instead of an error.
            return features.new_zeros(n_rows, self.dim) + 0 * path_weights.sum()
        # Split instead of sliced, since the gradient of all parts together is one concatenation.
        irreps = features.split(self._feature_sizes, dim=1)
        if self.order is not None:
            path_weights = path_weights.index_select(1, self.order)
        weights = slots.fill(path_weights).split(self._weight_sizes, dim=1)
        harmonics = angular.split(self._angular_sizes, dim=1)
        outputs: dict[int, torch.Tensor] = {}
        for irrep, weight, n_channels, paths in zip(irreps, weights, self._n_channels, self._paths_of, strict=True):
            senders = irrep.reshape(n_rows, n_channels, -1).transpose(1, 2).index_select(0, slots.sender)
            # What is sent along all paths of an irrep, shape (slots, components, paths, channels).
            sent = senders[:, :, None] * weight.reshape(weight.shape[0], 1, len(paths), n_channels)
            inner = n_slots * sent.shape[1]
            for path, part in zip(paths, sent.unbind(2), strict=True):
                coupled = harmonics[path.angular] @ getattr(self, path.coupling)
                received = torch.bmm(
                    part.reshape(n_rows, inner, n_channels).transpose(1, 2), coupled.reshape(n_rows, inner, -1)
                )
                outputs[path.output] = received.flatten(1)
        return torch.cat([outputs[k] for k in range(len(outputs))], dim=1)
