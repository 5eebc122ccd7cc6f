"""A calculator of ASE as a model whose dynamics can be run in a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator

from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.errors import PotentialError


class CalculatorModel(EnergyModel):
    """A calculator, evaluated for one replica after the other; it has no weights.

    Parameters
    ----------
    name
        Name of the calculator in messages.
    calculator
        The calculator.
    numbers
        Atomic numbers, shape (N,).

    Examples
    --------
    >>> import numpy as np
    >>> from ase.calculators.lj import LennardJones
    >>> model = CalculatorModel("LJ", LennardJones(rc=3.0), [18, 18])
    >>> positions, cells = np.array([[[0, 0, 0], [0, 0, 1.12]]]), 9 * np.eye(3)[None]
    >>> found = model.evaluate(positions, cells, np.zeros((1, 0)))
    >>> found.forces.shape, found.stress.shape
    (torch.Size([1, 2, 3]), torch.Size([1, 3, 3]))
    """

    def __init__(self, name: str, calculator: Calculator, numbers: Sequence[int] | np.ndarray) -> None:
        self.name = name
        self._calculator = calculator
        self._numbers = np.asarray(numbers)

    @property
    def device(self) -> torch.device:
        """The CPU."""
        return torch.device("cpu")

    def evaluate(
        self,
        positions: Any,
        cells: Any,
        weights: Any,
        *,
        forces: bool = True,
        stress: bool = True,
        weight_gradients: bool = True,
    ) -> Evaluation:
        """Return energies and derivatives of B replicas.

        Raises
        ------
        PotentialError
            If the calculator fails, or a result has the wrong shape or is not finite.
        """
        energies, all_forces, stresses = [], [], []
        for places, cell in zip(np.asarray(positions), np.asarray(cells), strict=True):
            atoms = Atoms(numbers=self._numbers, positions=places, cell=cell, pbc=True, calculator=self._calculator)
            try:
                energies.append(float(atoms.get_potential_energy()))
                all_forces.append(atoms.get_forces() if forces else None)
                stresses.append(atoms.get_stress(voigt=False) if stress else None)
            except Exception as error:  # calculators of users can raise anything
                text = str(error).strip().splitlines() or [""]
                raise PotentialError(f"dynamics with {self.name}: {type(error).__name__}: {text[0]}") from error
        n, n_atoms = len(energies), len(self._numbers)
        return Evaluation(
            self._tensor(energies, (n,), "energies"),
            self._tensor(all_forces, (n, n_atoms, 3), "forces") if forces else None,
            self._tensor(stresses, (n, 3, 3), "stresses") if stress else None,
            torch.zeros((n, 0), dtype=torch.float64) if weight_gradients else None,
        )

    def energies(self, positions: Any, cells: Any, weights: Any) -> torch.Tensor:
        """Return the energies (eV), shape (B, K); they are the same for all K weights."""
        found = self.evaluate(positions, cells, None, forces=False, stress=False, weight_gradients=False).energy
        return found[:, None].expand(-1, np.shape(weights)[1])

    def recall(self, memory: Mapping[str, torch.Tensor]) -> None:
        """Do nothing: results do not depend on earlier ones."""

    def _tensor(self, values: Sequence[Any], shape: tuple[int, ...], what: str) -> torch.Tensor:
        array = np.asarray(values, dtype=float)
        if array.shape != shape or not np.isfinite(array).all():
            raise PotentialError(f"dynamics with {self.name}: the {what} are not finite, or have the wrong shape")
        return torch.as_tensor(array)
