"""Options that several commands have, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from alchemflows.cli.inputs import dtype_of, read_structure
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.structures.reading import ReadStructure

StructureFile = Annotated[Path, typer.Argument(help="structure file (CIF, POSCAR, ...), ordered or disordered")]
Substitutions = Annotated[list[str], typer.Argument(help="what turns into what, such as Pb:Sn")]
Temperature = Annotated[float, typer.Option("--temperature", "-T", help="K")]
Pressure = Annotated[float, typer.Option(help="GPa")]
Cell = Annotated[
    str, typer.Option("--cell", help="what a pressure may change: auto (by symmetry), isotropic, axes or full")
]
Supercell = Annotated[tuple[int, int, int], typer.Option(help="repeats of the cell")]
Potential = Annotated[str, typer.Option(help="mace-demo, sevennet-0, a mace_mp name, or a model file")]
Dtype = Annotated[str, typer.Option(help="float32 or float64")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")]
Timestep = Annotated[float, typer.Option(help="fs")]
Repeats = Annotated[int, typer.Option(help="switches each way")]
Equilibration = Annotated[int, typer.Option(help="steps")]
Switching = Annotated[int, typer.Option(help="steps of a switch")]
Relax = Annotated[bool, typer.Option(help="relax atoms and cell first")]
IsCrystal = Annotated[
    bool, typer.Option("--crystal/--diffusing", help="whether the verdict expects atoms to stay on their sites")
]
Seed = Annotated[int, typer.Option(help="seed of all random numbers")]
Workers = Annotated[int, typer.Option(min=1, help="local workers, which share the CPU cores")]
SubmitOnly = Annotated[bool, typer.Option("--submit", help="only add to the LaunchPad; workers elsewhere")]
Plot = Annotated[Path | None, typer.Option(help="figure")]


@dataclass(frozen=True)
class PotentialOptions:
    """What energies are computed with."""

    potential: Potential = "sevennet-0"
    dtype: Dtype = "float32"
    device: Device = "auto"
    head: Annotated[str | None, typer.Option(help="head of a multi-head MACE model")] = None

    @property
    def spec(self) -> PotentialSpec:
        """The potential that they ask for."""
        return PotentialSpec(name=self.potential, dtype=dtype_of(self.dtype), device=self.device, head=self.head)


@dataclass(frozen=True)
class ReadingOptions:
    """How structure files are read."""

    block: Annotated[
        str | None,
        typer.Option(help="Data block (CIF) or image of a file that has several: name, number from 1, or last."),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept a loss in reading: fixed-atoms, formula, hydrogens, masses, occupancies, symbols or symmetry; "
            "repeatable."
        ),
    ] = None
    occupancy_tolerance: Annotated[
        float, typer.Option(help="Rescale occupancies of a site to 1 if they sum to at most this.")
    ] = 1.0

    def read(self, path: Path, supercell: tuple[int, int, int] = (1, 1, 1)) -> ReadStructure:
        """Return the structure in a file, repeated, after saying on stderr what was understood."""
        return read_structure(
            path,
            supercell,
            block=self.block,
            ignore=self.ignore or (),
            occupancy_tolerance=self.occupancy_tolerance,
        )


@dataclass(frozen=True)
class FrenkelLaddOptions(PotentialOptions):
    """Potential, conditions and lengths of Frenkel–Ladd runs."""

    pressure: Pressure = ATMOSPHERE_GPA
    timestep: Timestep = 2.0
    repeats: Repeats = 4
    cell_steps: Annotated[int, typer.Option(help="steps at constant pressure for the mean cell")] = 15000
    equilibration: Equilibration = 5000
    sampling: Annotated[int, typer.Option(help="steps in which displacements are measured")] = 5000
    switching: Switching = 10000
    relax: Relax = True
    symmetrise: Annotated[bool, typer.Option(help="keep the space group in mean cells and mean positions")] = True
    seed: Seed = 0


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take groups of options as dataclasses.

    Typer sees their fields, each of which has a default; the command gets the objects.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    options: list[tuple[str, Any, Any]] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            inner = get_type_hints(groups[name], include_extras=True)
            options += [(field.name, inner[field.name], field.default) for field in fields(groups[name])]
        else:
            options.append((name, hints[name], parameter.default))

    @wraps(command)
    def ungrouped(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    signature = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for name, annotation, default in options
        ]
    )
    ungrouped.__signature__ = signature  # type: ignore[attr-defined]
    ungrouped.__annotations__ = {name: annotation for name, annotation, _ in options}
    return ungrouped
