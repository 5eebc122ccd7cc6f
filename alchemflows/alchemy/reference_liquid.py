"""The Uhlenbeck–Ford liquid, and a potential combined with its pair energy, for paths from a liquid to this reference.

U_UF(x) = −p k_B T Σ_{i<j} ln[1 − exp(−r_ij² / σ²)]

All pairs of atoms interact in the same way, whatever their elements. The free energy of this liquid is known, see
:mod:`alchemflows.free_energy.reference_liquid`. With p = 1 it is the model of Uhlenbeck & Ford; larger factors p make
it a robust reference for other liquids (Paula Leite, Freitas, Azevedo & de Koning, J. Chem. Phys. 145, 194101, 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from ase import units
from monty.json import MSONable
from numpy.typing import ArrayLike

from alchemflows.alchemy.combined import CombinedPotential
from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.alchemy.pairs import PairSums
from alchemflows.alchemy.path import WeightPath
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError

#: Cutoff of the pair energy in units of σ. Beyond it a pair has less than 2e-9 p k_B T.
CUTOFF_SIGMA = 4.5
#: Distance beyond the cutoff up to which pairs are listed, in units of σ.
SKIN_SIGMA = 0.5
#: Prefix of the memory of the reference, since a potential that is a sum over pairs has a memory of the same names.
_OWN = "reference_"


@dataclass(frozen=True)
class UhlenbeckFord(MSONable):
    """Parameters of the pair energy of the Uhlenbeck–Ford liquid.

    Parameters
    ----------
    sigma_A
        Length σ (Å).
    temperature_K
        Temperature T (K) at which the liquid is a reference.
    p
        Factor p.

    Raises
    ------
    InvalidInputError
        If a number is not positive.
    """

    sigma_A: float
    temperature_K: float
    p: float = 50.0

    def __post_init__(self) -> None:
        for name in ("sigma_A", "temperature_K", "p"):
            if not getattr(self, name) > 0:
                raise InvalidInputError(f"{name} must be positive; got {getattr(self, name)}")

    @property
    def scale_eV(self) -> float:
        """Energy scale p k_B T (eV)."""
        return self.p * units.kB * self.temperature_K

    @property
    def cutoff_A(self) -> float:
        """Cutoff of the pair energy (Å)."""
        return CUTOFF_SIGMA * self.sigma_A

    def pair_energy(self, squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the energy of pairs (eV) and its derivative with r² (eV/Å²), at squared distances r² (Å²)."""
        variance, scale = self.sigma_A**2, self.scale_eV
        mayer = torch.exp(-squares / variance)
        return -scale * torch.log1p(-mayer), -scale / variance * mayer / (1 - mayer)


@dataclass(frozen=True)
class ReferenceLiquidPath(WeightPath):
    """A straight path in the weights (w_1 … w_C, s, κ) of a :class:`ReferenceLiquidPotential`."""

    @classmethod
    def from_liquid(cls, system: AlchemicalSystem, weights: ArrayLike) -> ReferenceLiquidPath:
        """Return the path from a liquid with the given weights, shape (C,), to the reference liquid."""
        w = tuple(system.check_weights(weights).tolist())
        return cls(system, (*w, 1.0, 0.0), (*w, 0.0, 1.0))


class ReferenceLiquidPotential(CombinedPotential):
    """A potential with the pair energy of a reference liquid, see :class:`CombinedPotential`.

    Parameters
    ----------
    model
        The potential.
    reference
        The reference liquid.
    """

    def __init__(self, model: EnergyModel, reference: UhlenbeckFord) -> None:
        super().__init__(model)
        self.reference = reference
        self._pairs = PairSums(reference.pair_energy, reference.cutoff_A, SKIN_SIGMA * reference.sigma_A)

    def added(self, positions: torch.Tensor, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the energy of the reference liquid, its forces and its virial."""
        return self._pairs.evaluate(positions, cells)

    def memory(self) -> dict[str, torch.Tensor]:
        """Return the memory of the potential and that of the reference, see :class:`PairSums`."""
        own = {f"{_OWN}{name}": values for name, values in self._pairs.memory().items()}
        return {**self.model.memory(), **own}

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Restore the memory of the potential and that of the reference."""
        self.model.recall(memory)
        self._pairs.recall({name: memory[_OWN + name].to(self.device) for name in self._pairs.memory()})
