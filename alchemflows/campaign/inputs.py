"""Values in a campaign file for arguments of a maker's `make` that are not plain numbers, texts or lists of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from pydantic import Field, model_validator
from pymatgen.core import Structure

from alchemflows.alchemy.compositions import CompositionGrid
from alchemflows.alchemy.system import Coupling
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.campaign import Finite, Positive, PositiveInt, StrictModel, StructureSpec
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.structures.reading import ReadStructure, read_structure, structure_of


class GridSpec(StrictModel):
    """Compositions of a crystal: shares along a transformation, or all compositions of some elements on a simplex."""

    shares: list[Finite] | None = Field(None, description="progress x of the transformation at each point, from 0 to 1")
    choices: dict[str, list[str]] | None = Field(
        None, description="elements allowed on the sites of an element, for a grid over their compositions"
    )
    n_intervals: PositiveInt | None = Field(None, description="intervals along each edge of that grid")
    coupling: Coupling = Field("paired", description="interaction between the alchemical sites of a group")

    @model_validator(mode="after")
    def _one_grid(self) -> GridSpec:
        if (self.shares is None) == (self.choices is None):
            raise ValueError("either `shares` (with a transformation) or `choices` and `n_intervals` are needed")
        if (self.choices is None) != (self.n_intervals is None):
            raise ValueError("`choices` and `n_intervals` are given together")
        return self

    def grid(self, crystal: Structure, substitution: Mapping[str, Any]) -> CompositionGrid:
        """Return the grid of compositions of a crystal."""
        if self.choices is not None and self.n_intervals is not None:
            return CompositionGrid.simplex(crystal, self.choices, self.n_intervals, coupling=self.coupling)
        return CompositionGrid.line(crystal, dict(substitution), self.shares or [], coupling=self.coupling)


class ChemicalPotentialsSpec(StrictModel):
    """Chemical potentials of elements: values, or crystals of pure elements."""

    values_eV: dict[str, Finite | tuple[Finite, Finite]] = Field(
        {}, description="eV/atom by element, or value and standard error; valid for one temperature and pressure"
    )
    references: dict[str, StructureSpec] = Field(
        {},
        description="crystals of pure elements; the chemical potential of an element is G per atom of its crystal",
    )

    def read(self, place: str) -> ChemicalPotentials:
        """Return the chemical potentials; the reference crystals are read.

        Raises
        ------
        InvalidInputError
            If a crystal cannot be read or is no reference; the message begins with the place in the file.
        """
        crystals = {
            element: crystal(f"{place}.references.{element}", spec).structure
            for element, spec in self.references.items()
        }
        try:
            return ChemicalPotentials(self.values_eV, crystals)
        except InvalidInputError as error:
            raise InvalidInputError(f"{place}: {error}") from None


class RelaxationSpec(StrictModel):
    """Settings of a relaxation; those that are not given are the defaults of the method."""

    relax_cell: bool | None = Field(None, description="whether the cell is relaxed with the atoms")
    fix_symmetry: bool | None = Field(None, description="whether the symmetry of the crystal is kept")
    symprec: Positive | None = Field(None, description="tolerance of that symmetry (Å)")
    steps: PositiveInt | None = Field(None, description="maximum number of steps")
    fmax: Positive | None = Field(None, description="largest force at which the relaxation ends (eV/Å)")
    optimizer: str | None = Field(None, description="optimizer of ASE, such as FIRE or BFGS")


def crystal(place: str, spec: StructureSpec) -> ReadStructure:
    """Read a structure of a campaign.

    Raises
    ------
    InvalidInputError
        If it cannot be read without losses; the message begins with the place in the file.
    """
    try:
        if spec.file is not None:
            read = read_structure(
                spec.file, block=spec.block, ignore=spec.ignore, occupancy_tolerance=spec.occupancy_tolerance
            )
        else:
            read = structure_of(spec.structure or {}, ignore=spec.ignore)
        return read.repeated(spec.supercell)
    except InvalidInputError as error:
        field = "structure" if spec.file is None else "file"
        raise InvalidInputError(f"{place}.{field}: {error}") from error


def imported(path: str, place: str) -> Any:
    """Return the object of an import path such as ``package.module.name``.

    Raises
    ------
    InvalidInputError
        If it cannot be imported; the message begins with the place in the file.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # the module is a user's, and can raise anything
        raise InvalidInputError(
            f"{place}: {path} cannot be imported ({type(error).__name__}: {error}); give package.module.name of "
            "something that Python can import here and on the workers (PYTHONPATH)"
        ) from None


def function(path: str, place: str) -> Callable[..., Any]:
    """Return the function of an import path.

    Raises
    ------
    InvalidInputError
        If it cannot be imported, or cannot be called.
    """
    found = imported(path, place)
    if not callable(found):
        raise InvalidInputError(f"{place}: {path} must be a function; it is a {type(found).__name__}")
    return found
