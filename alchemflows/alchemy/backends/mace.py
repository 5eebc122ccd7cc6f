"""Evaluate MACE potentials (ScaleShiftMACE) on an alchemical graph, optionally with faster modules.

The blocks of the original model are called one after the other. Edge weights are passed to each interaction block in
its `cutoff` argument, which multiplies the messages (and the densities of density-normalised blocks); if the model
applies its cutoff function there, they are multiplied with it. Checked against ``ScaleShiftMACE.forward`` of
mace-torch 0.3.16.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from ase.calculators.calculator import Calculator
from mace.calculators import foundations_models
from mace.modules import RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock, ScaleShiftMACE
from mace.modules.radial import ChebychevBasis, PolynomialCutoff

from alchemflows.alchemy.backends import mace_internals as internals
from alchemflows.alchemy.backends.contraction import FoldedContraction, fold
from alchemflows.alchemy.backends.convolution import Convolution
from alchemflows.alchemy.backends.cuequivariance import convert
from alchemflows.alchemy.backends.equivariant import replace_modules
from alchemflows.alchemy.backends.harmonics import MAX_DEGREE, Harmonics
from alchemflows.alchemy.backends.precision import default_dtype, drop_tiny_parameters
from alchemflows.alchemy.backends.radial import Cutoff, RadialNetwork
from alchemflows.alchemy.backends.selfcheck import fastest
from alchemflows.alchemy.backends.trimming import keep_elements
from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph
from alchemflows.alchemy.potential import Backend
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec

logger = logging.getLogger(__name__)

#: Maximum number of copies for different sets of elements that a backend keeps.
MAX_SPECIALISED = 4


def mace_model_file(name: str) -> Path:
    """Return the file of a foundation model, and download it with mace-torch if it is not in the cache.

    Raises
    ------
    PotentialError
        If the file is not in the cache and the download fails.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return Path(foundations_models.download_mace_mp_checkpoint(name))
    except (OSError, RuntimeError) as error:
        raise PotentialError(
            f"the MACE potential {name!r} is not in the cache of mace-torch and could not be downloaded ({error}); "
            "give the path of its file instead"
        ) from error


class MACEBackend:
    """Backend for MACE: node energies of a ScaleShiftMACE on an alchemical graph.

    Parameters
    ----------
    model
        Model as loaded from the file.
    spec, sha256
        Potential spec, and the SHA-256 of the file.
    device
        Device of the potential.

    Raises
    ------
    PotentialError
        If the model is not a ScaleShiftMACE, or edge weights cannot be applied to one of its terms.
    """

    has_bonds = False

    def __init__(self, model: torch.nn.Module, spec: PotentialSpec, sha256: str, device: torch.device) -> None:
        # A subclass (for example with long-range charges) adds energy terms to which edge weights would not apply.
        if type(model) is not ScaleShiftMACE:
            raise PotentialError(
                f"{spec.name} is a {type(model).__name__}, which is not supported; use a ScaleShiftMACE"
            )
        if internals.embeds_other_inputs(model):
            raise PotentialError(
                f"{spec.name} takes total charge, spin or other inputs besides the elements, which is not supported"
            )
        if isinstance(model.radial_embedding.bessel_fn, ChebychevBasis):
            raise PotentialError(
                f"{spec.name} has a Chebyshev radial basis, which is not supported: torch cannot differentiate it"
            )
        heads = list(getattr(model, "heads", None) or ["Default"])
        self._head = _head_index(spec, heads)
        self.dtype = getattr(torch, spec.dtype)
        self.device = device
        # Always float64: next to all-electron reference energies, float32 would round off the interaction energy.
        references = torch.atleast_2d(cast(Any, model).atomic_energies_fn.atomic_energies)[self._head]
        self._references = torch.zeros(120, dtype=torch.float64, device=device)
        self._references[cast(Any, model).atomic_numbers.to(device)] = references.to(device, torch.float64)
        self.model = cast(Any, model.to(device=device, dtype=self.dtype).eval())
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        drop_tiny_parameters(self.model)
        self.cutoff_A = float(self.model.r_max)
        self._n_invariant = [internals.n_invariant(product) for product in self.model.products]
        self.merges_messages = False
        self._convolves = False
        self._radial_networks: list[torch.nn.Module] = []
        self.contractions: list[FoldedContraction | None] = [None] * len(self.model.products)
        self._origin: MACEBackend | None = None
        self._specialised: dict[frozenset[int], Backend] = {}
        self._set_elements()
        self.record = PotentialRecord(
            name=spec.name,
            backend="mace",
            sha256=sha256,
            dtype=spec.dtype,
            device=str(device),
            head=heads[self._head] if len(heads) > 1 else None,
            kernels=spec.kernels,
        )

    def _set_elements(self) -> None:
        elements = [int(z) for z in self.model.atomic_numbers]
        self.numbers = frozenset(elements)
        self._place = {z: k for k, z in enumerate(elements)}
        #: One-hot vector of each element, in the row of its atomic number.
        self._one_hot = torch.zeros(120, len(elements), dtype=self.dtype, device=self.device)
        self._one_hot[elements] = torch.eye(len(elements), dtype=self.dtype, device=self.device)

    def specialised(self, numbers: frozenset[int]) -> Backend:
        """Return the same potential, optimized for some of its elements.

        Parameters of other elements are removed, symmetric contractions are replaced by polynomials with precomputed
        coefficients, and messages are merged if the architecture allows it; or the potential is converted to the
        requested kernels. The result is compared with the original, see
        :mod:`alchemflows.alchemy.backends.selfcheck`.

        Raises
        ------
        PotentialError
            If the requested kernels cannot be used, or results differ from those of mace-torch's calculator.
        """
        origin = self._origin or self
        cache = origin._specialised
        if numbers not in cache:
            if len(cache) >= MAX_SPECIALISED:
                cache.pop(next(iter(cache)))
            cache[numbers] = fastest(origin, numbers)
        return cache[numbers]

    @property
    def replacements(self) -> tuple[str, ...]:
        """Names of the replacements that make the potential faster, in the order in which they are made."""
        if self.record.kernels == "cuequivariance":
            return ("trimmed elements", "cuEquivariance kernels")
        return (
            "trimmed elements",
            "convolutions",
            "folded contractions",
            "spherical harmonics",
            "cutoff function",
            "linear maps",
        )

    def fast(self, numbers: frozenset[int], replacements: Sequence[str]) -> MACEBackend:
        """Return a copy for some elements, with some of the :attr:`replacements`.

        Raises
        ------
        PotentialError
            If the requested kernels cannot be used.
        """
        special = copy(self)
        special._origin = self
        try:
            special.model = cast(Any, keep_elements(self.model, numbers))
        except ValueError as error:
            if self.record.kernels == "cuequivariance":
                raise PotentialError(f"{self.record.name} cannot be converted to cuEquivariance: {error}") from error
            logger.info("%s is evaluated with its original modules, which is slower: %s", self.record.name, error)
            return special
        special._set_elements()
        if "cuEquivariance kernels" in replacements:
            special.model = cast(Any, convert(special.model))
        if "convolutions" in replacements:
            special._replace_convolutions(merge=_can_merge(special.model))
        if "folded contractions" in replacements:
            special.contractions = [fold(product) for product in special.model.products]
        if "spherical harmonics" in replacements and special.model.spherical_harmonics.irreps_out.lmax <= MAX_DEGREE:
            special.model.spherical_harmonics = Harmonics(special.model.spherical_harmonics).to(self.device, self.dtype)
        if "cutoff function" in replacements and type(special.model.radial_embedding.cutoff_fn) is PolynomialCutoff:
            special.model.radial_embedding.cutoff_fn = Cutoff(special.model.radial_embedding.cutoff_fn)
        if "linear maps" in replacements:
            replace_modules(special.model)
        return special

    def library_calculator(self) -> Calculator:
        """Return mace-torch's own ASE calculator of the potential."""
        # It logs to the root logger; this handler prevents logging from adding a permanent one. Release 0.3.14 prints.
        root, quiet = logging.getLogger(), logging.NullHandler()
        root.addHandler(quiet)
        try:
            with default_dtype(self.dtype), contextlib.redirect_stdout(io.StringIO()):
                return internals.LibraryCalculator(
                    models=[self.model],
                    device=str(self.device),
                    default_dtype=self.record.dtype,
                    head=self.record.head,
                )
        finally:
            root.removeHandler(quiet)

    def _replace_convolutions(self, merge: bool) -> None:
        """Replace the convolutions of the model, through MACE's own option for fused convolutions."""
        self.merges_messages = merge
        self._convolves = True
        self._radial_networks = []
        for block in self.model.interactions:
            convolution = Convolution(internals.tensor_product(block)).to(self.device, self.dtype)
            internals.replace_tensor_product(block, _Messages(convolution))
            if merge:
                network = RadialNetwork(cast(Any, internals.take_radial_network(block)))
                self._radial_networks.append(network.to(self.device, self.dtype))

    def geometry(self, graph: Graph) -> _MaceGeometry:
        """Return the quantities that depend only on the P vectors of the graph.

        Returns
        -------
        geometry
            Spherical harmonics (P, Σ(2l+1)); for each layer the radial functions (P, n) or, if messages are merged,
            the path weights (P, n_weights); the cutoff function (P, 1), unless it is part of the radial functions; ZBL
            energies (eV), shape (P,).
        """
        model = self.model
        lengths = torch.linalg.vector_norm(graph.vectors, dim=-1, keepdim=True)
        attributes = edge_index = pair_repulsion = None
        if isinstance(graph, EdgeGraph):
            attributes, edge_index = self._attributes(graph), _edge_index(graph)
            if internals.has_pair_repulsion(model):
                pair_repulsion = self._pair_repulsion(graph, lengths)
        radial, cutoff = model.radial_embedding(lengths, attributes, edge_index, model.atomic_numbers)
        return _MaceGeometry(
            angular=model.spherical_harmonics(graph.vectors),
            radial=[network(radial) for network in self._radial_networks] or [radial] * len(model.interactions),
            cutoff=cutoff,
            pair_repulsion=pair_repulsion,
        )

    def node_energies(self, graph: Graph, geometry: _MaceGeometry) -> torch.Tensor:
        """Return the energy of each node (eV), shape (B·M,), float64."""
        model = self.model
        layers = self._layers(graph, geometry)
        head = torch.full_like(graph.numbers, self._head)
        terms = []
        if geometry.pair_repulsion is not None and isinstance(graph, EdgeGraph):
            terms.append(
                torch.zeros(len(graph.numbers), dtype=self.dtype, device=self.device).index_add(
                    0, graph.receiver, geometry.pair_repulsion * graph.edge_weights
                )
            )
        for i, readout in enumerate(model.readouts):
            layer = layers[-1] if len(model.readouts) == 1 else layers[i]
            terms.append(readout(layer, head)[:, self._head])
        interaction_energy = model.scale_shift(torch.stack(terms).sum(dim=0), head)
        return self._references[graph.numbers] + interaction_energy.to(torch.float64)

    def node_features(self, graph: Graph, geometry: _MaceGeometry) -> torch.Tensor:
        """Return the invariant features of each node in all layers, shape (B·M, F).

        These are the invariant descriptors of mace-torch's calculator.
        """
        layers = zip(self._layers(graph, geometry), self._n_invariant, strict=True)
        return torch.cat([features[:, :n] for features, n in layers], dim=1)

    def _layers(self, graph: Graph, geometry: _MaceGeometry) -> list[torch.Tensor]:
        """Return the features of the nodes after each layer."""
        assert not isinstance(graph, BondGraph)
        model = self.model
        attributes = self._attributes(graph)
        features = model.node_embedding(attributes)
        layers = []
        cutoff = geometry.cutoff
        ends = _Ends(None, None, graph)
        if isinstance(graph, EdgeGraph):
            weights = graph.edge_weights[:, None]
            cutoff = weights if cutoff is None else cutoff * weights
            ends = _Ends(graph.sender, graph.receiver, graph)
        angular = graph.slots.fill_harmonics(geometry.angular) if self._convolves else geometry.angular
        for i, (interaction, product) in enumerate(zip(model.interactions, model.products, strict=True)):
            features, skip = interaction(
                node_attrs=attributes,
                node_feats=features,
                edge_attrs=angular,
                edge_feats=geometry.radial[i],
                edge_index=ends if self._convolves else _edge_index(graph),
                cutoff=cutoff,
                first_layer=(i == 0),
            )
            features = self._product(product, self.contractions[i], features, skip, attributes, graph)
            layers.append(features)
        return layers

    def _attributes(self, graph: Graph) -> torch.Tensor:
        """Return the one-hot encoded elements of the nodes, shape (B·M, Z)."""
        return self._one_hot.index_select(0, graph.numbers)

    def _product(
        self,
        product: Any,
        contraction: FoldedContraction | None,
        features: torch.Tensor,
        skip: torch.Tensor | None,
        attributes: torch.Tensor,
        graph: Graph,
    ) -> torch.Tensor:
        if contraction is None:
            return product(node_feats=features, sc=skip, node_attrs=attributes)
        counts = (
            [(0, len(features))] if internals.is_agnostic(product) else [(self._place[z], n) for z, n in graph.elements]
        )
        features = product.linear(contraction(features, counts))
        return features + skip if product.use_sc and skip is not None else features

    def check_second_derivatives(self, graph: Graph) -> None:
        """Do nothing: the energy has second derivatives everywhere."""

    def _pair_repulsion(self, graph: EdgeGraph, lengths: torch.Tensor) -> torch.Tensor:
        """Return the ZBL energy of each edge (eV), shape (E,).

        The function of the model sums over the edges of a node, so it is called with a graph whose edges share no node.
        """
        n_edges = len(lengths)
        if n_edges == 0:
            return lengths.new_zeros(0)
        ends = torch.cat([graph.sender, graph.receiver])
        attributes = self._one_hot.index_select(0, graph.numbers.index_select(0, ends))
        apart = torch.arange(2 * n_edges, device=self.device).reshape(2, n_edges)
        return self.model.pair_repulsion_fn(lengths, attributes, apart, self.model.atomic_numbers)[n_edges:]


@dataclass(frozen=True)
class _MaceGeometry:
    """Quantities that depend only on the vectors of a graph."""

    angular: torch.Tensor
    #: Edge features of each interaction block.
    radial: list[torch.Tensor]
    cutoff: torch.Tensor | None
    pair_repulsion: torch.Tensor | None


class _Ends(NamedTuple):
    """Edges in the form that an interaction block passes to its convolution; some blocks read the first two items."""

    sender: torch.Tensor | None
    receiver: torch.Tensor | None
    graph: Graph


class _Messages(torch.nn.Module):
    """Replacement of an interaction block's tensor product, which also sums over edges."""

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(
        self, features: torch.Tensor, angular: torch.Tensor, path_weights: torch.Tensor, ends: _Ends
    ) -> torch.Tensor:
        graph = ends.graph
        assert not isinstance(graph, BondGraph)
        return graph.receive(self.convolution(graph.send(features), angular, path_weights, graph.slots))


def _edge_index(graph: Graph) -> torch.Tensor:
    assert isinstance(graph, EdgeGraph)
    return torch.stack([graph.sender, graph.receiver])


def _can_merge(model: Any) -> bool:
    """Return whether all messages are linear in the sender's features and do not depend on elements."""
    blocks = (RealAgnosticInteractionBlock, RealAgnosticResidualInteractionBlock)
    return (
        all(type(block) in blocks for block in model.interactions)
        and not internals.has_distance_transform(model)
        and not internals.has_pair_repulsion(model)
    )


def _head_index(spec: PotentialSpec, heads: list[str]) -> int:
    """Return the index of the head, chosen as by MACECalculator: the requested one, the only one, or `default`."""
    if spec.head is not None:
        if spec.head not in heads:
            raise PotentialError(f"{spec.name} has no head {spec.head!r}; it has {', '.join(heads)}")
        return heads.index(spec.head)
    if len(heads) == 1:
        return 0
    for index, head in enumerate(heads):
        if head.lower() == "default":
            return index
    raise PotentialError(f"{spec.name} has several heads; choose one of {', '.join(heads)}")
