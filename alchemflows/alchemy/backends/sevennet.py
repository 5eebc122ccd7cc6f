"""Evaluate SevenNet potentials on an alchemical graph.

The network is built by :mod:`alchemflows.alchemy.backends.sevennet_model`, without the package sevenn. Messages are
multiplied by edge weights through the edge attributes (spherical harmonics). The package sevenn is imported only to
compare results with its own calculator, if a release is installed that uses e3nn 0.4.4, as mace-torch does (0.10.4,
GPL-3).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from ase.calculators.calculator import Calculator
from packaging.version import Version

from alchemflows.alchemy.backends.convolution import Convolution
from alchemflows.alchemy.backends.equivariant import replace_modules
from alchemflows.alchemy.backends.harmonics import Harmonics
from alchemflows.alchemy.backends.precision import drop_tiny_parameters
from alchemflows.alchemy.backends.radial import RadialNetwork
from alchemflows.alchemy.backends.selfcheck import fastest
from alchemflows.alchemy.backends.sevennet_model import has_sorted_paths, read_checkpoint
from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph, MergedGraph
from alchemflows.alchemy.potential import Backend
from alchemflows.choices import suggestion
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import SEVENNET_FILES, SEVENNET_PREFIXES, PotentialRecord, PotentialSpec

#: Releases of sevenn below this one use e3nn 0.4.4.
OTHER_E3NN = Version("0.11")


def sevennet_model_file(name: str) -> Path:
    """Return the checkpoint of a pretrained potential that is included in the package sevenn, which is not imported.

    Raises
    ------
    PotentialError
        If the package includes no potential of that name.
    """
    known = name.lower()
    for prefix in SEVENNET_PREFIXES:
        known = known.removeprefix(prefix)
    found = find_spec("sevenn")
    folders = [] if found is None else found.submodule_search_locations or []
    if known not in SEVENNET_FILES:
        names = [f"sevennet-{each}" for each in SEVENNET_FILES]
        raise PotentialError(f"sevenn includes no potential {name!r}{suggestion(name.lower(), names)}; try sevennet-0")
    for folder in folders:
        if (path := Path(folder) / "pretrained_potentials" / SEVENNET_FILES[known]).is_file():
            return path
    raise PotentialError(
        f"the installed sevenn includes no potential {name!r}; sevenn 0.13.0 does: pip install --no-deps sevenn==0.13.0"
    )


class SevenNetBackend:
    """Backend for SevenNet: node energies on an alchemical graph.

    Parameters
    ----------
    checkpoint
        Checkpoint as loaded from the file.
    spec, sha256
        Potential spec, and the SHA-256 of the file.
    device
        Device of the potential.

    Raises
    ------
    PotentialError
        If other kernels are requested, if the checkpoint has parts that are not supported, or if its modality (head) is
        not given or not known.
    """

    has_bonds = False
    #: Names of the replacements that make the potential faster.
    replacements = ("convolutions", "spherical harmonics, linear maps and gates")

    def __init__(self, checkpoint: dict[str, Any], spec: PotentialSpec, sha256: str, device: torch.device) -> None:
        if spec.kernels == "cuequivariance":
            raise PotentialError(f"kernels: {spec.name} is a SevenNet potential; {spec.kernels} supports MACE only")
        try:
            network, config, shift, scale = read_checkpoint(checkpoint, spec.head)
        except PotentialError as error:
            raise PotentialError(f"{spec.name}: {error}") from error
        self._checkpoint = {name: checkpoint[name] for name in ("config", "model_state_dict")}
        self.dtype = getattr(torch, spec.dtype)
        self.device = device
        self._place: dict[str, Any] = {"device": device, "dtype": self.dtype}
        self.cutoff_A = float(config["cutoff"])
        self.numbers = frozenset(int(z) for z in config["_type_map"])
        index = [config["_type_map"][z] for z in sorted(self.numbers)]
        #: One-hot vector of each element, shift and scale (eV) of its energy, in the row of its atomic number.
        self._one_hot, self._shift, self._scale = (
            torch.zeros(120, *values.shape[1:], **self._place).index_copy(
                0, torch.tensor(sorted(self.numbers), device=device), values[index].to(**self._place)
            )
            for values in (torch.eye(len(index)), shift, scale)
        )
        self._model = network.to(**self._place).eval()
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        drop_tiny_parameters(network)
        self._convolutions: list[tuple[Convolution, RadialNetwork]] = []
        self._origin: SevenNetBackend | None = None
        self.record = PotentialRecord(
            name=spec.name,
            backend="sevennet",
            sha256=sha256,
            dtype=spec.dtype,
            device=str(device),
            head=spec.head,
            kernels=spec.kernels,
        )

    def specialised(self, numbers: frozenset[int]) -> Backend:
        """Return the same potential with merged messages, after comparing it with the original.

        It is the same for all elements; see :mod:`alchemflows.alchemy.backends.selfcheck`.

        Raises
        ------
        PotentialError
            If results differ from those of sevenn's calculator.
        """
        return fastest(self._origin or self, numbers)

    def fast(self, numbers: frozenset[int], replacements: Sequence[str]) -> SevenNetBackend:
        """Return a copy with merged messages, which is the same for all elements."""
        return self._fastest if len(replacements) == len(self.replacements) else self._with_convolutions

    @cached_property
    def _with_convolutions(self) -> SevenNetBackend:
        special = copy(self)
        special._origin = self
        special._convolutions = [
            (
                Convolution(layer.convolution.convolution).to(**self._place),
                RadialNetwork(layer.convolution.weight_nn).to(**self._place),
            )
            for layer in self._layers
        ]
        return special

    @cached_property
    def _fastest(self) -> SevenNetBackend:
        special = copy(self._with_convolutions)
        special._model = deepcopy(self._model)
        embedding = special._model.edge_embedding
        embedding.spherical = Harmonics(cast(Any, embedding.spherical)).to(**self._place)
        replace_modules(special._model)
        return special

    @property
    def merges_messages(self) -> bool:
        """Whether messages are merged, that is, whether the convolutions are replaced."""
        return bool(self._convolutions)

    @property
    def _layers(self) -> list[Any]:
        return [cast(Any, layer) for layer in self._model.layers]

    def library_calculator(self) -> Calculator | None:
        """Return sevenn's own ASE calculator of the potential, which computes in float32.

        None if no release of sevenn is installed that can build the model with e3nn 0.4.4.
        """
        config = self._checkpoint["config"]
        try:
            too_new = Version(version("sevenn")) >= OTHER_E3NN
        except PackageNotFoundError:
            return None
        if too_new or config.get("use_modality") or has_sorted_paths(config):
            return None
        from sevenn.calculator import SevenNetCalculator
        from sevenn.util import model_from_checkpoint

        model, _ = model_from_checkpoint(deepcopy(self._checkpoint))
        return SevenNetCalculator(cast(Any, model), file_type="model_instance", device=self.device)

    def geometry(self, graph: Graph) -> _SevenNetGeometry:
        """Return the quantities that depend only on vectors: spherical harmonics, radial functions, path weights."""
        radial, angular = self._model.edge_embedding(-graph.vectors)  # SevenNet's edges point from receiver to sender
        return _SevenNetGeometry(angular, radial, [network(radial) for _, network in self._convolutions])

    def node_energies(self, graph: Graph, geometry: _SevenNetGeometry) -> torch.Tensor:
        """Return the energy of each node (eV), shape (B·M,)."""
        scale, shift = (values.index_select(0, graph.numbers) for values in (self._scale, self._shift))
        return self._model.readout(self.node_features(graph, geometry)) * scale + shift

    def node_features(self, graph: Graph, geometry: _SevenNetGeometry) -> torch.Tensor:
        """Return the features of each node after the last layer, which are invariant, shape (B·M, F)."""
        assert not isinstance(graph, BondGraph)
        attributes = self._one_hot.index_select(0, graph.numbers)
        features = self._model.onehot_to_feature_x(attributes)
        if isinstance(graph, EdgeGraph):
            angular = geometry.angular * graph.edge_weights[:, None]
        else:
            angular = graph.slots.fill_harmonics(geometry.angular)
        for k, layer in enumerate(self._layers):
            sent = layer.self_interaction_1(features)
            if isinstance(graph, MergedGraph):
                convolution, _ = self._convolutions[k]
                rows = convolution(graph.send(sent), angular, geometry.path_weights[k], graph.slots)
                received = graph.receive(rows) / layer.convolution.denominator
            else:
                received = layer.convolution(sent, angular, geometry.radial, (graph.sender, graph.receiver))
            features = layer.update(received, features, attributes)
        return features

    def check_second_derivatives(self, graph: Graph) -> None:
        """Do nothing: the energy has second derivatives everywhere."""


@dataclass(frozen=True)
class _SevenNetGeometry:
    """Quantities that depend only on the vectors of a graph."""

    angular: torch.Tensor
    radial: torch.Tensor
    #: Path weights of each layer, if messages are merged.
    path_weights: list[torch.Tensor]
