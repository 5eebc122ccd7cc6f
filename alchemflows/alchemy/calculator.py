"""The ASE face of an alchemical potential."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.lockstep import Seat
from alchemflows.alchemy.potential import AlchemicalPotential, single
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec


class AlchemicalCalculator(Calculator):
    """ASE calculator of an alchemical system at fixed weights.

    Parameters
    ----------
    system
        The alchemical system, or its dictionary form (for atomate2's makers, which store keywords as JSON).
    weights
        Weights, shape (C,).
    potential
        What to evaluate with: a name, a path, a specification or its dictionary form.

    Notes
    -----
    The atoms must be those of the system, in its order; their elements on alchemical sites are not read.
    Besides energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt), ``results["weight_gradients"]`` is ∂E/∂w
    (eV), shape (C,).

    Raises
    ------
    InvalidInputError
        If the weights are off the simplex or the model does not know an element; on calculation, if the
        atoms are not those of the system.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import AlchemicalCalculator, AlchemicalPath
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> path = AlchemicalPath.from_substitution(salt, {"Na": "K"})
    >>> atoms = AlchemicalCalculator(path.system, path.weights(0.5), "mace-demo").make_atoms()
    >>> atoms.get_forces().shape
    (8, 3)
    >>> atoms.calc.results["weight_gradients"].shape
    (2,)
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]  # type: ignore[misc]

    def __init__(
        self,
        system: AlchemicalSystem | dict[str, Any],
        weights: Sequence[float] | np.ndarray,
        potential: PotentialSpec | str | dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(potential, dict):
            potential = PotentialSpec.model_validate(potential)
        if isinstance(system, dict):
            system = AlchemicalSystem.from_dict(system)
        self.system = system
        self.weights = self.system.check_weights(weights)
        self.potential = AlchemicalPotential(self.system, load_potential(potential))
        #: What evaluates: the potential, or a seat where others use it, too.
        self.model: AlchemicalPotential | Seat = self.potential
        sites = [site for group in self.system.groups for site in group.sites]
        self._ordinary = ~np.isin(np.arange(self.system.n_sites), sites)

    def make_atoms(self) -> Atoms:
        """Return the system's atoms with this calculator and mixed masses, ready for dynamics.

        ASE takes masses from the atoms' elements, which on alchemical sites mean nothing; atomate2's MD makers
        do so too. Averages of positions do not depend on masses, but times and velocities do.
        """
        structure = self.system.structure
        atoms = Atoms(
            numbers=self.system.numbers,
            positions=structure.cart_coords,
            cell=structure.lattice.matrix,
            pbc=True,
            masses=self.system.masses(self.weights),
        )
        atoms.calc = self
        return atoms

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute everything at once; it comes from the same backward pass."""
        super().calculate(atoms, properties, system_changes)
        atoms = cast(Atoms, self.atoms)
        if len(atoms) != self.system.n_sites or ((atoms.numbers != self.system.numbers) & self._ordinary).any():
            raise InvalidInputError(
                f"the atoms ({atoms.get_chemical_formula()}) are not those of the alchemical system "
                f"({self.system.structure.composition.formula})"
            )
        if not atoms.pbc.all():
            raise InvalidInputError("alchemical systems are periodic in all three directions")
        results = single(self.model.evaluate(atoms.positions[None], atoms.cell.array[None], self.weights[None]))
        self.results = results | {
            "free_energy": results["energy"],
            "stress": full_3x3_to_voigt_6_stress(results["stress"]),
        }
