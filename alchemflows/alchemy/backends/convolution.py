"""The convolution that MACE and SevenNet share: senders' features times spherical harmonics, summed at receivers."""

from __future__ import annotations

import torch
from e3nn import o3

from alchemflows.alchemy.graph import AlchemicalGraph


def convolve(
    product: o3.TensorProduct,
    features: torch.Tensor,
    angular: torch.Tensor,
    path_weights: torch.Tensor,
    graph: AlchemicalGraph,
) -> torch.Tensor:
    """Send messages along the edges of a graph.

    Parameters
    ----------
    product
        The model's tensor product, with weights from outside.
    features
        What each row sends, shape (R, d).
    angular, path_weights
        Spherical harmonics and weights of the product on each of the graph's vectors, shape (P, ...).
    graph
        A graph with merged messages.

    Returns
    -------
    received
        Shape (R, d').
    """
    if graph.pair is not None:
        angular, path_weights = angular[graph.pair], path_weights[graph.pair]
    messages = product(features[graph.sender], angular, path_weights)
    return messages.new_zeros(len(features), messages.shape[1]).index_add(0, graph.receiver, messages)
