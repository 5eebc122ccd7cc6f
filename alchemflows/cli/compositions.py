"""Commands for properties over compositions."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.inputs import bounds_of, choices_of, substitution_of, targets_of
from alchemflows.cli.maker_options import MakerOptions, grouped, with_short_relaxation
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
from alchemflows.cli.running import check_figures, messages, run_and_show
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from alchemflows.alchemy.system import Coupling

app = App()

CHOOSE = "Elements that may occupy the sites of an element, such as Na:Li,Na,K; repeatable."
OPTIMIZATION = MakerOptions(
    "alchemflows.flows.composition_optimization:CompositionOptimizationMaker", ("coupling", "starts", "seed")
)
DESCENT = MakerOptions(
    "alchemflows.jobs.optimize:OptimizeMaker", ("relax", "method", "round_to"), renamed={"relax": "relaxation"}
)

MIXING = MakerOptions(
    "alchemflows.flows.mixing:MixingMaker",
    (
        *(
            "potentials",
            "equilibration",
            "production",
            "attempts",
            "replica_exchange",
            "proposal",
            "balancing",
            "tries",
        ),
        *("md_steps", "pressure", "cell", "timestep", "friction", "terms", "frames", "relax", "coupling", "seed"),
    ),
    renamed={
        "potentials": "n_potentials",
        "equilibration": "n_equilibration_sweeps",
        "production": "n_production_sweeps",
        "attempts": "attempts_per_sweep",
        "tries": "n_tries",
        "md_steps": "n_md_steps",
        "terms": "n_terms",
    },
)


@app.command(example="alchemflows sweep NaCl.cif --choose Na:Li,Na,K --intervals 4 --plot salts.png")
@grouped
def sweep(
    structure: StructureFile,
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    substitutions: Annotated[
        list[str] | None,
        typer.Argument(help="Elements and their substitutes, such as Ce:Sn, for compositions along a line."),
    ] = None,
    points: Annotated[int, typer.Option(min=2, help="Number of compositions along the line.")] = 6,
    until: Annotated[float, typer.Option(help="Substituted fraction at the end of the line.")] = 1.0,
    choices: Annotated[
        list[str] | None,
        typer.Option("--choose", help=f"{CHOOSE} The sweep covers a grid of their compositions."),
    ] = None,
    intervals: Annotated[
        int, typer.Option(min=1, help="Number of intervals along each edge of the composition simplex (with --choose).")
    ] = 10,
    supercell: Supercell = (1, 1, 1),
    coupling: Annotated[
        str, typer.Option(metavar="[paired|mean-field]", help="Interaction between the alchemical sites of a group.")
    ] = "paired",
    plot: Plot = None,
) -> None:
    """Relax a crystal at a series of compositions.

    The results are lattice parameters, volumes and mixing energies. Stored relaxations are reused.
    """
    from alchemflows.alchemy.compositions import CompositionGrid
    from alchemflows.flows.composition_sweep import CompositionSweepMaker
    from alchemflows.results.query import relaxations

    if bool(substitutions) == bool(choices):
        raise InvalidInputError("a sweep needs substitutions (a line) or --choose (a simplex), and not both")
    if choices:
        refuse_given({"points": "--points", "until": "--until"}, "over a simplex (--choose)")
    else:
        refuse_given({"intervals": "--intervals"}, "on a line; give --points")
    read, kind = reading.read(structure, supercell), cast("Coupling", coupling)
    cell = read.structure
    if choices:
        chosen = choices_of(choices)
        grid = CompositionGrid.simplex(cell, chosen, intervals, coupling=kind)
        substitutes = [element for symbols in chosen.values() for element in symbols]
    else:
        change = substitution_of(substitutions or [])
        shares = [until * k / (points - 1) for k in range(points)]
        grid = CompositionGrid.line(cell, change, shares, coupling=kind)
        substitutes = list(change.values())
    maker = with_short_relaxation(CompositionSweepMaker(potential=potential.spec({structure.name: read}, substitutes)))
    keys = maker.keys(grid)
    check_figures([plot], run.submit_only)
    known = relaxations(connected(), keys)
    if known:
        messages(run.as_json).print(f"{len(known)} of {len(grid.weights)} compositions are already in the database")
    run_and_show(
        partial(maker.make, grid, known=known),
        run,
        device=potential.device,
        figures={"sweep": plot},
        read={structure.name: read},
    )


@app.command(
    example="alchemflows optimize NaCl.cif --choose Na:Li,Na,K --target a_A=5.9 --relax isotropic --round-to 8"
)
@grouped
def optimize(
    structure: StructureFile,
    maker: Annotated[Any, OPTIMIZATION],
    descent: Annotated[Any, DESCENT],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    choices: Annotated[list[str], typer.Option("--choose", help=CHOOSE)],
    targets: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            help="Target value of a quantity, such as a_A=4.1, or target and scale of deviations, such as "
            "pressure_GPa=0:0.1; repeatable (docs/optimization.md lists the quantities).",
        ),
    ] = None,
    least: Annotated[list[str] | None, typer.Option(help="Quantity to minimize; repeatable.")] = None,
    largest: Annotated[list[str] | None, typer.Option(help="Quantity to maximize; repeatable.")] = None,
    bounds: Annotated[
        list[str] | None,
        typer.Option("--bound", help="Bounds of the fraction of an element, such as Sc=0:0.5; repeatable."),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Find the composition with given properties.

    The composition is optimized, and the crystal is relaxed at each step. The potential is always evaluated in float64.
    """
    refuse_given({"dtype": "--dtype"}, "since optimizations always use float64")
    chosen = choices_of(choices)
    read = reading.read(structure, supercell)
    elements = [element for symbols in chosen.values() for element in symbols]
    spec = potential.spec({structure.name: read}, elements, replaced=chosen)
    maker = replace(maker, potential=spec, optimize_maker=descent)
    make = partial(
        maker.make,
        read.structure,
        chosen,
        targets_of(targets or [], least or [], largest or []),
        bounds=bounds_of(bounds or [], chosen),
    )
    run_and_show(
        make,
        run,
        device=potential.device,
        figures={"optimization": plot},
        read={structure.name: read},
    )


@app.command(
    example="alchemflows mixing NaCl.cif --choose Na:Na,K --supercell 2 2 2 -T 600 -T 800 -T 1000 --plot mixing.png"
)
@grouped
def mixing(
    structure: StructureFile,
    choices: Annotated[
        list[str],
        typer.Option(
            "--choose", help="Element of the mixing sites and the two elements that mix there, such as Na:Na,K."
        ),
    ],
    temperatures: Temperatures,
    maker: Annotated[Any, MIXING],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (2, 2, 2),
    delta_mu: Annotated[
        list[float] | None,
        typer.Option(
            "--mu",
            help="Chemical potential of the second element minus that of the first (eV); repeatable. By default "
            "--potentials values are chosen that span all compositions.",
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Compute the free energy of mixing of two elements.

    Arrangements are sampled at several chemical potentials and temperatures, which exchange their replicas. The result
    also has the miscibility gap.
    """
    if not maker.n_md_steps:
        of_dynamics = ("pressure", "cell", "timestep", "friction")
        refuse_given({name: f"--{name}" for name in of_dynamics}, "at frozen positions, without --md-steps")
    if delta_mu:
        refuse_given({"potentials": "--potentials"}, "with --mu")
    chosen = choices_of(choices)
    read = reading.read(structure)
    elements = [element for symbols in chosen.values() for element in symbols]
    maker.potential = potential.spec({structure.name: read}, elements)
    run_and_show(
        partial(maker.make, read.structure, chosen, supercell, temperatures, delta_mu_eV=delta_mu or ()),
        run,
        device=potential.device,
        figures={"mixing": plot},
        read={structure.name: read},
    )
