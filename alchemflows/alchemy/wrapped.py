"""Base of potentials that scale the energy of another potential, or add to it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from alchemflows.alchemy.interfaces import EnergyModel


class WrappedPotential:
    """A potential that evaluates another one, whose device and neighbour lists it has.

    Parameters
    ----------
    model
        The other potential.
    """

    def __init__(self, model: EnergyModel) -> None:
        self.model = model

    @property
    def device(self) -> torch.device:
        """Device of the potential."""
        return self.model.device

    def memory(self) -> dict[str, torch.Tensor]:
        """Return the memory of the potential, see :meth:`AlchemicalPotential.memory`."""
        return self.model.memory()

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Restore the memory of the potential, see :meth:`AlchemicalPotential.recall`."""
        self.model.recall(memory)
