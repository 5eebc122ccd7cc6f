"""Energies and forces of ordered configurations with a target: a potential of this package, or a calculator of ASE."""

from __future__ import annotations

import inspect
import math
import pkgutil
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from pymatgen.io.ase import AseAtomsAdaptor

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.interfaces import EnergyModel, Evaluation
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.alchemy.target_model import CalculatorModel
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec

#: Energy (eV) of a configuration, or the reason why there is none.
Energy = float | str
#: Forces (eV/Å) of a configuration, shape (N, 3), or the reason why there are none.
Forces = np.ndarray | str

Result = TypeVar("Result")


class EnergyTarget(Protocol):
    """What evaluates configurations.

    Attributes
    ----------
    name
        Name in documents.
    record
        The potential; None for a calculator.
    n_at_once
        Number of configurations that are evaluated together.
    """

    name: str
    record: PotentialRecord | None
    n_at_once: int

    def check_elements(self, numbers: Collection[int]) -> None:
        """Raise an error that names the elements that the target does not support, if this can be known."""
        ...

    def energies(self, images: Sequence[Atoms]) -> list[Energy]:
        """Return the energy of each configuration; all have the same atoms."""
        ...

    def forces(self, images: Sequence[Atoms]) -> list[Forces]:
        """Return the forces of each configuration; all have the same atoms."""
        ...

    def model(self, image: Atoms) -> EnergyModel:
        """Return the target as a model without weights, for dynamics of the atoms of a configuration."""
        ...


class PotentialTarget:
    """A potential of this package.

    Parameters
    ----------
    spec
        Potential spec.

    Raises
    ------
    PotentialError
        If it cannot be loaded.
    """

    n_at_once = 10

    def __init__(self, spec: PotentialSpec) -> None:
        self.name = spec.name
        self._backend = load_potential(spec)
        self.record: PotentialRecord | None = self._backend.record
        #: Atomic numbers of the elements that are supported.
        self.numbers = self._backend.numbers
        self._model: AlchemicalPotential | None = None

    def check_elements(self, numbers: Collection[int]) -> None:
        """Raise InvalidInputError if the potential does not support an element."""
        unknown = sorted(set(numbers) - self._backend.numbers)
        if unknown:
            names = ", ".join(chemical_symbols[z] for z in unknown)
            raise InvalidInputError(f"the target {self.name} does not support {names}; use another target")

    def energies(self, images: Sequence[Atoms]) -> list[Energy]:
        """Return the energy of each configuration."""
        return [_checked(energy) for energy in self._evaluated(images, forces=False).energy.tolist()]

    def forces(self, images: Sequence[Atoms]) -> list[Forces]:
        """Return the forces of each configuration."""
        found = self._evaluated(images, forces=True).forces
        assert found is not None
        return [_checked_forces(forces, len(images[0])) for forces in found.cpu().numpy()]

    def features(self, images: Sequence[Atoms]) -> np.ndarray:
        """Return the features of each atom, see :meth:`.AlchemicalPotential.features`.

        Parameters
        ----------
        images
            Configurations; all have the same atoms. Directions that are not periodic get a vacuum.

        Returns
        -------
        features
            Shape (B, N, F), float64.

        Raises
        ------
        InvalidInputError
            If the potential does not support an element.
        """
        periodic = [self._in_cell(atoms) for atoms in images]
        model = self._model_of(periodic[0])
        found = model.features([atoms.positions for atoms in periodic], [atoms.cell.array for atoms in periodic])
        return found.cpu().numpy()

    def features_of_all(
        self, images: Sequence[Atoms], report: Callable[[int, int], None] = lambda done, total: None
    ) -> list[np.ndarray]:
        """Return the features of the atoms of configurations that may differ in their atoms, each of shape (N, F).

        Parameters
        ----------
        images
            The configurations.
        report
            Function that gets the number of evaluated configurations and that of all, after each batch.

        Raises
        ------
        InvalidInputError
            As for :meth:`features`.
        """
        rows_of: dict[bytes, list[int]] = {}
        # The potential is optimized for one set of elements after the other.
        for k in sorted(range(len(images)), key=lambda k: sorted(images[k].symbols.species())):
            rows_of.setdefault(images[k].numbers.tobytes(), []).append(k)
        found: dict[int, np.ndarray] = {}
        for same in rows_of.values():
            for start in range(0, len(same), self.n_at_once):
                rows = same[start : start + self.n_at_once]
                found |= dict(zip(rows, self.features([images[k] for k in rows]), strict=True))
                report(len(found), len(images))
        return [found[k] for k in range(len(images))]

    def model(self, image: Atoms) -> AlchemicalPotential:
        """Return the potential as a model without weights, for dynamics of the atoms of a configuration."""
        structure = AseAtomsAdaptor.get_structure(Atoms(image.numbers, image.positions, cell=image.cell))
        return AlchemicalPotential(AlchemicalSystem(structure), self._backend)

    def _evaluated(self, images: Sequence[Atoms], *, forces: bool) -> Evaluation:
        return self._model_of(images[0]).evaluate(
            np.array([atoms.positions for atoms in images]),
            np.array([atoms.cell.array for atoms in images]),
            np.zeros((len(images), 0)),
            forces=forces,
            stress=False,
            weight_gradients=False,
        )

    def _model_of(self, image: Atoms) -> AlchemicalPotential:
        """Return the model of the last configurations, or another one if the atoms differ."""
        if self._model is None or not np.array_equal(self._model.system.numbers, image.numbers):
            self._model = self.model(image)
        return self._model

    def _in_cell(self, atoms: Atoms) -> Atoms:
        """Return a configuration that is periodic, with a vacuum wider than the cutoff where it was not."""
        if atoms.pbc.all():
            return atoms
        atoms = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        atoms.center(vacuum=self._backend.cutoff_A, axis=np.flatnonzero(~atoms.pbc))
        return atoms


class CalculatorTarget:
    """A calculator of ASE.

    Parameters
    ----------
    spec
        Import path and arguments.

    Raises
    ------
    InvalidInputError
        If it cannot be imported or made, or has no energies.
    """

    n_at_once = 1

    def __init__(self, spec: CalculatorSpec) -> None:
        self.name = spec.name
        self.record: PotentialRecord | None = None
        made = imported_calculator(spec)
        try:
            self._calculator = made(**spec.arguments)
        except Exception as error:  # the class is a user's, and can raise anything
            raise InvalidInputError(f"the target {self.name} cannot be made: {_reason(error)}") from error
        if not hasattr(self._calculator, "get_potential_energy"):
            raise InvalidInputError(
                f"the target {spec.path} returns no calculator of ASE; a function that returns a maker needs a return "
                "annotation"
            )

    def check_elements(self, numbers: Collection[int]) -> None:
        """Do nothing, since calculators of ASE do not say which elements they support."""

    def energies(self, images: Sequence[Atoms]) -> list[Energy]:
        """Return the energy of each configuration, or the error that its calculation raised."""
        return [self._tried(atoms, lambda copy: _checked(copy.get_potential_energy())) for atoms in images]

    def forces(self, images: Sequence[Atoms]) -> list[Forces]:
        """Return the forces of each configuration, or the error that its calculation raised."""
        return [self._tried(atoms, lambda copy: _checked_forces(copy.get_forces(), len(copy))) for atoms in images]

    def model(self, image: Atoms) -> CalculatorModel:
        """Return the calculator as a model without weights, for dynamics of the atoms of a configuration."""
        return CalculatorModel(self.name, self._calculator, image.numbers)

    def _tried(self, atoms: Atoms, compute: Callable[[Atoms], Result]) -> Result | str:
        copy = atoms.copy()
        copy.calc = self._calculator
        try:
            return compute(copy)
        except Exception as error:
            return _reason(error)


def load_target(spec: PotentialSpec | CalculatorSpec) -> EnergyTarget:
    """Return the target of a specification.

    Raises
    ------
    InvalidInputError, PotentialError
        If it cannot be loaded.
    """
    return PotentialTarget(spec) if isinstance(spec, PotentialSpec) else CalculatorTarget(spec)


def imported_calculator(spec: CalculatorSpec) -> Any:
    """Return the class or function of a specification, which is not called.

    Raises
    ------
    InvalidInputError
        If it cannot be imported, cannot be called, or does not have the arguments.
    """
    path = spec.path
    try:
        found = pkgutil.resolve_name(path)
    except Exception as error:  # modules of others can raise anything
        raise InvalidInputError(
            f"the target {path} cannot be imported ({_reason(error)}); give package.module:Name of a calculator of ASE "
            "or a maker of jobflow that Python can import here and on the workers (PYTHONPATH)"
        ) from None
    if not callable(found):
        raise InvalidInputError(f"the target {path} must be a class or a function that returns a calculator or maker")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):  # not written in Python
        return found
    try:
        signature.bind(**spec.arguments)
    except TypeError as error:
        raise InvalidInputError(f"the target {path} does not accept these arguments: {error}") from None
    return found


def _checked(energy: Any) -> Energy:
    value = float(energy)
    return value if math.isfinite(value) else "the energy is not finite"


def _checked_forces(forces: Any, n_atoms: int) -> Forces:
    values = np.asarray(forces, dtype=float)
    if values.shape != (n_atoms, 3):
        return f"the forces have the shape {values.shape} instead of {(n_atoms, 3)}"
    return values if np.isfinite(values).all() else "the forces are not finite"


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
