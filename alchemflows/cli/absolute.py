"""Commands for absolute free energies, their curves over temperature or pressure, and phases."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.inputs import naming_options, phases_of, springs_of, substitution_of, supercell_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import (
    OrderedStructureFile,
    Plot,
    PotentialOptions,
    ReadingOptions,
    RunOptions,
    StructureFile,
    Supercell,
    Temperatures,
    plot_option,
)
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

app = App()

#: The maker of Frenkel–Ladd runs, and those of its fields that are options wherever it runs.
FRENKEL_LADD = "alchemflows.flows.frenkel_ladd:FrenkelLaddMaker"
FRENKEL_LADD_NAMES = (
    *("pressure", "cell", "timestep", "repeats", "cell_steps", "equilibration", "sampling", "switching", "relax"),
    *("symmetrise", "frames", "seed"),
)
#: Options of Frenkel–Ladd runs for curves of several phases, and at one temperature.
FRENKEL_LADD_OF_CURVES = MakerOptions(FRENKEL_LADD, (*FRENKEL_LADD_NAMES, "quantum"))
FRENKEL_LADD_ALL = MakerOptions(
    FRENKEL_LADD, ("temperature", *FRENKEL_LADD_NAMES, "quantum"), required=("temperature",)
)
#: Options of the Frenkel–Ladd run from which a sweep starts.
START_OF_ISOBAR = replace(
    FRENKEL_LADD_ALL,
    texts={
        "temperature": "Temperature (K) of the Frenkel–Ladd run from which the curve starts; between --from and --to."
    },
)
START_OF_ISOTHERM = replace(
    FRENKEL_LADD_ALL,
    texts={
        "temperature": "Temperature (K) of the curve and of the Frenkel–Ladd run from which it starts.",
        "pressure": "Pressure (GPa) of the Frenkel–Ladd run from which the curve starts; between --from and --to.",
    },
)
#: Options of the runs from which the curves of a crystal and of its liquid start.
STARTS_OF_MELTING = replace(
    FRENKEL_LADD_OF_CURVES,
    texts={
        "repeats": "Number of switches to the Einstein crystal, and of the liquid to the reference liquid, in each "
        "direction; at least 2.",
        "switching": "Number of steps of each switch to the Einstein crystal or to the reference liquid.",
    },
)


@app.command("frenkel-ladd", example="alchemflows frenkel-ladd NaCl.cif --supercell 2x2x2 --supercell 3x3x3 -T 300")
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


LIQUID = MakerOptions(
    "alchemflows.flows.liquid:LiquidFreeEnergyMaker",
    (
        *("temperature", "pressure", "timestep", "repeats", "heating_temperature", "heating_steps", "cell_steps"),
        *("equilibration", "switching", "reference_density", "frames", "seed"),
    ),
    required=("temperature",),
    renamed={"heating_steps": "n_heating_steps"},
)


@app.command(example="alchemflows liquid NaCl.cif --supercell 3 3 3 -T 1200 --plot switching.png")
@grouped
def liquid(
    structure: OrderedStructureFile,
    maker: Annotated[Any, LIQUID],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    constant_volume: Annotated[bool, typer.Option(help="Run at constant volume in the given cell.")] = False,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compute the absolute free energy of a liquid.

    A crystal of the same composition is melted by heating. The liquid is switched to an Uhlenbeck–Ford liquid, whose
    free energy is known.
    """
    if constant_volume:
        refuse_given({"pressure": "--pressure"}, "with --constant-volume")
        maker.pressure_GPa = None
    read = {structure.name: reading.read(structure, supercell)}
    maker.potential = potential.spec(read)
    run_and_show(
        partial(maker.make, read[structure.name].structure),
        run,
        device=potential.device,
        figures={"switching": plot},
        read=read,
    )


_SWEEP_NAMES = ("sweep_repeats", "sweep_equilibration", "sweep_steps", "points")
_SWEEP_FIELDS = {
    "sweep_repeats": "n_repeats",
    "sweep_equilibration": "n_equilibration_steps",
    "sweep_steps": "n_switching_steps",
    "points": "n_points",
}
TEMPERATURE_SWEEP = MakerOptions(
    "alchemflows.flows.isolines:TemperatureSweepMaker", _SWEEP_NAMES, renamed=_SWEEP_FIELDS
)
PRESSURE_SWEEP = MakerOptions("alchemflows.flows.isolines:PressureSweepMaker", _SWEEP_NAMES, renamed=_SWEEP_FIELDS)
MELTING = MakerOptions(
    "alchemflows.flows.melting:MeltingPointMaker",
    (
        *(*_SWEEP_NAMES, "heating_temperature", "heating_steps", "reference_density", "coexistence"),
        *("coexistence_spread", "coexistence_replicas", "coexistence_repeats", "coexistence_steps"),
    ),
    renamed=_SWEEP_FIELDS
    | {"heating_steps": "n_heating_steps", "coexistence": "n_coexistence_temperatures"}
    | {f"coexistence_{name}": f"n_coexistence_{name}" for name in ("replicas", "repeats", "steps")},
)
AnchorOption = Annotated[
    str | None,
    typer.Option(
        "--anchor",
        help="ID of a stored Frenkel–Ladd result of the same crystal, cell and potential, from which the curve starts; "
        "for curves over temperature also of its liquid [default: the result of a new run].",
    ),
]
#: Options of a Frenkel–Ladd run that a stored anchor replaces.
_OF_ANCHOR = ("repeats", "cell_steps", "equilibration", "sampling", "switching", "relax", "symmetrise", "quantum")


@app.command(
    "temperature-sweep",
    example="alchemflows temperature-sweep NaCl.cif --supercell 2 2 2 -T 300 --from 200 --to 800 --plot g.png",
)
@grouped
def temperature_sweep(
    structure: StructureFile,
    low: Annotated[float, typer.Option("--from", help="Lowest temperature (K).")],
    high: Annotated[float, typer.Option("--to", help="Highest temperature (K).")],
    maker: Annotated[Any, START_OF_ISOBAR],
    sweep: Annotated[Any, TEMPERATURE_SWEEP],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    constant_volume: Annotated[
        bool, typer.Option(help="Run at constant volume in the relaxed cell, or in the given cell with --no-relax.")
    ] = False,
    supercell: Supercell = (1, 1, 1),
    anchor: AnchorOption = None,
    plot: Plot = None,
) -> None:
    """Compute G(T) of a crystal over a range of temperatures.

    A Frenkel–Ladd run at --temperature gives the absolute free energy there. Reversible scaling continues it to all
    temperatures of the range, in one run. The result also has the entropy, heat capacity and thermal expansion.
    """
    if not 0 < low < high:
        raise InvalidInputError(f"--from must be above 0 K and below --to; got {low:g} and {high:g}")
    if anchor is None:
        _check_start("--temperature", maker.temperature, low, high)
    if constant_volume:
        at_pressure = {"pressure": "--pressure", "cell": "--cell", "cell_steps": "--cell-steps"}
        refuse_given(at_pressure, "with --constant-volume")
        maker.pressure_GPa = None
    _run_sweep(sweep, maker, structure, (low, high), supercell, anchor, potential, reading, run, plot)


@app.command("pressure-sweep", example="alchemflows pressure-sweep NaCl.cif --supercell 2 2 2 -T 300 --from 0 --to 5")
@grouped
def pressure_sweep(
    structure: StructureFile,
    low: Annotated[float, typer.Option("--from", help="Lowest pressure (GPa).")],
    high: Annotated[float, typer.Option("--to", help="Highest pressure (GPa).")],
    maker: Annotated[Any, START_OF_ISOTHERM],
    sweep: Annotated[Any, PRESSURE_SWEEP],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (1, 1, 1),
    anchor: AnchorOption = None,
    plot: Plot = None,
) -> None:
    """Compute G(p) of a crystal at one temperature.

    A Frenkel–Ladd run at --pressure gives the absolute free energy there. Slow changes of the pressure continue it to
    all pressures of the range, in one run. The result also has the volume and the bulk modulus.
    """
    if not low < high:
        raise InvalidInputError(f"--from must be below --to; got {low:g} and {high:g}")
    if anchor is None:
        _check_start("--pressure", maker.pressure_GPa, low, high)
    _run_sweep(sweep, maker, structure, (low, high), supercell, anchor, potential, reading, run, plot)


@app.command(example="alchemflows melting NaCl.cif --supercell 3 3 3 --from 900 --to 1300 --plot melting.png")
@grouped
def melting(
    structure: OrderedStructureFile,
    low: Annotated[float, typer.Option("--from", help="Lowest temperature (K), where the curve of the solid starts.")],
    high: Annotated[float, typer.Option("--to", help="Highest temperature (K), where the curve of the liquid starts.")],
    point: Annotated[Any, MELTING],
    maker: Annotated[Any, STARTS_OF_MELTING],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compute the melting point of a crystal.

    The Gibbs free energies of the solid and of the liquid are computed over the range of temperatures; they are equal
    at the melting point. The result also has the latent heat and the change of the volume.
    """
    if not 0 < low < high:
        raise InvalidInputError(f"--from must be above 0 K and below --to; got {low:g} and {high:g}")
    read = reading.read(structure, supercell)
    maker.potential = potential.spec({structure.name: read})
    point.frenkel_ladd_maker = maker
    run_and_show(
        partial(point.make, read.structure, [low, high]),
        run,
        device=potential.device,
        figures={"melting": plot},
        read={structure.name: read},
    )


def _check_start(option: str, value: float, low: float, high: float) -> None:
    """Raise InvalidInputError if a curve does not start within its range."""
    if not low <= value <= high:
        raise InvalidInputError(
            f"{option} must be between --from and --to, since the curve starts there; got {value:g}, which is not "
            f"between {low:g} and {high:g}"
        )


def _run_sweep(
    sweep: Any,
    maker: Any,
    path: Path,
    ends: tuple[float, float],
    supercell: tuple[int, int, int],
    anchor: str | None,
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    plot: Path | None,
) -> None:
    read = reading.read(path, supercell)
    maker.potential = potential.spec({path.name: read})
    sweep.frenkel_ladd_maker = maker
    make = sweep.make
    if anchor is not None:
        from alchemflows.flows.isolines import TemperatureSweepMaker
        from alchemflows.results.listing import find_result
        from alchemflows.schemas.frenkel_ladd import FrenkelLaddDocument
        from alchemflows.schemas.liquid import LiquidFreeEnergyDocument

        refuse_given({name: f"--{name.replace('_', '-')}" for name in _OF_ANCHOR}, "with --anchor")
        found = find_result(connected(), anchor)[1]
        if isinstance(found, LiquidFreeEnergyDocument) and not isinstance(sweep, TemperatureSweepMaker):
            raise InvalidInputError(f"--anchor: {anchor} is a liquid, which has curves over the temperature only")
        if not isinstance(found, FrenkelLaddDocument | LiquidFreeEnergyDocument):
            raise InvalidInputError(f"--anchor: {anchor} is not a result of frenkel-ladd or liquid")
        if abs(found.temperature_K - maker.temperature) > 1e-6:
            raise InvalidInputError(
                f"--temperature must be that of the anchor, {found.temperature_K:g} K; got {maker.temperature:g}"
            )
        make = partial(sweep.from_anchor, found)
    run_and_show(
        partial(make, read.structure, *ends),
        run,
        device=potential.device,
        figures={"curve": plot},
        read={path.name: read},
    )


PHASES = MakerOptions(
    "alchemflows.flows.phase_stability:PhaseStabilityMaker",
    ("runs", "anchor_temperature", "sweep_repeats", "sweep_equilibration", "sweep_steps"),
    renamed={
        "sweep_repeats": "n_sweep_repeats",
        "sweep_equilibration": "n_sweep_equilibration_steps",
        "sweep_steps": "n_sweep_steps",
    },
)


@app.command(example="alchemflows phases alpha=CsPbI3.cif delta=CsPbI3_delta.cif -T 300 -T 500 --plot phases.png")
@grouped
def phases(
    structures: Annotated[
        list[str],
        typer.Argument(help="Names and structure files of the phases, such as alpha=alpha.cif delta=delta.cif."),
    ],
    temperatures: Temperatures,
    comparison: Annotated[Any, PHASES],
    maker: Annotated[Any, FRENKEL_LADD_OF_CURVES],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    substitution: Annotated[str | None, typer.Option(help="Element and its substitute, such as Pb:Sn.")] = None,
    compositions: Annotated[
        list[float] | None,
        typer.Option("--composition", "-x", help="Substituted fraction, from 0 to 1; repeatable [default: 0 and 1]."),
    ] = None,
    boundary_pressures: Annotated[
        list[float] | None,
        typer.Option(
            "--boundary-pressure",
            help="Further pressure (GPa) at which transition temperatures are computed, for the boundary between the "
            "phases; repeatable. Needs curves.",
        ),
    ] = None,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
    boundary_plot: Annotated[
        Path | None, plot_option("Write a figure of the boundaries to this file; needs --boundary-pressure.")
    ] = None,
) -> None:
    """Compare the Gibbs free energies of several phases.

    The results are the stable phase at each temperature and composition, and the transitions with their latent heat.
    For three or more temperatures each phase has one Frenkel–Ladd run, which a sweep of the temperature continues to a
    curve; --runs points asks for a run at each temperature instead.
    """
    if compositions and not substitution:
        raise InvalidInputError("--composition needs a --substitution, such as Pb:Sn")
    if boundary_plot is not None and not boundary_pressures:
        raise InvalidInputError("--boundary-plot needs at least one --boundary-pressure")
    read = {name: reading.read(path, supercell) for name, path in phases_of(structures).items()}
    change = substitution_of([substitution]) if substitution else None
    maker.potential = potential.spec(read, (change or {}).values(), replaced=change or ())
    comparison.frenkel_ladd_maker = maker
    make = partial(
        comparison.make,
        {name: found.structure for name, found in read.items()},
        temperatures,
        substitution=change,
        compositions=compositions or (0.0, 1.0),
        boundary_pressures=boundary_pressures or (),
    )
    with naming_options({"boundary_pressures": "--boundary-pressure"}):
        run_and_show(
            make,
            run,
            device=potential.device,
            figures={"phases": plot, "boundary": boundary_plot},
            read=read,
        )
