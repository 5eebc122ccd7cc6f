"""Options that several commands have, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.inputs import dtype_of, read_structure
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.structures.reading import ReadStructure

StructureFile = Annotated[Path, typer.Argument(help="structure file (CIF, POSCAR, ...), ordered or disordered")]
Substitutions = Annotated[list[str], typer.Argument(help="what turns into what, such as Pb:Sn")]
Supercell = Annotated[tuple[int, int, int], typer.Option(help="repeats of the cell")]
Potential = Annotated[
    str, typer.Option(help="Potential: mace-demo, sevennet-0, a name that mace_mp knows, or the path of a model file.")
]
Dtype = Annotated[str, typer.Option(metavar="[float32|float64]", help="Floating-point precision of the model.")]
Device = Annotated[str, typer.Option(help="Device of the potential: cpu, cuda, cuda:1, ... or auto.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
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
