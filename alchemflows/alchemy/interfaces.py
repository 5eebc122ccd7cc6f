"""What is between backends, potentials and samplers: their interfaces, and the results that they hand on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from alchemflows.alchemy.graph import Graph
from alchemflows.schemas.potential import PotentialRecord

#: Places of the six strains in the matrix, in the order of ASE's stresses.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class Backend(Protocol):
    """The few lines in which architectures differ. A backend has no state; potentials and threads may share it."""

    record: PotentialRecord
    cutoff_A: float
    numbers: frozenset[int]
    dtype: torch.dtype
    device: torch.device

    @property
    def merges_messages(self) -> bool:
        """Whether graphs have merged messages, see :mod:`alchemflows.alchemy.graph`."""
        ...

    def specialised(self, numbers: frozenset[int]) -> Backend:
        """Return the same potential, made fast for some elements; it need not know others.

        It is compared with the model as it is, see :mod:`alchemflows.alchemy.backends.selfcheck`.

        Raises
        ------
        PotentialError
            If it cannot be had in the way that was asked for, or gives other results than the model's library.
        """
        ...

    def geometry(self, graph: Graph) -> Any:
        """Compute what does not depend on weights, for :meth:`node_energies` of any graph with the same vectors."""
        ...

    def node_energies(self, graph: Graph, geometry: Any) -> torch.Tensor:
        """Energy of each node (eV), shape (B·M,), reference energies included, not yet times λ."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """Results for B replicas; what was not asked for is None.

    Attributes
    ----------
    energy
        eV, shape (B,), float64.
    forces
        eV/Å, shape (B, N, 3), float64.
    stress
        ∂E/∂ε / V, eV/Å³, shape (B, 3, 3), float64; tension positive, as ASE has it.
    weight_gradients
        ∂E/∂w, eV, shape (B, C), float64.
    """

    energy: torch.Tensor
    forces: torch.Tensor | None = None
    stress: torch.Tensor | None = None
    weight_gradients: torch.Tensor | None = None


@dataclass(frozen=True)
class SecondDerivatives:
    """First and second derivatives of the energy in positions, strain and weights at once.

    The coordinates z are the displacements u of the atoms (3N, Å, atom by atom), six strains ε and C weights: atoms are
    at (r + u)(1 + ε), the cell is h(1 + ε), ε symmetric with the elements of :data:`VOIGT`, so that the off-diagonal
    ones count twice.

    Attributes
    ----------
    energy_eV
        E.
    gradient
        ∂E/∂z, shape (3N + 6 + C,): eV/Å, eV, eV.
    hessian
        ∂²E/∂z², shape (3N + 6 + C, 3N + 6 + C), symmetric.
    """

    energy_eV: float
    gradient: np.ndarray
    hessian: np.ndarray


class EnergyModel(Protocol):
    """What a sampler moves atoms with: an :class:`AlchemicalPotential`, or something around one."""

    @property
    def device(self) -> torch.device: ...

    def evaluate(
        self,
        positions: Any,
        cells: Any,
        weights: Any,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation: ...

    def energies(self, positions: Any, cells: Any, weights: Any) -> torch.Tensor: ...

    def memory(self) -> dict[str, torch.Tensor]:
        """Return what the last bits of evaluations depend on besides their arguments."""
        return {}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Evaluate from now on as the model did whose memory this is."""
