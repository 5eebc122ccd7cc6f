"""Options that several commands have, each declared once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.configured import settings
from alchemflows.cli.default_potential import default_potential
from alchemflows.cli.inputs import check_plot, checked_temperature, potential_of, read_structure
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from alchemflows.schemas.potential import PotentialSpec
    from alchemflows.structures.reading import ReadStructure


def _existing(path: Path) -> Path:
    """Return the path of a structure file that exists; typer calls this before the command, whose makers take time."""
    from alchemflows.structures.parsed import check_exists

    check_exists(path.expanduser())
    return path


def temperature_option(text: str) -> Any:
    """Return the option for temperatures, with its help text."""
    return typer.Option("--temperature", "-T", help=text, callback=checked_temperature)


StructureFile = Annotated[
    Path, typer.Argument(help="Structure file (CIF, POSCAR, ...), ordered or disordered.", callback=_existing)
]
OrderedStructureFile = Annotated[
    Path, typer.Argument(help="Structure file (CIF, POSCAR, ...), ordered.", callback=_existing)
]
Substitutions = Annotated[list[str], typer.Argument(help="Elements and their substitutes, such as Pb:Sn.")]
Temperatures = Annotated[list[float], temperature_option("Temperature (K); repeatable.")]
Supercell = Annotated[
    tuple[int, int, int], typer.Option(metavar="<n n n>", help="Number of repeats of the cell along each axis.")
]
_DEVICE = re.compile(r"auto|(cpu|cuda|mps|xpu)(:\d+)?")
_POTENTIAL = (
    "Potential: mace-demo, sevennet-0, chgnet, the name of a MACE foundation model (mace_mp), or the path of a model "
    "file"
)
Potential = Annotated[str, typer.Option(help=f"{_POTENTIAL}.")]
Dtype = Annotated[str, typer.Option(metavar="[float32|float64]", help="Floating-point precision of the potential.")]


def _checked_device(name: str | None) -> str | None:
    """Return the name of a device that may exist, before torch is imported, which says whether it does."""
    if name is not None and not _DEVICE.fullmatch(name):
        raise InvalidInputError(f"--device must be cpu, cuda, cuda:1, ... or auto; got {name!r}")
    return name


def device_option(text: str = "") -> Any:
    """Return the option for the device of the potential.

    Parameters
    ----------
    text
        What the help text says of the default.
    """
    text = f"Device on which the potential is evaluated: cpu, cuda, cuda:1, ... or auto{text}."
    return typer.Option(help=text, callback=_checked_device)


Device = Annotated[str, device_option()]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of local workers, which share the CPU cores [default: 1 on a GPU; otherwise the number of jobs "
        "that can run at the same time, at most one per core and at most 4].",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as JSON on stdout, and everything else on stderr. With --submit, print its ID as JSON.",
    ),
]
JsonInstead = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
SubmitOnly = Annotated[
    bool, typer.Option("--submit", help="Only submit the jobs to the FireWorks LaunchPad; start no local workers.")
]


def _checked_plot(path: Path | None) -> Path | None:
    """Return the file of a figure, after checking that it can be written; typer calls this before the command."""
    check_plot(path)
    return path


def plot_option(text: str) -> Any:
    """Return the option for the file of a figure, with its help text."""
    return typer.Option(help=text, callback=_checked_plot)


Plot = Annotated[Path | None, plot_option("Write a figure to this file (.png, .pdf or .svg).")]


@dataclass(frozen=True)
class PotentialOptions:
    """Options of the potential."""

    potential: Annotated[
        str | None,
        typer.Option(
            help=f"{_POTENTIAL} [default: the variable ALCHEMFLOWS_POTENTIAL, or potential in ~/.alchemflows.yaml; if "
            "neither is set, mace-demo for the crystals for which it was made]."
        ),
    ] = None
    dtype: Dtype = "float32"
    device: Device = "auto"
    head: Annotated[str | None, typer.Option(help="Head of a MACE potential, or modality of a SevenNet potential.")] = (
        None
    )
    kernels: Annotated[
        str,
        typer.Option(
            metavar="[built-in|compiled|cuequivariance]",
            help="Kernels: compiled makes long runs of MACE and SevenNet on a CPU faster; cuequivariance is for MACE "
            "on NVIDIA GPUs.",
        ),
    ] = "built-in"

    def spec(
        self, read: Mapping[str, ReadStructure], substitutes: Iterable[str] = (), *, replaced: Iterable[str] = ()
    ) -> PotentialSpec:
        """Return the potential spec of these options.

        Parameters
        ----------
        read
            Structures of the calculation, by name.
        substitutes
            Further elements that sites may become.
        replaced
            Elements that the substitutes replace.

        Raises
        ------
        InvalidInputError, PotentialError
            If no potential is given or configured, and there is no default for these structures, if a substitute is
            no element, if a replaced element is in none of the structures, or if the package of the potential is not
            installed.
        """
        from alchemflows.structures.species import check_symbol

        further = [check_symbol(element) for element in substitutes]
        present = {element.symbol for found in read.values() for element in found.structure.elements}
        for element in replaced:
            if element not in present:
                there = ", ".join(sorted(present))
                raise InvalidInputError(f"{element} is not in {' or '.join(read)}; elements there: {there}")
        name = self.potential
        if name is None:
            structures = [found.structure for found in read.values()]
            name = default_potential(settings().potential, structures, further, next(iter(read)))
        return potential_of(name, self.dtype, self.device, self.head, self.kernels)


@dataclass(frozen=True)
class SubmitOptions:
    """Options of commands that make a flow: where it runs, and how its result is printed."""

    submit_only: SubmitOnly = False
    as_json: AsJson = False
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Only print the numbers of jobs, steps, relaxations and evaluations, and their expected time on this "
            "machine.",
        ),
    ] = False


@dataclass(frozen=True)
class RunOptions(SubmitOptions):
    """Options of commands whose flow can use several workers."""

    workers: Workers = None


@dataclass(frozen=True)
class ReadingOptions:
    """Options for reading structure files."""

    block: Annotated[
        str | None,
        typer.Option(
            help="CIF data block or image to read if the file has several: its name, its number from 1, or last."
        ),
    ] = None
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            help="Read the file although this information in it is lost or contradicts the structure: fixed-atoms, "
            "formula, hydrogens, masses, occupancies, symbols or symmetry; repeatable."
        ),
    ] = None
    occupancy_tolerance: Annotated[
        float,
        typer.Option(help="Maximum sum of the occupancies of a site; sums between 1 and this value are rescaled to 1."),
    ] = 1.0

    def read(self, path: Path, supercell: tuple[int, int, int] = (1, 1, 1)) -> ReadStructure:
        """Read a structure, repeat its cell and print a summary on stderr."""
        return read_structure(
            path,
            supercell,
            block=self.block,
            ignore=self.ignore or (),
            occupancy_tolerance=self.occupancy_tolerance,
        )
