"""Evaluate SevenNet potentials on an alchemical graph.

The modules of the original model are called one after the other, with edge attributes multiplied by edge weights. The
package sevenn is licensed under GPL-3 and is imported only if a SevenNet potential is requested. Checked against
sevenn 0.10.4, which uses e3nn 0.4.4, as mace-torch does.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import mace  # noqa: F401  (lets e3nn 0.4.4 load its constants with torch >= 2.6; before sevenn)
import sevenn._keys as KEY
import torch
from ase.calculators.calculator import Calculator
from sevenn.calculator import SevenNetCalculator
from sevenn.nn.convolution import IrrepsConvolution
from sevenn.nn.edge_embedding import EdgeEmbedding
from sevenn.nn.node_embedding import OnehotEmbedding
from sevenn.util import model_from_checkpoint, pretrained_name_to_path

from alchemflows.alchemy.backends.convolution import Convolution
from alchemflows.alchemy.backends.equivariant import replace_modules
from alchemflows.alchemy.backends.harmonics import Harmonics
from alchemflows.alchemy.backends.precision import drop_tiny_parameters
from alchemflows.alchemy.backends.radial import RadialNetwork
from alchemflows.alchemy.backends.selfcheck import fastest
from alchemflows.alchemy.graph import BondGraph, EdgeGraph, Graph, MergedGraph
from alchemflows.alchemy.potential import Backend
from alchemflows.errors import PotentialError
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec

# The names of data in `sevenn._keys` are private to sevenn; seen in sevenn 0.10.4.

#: Modules that follow the energies of the atoms and are not used here. One name is misspelt in sevenn 0.10.4.
_AFTER_ATOMIC_ENERGIES = ("reduce_total_enegy", "force_output")


def sevennet_model_file(name: str) -> Path:
    """Return the checkpoint of a pretrained potential that is included in the package sevenn.

    Raises
    ------
    PotentialError
        If the package includes no potential of that name.
    """
    try:
        return Path(pretrained_name_to_path(name))
    except ValueError as error:
        raise PotentialError(f"the installed sevenn includes no potential {name!r}; try sevennet-0") from error


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
        If a head or other kernels are requested. Errors of sevenn from building the model are not converted.
    """

    def __init__(self, checkpoint: dict[str, Any], spec: PotentialSpec, sha256: str, device: torch.device) -> None:
        if spec.head is not None:
            raise PotentialError(f"head: {spec.name} is a SevenNet potential and has no heads")
        if spec.kernels != "built-in":
            raise PotentialError(f"kernels: {spec.name} is a SevenNet potential; {spec.kernels} supports MACE only")
        model, config = model_from_checkpoint(checkpoint)
        self.dtype = getattr(torch, spec.dtype)
        self.device = device
        self._place: dict[str, Any] = {"device": device, "dtype": self.dtype}
        self.cutoff_A = float(config[KEY.CUTOFF])
        self.numbers = frozenset(int(z) for z in config[KEY.TYPE_MAP])
        self._index = torch.full((120,), -1, dtype=torch.int64, device=device)
        for number, index in config[KEY.TYPE_MAP].items():
            self._index[number] = index
        model = model.to(device=device, dtype=self.dtype).eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        drop_tiny_parameters(model)
        self._embedding = cast(Any, model.edge_embedding)
        basis = self._embedding.basis_function
        basis.coeffs = basis.coeffs.to(device=device, dtype=self.dtype)  # not a buffer if the basis is not trained
        n_elements = len(config[KEY.TYPE_MAP])
        #: One-hot vector of each element, in the row of its atomic number.
        self._one_hot = torch.zeros(120, n_elements, dtype=self.dtype, device=device)
        self._one_hot[self._index >= 0] = torch.eye(n_elements, dtype=self.dtype, device=device)[
            self._index[self._index >= 0]
        ]
        self._modules = [
            module
            for name, module in model.named_children()
            if name not in _AFTER_ATOMIC_ENERGIES and not isinstance(module, OnehotEmbedding | EdgeEmbedding)
        ]
        self._model = model
        self._convolutions: dict[IrrepsConvolution, tuple[Convolution, RadialNetwork]] = {}
        self._origin: SevenNetBackend | None = None
        self.record = PotentialRecord(
            name=spec.name, backend="sevennet", sha256=sha256, dtype=spec.dtype, device=str(device)
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

    has_bonds = False
    #: Names of the replacements that make the potential faster.
    replacements = ("convolutions", "spherical harmonics, linear maps and gates")

    def fast(self, numbers: frozenset[int], replacements: Sequence[str]) -> SevenNetBackend:
        """Return a copy with merged messages, which is the same for all elements."""
        return self._fastest if len(replacements) == len(self.replacements) else self._with_convolutions

    @cached_property
    def _with_convolutions(self) -> SevenNetBackend:
        special = copy(self)
        special._origin = self
        special._convolutions = {
            module: (
                Convolution(module.convolution).to(**self._place),
                RadialNetwork(module.weight_nn).to(**self._place),
            )
            for module in self._modules
            if isinstance(module, IrrepsConvolution)
        }
        return special

    @cached_property
    def _fastest(self) -> SevenNetBackend:
        special = copy(self._with_convolutions)
        special._embedding = deepcopy(self._embedding)
        special._embedding.spherical.sph = Harmonics(self._embedding.spherical.sph).to(**self._place)
        special._modules = [m if isinstance(m, IrrepsConvolution) else deepcopy(m) for m in self._modules]
        for module in special._modules:
            replace_modules(module)
        return special

    @property
    def merges_messages(self) -> bool:
        """Whether messages are merged, that is, whether the convolutions are replaced."""
        return bool(self._convolutions)

    def library_calculator(self) -> Calculator:
        """Return sevenn's own ASE calculator of the potential, which computes in float32."""
        model = self._model
        if self.dtype != torch.float32:
            model = deepcopy(model).float()
            basis = cast(Any, model.edge_embedding).basis_function
            basis.coeffs = basis.coeffs.float()
        return SevenNetCalculator(cast(Any, model), file_type="model_instance", device=self.device)

    def geometry(self, graph: Graph) -> _SevenNetGeometry:
        """Return the quantities that depend only on vectors: spherical harmonics, radial functions, path weights."""
        data = self._embedding({KEY.EDGE_VEC: -graph.vectors})  # sevenn's edges point from receiver to sender
        radial = data[KEY.EDGE_EMBEDDING]
        path_weights = {module: network(radial) for module, (_, network) in self._convolutions.items()}
        return _SevenNetGeometry(data[KEY.EDGE_ATTR], radial, path_weights)

    def node_energies(self, graph: Graph, geometry: _SevenNetGeometry) -> torch.Tensor:
        """Return the energy of each node (eV), shape (B·M,)."""
        assert not isinstance(graph, BondGraph)
        attributes = self._one_hot.index_select(0, graph.numbers)
        data = {
            KEY.NODE_FEATURE: attributes,
            KEY.NODE_ATTR: attributes,
            KEY.ATOM_TYPE: self._index.index_select(0, graph.numbers),
            KEY.BATCH: graph.node_replica,
        }
        if isinstance(graph, EdgeGraph):
            data[KEY.EDGE_IDX] = torch.stack([graph.receiver, graph.sender])
            data[KEY.EDGE_ATTR] = geometry.angular * graph.edge_weights[:, None]
            data[KEY.EDGE_EMBEDDING] = geometry.radial
        else:
            angular = graph.slots.fill(geometry.angular)
        for module in self._modules:
            if isinstance(module, IrrepsConvolution) and isinstance(graph, MergedGraph):
                rows = graph.send(data[KEY.NODE_FEATURE])
                convolution, _ = self._convolutions[module]
                rows = convolution(rows, angular, geometry.path_weights[module], graph.slots)
                data[KEY.NODE_FEATURE] = graph.receive(rows) / module.denominator
                continue
            data = module(data)
        return data[KEY.ATOMIC_ENERGY].squeeze(-1)

    def check_second_derivatives(self, graph: Graph) -> None:
        """Do nothing: the energy has second derivatives everywhere."""


@dataclass(frozen=True)
class _SevenNetGeometry:
    """Quantities that depend only on the vectors of a graph."""

    angular: torch.Tensor
    radial: torch.Tensor
    path_weights: dict[IrrepsConvolution, torch.Tensor]
