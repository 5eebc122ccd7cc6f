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
    StructureFile,
    SubmitOnly,
    Supercell,
    Workers,
)
from alchemflows.cli.running import run_and_show
from alchemflows.cli.tables import absolute_table, phase_table, sizes_table
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
    constant_volume: Annotated[
        bool, typer.Option(help="Keep the cell fixed, after its relaxation unless --no-relax is given.")
    ] = False,
    supercells: Annotated[
        list[str] | None,
        typer.Option(
            "--supercell",
            help="Supercell, such as 3x3x3; repeatable: several sizes are extrapolated to an infinite crystal.",
        ),
    ] = None,
    springs: Annotated[
        list[str] | None,
        typer.Option("--spring", help="Spring constant of an element (eV/Å²), such as Fe:5.2; repeatable."),
    ] = None,
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """Compute the absolute free energy of a crystal.

    The crystal is ordered or alchemical; the method is Frenkel–Ladd switching.
    """
    from alchemflows.plotting import plot_sizes, plot_switching

    maker.potential = potential.spec
    maker.springs_eV_per_A2 = springs_of(springs) if springs else None
    if constant_volume:
        at_pressure = {"pressure": "--pressure", "cell": "--cell", "cell_steps": "--cell-steps"}
        refuse_given(at_pressure, "with --constant-volume")
        maker.pressure_GPa = None
    run = partial(run_and_show, device=potential.device, workers=workers, submit_only=submit_only)
    sizes = [supercell_of(text) for text in supercells or ["1x1x1"]]
    read = reading.read(structure, sizes[0] if len(sizes) == 1 else (1, 1, 1))
    run = partial(run, read={structure.name: read})
    if len(sizes) == 1:
        run(maker.make(read.structure), absolute_table, figures=[(plot, plot_switching)])
    else:
        run(maker.make(read.structure, supercells=sizes), sizes_table, figures=[(plot, plot_sizes)])


@app.command()
@grouped
def phases(
    structures: Annotated[
        list[str],
        typer.Argument(help="Names and structure files of the phases, such as alpha=alpha.cif delta=delta.cif."),
    ],
    temperatures: Annotated[list[float], typer.Option("--temperature", "-T", help="Temperature (K); repeatable.")],
    maker: Annotated[Any, FRENKEL_LADD],
    potential: PotentialOptions,
    reading: ReadingOptions,
    substitution: Annotated[str | None, typer.Option(help="Element and its substitute, such as Pb:Sn.")] = None,
    compositions: Annotated[
        list[float] | None,
        typer.Option("--composition", "-x", help="Substituted fraction, from 0 to 1; repeatable [default: 0 and 1]."),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """Compare the Gibbs free energies of several phases.

    Gives the stable phase at each temperature and composition, and the transition temperatures.
    """
    from alchemflows.flows.phase_stability import PhaseStabilityMaker
    from alchemflows.plotting import plot_phases

    if compositions and not substitution:
        raise InvalidInputError("--composition needs a --substitution, such as Pb:Sn")
    read = {name: reading.read(path, supercell) for name, path in phases_of(structures).items()}
    maker.potential = potential.spec
    flow = PhaseStabilityMaker(frenkel_ladd_maker=maker).make(
        {name: found.structure for name, found in read.items()},
        temperatures,
        substitution=substitution_of([substitution]) if substitution else None,
        compositions=compositions or (0.0, 1.0),
    )
    run_and_show(
        flow,
        phase_table,
        device=potential.device,
        workers=workers,
        submit_only=submit_only,
        figures=[(plot, plot_phases)],
        read=read,
    )
