"""Commands for absolute free energies and for phases, which are compared by them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from alchemflows.cli.inputs import phases_of, springs_of, substitution_of, supercell_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import (
    Plot,
    PotentialOptions,
    ReadingOptions,
    RunOptions,
    StructureFile,
    Supercell,
    Temperatures,
)
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

app = App()

_MAKER = "alchemflows.flows.frenkel_ladd:FrenkelLaddMaker"
_NAMES = (
    *("pressure", "cell", "timestep", "repeats", "cell_steps", "equilibration", "sampling", "switching", "relax"),
    *("symmetrise", "seed"),
)
#: Options of Frenkel–Ladd runs at several temperatures, and at one.
FRENKEL_LADD = MakerOptions(_MAKER, _NAMES)
FRENKEL_LADD_AT = MakerOptions(_MAKER, ("temperature", *_NAMES), required=("temperature",))
FRENKEL_LADD_ALL = MakerOptions(_MAKER, ("temperature", *_NAMES, "quantum"), required=("temperature",))


@app.command("frenkel-ladd")
@grouped
def frenkel_ladd(
    structure: StructureFile,
    maker: Annotated[Any, FRENKEL_LADD_ALL],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    constant_volume: Annotated[
        bool, typer.Option(help="Run at constant volume in the relaxed cell, or in the given cell with --no-relax.")
    ] = False,
    supercells: Annotated[
        list[str] | None,
        typer.Option(
            "--supercell",
            help="Supercell, such as 3x3x3; repeatable: with several sizes, results are extrapolated to infinite size.",
        ),
    ] = None,
    springs: Annotated[
        list[str] | None,
        typer.Option(
            "--spring",
            help="Spring constant of an element (eV/Å²), such as Fe:5.2; repeatable [default: from the mean squared "
            "displacements].",
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Compute the absolute free energy of a crystal.

    The crystal is switched to an Einstein crystal (Frenkel–Ladd method). It may have partial occupancies.
    """
    maker.springs_eV_per_A2 = springs_of(springs) if springs else None
    if constant_volume:
        at_pressure = {"pressure": "--pressure", "cell": "--cell", "cell_steps": "--cell-steps"}
        refuse_given(at_pressure, "with --constant-volume")
        maker.pressure_GPa = None
    sizes = [supercell_of(text) for text in supercells or ["1x1x1"]]
    read = {structure.name: reading.read(structure, sizes[0] if len(sizes) == 1 else (1, 1, 1))}
    maker.potential = potential.spec(read)
    crystal = read[structure.name].structure
    one = len(sizes) == 1
    run_and_show(
        partial(maker.make, crystal) if one else partial(maker.make, crystal, supercells=sizes),
        run,
        device=potential.device,
        figures={"switching" if one else "sizes": plot},
        read=read,
    )


@app.command()
@grouped
def phases(
    structures: Annotated[
        list[str],
        typer.Argument(help="Names and structure files of the phases, such as alpha=alpha.cif delta=delta.cif."),
    ],
    temperatures: Temperatures,
    maker: Annotated[Any, FRENKEL_LADD],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    substitution: Annotated[str | None, typer.Option(help="Element and its substitute, such as Pb:Sn.")] = None,
    compositions: Annotated[
        list[float] | None,
        typer.Option("--composition", "-x", help="Substituted fraction, from 0 to 1; repeatable [default: 0 and 1]."),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compare the Gibbs free energies of several phases.

    The results are the stable phase at each temperature and composition, and the transition temperatures.
    """
    from alchemflows.flows.phase_stability import PhaseStabilityMaker

    if compositions and not substitution:
        raise InvalidInputError("--composition needs a --substitution, such as Pb:Sn")
    read = {name: reading.read(path, supercell) for name, path in phases_of(structures).items()}
    change = substitution_of([substitution]) if substitution else None
    maker.potential = potential.spec(read, (change or {}).values(), replaced=change or ())
    make = partial(
        PhaseStabilityMaker(frenkel_ladd_maker=maker).make,
        {name: found.structure for name, found in read.items()},
        temperatures,
        substitution=change,
        compositions=compositions or (0.0, 1.0),
    )
    run_and_show(
        make,
        run,
        device=potential.device,
        figures={"phases": plot},
        read=read,
    )
