"""Compare energies and derivatives of this installation with reference results of another implementation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pymatgen.core import Element, Structure

from alchemflows.alchemy.backends import load_potential
from alchemflows.alchemy.groups import SiteGroup
from alchemflows.alchemy.interfaces import single
from alchemflows.alchemy.potential import AlchemicalPotential
from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import InvalidInputError
from alchemflows.schemas.potential import Dtype, PotentialSpec

Case = TypeVar("Case", bound=BaseModel)


class ReferenceCase(BaseModel):
    """One case of a file of reference results: input and expected results."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(description="model file; `halide` stands for random-halide.model or halide.model")
    cell: list[list[float]] = Field(description="lattice vectors as rows (Å)")
    positions: list[list[float]] = Field(description="Cartesian positions (Å)")
    symbols: list[str]
    groups: list[list[tuple[int, int]]] = Field(
        description="[atom index, atomic number] pairs of each weight; channels of the same atoms form one site group"
    )
    weights: list[float]
    coupling: Literal["paired", "mean-field"] = "paired"
    energy_eV: float
    forces_eV_per_A: list[list[float]]
    stress_eV_per_A3: list[list[float]]
    dE_dweights_eV: list[float]

    @model_validator(mode="after")
    def _shapes_fit(self) -> ReferenceCase:
        n, c = len(self.symbols), len(self.groups)
        for name, shape in (
            ("cell", (3, 3)),
            ("positions", (n, 3)),
            ("weights", (c,)),
            ("forces_eV_per_A", (n, 3)),
            ("stress_eV_per_A3", (3, 3)),
            ("dE_dweights_eV", (c,)),
        ):
            try:
                found = np.array(getattr(self, name), dtype=float).shape
            except ValueError:
                found = ("ragged",)
            # an array without rows is an empty list, so its row length is unknown
            if found != shape and not (found == (0,) and shape[0] == 0):
                raise ValueError(f"{name} must have the shape {shape}; got {found}")
        return self

    def system(self) -> tuple[AlchemicalSystem, np.ndarray]:
        """Return the alchemical system, and the index of each of its weights in the list of the case."""
        channels: dict[tuple[int, ...], list[int]] = {}
        for index, channel in enumerate(self.groups):
            channels.setdefault(tuple(sorted(atom for atom, _ in channel)), []).append(index)
        groups = tuple(
            SiteGroup(sites, tuple(tuple(dict(self.groups[i])[site] for site in sites) for i in indices))
            for sites, indices in channels.items()
        )
        for symbol in self.symbols:
            if not Element.is_valid_symbol(symbol):
                raise InvalidInputError(f"symbols: {symbol!r} is not an element symbol")
        structure = Structure(self.cell, self.symbols, self.positions, coords_are_cartesian=True)
        order = np.array([i for indices in channels.values() for i in indices], dtype=int)
        return AlchemicalSystem(structure, groups, self.coupling), order


@dataclass(frozen=True)
class Deviation:
    """Largest absolute deviations of a case from its reference."""

    case: str
    energy_eV: float
    forces_eV_per_A: float
    stress_eV_per_A3: float
    dE_dweights_eV: float

    @property
    def largest(self) -> float:
        """Largest of the four numbers, whatever their units; NaN if any of them is NaN."""
        values = [self.energy_eV, self.forces_eV_per_A, self.stress_eV_per_A3, self.dE_dweights_eV]
        return float(np.max(values))


def load_cases(path: Path) -> dict[str, ReferenceCase]:
    """Read a file of reference cases, ``{name: case}``; it raises the errors of :func:`read_cases`."""
    return read_cases(path, ReferenceCase)


def read_cases(path: Path, kind: type[Case]) -> dict[str, Case]:
    """Read a JSON file of cases of one kind, ``{name: case}``.

    Raises
    ------
    InvalidInputError
        If the file does not exist, is not JSON or has no cases, or if a case is incomplete.
    """
    try:
        content: Any = json.loads(path.read_text())
    except OSError as error:
        raise InvalidInputError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{path} is not JSON: {error}") from error
    try:
        cases = TypeAdapter(dict[str, kind]).validate_python(content)  # type: ignore[valid-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInputError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if not cases:
        raise InvalidInputError(f"{path} contains no cases")
    return cases


def compare(
    name: str, case: ReferenceCase, models: Path, *, dtype: Dtype = "float64", device: str = "auto"
) -> Deviation:
    """Evaluate a case and return its deviation from the reference.

    Parameters
    ----------
    name, case
        Name and content of the case.
    models
        Folder with the model files.
    dtype, device
        Floating-point type and device of the evaluation.

    Raises
    ------
    PotentialError, InvalidInputError
        If the model file cannot be loaded, or the case is not a valid system.
    """
    system, order = case.system()
    backend = load_potential(PotentialSpec(name=model_file(case.model, models), dtype=dtype, device=device))
    weights = system.check_weights(np.array(case.weights)[order])
    result = single(
        AlchemicalPotential(system, backend).evaluate(
            np.array(case.positions)[None], np.array(case.cell)[None], weights[None]
        )
    )

    def apart(key: str, reference: Any) -> float:
        return float(np.abs(np.asarray(result[key]) - np.asarray(reference)).max(initial=0.0))

    return Deviation(
        name,
        apart("energy", case.energy_eV),
        apart("forces", case.forces_eV_per_A),
        apart("stress", case.stress_eV_per_A3),
        apart("weight_gradients", np.array(case.dE_dweights_eV)[order]),
    )


def model_file(name: str, models: Path) -> str:
    """Return the file of a model in a folder of reference models, or the name itself if there is none."""
    for candidate in (f"random-{name}.model", f"{name}.model", name):
        if (models / candidate).is_file():
            return str(models / candidate)
    return name
