"""Commands for free energies of alchemical transformations."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from alchemflows.cli.inputs import substitution_of
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import (
    Cell,
    Equilibration,
    IsCrystal,
    Plot,
    Potential,
    PotentialOptions,
    Pressure,
    ReadingOptions,
    Relax,
    Repeats,
    Seed,
    StructureFile,
    SubmitOnly,
    Substitutions,
    Supercell,
    Switching,
    Temperature,
    Timestep,
    Workers,
    grouped,
)
from alchemflows.cli.running import run_and_show
from alchemflows.cli.tables import free_energy_tables, switching_table
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.structures.prototypes import alpha_perovskite

if TYPE_CHECKING:
    from alchemflows.alchemy.system import Coupling
    from alchemflows.flows.common import CellChoice
    from alchemflows.flows.thermodynamic_integration import Starts
    from alchemflows.free_energy.ladders import Spacing

app = App()


@app.command()
def quickstart(
    potential: Potential = "mace-demo",
    windows: Annotated[int, typer.Option(min=2, help="number of λ-windows")] = 6,
    equilibration: Annotated[int, typer.Option(help="steps of 2 fs before sampling")] = 500,
    production: Annotated[int, typer.Option(help="steps of 2 fs that are sampled, in each window")] = 1500,
    workers: Workers = 2,
    plot: Annotated[Path, typer.Option(help="figure of dU/dλ against λ")] = Path("quickstart.png"),
) -> None:
    """CsPbI3 → CsSnI3 (cubic α phase, 40 atoms, 400 K, NVT) by thermodynamic integration."""
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
        from alchemflows.plotting import plot_gradient
    maker = ThermodynamicIntegrationMaker(
        potential=potential,
        temperature=400.0,
        n_windows=windows,
        windows_per_job=ceil(windows / workers),  # a batch costs less than its windows one after the other
        n_equilibration_steps=equilibration,
        n_production_steps=production,
        sample_interval_steps=20,
    )
    flow = maker.make(alpha_perovskite() * (2, 2, 2), {"Pb": "Sn"})
    run_and_show(flow, free_energy_tables, device="auto", workers=workers, figures=[(plot, plot_gradient)])


@app.command()
@grouped
def ti(
    structure: StructureFile,
    substitutions: Substitutions,
    temperature: Temperature,
    potential: PotentialOptions,
    reading: ReadingOptions,
    supercell: Supercell = (1, 1, 1),
    sites: Annotated[list[int] | None, typer.Option("--site", help="site to change (repeatable); default: all")] = None,
    coupling: Annotated[str, typer.Option(help="paired or mean-field")] = "paired",
    site_resolved: Annotated[bool, typer.Option(help="every changed site is a group of its own")] = False,
    windows: Annotated[int, typer.Option(help="number of λ-windows")] = 11,
    spacing: Annotated[str, typer.Option(help="even or gauss-legendre")] = "even",
    windows_per_job: Annotated[int, typer.Option(help="windows in one batch")] = 1,
    pressure: Annotated[float | None, typer.Option(help="GPa; constant volume if not given")] = None,
    cell: Cell = "auto",
    replica_exchange: Annotated[bool, typer.Option(help="neighbouring windows of a batch may swap λ")] = False,
    target_error: Annotated[float | None, typer.Option(help="eV/atom, reached by more and longer windows")] = None,
    budget: Annotated[
        int | None, typer.Option(help="at most so many window-runs more; default: twice the windows, with a target")
    ] = None,
    starts: Annotated[
        str, typer.Option(help="structures that windows start from: both-ends (λ = 0 and 1 in turn) or middle (λ = ½)")
    ] = "both-ends",
    crystal: IsCrystal = True,
    timestep: Timestep = 2.0,
    friction: Annotated[float, typer.Option(help="Langevin γ, 1/ps")] = 5.0,
    equilibration: Equilibration = 5000,
    production: Annotated[int, typer.Option(help="steps")] = 20000,
    interval: Annotated[int, typer.Option(help="steps between samples")] = 10,
    relax: Relax = True,
    seed: Seed = 0,
    workers: Workers = 1,
    plot: Annotated[Path | None, typer.Option(help="figure of dU/dλ against λ")] = None,
    convergence_plot: Annotated[Path | None, typer.Option(help="figure of forward and backward convergence")] = None,
    submit_only: SubmitOnly = False,
) -> None:
    """ΔF of a substitution (ΔG with a pressure) by thermodynamic integration and MBAR."""
    with redirect_stdout(sys.stderr):
        from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
        from alchemflows.plotting import plot_convergence, plot_gradient
    if pressure is None:
        refuse_given({"cell": "--cell"}, "at constant volume; give a --pressure as well")
    maker = ThermodynamicIntegrationMaker(
        potential=potential.spec,
        temperature=temperature,
        pressure_GPa=pressure,
        cell_freedom=cast("CellChoice", cell),
        n_windows=windows,
        spacing=cast("Spacing", spacing),
        windows_per_job=windows_per_job,
        replica_exchange=replica_exchange,
        target_error=target_error,
        budget=budget,
        starts=cast("Starts", starts),
        crystal=crystal,
        timestep_fs=timestep,
        friction_per_ps=friction,
        n_equilibration_steps=equilibration,
        n_production_steps=production,
        sample_interval_steps=interval,
        coupling=cast("Coupling", coupling),
        site_resolved=site_resolved,
        seed=seed,
    )
    if not relax:
        maker.relax_maker = None
    read = reading.read(structure, supercell)
    flow = maker.make(read.structure, substitution_of(substitutions), sites=sites)
    run_and_show(
        flow,
        free_energy_tables,
        device=potential.device,
        workers=workers,
        submit_only=submit_only,
        figures=[(plot, plot_gradient), (convergence_plot, plot_convergence)],
        read={structure.name: read},
    )


@app.command()
@grouped
def switch(
    structure: StructureFile,
    substitutions: Substitutions,
    temperature: Temperature,
    potential: PotentialOptions,
    reading: ReadingOptions,
    pressure: Pressure = ATMOSPHERE_GPA,
    constant_volume: Annotated[bool, typer.Option(help="ΔF at constant volume instead of ΔG")] = False,
    cell: Cell = "auto",
    supercell: Supercell = (1, 1, 1),
    timestep: Timestep = 2.0,
    repeats: Repeats = 4,
    equilibration: Equilibration = 5000,
    switching: Switching = 10000,
    crystal: IsCrystal = True,
    schedule: Annotated[str, typer.Option(help="ninth-order, fifth-order, third-order or linear")] = "ninth-order",
    relax: Relax = True,
    seed: Seed = 0,
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """ΔG (or ΔF) of a substitution by nonequilibrium switching."""
    with redirect_stdout(sys.stderr):
        from alchemflows.flows.switching import SwitchingMaker
        from alchemflows.plotting import plot_switching
    if constant_volume:
        refuse_given({"pressure": "--pressure", "cell": "--cell"}, "with --constant-volume")
    maker = SwitchingMaker(
        potential=potential.spec,
        temperature=temperature,
        pressure_GPa=None if constant_volume else pressure,
        cell_freedom=cast("CellChoice", cell),
        timestep_fs=timestep,
        n_repeats=repeats,
        n_equilibration_steps=equilibration,
        n_switching_steps=switching,
        schedule=schedule,
        crystal=crystal,
        seed=seed,
    )
    if not relax:
        maker.relax_maker = None
    read = reading.read(structure, supercell)
    run_and_show(
        maker.make(read.structure, substitution_of(substitutions)),
        switching_table,
        device=potential.device,
        workers=workers,
        submit_only=submit_only,
        figures=[(plot, plot_switching)],
        read={structure.name: read},
    )
