"""Interfaces of backends and potentials, and the results that they return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from alchemflows.alchemy.graph import Graph
from alchemflows.schemas.potential import PotentialRecord

#: Indices of the six strain components in the strain tensor, in the order of ASE's stress vectors.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


class Backend(Protocol):
    """A loaded potential of one architecture, which returns node energies of an alchemical graph.

    A backend has no state, so that several potentials and threads can share it.

    Attributes
    ----------
    has_bonds
        Whether the graphs of this backend are of the class :class:`~alchemflows.alchemy.graph.BondGraph`.
    """

    record: PotentialRecord
    cutoff_A: float
    numbers: frozenset[int]
    dtype: torch.dtype
    device: torch.device
    has_bonds: bool

    @property
    def merges_messages(self) -> bool:
        """Whether the graphs of this backend have merged messages, see :mod:`alchemflows.alchemy.graph`."""
        ...

    def specialised(self, numbers: frozenset[int]) -> Backend:
        """Return the same potential, optimized for some elements; other elements need not be supported.

        It is compared with the original, see :mod:`alchemflows.alchemy.backends.selfcheck`.

        Raises
        ------
        PotentialError
            If the requested kernels cannot be used, or results differ from those of the potential's library.
        """
        ...

    def geometry(self, graph: Graph) -> Any:
        """Return quantities that do not depend on weights, for :meth:`node_energies` of graphs with equal vectors."""
        ...

    def node_energies(self, graph: Graph, geometry: Any) -> torch.Tensor:
        """Return the energy of each node (eV), including its reference energy and without the factor λ; (B·M,)."""
        ...

    def node_features(self, graph: Graph, geometry: Any) -> torch.Tensor:
        """Return the invariant features of each node from which the readout computes its energy, shape (B·M, F)."""
        ...

    def check_second_derivatives(self, graph: Graph) -> None:
        """Check that the energy has second derivatives at the vectors of a graph.

        Raises
        ------
        PotentialError
            If it has none.
        """
        ...


@dataclass(frozen=True)
class Evaluation:
    """Results for B replicas, all in float64; derivatives that were not requested are None.

    Attributes
    ----------
    energy
        Energy (eV), shape (B,).
    forces
        Forces (eV/Å), shape (B, N, 3).
    stress
        Stress ∂E/∂ε / V (eV/Å³), shape (B, 3, 3); positive under tension, as in ASE.
    weight_gradients
        ∂E/∂w (eV), shape (B, C).
    """

    energy: torch.Tensor
    forces: torch.Tensor | None = None
    stress: torch.Tensor | None = None
    weight_gradients: torch.Tensor | None = None


def single(evaluation: Evaluation) -> dict[str, float | np.ndarray]:
    """Return the results of a batch of one replica as a float and NumPy arrays."""
    results: dict[str, float | np.ndarray] = {"energy": float(evaluation.energy[0])}
    for name in ("forces", "stress", "weight_gradients"):
        value = getattr(evaluation, name)
        if value is not None:
            results[name] = value[0].cpu().numpy()
    return results


@dataclass(frozen=True)
class SecondDerivatives:
    """Energy, and its first and second derivatives with respect to positions, strain and weights.

    The coordinates z are the displacements u of the atoms (3N, Å, atom by atom), six strains ε and C weights. Atoms are
    at (r + u)(1 + ε) and the cell is h(1 + ε). The strain tensor is symmetric with the components :data:`VOIGT`; an
    off-diagonal strain changes both components of the tensor.

    Attributes
    ----------
    energy_eV
        Energy (eV).
    gradient
        ∂E/∂z (eV/Å for displacements, eV for strains and weights), shape (3N + 6 + C,).
    hessian
        ∂²E/∂z², symmetric, shape (3N + 6 + C, 3N + 6 + C).
    """

    energy_eV: float
    gradient: np.ndarray
    hessian: np.ndarray


def float64_tensor(values: Any, device: torch.device) -> torch.Tensor:
    """Return an array or a tensor in float64 on a device; arrays that cannot be written are copied."""
    if not isinstance(values, torch.Tensor):
        values = np.require(values, requirements="W")
    return torch.as_tensor(values, dtype=torch.float64, device=device)


class EnergyModel(Protocol):
    """Interface of potentials for sampling, such as :class:`AlchemicalPotential` and :class:`TetheredPotential`."""

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
        """Return the internal state on which the rounding of results depends, for bitwise equal results later."""
        return {}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Restore the internal state that :meth:`memory` returned."""
