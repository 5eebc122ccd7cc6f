"""MACE: any ScaleShiftMACE, its modules untouched, run one after the other.

The edge weights go to each interaction block through its `cutoff` argument, which multiplies the messages
(and the densities of density-normalised blocks) and is multiplied with the model's own cutoff where the
model applies it there. Checked against mace-torch 0.3.16, ``ScaleShiftMACE.forward``.
"""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any, cast

import torch
from mace.calculators import foundations_models
from mace.modules import ScaleShiftMACE
from mace.modules.radial import ChebychevBasis

from alchemflows.alchemy.graph import AlchemicalGraph
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec


def mace_names() -> list[str]:
    """Names of the foundation models that the installed mace-torch can download."""
    return list(foundations_models.mace_mp_urls)


def mace_model_file(name: str) -> Path:
    """Return the file of a foundation model, downloaded by mace-torch unless it is in its cache.

    Raises
    ------
    PotentialError
        If it can be neither found nor downloaded.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Path(foundations_models.download_mace_mp_checkpoint(name))
    except (OSError, RuntimeError) as error:
        raise PotentialError(
            f"the MACE model {name!r} is not in mace's cache and could not be downloaded ({error}); "
            "give the path of a model file instead"
        ) from error


class MACEBackend:
    """Node energies of a ScaleShiftMACE on an alchemical graph.

    Parameters
    ----------
    model
        The unpickled model.
    spec, sha256
        What was asked for, and the SHA-256 of the file.
    device
        Where to run.

    Raises
    ------
    PotentialError
        If the model is not a ScaleShiftMACE, or has a part that cannot be weighted exactly.
    """

    def __init__(self, model: torch.nn.Module, spec: PotentialSpec, sha256: str, device: torch.device) -> None:
        # A subclass (long-range charges, say) adds energy that the edge weights would not reach.
        if type(model) is not ScaleShiftMACE:
            raise PotentialError(
                f"{spec.name} holds a {type(model).__name__}; of the MACE family, ScaleShiftMACE is supported"
            )
        if hasattr(model, "joint_embedding"):
            raise PotentialError(
                f"{spec.name} embeds total charge, spin or other inputs besides the elements; "
                "such models are not supported"
            )
        if isinstance(model.radial_embedding.bessel_fn, ChebychevBasis):
            raise PotentialError(f"{spec.name} has a Chebyshev radial basis, which torch cannot differentiate")
        heads = list(getattr(model, "heads", None) or ["Default"])
        self._head = _head_index(spec, heads)
        self.dtype = getattr(torch, spec.dtype)
        self.device = device
        # In float64 whatever the dtype: all-electron references would drown the interaction in float32.
        references = torch.atleast_2d(cast(Any, model).atomic_energies_fn.atomic_energies)[self._head]
        self._references = torch.zeros(120, dtype=torch.float64, device=device)
        self._references[cast(Any, model).atomic_numbers.to(device)] = references.to(device, torch.float64)
        self.model = cast(Any, model.to(device=device, dtype=self.dtype).eval())
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.cutoff_A = float(self.model.r_max)
        elements = [int(z) for z in self.model.atomic_numbers]
        self.numbers = frozenset(elements)
        self._index = torch.full((120,), -1, dtype=torch.int64, device=device)
        self._index[elements] = torch.arange(len(elements), device=device)
        self.record = PotentialRecord(
            name=spec.name,
            backend="mace",
            sha256=sha256,
            dtype=spec.dtype,
            device=str(device),
            head=heads[self._head] if len(heads) > 1 else None,
        )

    def node_energies(self, graph: AlchemicalGraph) -> torch.Tensor:
        """Energy of each node (eV), shape (B·M,), float64."""
        model = self.model
        attributes = torch.nn.functional.one_hot(self._index[graph.numbers], len(self.numbers)).to(self.dtype)
        nodes = torch.arange(len(attributes), device=self.device)
        head = torch.full_like(nodes, self._head)
        edge_index = torch.stack([graph.sender, graph.receiver])
        edge_weights = graph.edge_weights[:, None]
        lengths = torch.linalg.vector_norm(graph.vectors, dim=-1, keepdim=True)

        features = model.node_embedding(attributes)
        angular = model.spherical_harmonics(graph.vectors)
        radial, cutoff = model.radial_embedding(lengths, attributes, edge_index, model.atomic_numbers)
        factor = edge_weights if cutoff is None else cutoff * edge_weights
        terms = []
        if hasattr(model, "pair_repulsion"):
            terms.append(self._pair_repulsion(graph, lengths))

        layers = []
        for i, (interaction, product) in enumerate(zip(model.interactions, model.products, strict=True)):
            features, skip = interaction(
                node_attrs=attributes,
                node_feats=features,
                edge_attrs=angular,
                edge_feats=radial,
                edge_index=edge_index,
                cutoff=factor,
                first_layer=(i == 0),
            )
            features = product(node_feats=features, sc=skip, node_attrs=attributes)
            layers.append(features)
        for i, readout in enumerate(model.readouts):
            layer = layers[-1] if len(model.readouts) == 1 else layers[i]
            terms.append(readout(layer, head)[nodes, head])
        interaction_energy = model.scale_shift(torch.stack(terms).sum(dim=0), head)
        return self._references[graph.numbers] + interaction_energy.to(torch.float64)

    def _pair_repulsion(self, graph: AlchemicalGraph, lengths: torch.Tensor) -> torch.Tensor:
        """ZBL energy at each receiver, each edge's share times its weight.

        The model's own function sums over edges, so it is asked about a graph in which no two edges meet.
        """
        energies = torch.zeros(len(graph.numbers), dtype=self.dtype, device=self.device)
        n_edges = len(lengths)
        if n_edges == 0:
            return energies
        ends = torch.cat([graph.sender, graph.receiver])
        elements, index = torch.unique(graph.numbers[ends], return_inverse=True)
        attributes = torch.nn.functional.one_hot(index, len(elements)).to(self.dtype)
        apart = torch.arange(2 * n_edges, device=self.device).reshape(2, n_edges)
        per_edge = self.model.pair_repulsion_fn(lengths, attributes, apart, elements)[n_edges:]
        return energies.index_add(0, graph.receiver, per_edge * graph.edge_weights)


def _head_index(spec: PotentialSpec, heads: list[str]) -> int:
    """Choose the head as MACECalculator does: the one asked for, the only one, or `default`."""
    if spec.head is not None:
        if spec.head not in heads:
            raise PotentialError(f"{spec.name} has no head {spec.head!r}; it has {', '.join(heads)}")
        return heads.index(spec.head)
    if len(heads) == 1:
        return 0
    for index, head in enumerate(heads):
        if head.lower() == "default":
            return index
    raise PotentialError(f"{spec.name} has several heads, choose one: {', '.join(heads)}")
