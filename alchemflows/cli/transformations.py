"""Commands for free energies of alchemical transformations."""

from __future__ import annotations

from functools import partial
from math import ceil
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemflows.cli.inputs import substitution_of
from alchemflows.cli.maker_options import MakerOptions, grouped, shortened
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import (
    Plot,
    Potential,
    PotentialOptions,
    ReadingOptions,
    RunOptions,
    StructureFile,
    Substitutions,
    Supercell,
    plot_option,
)
from alchemflows.cli.running import n_workers, run_and_show

app = App()

LADDER = MakerOptions(
    "alchemflows.flows.thermodynamic_integration:ThermodynamicIntegrationMaker",
    (
        *("temperature", "coupling", "site_resolved", "windows", "spacing", "windows_per_job", "pressure", "cell"),
        *("replica_exchange", "exchange_temperature", "target_error", "budget", "starts", "crystal", "timestep"),
        *("friction", "equilibration", "production", "interval", "frames", "relax", "seed"),
    ),
    required=("temperature",),
    renamed={"exchange_temperature": "exchange_temperatures"},
)
SWITCHING = MakerOptions(
    "alchemflows.flows.switching:SwitchingMaker",
    (
        *("temperature", "pressure", "cell", "timestep", "repeats", "equilibration", "switching", "crystal"),
        *("schedule", "frames", "relax", "seed"),
    ),
    required=("temperature",),
)


@app.command(example="alchemflows quickstart --potential mace-demo")
@grouped
def quickstart(
    run: RunOptions,
    potential: Potential = "mace-demo",
    windows: Annotated[int, typer.Option(min=2, help="Number of λ windows.")] = 6,
    equilibration: Annotated[int, typer.Option(help="Number of equilibration steps (2 fs each).")] = 500,
    production: Annotated[int, typer.Option(help="Number of production steps of each window (2 fs each).")] = 1500,
    plot: Annotated[Path, plot_option("Write a figure of dU/dλ against λ to this file.")] = Path("quickstart.png"),
) -> None:
    """Run an example: ΔF of CsPbI3 → CsSnI3.

    ΔF is computed by thermodynamic integration for the cubic α phase with 40 atoms, at 400 K and constant volume.
    """
    from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
    from alchemflows.structures.prototypes import alpha_perovskite

    workers = n_workers("auto", run.workers, windows)
    maker = ThermodynamicIntegrationMaker(
        potential=potential,
        temperature=400.0,
        windows_per_job=ceil(windows / workers),  # a batch costs less than its windows one after the other
        **shortened(
            {
                "n_windows": windows,
                "n_equilibration_steps": equilibration,
                "n_production_steps": production,
                "sample_interval_steps": 20,
            }
        ),
    )
    make = partial(maker.make, alpha_perovskite() * (2, 2, 2), {"Pb": "Sn"})
    run_and_show(make, run, device="auto", figures={"gradient": plot})


@app.command(example="alchemflows ti CsPbI3.cif Pb:Sn --supercell 2 2 2 -T 400 --plot dudl.png")
@grouped
def ti(
    structure: StructureFile,
    substitutions: Substitutions,
    maker: Annotated[Any, LADDER],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    supercell: Supercell = (1, 1, 1),
    sites: Annotated[
        list[int] | None,
        typer.Option(
            "--site",
            help="Index of a site to substitute, counted from 0 in the supercell; repeatable [default: all sites of "
            "the element].",
        ),
    ] = None,
    plot: Annotated[Path | None, plot_option("Write a figure of dU/dλ against λ to this file.")] = None,
    convergence_plot: Annotated[
        Path | None, plot_option("Write a figure of forward and backward convergence to this file.")
    ] = None,
) -> None:
    """Compute ΔF or ΔG of a substitution by TI and MBAR.

    The result is ΔF at constant volume, or ΔG with --pressure.
    """
    if maker.pressure_GPa is None:
        refuse_given({"cell": "--cell"}, "at constant volume; give a --pressure as well")
    change = substitution_of(substitutions)
    read = reading.read(structure, supercell)
    maker.potential = potential.spec({structure.name: read}, change.values(), replaced=change)
    run_and_show(
        partial(maker.make, read.structure, change, sites=sites),
        run,
        device=potential.device,
        figures={"gradient": plot, "convergence": convergence_plot},
        read={structure.name: read},
    )


@app.command(example="alchemflows switch CsPbI3.cif Pb:Sn --supercell 2 2 2 -T 400")
@grouped
def switch(
    structure: StructureFile,
    substitutions: Substitutions,
    maker: Annotated[Any, SWITCHING],
    potential: PotentialOptions,
    reading: ReadingOptions,
    run: RunOptions,
    constant_volume: Annotated[bool, typer.Option(help="Compute ΔF at constant volume instead of ΔG.")] = False,
    supercell: Supercell = (1, 1, 1),
    plot: Plot = None,
) -> None:
    """Compute ΔG or ΔF of a substitution by switching.

    λ is switched from 0 to 1 and from 1 to 0 several times, and the nonequilibrium work of the switches gives ΔG or
    ΔF.
    """
    if constant_volume:
        refuse_given({"pressure": "--pressure", "cell": "--cell"}, "with --constant-volume")
        maker.pressure_GPa = None
    change = substitution_of(substitutions)
    read = reading.read(structure, supercell)
    maker.potential = potential.spec({structure.name: read}, change.values(), replaced=change)
    run_and_show(
        partial(maker.make, read.structure, change),
        run,
        device=potential.device,
        figures={"switching": plot},
        read={structure.name: read},
    )
