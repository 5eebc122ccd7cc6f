"""A crystal that is relaxed at each composition asked for, with its quantities and their total derivatives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from pymatgen.core import Structure
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.calculator import AlchemicalCalculator
from alchemflows.alchemy.lockstep import Seat
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError
from alchemflows.optimize.elasticity import BULK_MODULUS, N_EVALUATIONS, WITHOUT_STRESS, bulk_modulus
from alchemflows.optimize.quantities import Quantity, quantities
from alchemflows.optimize.quantities import names_of as plain_names
from alchemflows.optimize.response import CellRelaxation, check_cell, free_strains, response
from alchemflows.schemas.potential import PotentialSpec


class RelaxedQuantities(dict[str, Quantity]):
    """Quantities by name; some, which take work of their own, only come to be when they are read.

    Parameters
    ----------
    known
        Those that are there from the beginning.
    later
        How to compute others.
    """

    def __init__(self, known: Mapping[str, Quantity], later: Mapping[str, Callable[[], Quantity]]) -> None:
        super().__init__(known)
        self._later = later

    def __missing__(self, name: str) -> Quantity:
        if name not in self._later:
            raise KeyError(name)
        self[name] = self._later[name]()
        return self[name]


class RelaxedCrystal:
    """Positions and the free part of the cell follow the composition; each relaxation starts from the last one.

    Parameters
    ----------
    system
        The alchemical system; the first relaxation starts from its structure.
    potential
        Evaluated in float64.
    relaxation
        What of the cell is free.
    fmax_eV_per_A
        Where a relaxation ends; the stress times the volume per atom counts as a force.
    max_steps
        Of one relaxation.
    seat
        What evaluates in the place of the potential, together with others.

    Attributes
    ----------
    n_evaluations, n_second_derivatives
        How often the potential was evaluated, and differentiated twice.

    Raises
    ------
    InvalidInputError
        If the cell cannot relax in this way, or the model does not know an element.
    """

    def __init__(
        self,
        system: AlchemicalSystem,
        potential: PotentialSpec,
        relaxation: CellRelaxation,
        *,
        fmax_eV_per_A: float = 1e-3,
        max_steps: int = 500,
        seat: Seat | None = None,
    ) -> None:
        check_cell(relaxation, system.structure.lattice.matrix)
        self.system = system
        self.relaxation = relaxation
        self.n_evaluations = self.n_second_derivatives = 0
        self._fmax, self._max_steps = fmax_eV_per_A, max_steps
        middle = np.repeat(
            [1.0 / len(group.channels) for group in system.groups], [len(group.channels) for group in system.groups]
        )
        self._calculator = AlchemicalCalculator(system, middle, potential.model_copy(update={"dtype": "float64"}))
        if seat is not None:
            self._calculator.model = seat
        self._atoms = self._calculator.make_atoms()

    @property
    def structure(self) -> Structure:
        """The crystal as it was relaxed last."""
        return AseAtomsAdaptor.get_structure(Atoms(self._atoms))

    def relax(self, weights: np.ndarray) -> None:
        """Relax at a composition, shape (C,).

        Raises
        ------
        AlchemflowsError
            If it does not converge.
        """
        self._calculator.weights = self.system.check_weights(weights)
        self._calculator.reset()
        optimizer = BFGS(_filtered(self._atoms, self.relaxation), logfile=None)
        converged = optimizer.run(fmax=self._fmax, steps=self._max_steps)
        self.n_evaluations += optimizer.nsteps + 1
        if not converged:
            raise AlchemflowsError(
                f"the relaxation at {self.system.formula(weights)} has not converged in {self._max_steps} steps"
            )

    def at(self, weights: np.ndarray) -> RelaxedQuantities:
        """Relax at a composition, shape (C,), and return what can be aimed at; gradients are dy/dw, shape (C,).

        The bulk modulus is computed if it is read, where :func:`names_of` has it.

        Raises
        ------
        AlchemflowsError
            If the relaxation does not converge.
        UnstableCrystalError
            If it ends at no minimum.
        """
        self.relax(weights)
        positions, cell = self._atoms.positions.copy(), self._atoms.cell.array.copy()
        derivatives = self._calculator.model.second_derivatives(positions, cell, weights)
        self.n_second_derivatives += 1
        follows = response(derivatives, self.system.n_sites, self.relaxation)

        def total(explicit: Quantity) -> Quantity:
            return Quantity(explicit.value, explicit.gradient @ follows)

        def modulus() -> Quantity:
            self.n_evaluations += N_EVALUATIONS
            return total(bulk_modulus(self._calculator.model, positions, cell, weights, derivatives))

        explicit = quantities(self.system, cell, weights, derivatives)
        return RelaxedQuantities(
            {name: total(quantity) for name, quantity in explicit.items()},
            {BULK_MODULUS: modulus} if self.relaxation in WITHOUT_STRESS else {},
        )


def names_of(system: AlchemicalSystem, relaxation: CellRelaxation) -> list[str]:
    """Return the names of what a relaxed crystal has; a bulk modulus only where relaxing leaves no stress."""
    return [*plain_names(system), *([BULK_MODULUS] if relaxation in WITHOUT_STRESS else [])]


def _filtered(atoms: Atoms, relaxation: CellRelaxation) -> Any:
    if relaxation == "none":
        return atoms
    if relaxation == "isotropic":
        return FrechetCellFilter(atoms, hydrostatic_strain=True)
    return FrechetCellFilter(atoms, mask=free_strains(relaxation).any(axis=1).astype(float).tolist())
