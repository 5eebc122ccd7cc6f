"""Build the network of a SevenNet checkpoint from the modules of e3nn 0.4.4, without the package sevenn.

The architecture is NequIP's, as in sevenn 0.13.0 (MIT licence). Parameters have the names of the checkpoint, except
that the parts of a layer are in a module of their own. Three things differ between releases:

- From 0.11 on, the paths of a convolution are sorted by their output.
- From 0.11 on, sevenn needs e3nn 0.5 or later, in which some Clebsch–Gordan coefficients, such as those of (1, 2, 2),
  have the opposite sign. The coefficients are part of the checkpoint; those of e3nn 0.4.4 are replaced by them.
- Multi-modal checkpoints append a one-hot vector of the modality (such as PBE or R2SCAN) to the input of some linear
  maps, and may have separate shifts and scales of the energy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import mace  # noqa: F401  (lets e3nn 0.4.4 load its constants with torch >= 2.6)
import torch
from e3nn import nn, o3
from packaging.version import Version

from alchemflows.errors import PotentialError

#: Release of sevenn from which on checkpoints are not known.
TOO_NEW = Version("0.14")
#: Release in which the order of the paths of a convolution has changed.
SORTED_PATHS = Version("0.11.0")

#: Parameters of configurations that may be missing, with the values that sevenn uses for them.
DEFAULTS: dict[str, Any] = {
    "irreps_manual": False,
    "lmax_edge": -1,
    "lmax_node": -1,
    "is_parity": True,
    "radial_basis": {"radial_basis_name": "bessel"},
    "cutoff_function": {"cutoff_function_name": "poly_cut"},
    "act_radial": "silu",
    "act_scalar": {"e": "silu", "o": "tanh"},
    "act_gate": {"e": "silu", "o": "tanh"},
    "weight_nn_hidden_neurons": [64, 64],
    "use_bias_in_linear": False,
    "use_modality": False,
    "use_modal_node_embedding": False,
    "use_modal_self_inter_intro": False,
    "use_modal_self_inter_outro": False,
    "use_modal_output_block": False,
    "readout_as_fcn": False,
    "self_connection_type": "nequip",
    "interaction_type": "nequip",
}
#: Names of modules in checkpoints of sevenn 0.9.
_OLD_NAMES = {
    "EdgeEmbedding": "edge_embedding",
    "reducing nn input to hidden": "reduce_input_to_hidden",
    "reducing nn hidden to energy": "reduce_hidden_to_energy",
    "rescale atomic energy": "rescale_atomic_energy",
}


def _shifted_softplus(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.softplus(x) - math.log(2.0)


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.nn.functional.relu,
    "silu": torch.nn.functional.silu,
    "tanh": torch.tanh,
    "abs": torch.abs,
    "ssp": _shifted_softplus,
    "sigmoid": torch.sigmoid,
    "elu": torch.nn.functional.elu,
}


class BesselBasis(torch.nn.Module):
    """Radial functions 2/r_c sin(k_n r) / r of a distance r, with wave numbers k_n from the checkpoint."""

    def __init__(self, cutoff_A: float, bessel_basis_num: int = 8) -> None:
        super().__init__()
        self.prefactor = 2.0 / cutoff_A
        self.coeffs = torch.nn.Parameter(torch.tensor([n * math.pi / cutoff_A for n in range(1, bessel_basis_num + 1)]))

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return the functions of distances (Å), shape (P, n)."""
        r = distances[:, None]
        return self.prefactor * torch.sin(self.coeffs * r) / r


class PolynomialEnvelope(torch.nn.Module):
    """The cutoff function `poly_cut`, a polynomial that vanishes smoothly at the cutoff (arXiv:2003.03123)."""

    def __init__(self, cutoff_A: float, poly_cut_p_value: int = 6) -> None:
        super().__init__()
        self.cutoff_A, self.p = cutoff_A, poly_cut_p_value

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return its values at distances (Å)."""
        p, r = self.p, distances / self.cutoff_A
        return (
            1
            - (p + 1.0) * (p + 2.0) / 2.0 * torch.pow(r, p)
            + p * (p + 2.0) * torch.pow(r, p + 1.0)
            - p * (p + 1.0) / 2.0 * torch.pow(r, p + 2.0)
        )


class XPLOREnvelope(torch.nn.Module):
    """The cutoff function `XPLOR`, which is 1 below `cutoff_on` and then goes smoothly to zero at the cutoff."""

    def __init__(self, cutoff_A: float, cutoff_on: float) -> None:
        super().__init__()
        self.cutoff_A, self.on_A = cutoff_A, cutoff_on

    def forward(self, distances: torch.Tensor) -> torch.Tensor:
        """Return its values at distances (Å)."""
        r, on, off = distances * distances, self.on_A**2, self.cutoff_A**2
        return torch.where(distances < self.on_A, 1.0, (off - r) ** 2 * (off + 2 * r - 3 * on) / (off - on) ** 3)


class EdgeEmbedding(torch.nn.Module):
    """Radial functions and spherical harmonics of the vectors of a graph."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        cutoff_A, degree = float(config["cutoff"]), config["lmax_edge"] if config["lmax_edge"] > 0 else config["lmax"]
        basis, envelope = dict(config["radial_basis"]), dict(config["cutoff_function"])
        _chosen(basis.pop("radial_basis_name"), {"bessel"}, "radial basis")
        kind = _chosen(envelope.pop("cutoff_function_name"), {"poly_cut", "XPLOR"}, "cutoff function")
        if kind == "XPLOR":
            envelope.pop("poly_cut_p_value", None)  # present, but not used, in SevenNet-0
        parity = -1 if config["is_parity"] else 1
        self.basis_function = BesselBasis(cutoff_A, **{k: v for k, v in basis.items() if k != "trainable_coeff"})
        self.cutoff_function = {"poly_cut": PolynomialEnvelope, "XPLOR": XPLOREnvelope}[kind](cutoff_A, **envelope)
        self.n_radial = len(self.basis_function.coeffs)
        self.spherical = o3.SphericalHarmonics(
            o3.Irreps.spherical_harmonics(degree, parity),
            normalize=config.get("_normalize_sph", False),
            normalization="component",
            irreps_in="1o" if parity == -1 else "1e",
        )

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the radial functions, shape (P, n), and the spherical harmonics, shape (P, (L + 1)²)."""
        distances = torch.linalg.norm(vectors, dim=-1)
        radial = self.basis_function(distances) * self.cutoff_function(distances)[:, None]
        return radial, self.spherical(vectors)


class ModalLinear(torch.nn.Module):
    """A linear map of features, to which the one-hot vector of a modality is appended, if there are several."""

    modality: torch.Tensor

    def __init__(self, irreps_in: o3.Irreps, irreps_out: o3.Irreps, *, biases: bool, modality: torch.Tensor) -> None:
        super().__init__()
        modalities = o3.Irreps([(len(modality), (0, 1))]) if len(modality) else o3.Irreps([])
        self.linear = o3.Linear(irreps_in + modalities, irreps_out, biases=biases)
        self.register_buffer("modality", modality, persistent=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the mapped features, shape (n, d')."""
        if len(self.modality):
            features = torch.cat([features, self.modality.expand(len(features), -1)], dim=1)
        return self.linear(features)


class SelfConnection(torch.nn.Module):
    """What a node adds to its messages: a linear map of its features, or one for each element."""

    def __init__(self, kind: str, irreps_in: o3.Irreps, n_elements: int, irreps_out: o3.Irreps) -> None:
        super().__init__()
        self.depends_on_elements = _chosen(kind, {"linear", "nequip"}, "self-connection") == "nequip"
        if self.depends_on_elements:
            self.fc_tensor_product = o3.FullyConnectedTensorProduct(irreps_in, f"{n_elements}x0e", irreps_out)
        else:
            self.linear = o3.Linear(irreps_in, irreps_out)

    def forward(self, features: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """Return the mapped features, shape (n, d'), for elements as one-hot vectors."""
        return self.fc_tensor_product(features, attributes) if self.depends_on_elements else self.linear(features)


class IrrepsConvolution(torch.nn.Module):
    """Messages along edges: the product of features and spherical harmonics, with path weights from the distance."""

    denominator: torch.nn.Parameter

    def __init__(
        self,
        irreps_in: o3.Irreps,
        irreps_angular: o3.Irreps,
        irreps_out: o3.Irreps,
        radial_sizes: Sequence[int],
        activation: Callable[[torch.Tensor], torch.Tensor],
        *,
        sorted_paths: bool,
    ) -> None:
        super().__init__()
        found = [
            (i, j, n, irrep)
            for i, (n, one) in enumerate(irreps_in)
            for j, (_, other) in enumerate(irreps_angular)
            for irrep in one * other
            if irrep in irreps_out
        ]
        outputs, place, _ = o3.Irreps([(n, irrep) for _, _, n, irrep in found]).sort()
        paths = [(i, j, place[k], "uvu", True) for k, (i, j, _, _) in enumerate(found)]
        if sorted_paths:
            paths.sort(key=lambda path: path[2])
        self.convolution = o3.TensorProduct(
            irreps_in, irreps_angular, outputs, paths, shared_weights=False, internal_weights=False
        )
        self.weight_nn = nn.FullyConnectedNet([*radial_sizes, self.convolution.weight_numel], activation)
        self.denominator = torch.nn.Parameter(torch.ones(1))

    def forward(
        self,
        features: torch.Tensor,
        angular: torch.Tensor,
        radial: torch.Tensor,
        ends: tuple[torch.Tensor, torch.Tensor],
    ) -> torch.Tensor:
        """Return the sum of the messages at each node; `ends` are sender and receiver of each edge."""
        sender, receiver = ends
        messages = self.convolution(features.index_select(0, sender), angular, self.weight_nn(radial))
        received = messages.new_zeros(len(features), messages.shape[1]).index_add(0, receiver, messages)
        return received / self.denominator


class EquivariantGate(torch.nn.Module):
    """Activation of scalars, and multiplication of other features by activated scalars."""

    def __init__(self, irreps: o3.Irreps, config: Mapping[str, Any]) -> None:
        super().__init__()
        scalars = o3.Irreps([(n, irrep) for n, irrep in irreps if irrep.l == 0])
        gated = o3.Irreps([(n, irrep) for n, irrep in irreps if irrep.l > 0])
        gates = o3.Irreps([(n, (0, 1 if "0e" in scalars else -1)) for n, _ in gated])

        def activations(of: o3.Irreps, names: Mapping[str, str]) -> list[Callable[[torch.Tensor], torch.Tensor]]:
            return [_activation(names["e" if irrep.p == 1 else "o"]) for _, irrep in of]

        self.gate = nn.Gate(
            scalars, activations(scalars, config["act_scalar"]), gates, activations(gates, config["act_gate"]), gated
        )
        self.irreps_in = self.gate.irreps_in

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features after the gate, shape (n, d')."""
        return self.gate(features)


class Layer(torch.nn.Module):
    """One interaction layer."""

    def __init__(
        self,
        number: int,
        irreps_in: o3.Irreps,
        irreps_message: o3.Irreps,
        irreps_out: o3.Irreps,
        angular: o3.Irreps,
        n_radial: int,
        config: Mapping[str, Any],
        modality: torch.Tensor,
    ) -> None:
        super().__init__()
        none, biases = modality[:0], config["use_bias_in_linear"]
        kind = config["self_connection_type"]
        self.equivariant_gate = EquivariantGate(irreps_out, config)
        gate_in = self.equivariant_gate.irreps_in
        self.self_connection_intro = SelfConnection(
            kind if isinstance(kind, str) else kind[number], irreps_in, len(config["_type_map"]), gate_in
        )
        self.self_interaction_1 = ModalLinear(
            irreps_in, irreps_in, biases=biases, modality=modality if config["use_modal_self_inter_intro"] else none
        )
        self.convolution = IrrepsConvolution(
            irreps_in,
            angular,
            irreps_message,
            [n_radial, *config["weight_nn_hidden_neurons"]],
            _activation(config["act_radial"]),
            sorted_paths=has_sorted_paths(config),
        )
        self.self_interaction_2 = ModalLinear(
            irreps_message,
            gate_in,
            biases=biases,
            modality=modality if config["use_modal_self_inter_outro"] else none,
        )

    def update(self, messages: torch.Tensor, features: torch.Tensor, attributes: torch.Tensor) -> torch.Tensor:
        """Return the new features of the nodes from the sums of their messages and their features."""
        mapped = self.self_interaction_2(messages)
        return self.equivariant_gate(mapped + self.self_connection_intro(features, attributes))


class SevenNet(torch.nn.Module):
    """The network of a SevenNet checkpoint; energies of nodes are computed by :class:`.sevennet.SevenNetBackend`.

    Parameters
    ----------
    config
        Configuration in the checkpoint, with defaults.
    modality
        One-hot vector of the modality; empty if there are none.
    """

    def __init__(self, config: Mapping[str, Any], modality: torch.Tensor) -> None:
        super().__init__()
        none, biases = modality[:0], config["use_bias_in_linear"]
        n_layers, n_elements, n_channels = config["num_convolution_layer"], len(config["_type_map"]), config["channel"]
        self.edge_embedding = EdgeEmbedding(config)
        angular = self.edge_embedding.spherical.irreps_out
        manual = None if config["irreps_manual"] is False else [o3.Irreps(each) for each in config["irreps_manual"]]
        irreps = o3.Irreps([(n_channels, (0, 1))]) if manual is None else manual[0]
        self.onehot_to_feature_x = ModalLinear(
            o3.Irreps([(n_elements, (0, 1))]),
            irreps,
            biases=biases,
            modality=modality if config["use_modal_node_embedding"] else none,
        )
        self.layers = torch.nn.ModuleList()
        for number in range(n_layers):
            last = number == n_layers - 1
            degree = 0 if last else config["lmax_node"] if config["lmax_node"] > 0 else config["lmax"]
            if manual is None:
                after = _product(irreps, angular, degree, even=last)
                after = o3.Irreps([(n_channels, irrep) for _, irrep in after])
            else:
                after = manual[number + 1]
            message = _product(irreps, angular, after.lmax, even=last)
            self.layers.append(
                Layer(number, irreps, message, after, angular, self.edge_embedding.n_radial, config, modality)
            )
            irreps = after
        hidden = o3.Irreps([(irreps.dim // 2, (0, 1))])
        self.readout_FCN: torch.nn.Module | None = None
        if config["readout_as_fcn"]:
            sizes = [irreps.dim, *config["readout_fcn_hidden_neurons"], 1]
            network = nn.FullyConnectedNet(sizes, _activation(config["readout_fcn_activation"]))
            self.readout_FCN = torch.nn.ModuleDict({"fcn": network})
        else:
            self.reduce_input_to_hidden = ModalLinear(
                irreps, hidden, biases=biases, modality=modality if config["use_modal_output_block"] else none
            )
            self.reduce_hidden_to_energy = ModalLinear(hidden, o3.Irreps("1x0e"), biases=biases, modality=none)

    def readout(self, features: torch.Tensor) -> torch.Tensor:
        """Return the scaled energy of each node, shape (n,)."""
        if self.readout_FCN is not None:
            return cast(Any, self.readout_FCN)["fcn"](features)[:, 0]
        return self.reduce_hidden_to_energy(self.reduce_input_to_hidden(features))[:, 0]


def read_checkpoint(
    checkpoint: Mapping[str, Any], head: str | None
) -> tuple[SevenNet, dict[str, Any], torch.Tensor, torch.Tensor]:
    """Build the network of a checkpoint.

    Parameters
    ----------
    checkpoint
        Checkpoint as loaded from the file.
    head
        Modality of a multi-modal checkpoint; None otherwise.

    Returns
    -------
    network, config, shift, scale
        Network with its parameters; configuration with defaults; shift and scale (eV) of the energies of each element,
        in the order of the configuration's ``_type_map``.

    Raises
    ------
    PotentialError
        If the checkpoint is of a newer release, if it has parts that are not known, or if a head is missing or unknown.
    """
    config = DEFAULTS | dict(checkpoint["config"])
    version = Version(config["version"])
    if version >= TOO_NEW:
        raise PotentialError(f"the checkpoint was written by sevenn {version}; releases below {TOO_NEW} are supported")
    if version >= Version("0.10") and "_normalize_sph" not in config:
        config["_normalize_sph"] = True
    _chosen(config["interaction_type"], {"nequip"}, "interaction")
    if config.get("optimize_by_reduce") is False:
        raise PotentialError("the checkpoint was trained without optimize_by_reduce, which is not supported")
    modalities: dict[str, int] = dict(config["_modal_map"]) if config["use_modality"] else {}
    number = _modality(head, modalities)
    modality = torch.zeros(len(modalities))
    if number is not None:
        modality[number] = 1
    network = SevenNet(config, modality)
    tensors = {_renamed(name): value for name, value in checkpoint["model_state_dict"].items()}
    energy = {name: tensors.pop(f"rescale_atomic_energy.{name}", None) for name in ("shift", "scale")}
    constant = "edge_embedding.basis_function.coeffs"  # not in the checkpoint unless it is trained
    try:
        network.load_state_dict({constant: network.state_dict()[constant]} | tensors, strict=True)
    except RuntimeError as error:
        names = re.findall(r'"([^"]+)"', str(error))[:3]
        raise PotentialError(
            f"the parameters of the checkpoint do not fit its configuration ({', '.join(names)}); convert a checkpoint "
            "for other kernels, such as cuEquivariance, to e3nn with sevenn"
        ) from error
    shift, scale = (_of_elements(energy[name], name, config, number) for name in ("shift", "scale"))
    return network, config, shift, scale


def has_sorted_paths(config: Mapping[str, Any]) -> bool:
    """Return whether the paths of the convolutions of a checkpoint are sorted by their output."""
    return Version(config["version"]) >= SORTED_PATHS


def _modality(head: str | None, modalities: Mapping[str, int]) -> int | None:
    if not modalities:
        if head is not None:
            raise PotentialError(f"head: this SevenNet potential has one modality only; got {head!r}")
        return None
    if head is None or head not in modalities:
        raise PotentialError(
            f"head: choose a modality of this SevenNet potential: {', '.join(modalities)}; got {head!r}"
        )
    return modalities[head]


def _of_elements(
    values: torch.Tensor | None, name: str, config: Mapping[str, Any], modality: int | None
) -> torch.Tensor:
    """Return shift or scale of each element for the modality, shape (Z,)."""
    if values is None:
        raise PotentialError(f"the checkpoint has no {name} of the energies")
    if modality is not None and config[f"use_modal_wise_{name}"]:
        values = values[modality]
    return values.detach().expand(len(config["_type_map"])).clone()


def _product(one: o3.Irreps, other: o3.Irreps, degree: int, *, even: bool) -> o3.Irreps:
    """Return the irreps of a full tensor product up to a degree, and of even parity only if requested."""
    full = o3.Irreps([(n * m, irrep) for n, a in one for m, b in other for irrep in a * b]).sort().irreps.simplify()
    return o3.Irreps([(n, irrep) for n, irrep in full if irrep.l <= degree and not (even and irrep.p == -1)])


def _renamed(name: str) -> str:
    """Return the name of a tensor in the network, from its name in a checkpoint of any release."""
    module, _, rest = name.partition(".")
    module = _OLD_NAMES.get(module, module)
    module = re.sub(r"^(\d+)[ _]", r"layers.\1.", module).replace(" ", "_")
    rest = rest.replace("denumerator", "denominator")
    if module == "edge_embedding":
        rest = rest.replace("spherical.sph.", "spherical.")
    return f"{module}.{rest}"


def _activation(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    return _ACTIVATIONS[_chosen(name, set(_ACTIVATIONS), "activation function")]


def _chosen(name: Any, known: set[str], what: str) -> str:
    if name not in known:
        raise PotentialError(f"the {what} {name!r} of the SevenNet checkpoint is not supported")
    return str(name)
