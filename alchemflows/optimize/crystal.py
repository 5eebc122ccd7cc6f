"""Relax a crystal at given compositions; return its quantities and their total derivatives."""

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
from alchemflows.optimize.elasticity import N_EVALUATIONS, bulk_modulus
from alchemflows.optimize.names import BULK_MODULUS, WITHOUT_STRESS
from alchemflows.optimize.quantities import Quantity, quantities
from alchemflows.optimize.response import CellRelaxation, check_cell, free_strains, response
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.silence import LOGM, without_warning


class RelaxedQuantities(dict[str, Quantity]):
    """Quantities by name; expensive ones are computed when they are first read.

    Parameters
    ----------
    known
        Quantities that are already computed.
    later
        Functions that compute the other quantities, by name.
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
    """A crystal whose positions and free strains are relaxed at each composition, starting from the last result.

    Parameters
    ----------
    system
        The alchemical system; the first relaxation starts from its structure.
    potential
        Potential spec; the potential is evaluated in float64.
    relaxation
        Cell degrees of freedom that relax.
    fmax_eV_per_A
        Largest force at convergence (eV/Å); the stress times the volume per atom counts as a force.
    max_steps
        Maximum number of steps of one relaxation.
    seat
        Access to a potential shared with other relaxations; by default, the crystal uses a separate potential.

    Attributes
    ----------
    n_evaluations, n_second_derivatives
        Numbers of evaluations, and of evaluations of second derivatives.

    Raises
    ------
    InvalidInputError
        If the relaxation does not fit the cell, or the potential does not support an element.
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
        """Structure at the end of the last relaxation."""
        return AseAtomsAdaptor.get_structure(Atoms(self._atoms))

    def relax(self, weights: np.ndarray) -> None:
        """Relax the crystal with the given weights, shape (C,).

        Raises
        ------
        AlchemflowsError
            If the relaxation does not converge.
        """
        self._calculator.weights = self.system.check_weights(weights)
        self._calculator.reset()
        optimizer = BFGS(_with_cell_filter(self._atoms, self.relaxation), logfile=None)
        with without_warning(LOGM):
            converged = optimizer.run(fmax=self._fmax, steps=self._max_steps)
        self.n_evaluations += optimizer.nsteps + 1
        if not converged:
            raise AlchemflowsError(
                f"the relaxation of {self.system.formula(weights)} has not converged in {self._max_steps} steps; allow "
                "more steps, or larger forces"
            )

    def at(self, weights: np.ndarray) -> RelaxedQuantities:
        """Relax the crystal with the given weights, shape (C,), and return its quantities y with gradients dy/dw.

        The bulk modulus is computed when it is read, if it is one of the names that
        :func:`~alchemflows.optimize.names.names_of` returns.

        Raises
        ------
        AlchemflowsError
            If the relaxation does not converge.
        UnstableCrystalError
            If the relaxed crystal is not at a minimum of the energy.
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


def _with_cell_filter(atoms: Atoms, relaxation: CellRelaxation) -> Any:
    """Return atoms with the ASE filter that relaxes the free strains; the atoms themselves for a fixed cell."""
    if relaxation == "none":
        return atoms
    if relaxation == "isotropic":
        return FrechetCellFilter(atoms, hydrostatic_strain=True)
    return FrechetCellFilter(atoms, mask=free_strains(relaxation).any(axis=1).astype(float).tolist())
