"""ASE calculator for alchemical potentials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.interfaces import single
from alchemflows.alchemy.lockstep import Seat
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import PotentialSpec


class AlchemicalCalculator(Calculator):
    """ASE calculator of an alchemical system at fixed weights.

    Parameters
    ----------
    system
        The alchemical system, or its dictionary (makers of atomate2 store keyword arguments as JSON).
    weights
        Weights, shape (C,).
    potential
        Potential spec, or its dictionary, or the name or path of a potential.

    Notes
    -----
    The atoms must have the same number and order as those of the system; elements on alchemical sites are ignored.
    In addition to energy (eV), forces (eV/Å) and stress (eV/Å³, Voigt), ``results["weight_gradients"]`` contains ∂E/∂w
    (eV), shape (C,).

    Raises
    ------
    InvalidInputError
        If the weights are not on the simplex or the potential does not support an element; during a calculation, if the
        atoms differ from those of the system.

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
        #: Object that evaluates: the potential, or a :class:`Seat` if the potential is shared with other relaxations.
        self.model: AlchemicalPotential | Seat = self.potential
        sites = [site for group in self.system.groups for site in group.sites]
        self._ordinary = ~np.isin(np.arange(self.system.n_sites), sites)

    def make_atoms(self) -> Atoms:
        """Return ASE Atoms of the system with this calculator and mixed masses, ready for dynamics.

        ASE and the MD makers of atomate2 otherwise take masses from the elements, which are arbitrary on alchemical
        sites. Averages of positions do not depend on masses, but times and velocities do.
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
        """Compute energy, forces, stress and ∂E/∂w together; one backward pass gives all of them."""
        super().calculate(atoms, properties, system_changes)
        atoms = cast(Atoms, self.atoms)
        if len(atoms) != self.system.n_sites or ((atoms.numbers != self.system.numbers) & self._ordinary).any():
            raise InvalidInputError(
                f"the atoms ({atoms.get_chemical_formula()}) do not match the alchemical system "
                f"({self.system.structure.composition.formula}); create them with make_atoms()"
            )
        if not atoms.pbc.all():
            raise InvalidInputError(f"the atoms must be periodic in all three directions; pbc is {atoms.pbc.tolist()}")
        results = single(self.model.evaluate(atoms.positions[None], atoms.cell.array[None], self.weights[None]))
        self.results = results | {
            "free_energy": results["energy"],
            "stress": full_3x3_to_voigt_6_stress(results["stress"]),
        }
