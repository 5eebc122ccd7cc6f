"""Evaluate CHGNet potentials on an alchemical graph.

The modules of the original model are called in their original order. An edge between two nodes and its reverse are one
bond. A message from node to node is multiplied by the weight of its edge, and so is a message from one bond to another,
along an angle, by the weight of the edge on which it starts: contributions of three atoms have products of two weights.
Magnetic moments are not computed. Checked against chgnet 0.4.2.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from typing import Any, cast

import torch
from ase.calculators.calculator import Calculator
from ase.data import chemical_symbols
from chgnet.model import CHGNet, CHGNetCalculator

from alchemflows.alchemy.backends.gates import SplitGate
from alchemflows.alchemy.backends.precision import drop_tiny_parameters
from alchemflows.alchemy.backends.selfcheck import fastest
from alchemflows.alchemy.graph import BondGraph, Graph
from alchemflows.alchemy.potential import Backend
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec

# Raised by torch in chgnet's own calculator (seen in chgnet 0.4.2 and torch 2.13.0).
warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True to a scalar")

#: Elements of chgnet's embedding that its training data (MPtrj) lack: Po, At, Rn, Fr, Ra.
_UNTRAINED = frozenset(range(84, 89))
#: Reference energies (eV) below this size belong to elements without data: Yb in the fit to r2SCAN.
_NO_REFERENCE_EV = 1e-6
#: Angles that differ from 180° by less are straight. Farther away, rounding changes second derivatives by under 1 %.
STRAIGHT_DEG = 1.0


class CHGNetBackend:
    """Backend for CHGNet: node energies on an alchemical graph.

    Parameters
    ----------
    checkpoint
        Arguments and parameters of the model, as loaded from the file.
    spec, sha256
        Potential spec, and the SHA-256 of the file.
    device
        Device of the potential.

    Raises
    ------
    PotentialError
        If a head or other kernels are requested, or the model has parts for which the alchemical energy would not be
        exact. Errors of chgnet from building the model are not converted.
    """

    has_bonds = True
    merges_messages = False
    #: Names of the replacements that make the potential faster.
    replacements = ("gates",)

    def __init__(self, checkpoint: dict[str, Any], spec: PotentialSpec, sha256: str, device: torch.device) -> None:
        if spec.head is not None:
            raise PotentialError(f"head: {spec.name} is a CHGNet potential and has no heads")
        if spec.kernels != "built-in":
            raise PotentialError(f"kernels: {spec.name} is a CHGNet potential, which has only built-in kernels")
        _check_parameters(checkpoint["state_dict"], spec.name)
        with redirect_stdout(StringIO()):  # chgnet prints the number of parameters
            model = CHGNet.from_dict(checkpoint)
        _check_model(model, spec.name)
        references = cast(Any, model.composition_model).fc.weight[0].detach()
        self.dtype = getattr(torch, spec.dtype)
        self.device = device
        self.cutoff_A = float(model.graph_converter.atom_graph_cutoff)
        self.bond_cutoff_A = float(model.graph_converter.bond_graph_cutoff)
        self.numbers = frozenset(
            z for z, energy in enumerate(references.tolist(), 1) if abs(energy) > _NO_REFERENCE_EV
        ).difference(_UNTRAINED)
        self._references = references.to(device=device, dtype=torch.float64)
        self.model = cast(Any, model.to(device=device, dtype=self.dtype).eval())
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        drop_tiny_parameters(model)
        self._gates: dict[torch.nn.Module, SplitGate] = {}
        self._origin: CHGNetBackend | None = None
        self.record = PotentialRecord(
            name=spec.name, backend="chgnet", sha256=sha256, dtype=spec.dtype, device=str(device)
        )

    def specialised(self, numbers: frozenset[int]) -> Backend:
        """Return the same potential with split gates, after comparing it with the original.

        It is the same for all elements; see :mod:`alchemflows.alchemy.backends.selfcheck`.

        Raises
        ------
        PotentialError
            If results differ from those of chgnet's calculator.
        """
        return fastest(self._origin or self, numbers)

    def fast(self, numbers: frozenset[int], replacements: Sequence[str]) -> CHGNetBackend:
        """Return a copy with split gates, which is the same for all elements."""
        return self._with_split_gates

    @cached_property
    def _with_split_gates(self) -> CHGNetBackend:
        special = copy(self)
        special._origin = self
        special._gates = {}
        atom, bond = self.model.atom_fea_dim, self.model.bond_fea_dim
        angle = self.model.angle_embedding.out_features
        sizes = {"twoBody_atom": (atom, bond, atom), "twoBody_bond": (bond, bond, angle, atom)}
        for atoms, bonds, angles in self._layers():
            for layer, gate in ((atoms, "twoBody_atom"), (bonds, "twoBody_bond"), (angles, "twoBody_bond")):
                if layer is not None:
                    special._gates[layer] = SplitGate(getattr(layer, gate), sizes[gate])
        return special

    def library_calculator(self) -> Calculator:
        """Return chgnet's own ASE calculator of the potential, which computes in float32."""
        model = self.model if self.dtype == torch.float32 else deepcopy(self.model).float()
        with redirect_stdout(StringIO()):
            return CHGNetCalculator(model, use_device=str(self.device))

    def geometry(self, graph: Graph) -> _CHGNetGeometry:
        """Return the quantities that depend only on vectors: directions, radial functions, weights of messages."""
        assert isinstance(graph, BondGraph)
        lengths = torch.linalg.vector_norm(graph.vectors, dim=1)
        own = torch.arange(len(lengths), device=self.device)
        reverse = own.index_copy(0, graph.vector, graph.vector[graph.reverse])
        one_way = torch.minimum(own, reverse)
        is_first = one_way == own
        radial = self.model.bond_basis_expansion.rbf_expansion_ag(lengths[is_first])
        embedding = self.model.bond_embedding.weight.T
        return _CHGNetGeometry(
            directions=graph.vectors / lengths[:, None],
            lengths=lengths,
            row=(torch.cumsum(is_first, 0) - 1)[one_way],
            radial=radial,
            weights=self.model.bond_weights_ag(radial),
            parts=[radial @ self._gates[atoms].part(1, embedding) for atoms, _, _ in self._layers()]
            if self._gates
            else [],
        )

    def node_energies(self, graph: Graph, geometry: _CHGNetGeometry) -> torch.Tensor:
        """Return the energy of each node (eV), shape (B·M,), float64."""
        energies = self.model.mlp(self.node_features(graph, geometry))[:, 0].to(torch.float64)
        return energies + self._references[graph.numbers - 1]

    def node_features(self, graph: Graph, geometry: _CHGNetGeometry) -> torch.Tensor:
        """Return the features of each node after the last layer, which are invariant, shape (B·M, F)."""
        assert isinstance(graph, BondGraph)
        model = self.model
        bonds = _Bonds(graph, geometry.lengths < self.bond_cutoff_A)
        rows = geometry.row[graph.vector]
        radial = model.bond_basis_expansion.rbf_expansion_bg(geometry.lengths[bonds.vector])
        directions = geometry.directions.index_select(0, graph.vector[bonds.edges])
        fourier = model.angle_basis_expansion(directions[bonds.receiving], directions[bonds.sending])
        start = _Start(
            atoms=model.atom_embedding(graph.numbers - 1),
            bonds=model.bond_embedding(geometry.radial[geometry.row[bonds.vector]]),
            angles=model.angle_embedding(fourier),
            rows=rows,
            weights=geometry.weights.index_select(0, rows) * graph.edge_weights[:, None],
            bond_weights=model.bond_weights_bg(radial),
        )
        atoms = (self._split_rounds if self._gates else self._rounds)(graph, geometry, bonds, start)
        return atoms if model.readout_norm is None else model.readout_norm(atoms)

    def _rounds(self, graph: BondGraph, geometry: _CHGNetGeometry, bonds: _Bonds, start: _Start) -> torch.Tensor:
        """Return the features of atoms after all rounds of messages, by the layers of the model."""
        atoms, angles = start.atoms, start.angles
        edges = torch.stack([graph.receiver, graph.sender], dim=1)
        own = torch.arange(len(edges), device=self.device)
        on_edges = self.model.bond_embedding(geometry.radial).index_select(0, start.rows)
        # Each bond has three rows: one that receives, and one for each of its two edges, which send.
        rows = torch.cat([start.bonds, start.bonds[bonds.of]])
        row_weights = torch.cat(
            [start.bond_weights, start.bond_weights[bonds.of] * graph.edge_weights[bonds.edges, None]]
        )
        center = graph.receiver[bonds.edges][bonds.receiving]
        bond_graph = torch.stack([center, bonds.of[bonds.receiving], bonds.n + bonds.sending], dim=1)
        for atom_layer, bond_layer, angle_layer in self._layers():
            atoms = atom_layer(atoms, on_edges, start.weights, edges, own)
            if bond_layer is None or not len(bond_graph):
                continue
            rows = bond_layer(atoms, rows, row_weights, angles, bond_graph)
            rows = torch.cat([rows[: bonds.n], rows[bonds.of]])
            on_edges = on_edges.index_copy(0, bonds.edges, rows[bonds.n :])
            if angle_layer is not None:
                angles = angle_layer(atoms, rows, angles, bond_graph)
        return atoms

    def _split_rounds(self, graph: BondGraph, geometry: _CHGNetGeometry, bonds: _Bonds, start: _Start) -> torch.Tensor:
        """Return the same as :meth:`_rounds`, with split gates."""
        atoms, features, angles = start.atoms, start.bonds, start.angles
        edge_weights = graph.edge_weights[bonds.edges][bonds.sending][:, None]
        center = graph.receiver[bonds.edges][bonds.receiving]
        receiving, sending = bonds.of[bonds.receiving], bonds.of[bonds.sending]
        weights = start.bond_weights[receiving] * start.bond_weights[sending] * edge_weights

        def joined(gate: SplitGate) -> torch.Tensor:
            first_layer = gate.part(0, features).index_select(0, receiving)
            first_layer = first_layer + gate.part(1, features).index_select(0, sending)
            return gate(first_layer + gate.part(2, angles) + gate.part(3, atoms).index_select(0, center))

        for (atom_layer, bond_layer, angle_layer), part in zip(self._layers(), geometry.parts, strict=True):
            gate = self._gates[atom_layer]
            first_layer = gate.part(0, atoms).index_select(0, graph.receiver) + part.index_select(0, start.rows)
            first_layer = first_layer + gate.part(2, atoms).index_select(0, graph.sender)
            if features is not start.bonds:
                change = gate.part(1, features - start.bonds)
                first_layer = first_layer.index_add(0, bonds.edges, change.index_select(0, bonds.of))
            atoms = _updated(atom_layer, atoms, gate(first_layer) * start.weights, graph.receiver)
            if bond_layer is None or not len(receiving):
                continue
            messages = joined(self._gates[bond_layer]) * weights
            features = _updated(bond_layer, features, messages, receiving)
            if angle_layer is not None:
                angles = angles + joined(self._gates[angle_layer])
        return atoms

    def check_second_derivatives(self, graph: Graph) -> None:
        """Refuse straight angles, where the forces change abruptly.

        The energy is a function of the angle whose slope does not vanish at 180°. chgnet rounds this cusp within about
        0.1°, where second derivatives are hundreds of times the slope.

        Raises
        ------
        PotentialError
            If an angle differs from 180° by less than :data:`STRAIGHT_DEG`.
        """
        assert isinstance(graph, BondGraph)
        lengths = torch.linalg.vector_norm(graph.vectors, dim=1)
        directions = graph.vectors / lengths[:, None]
        bonds = _Bonds(graph, lengths < self.bond_cutoff_A)
        first, second = bonds.edges[bonds.receiving], bonds.edges[bonds.sending]
        cosines = (directions[graph.vector[first]] * directions[graph.vector[second]]).sum(dim=1)
        if not len(cosines) or cosines.min() > -math.cos(math.radians(STRAIGHT_DEG)):
            return
        k = cosines.argmin()
        nodes = [graph.sender[first[k]], graph.receiver[first[k]], graph.sender[second[k]]]
        names = "–".join(chemical_symbols[int(graph.numbers[node])] for node in nodes)
        raise PotentialError(
            f"{self.record.name}: the energy of CHGNet has no second derivatives at straight angles, such as {names} "
            "here; use another potential to optimize compositions of this crystal"
        )

    def _layers(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield the layers of each round of messages: of atoms, bonds and angles; the last has no bonds and angles."""
        model = self.model
        yield from zip(model.atom_conv_layers[:-1], model.bond_conv_layers, model.angle_layers, strict=True)
        yield model.atom_conv_layers[-1], None, None


@dataclass(frozen=True)
class _CHGNetGeometry:
    """Quantities that depend only on the vectors of a graph.

    Attributes
    ----------
    directions, lengths
        Unit vectors, and lengths (Å).
    row
        Row of each vector in the other attributes; a vector and its reverse have the same one.
    radial, weights
        Radial functions, and weights of messages between atoms.
    parts
        What the first features of bonds add to the first layer of the gate of each round, if gates are split.
    """

    directions: torch.Tensor
    lengths: torch.Tensor
    row: torch.Tensor
    radial: torch.Tensor
    weights: torch.Tensor
    parts: list[torch.Tensor]


@dataclass(frozen=True)
class _Start:
    """Features before the first round of messages, and of each edge its row in the geometry and its weight.

    The weights of messages between bonds are those of the two bonds, without the weight of an edge.
    """

    atoms: torch.Tensor
    bonds: torch.Tensor
    angles: torch.Tensor
    rows: torch.Tensor
    weights: torch.Tensor
    bond_weights: torch.Tensor


class _Bonds:
    """The bonds of a graph that are shorter than the cutoff of angles, and the angles between them.

    Other bonds receive no messages: their features stay as they are. An angle is an ordered pair of edges with the same
    receiver. Two edges between the same two atoms, from different channels, make no angle.

    Attributes
    ----------
    edges
        Short edges, shape (S,).
    n, of, vector
        Number of bonds, bond of each short edge, shape (S,), and vector of each bond, shape (n,).
    receiving, sending
        The two short edges of each angle, as indices into `edges`; the second sends a message to the first.
    """

    def __init__(self, graph: BondGraph, is_short: torch.Tensor) -> None:
        short = is_short[graph.vector]
        short = short & short[graph.reverse]  # the lengths in both directions may differ by rounding
        self.edges = short.nonzero()[:, 0]
        own = torch.arange(len(self.edges), device=self.edges.device)
        first = torch.minimum(own, (torch.cumsum(short, 0) - 1)[graph.reverse[self.edges]])
        is_first = first == own
        vector = graph.vector[self.edges]
        self.n = len(own) // 2
        self.of = (torch.cumsum(is_first, 0) - 1)[first]
        self.vector = vector[is_first]

        receiver, order = torch.sort(graph.receiver[self.edges], stable=True)
        counts = torch.bincount(receiver, minlength=len(graph.numbers))
        n_partners = counts[receiver]
        receiving = own.repeat_interleave(n_partners)
        rank = torch.arange(len(receiving), device=own.device) - (torch.cumsum(n_partners, 0) - n_partners)[receiving]
        sending = (torch.cumsum(counts, 0) - counts)[receiver][receiving] + rank
        receiving, sending = order[receiving], order[sending]
        differ = vector[receiving] != vector[sending]
        self.receiving, self.sending = receiving[differ], sending[differ]


def _updated(layer: Any, old: torch.Tensor, messages: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Return the new features of atoms or bonds from their old ones and the messages to each row."""
    return old + layer.mlp_out(torch.zeros_like(old).index_add(0, rows, messages))


def _check_parameters(parameters: dict[str, torch.Tensor], name: str) -> None:
    if any(".mlp_out." in key and key.endswith("bias") for key in parameters):
        raise PotentialError(
            f"{name}: the output layers of this CHGNet have biases, as those of CHGNet 0.2.0, which is not supported: "
            "its energy jumps when a first bond becomes shorter than the cutoff of angles, and depends on other "
            "structures of the batch; use chgnet or chgnet-r2scan"
        )


def _check_model(model: CHGNet, name: str) -> None:
    """Refuse models whose energy is no sum over atoms, or jumps at a cutoff."""
    encoders, first = model.bond_basis_expansion, cast(Any, model.atom_conv_layers[0])
    unsupported = {
        "pools atoms before the energy is computed (mlp_first is false)": not model.mlp_first,
        "has no reference energies of elements": model.composition_model is None,
        "predicts total energies (is_intensive is false)": not model.is_intensive,
        "normalizes the features of all bonds once there is an angle (conv_norm)": first.atom_norm is not None,
        "has no smooth cutoff": any(
            basis.smooth_cutoff is None or basis.smooth_cutoff.p == 0
            for basis in (encoders.rbf_expansion_ag, encoders.rbf_expansion_bg)
        ),
    }
    for reason, applies in unsupported.items():
        if applies:
            raise PotentialError(f"{name}: this CHGNet {reason}, which is not supported")
