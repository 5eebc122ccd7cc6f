"""The commands. What takes seconds to import (torch, the models) is imported by the commands that need it."""

from __future__ import annotations

import csv
import json
import sys
import time
from contextlib import redirect_stdout
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from pymatgen.core import Structure
from rich.console import Console

from alchemflows.campaign.database import connect, start_private
from alchemflows.campaign.mongod import PrivateMongod
from alchemflows.campaign.query import RESULT_FIELDS, free_energies
from alchemflows.cli.absolute import app as absolute_app
from alchemflows.cli.display import (
    deviation_table,
    estimate_table,
    ladder_table,
    refinement_table,
    results_table,
    verdict_lines,
)
from alchemflows.cli.inputs import check_plot, dtype_of, potential_of, read_structure, substitution_of
from alchemflows.cli.running import run_flow, settings, show_database, submit_flow
from alchemflows.errors import AlchemflowsError
from alchemflows.reproduce.structures import alpha_perovskite
from alchemflows.schemas.potential import PotentialSpec

if TYPE_CHECKING:
    from alchemflows.alchemy.path import Substitution
    from alchemflows.alchemy.system import Coupling
    from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
    from alchemflows.free_energy.ladders import Spacing
    from alchemflows.schemas.dynamics import CellFreedom

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Alchemical free energies with machine-learning interatomic potentials.",
)
database_app = typer.Typer(no_args_is_help=True, help="The private MongoDB, and indexes.")
app.add_typer(absolute_app)
app.add_typer(database_app, name="db")
console = Console()

Potential = Annotated[str, typer.Option(help="mace-demo, sevennet-0, a mace_mp name, or a model file")]
Workers = Annotated[int, typer.Option(min=1, help="local workers, which share the CPU cores")]


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
    maker = _maker()(
        potential=potential,
        temperature=400.0,
        n_windows=windows,
        windows_per_job=ceil(windows / workers),  # a batch costs less than its windows one after the other
        n_equilibration_steps=equilibration,
        n_production_steps=production,
        sample_interval_steps=20,
    )
    _run(maker, alpha_perovskite() * (2, 2, 2), {"Pb": "Sn"}, None, workers, plot)


@app.command()
def ti(
    structure: Annotated[Path, typer.Argument(help="structure file (CIF, POSCAR, ...), ordered or disordered")],
    substitutions: Annotated[list[str], typer.Argument(help="what turns into what, such as Pb:Sn")],
    temperature: Annotated[float, typer.Option("--temperature", "-T", help="K")],
    supercell: Annotated[tuple[int, int, int], typer.Option(help="repeats of the cell")] = (1, 1, 1),
    sites: Annotated[list[int] | None, typer.Option("--site", help="site to change (repeatable); default: all")] = None,
    potential: Potential = "sevennet-0",
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")] = "auto",
    head: Annotated[str | None, typer.Option(help="head of a multi-head MACE model")] = None,
    coupling: Annotated[str, typer.Option(help="paired or mean-field")] = "paired",
    site_resolved: Annotated[bool, typer.Option(help="every changed site is a group of its own")] = False,
    windows: Annotated[int, typer.Option(help="number of λ-windows")] = 11,
    spacing: Annotated[str, typer.Option(help="even or gauss-legendre")] = "even",
    windows_per_job: Annotated[int, typer.Option(help="windows in one batch")] = 1,
    pressure: Annotated[float | None, typer.Option(help="GPa; constant volume if not given")] = None,
    cell: Annotated[str, typer.Option(help="what a pressure changes: isotropic, axes or full")] = "isotropic",
    replica_exchange: Annotated[bool, typer.Option(help="neighbouring windows of a batch may swap λ")] = False,
    target_error: Annotated[float | None, typer.Option(help="eV/atom, reached by more and longer windows")] = None,
    budget: Annotated[
        int | None, typer.Option(help="at most so many window-runs more; default: twice the windows, with a target")
    ] = None,
    timestep: Annotated[float, typer.Option(help="fs")] = 2.0,
    friction: Annotated[float, typer.Option(help="Langevin γ, 1/ps")] = 5.0,
    equilibration: Annotated[int, typer.Option(help="steps")] = 5000,
    production: Annotated[int, typer.Option(help="steps")] = 20000,
    interval: Annotated[int, typer.Option(help="steps between samples")] = 10,
    relax: Annotated[bool, typer.Option(help="relax atoms and cell at λ = ½ first")] = True,
    seed: Annotated[int, typer.Option(help="seed of all random numbers")] = 0,
    workers: Workers = 1,
    plot: Annotated[Path | None, typer.Option(help="figure of dU/dλ against λ")] = None,
    convergence_plot: Annotated[Path | None, typer.Option(help="figure of forward and backward convergence")] = None,
    submit_only: Annotated[bool, typer.Option("--submit", help="only add to the LaunchPad; workers elsewhere")] = False,
) -> None:
    """ΔF of a substitution (ΔG with a pressure) by thermodynamic integration and MBAR."""
    maker = _maker()(
        potential=potential_of(potential, dtype, device, head),
        temperature=temperature,
        pressure_GPa=pressure,
        cell_freedom=cast("CellFreedom", cell),
        n_windows=windows,
        spacing=cast("Spacing", spacing),
        windows_per_job=windows_per_job,
        replica_exchange=replica_exchange,
        target_error=target_error,
        budget=budget,
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
    repeated = read_structure(structure, supercell)
    substitution = substitution_of(substitutions)
    if submit_only:
        flow = maker.make(repeated, substitution, sites=sites)
        submit_flow(console, flow)
        return
    _run(maker, repeated, substitution, sites, workers, plot, convergence_plot)


@app.command()
def results(
    formula: Annotated[str | None, typer.Option(help="reduced formula at either end")] = None,
    temperature: Annotated[float | None, typer.Option(help="K")] = None,
    limit: Annotated[int, typer.Option(help="at most so many; 0 for all")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV instead of a table")] = False,
) -> None:
    """Finished free-energy differences in the database, the newest first."""
    database = connect(settings())
    rows = free_energies(database, formula=formula, temperature_K=temperature, limit=limit)
    if as_json:
        print(json.dumps(rows, indent=1, default=str, allow_nan=False))
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, fieldnames=list(RESULT_FIELDS))
        writer.writeheader()
        writer.writerows(rows)
    elif rows:
        console.print(results_table(rows))
    else:
        console.print(f"no free energies yet ({database.place})")


@app.command()
def verify(
    cases: Annotated[Path, typer.Argument(help="file of reference cases (JSON)")],
    models: Annotated[Path, typer.Option(help="folder with the model files")],
    tolerance: Annotated[float, typer.Option(help="largest deviation allowed, in eV, eV/Å, eV/Å³")] = 1e-9,
    dtype: Annotated[str, typer.Option(help="float32 or float64")] = "float64",
    device: Annotated[str, typer.Option(help="cpu, cuda, ... or auto")] = "auto",
) -> None:
    """Compare energies and derivatives on this machine with reference results."""
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.alchemy.verify import compare, load_cases

    precision = dtype_of(dtype)
    deviations, problems = [], []
    for name, case in load_cases(cases).items():
        try:
            deviations.append(compare(name, case, models, dtype=precision, device=device))
        except AlchemflowsError as error:
            problems.append(f"{name}: {error}")
    console.print(deviation_table(deviations, tolerance))
    if problems:
        raise AlchemflowsError("; ".join(problems))
    if not all(deviation.largest <= tolerance for deviation in deviations):
        raise AlchemflowsError(f"a deviation is larger than {tolerance:g}")


@database_app.command("start")
def database_start() -> None:
    """Start the private MongoDB and say how to use it."""
    show_database(console, start_private(settings()))


@database_app.command("stop")
def database_stop() -> None:
    """Shut the private MongoDB down; its data stay."""
    configured = settings()
    PrivateMongod(configured.home, configured.mongod).stop()
    console.print("the private MongoDB is stopped")


@database_app.command("status")
def database_status() -> None:
    """Say whether the private MongoDB runs."""
    configured = settings()
    server = PrivateMongod(configured.home, configured.mongod)
    console.print(f"the private MongoDB in {server.folder} {'runs' if server.is_running() else 'does not run'}")


@database_app.command("index")
def database_index() -> None:
    """Create the documented indexes in the configured database."""
    database = connect(settings())
    database.ensure_indexes()
    console.print(f"indexes are in place ({database.place})")


def _maker() -> type[ThermodynamicIntegrationMaker]:
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
    return ThermodynamicIntegrationMaker


def _run(
    maker: ThermodynamicIntegrationMaker,
    structure: Structure,
    substitution: Substitution,
    sites: list[int] | None,
    workers: int,
    plot: Path | None,
    convergence_plot: Path | None = None,
) -> None:
    """Submit, work off with local workers, and show the result."""
    started = time.monotonic()
    settings()
    check_plot(plot)
    check_plot(convergence_plot)
    with redirect_stdout(sys.stderr):
        from alchemflows.alchemy.backends import check_device
    if isinstance(maker.potential, PotentialSpec):
        check_device(maker.potential.device)
    flow = maker.make(structure, substitution, sites=sites)
    document, database, uuid, folder = run_flow(console, flow, workers)
    console.print(ladder_table(document), estimate_table(document))
    if document.refinement.budget:
        console.print(refinement_table(document.refinement))
    for line in verdict_lines(document.verdict):
        console.print(line, highlight=False)
    if plot is not None or convergence_plot is not None:
        from alchemflows.plotting import plot_convergence, plot_gradient, save

        for path, draw in ((plot, plot_gradient), (convergence_plot, plot_convergence)):
            if path is not None:
                console.print(f"figure: {save(draw(document), path)}")
    console.print(f"{time.monotonic() - started:.0f} s; launch folders and logs of the workers: {folder}")
    show_database(console, database, uuid)
