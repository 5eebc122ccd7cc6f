"""Commands for switching, absolute free energies, vacancies, phases, and the figures of the paper."""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from jobflow import Flow
from rich.console import Console

from alchemflows.cli.inputs import check_plot, potential_of, read_structure, substitution_of
from alchemflows.cli.running import run_flow, show_database, submit_flow
from alchemflows.cli.tables import (
    absolute_table,
    checks_table,
    phase_table,
    reproduction_table,
    switching_table,
    vacancy_table,
)
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA

app = typer.Typer()
console = Console()

StructureFile = Annotated[Path, typer.Argument(help="structure file (CIF, POSCAR, ...)")]
Temperature = Annotated[float, typer.Option("--temperature", "-T", help="K")]
Pressure = Annotated[float, typer.Option(help="GPa")]
CellOption = Annotated[str, typer.Option("--cell", help="what the pressure may change: isotropic, axes or full")]
Supercell = Annotated[tuple[int, int, int], typer.Option(help="repeats of the cell")]
Potential = Annotated[str, typer.Option(help="mace-demo, sevennet-0, a mace_mp name, or a model file")]
DtypeOption = Annotated[str, typer.Option(help="float32 or float64")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ... or auto")]
Head = Annotated[str | None, typer.Option(help="head of a multi-head MACE model")]
Timestep = Annotated[float, typer.Option(help="fs")]
Repeats = Annotated[int, typer.Option(help="switches each way")]
CellSteps = Annotated[int, typer.Option(help="steps at constant pressure for the mean cell")]
Equilibration = Annotated[int, typer.Option(help="steps")]
Sampling = Annotated[int, typer.Option(help="steps in which displacements are measured")]
Switching = Annotated[int, typer.Option(help="steps of a switch")]
Relax = Annotated[bool, typer.Option(help="relax atoms and cell first")]
Seed = Annotated[int, typer.Option(help="seed of all random numbers")]
Workers = Annotated[int, typer.Option(min=1, help="local workers, which share the CPU cores")]
SubmitOnly = Annotated[bool, typer.Option("--submit", help="only add to the LaunchPad; workers elsewhere")]
Plot = Annotated[Path | None, typer.Option(help="figure")]


@app.command()
def switch(
    structure: StructureFile,
    substitutions: Annotated[list[str], typer.Argument(help="what turns into what, such as Pb:Sn")],
    temperature: Temperature,
    pressure: Pressure = ATMOSPHERE_GPA,
    constant_volume: Annotated[bool, typer.Option(help="ΔF at constant volume instead of ΔG")] = False,
    cell: CellOption = "isotropic",
    supercell: Supercell = (1, 1, 1),
    potential: Potential = "sevennet-0",
    dtype: DtypeOption = "float32",
    device: Device = "auto",
    head: Head = None,
    timestep: Timestep = 2.0,
    repeats: Repeats = 4,
    equilibration: Equilibration = 5000,
    switching: Switching = 10000,
    schedule: Annotated[str, typer.Option(help="ninth-order, fifth-order, third-order or linear")] = "ninth-order",
    relax: Relax = True,
    seed: Seed = 0,
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """ΔG (or ΔF) of a substitution by nonequilibrium switching."""
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.flows.switching import SwitchingMaker
    maker = SwitchingMaker(
        potential=potential_of(potential, dtype, device, head),
        temperature=temperature,
        pressure_GPa=None if constant_volume else pressure,
        cell_freedom=cast(Any, cell),
        timestep_fs=timestep,
        n_repeats=repeats,
        n_equilibration_steps=equilibration,
        n_switching_steps=switching,
        schedule=schedule,
        seed=seed,
    )
    if not relax:
        maker.relax_maker = None
    flow = maker.make(read_structure(structure, supercell), substitution_of(substitutions))
    _run(flow, workers, submit_only, switching_table, device, plot, "plot_switching")


@app.command("frenkel-ladd")
def frenkel_ladd(
    structure: StructureFile,
    temperature: Temperature,
    pressure: Pressure = ATMOSPHERE_GPA,
    constant_volume: Annotated[bool, typer.Option(help="take the (relaxed) cell as it is")] = False,
    cell: CellOption = "isotropic",
    supercell: Annotated[
        list[str] | None, typer.Option(help="repeats such as 3x3x3; several are extrapolated to a large crystal")
    ] = None,
    potential: Potential = "sevennet-0",
    dtype: DtypeOption = "float32",
    device: Device = "auto",
    head: Head = None,
    timestep: Timestep = 2.0,
    repeats: Repeats = 4,
    cell_steps: CellSteps = 15000,
    equilibration: Equilibration = 5000,
    sampling: Sampling = 5000,
    switching: Switching = 10000,
    spring: Annotated[
        list[str] | None, typer.Option(help="spring of an element, such as Fe:5.2 (eV/Å²); repeatable")
    ] = None,
    quantum: Annotated[bool, typer.Option(help="quantum correction of the harmonic modes")] = False,
    relax: Relax = True,
    seed: Seed = 0,
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """Absolute free energy of a crystal, ordered or alchemical, by Frenkel–Ladd switching."""
    with redirect_stdout(sys.stderr):
        from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
    maker = FrenkelLaddMaker(
        potential=potential_of(potential, dtype, device, head),
        temperature=temperature,
        pressure_GPa=None if constant_volume else pressure,
        cell_freedom=cast(Any, cell),
        timestep_fs=timestep,
        n_repeats=repeats,
        n_cell_steps=cell_steps,
        n_equilibration_steps=equilibration,
        n_sampling_steps=sampling,
        n_switching_steps=switching,
        springs_eV_per_A2=_springs(spring) if spring else None,
        quantum=quantum,
        seed=seed,
    )
    if not relax:
        maker.relax_maker = None
    sizes = [_repeats(text) for text in supercell or ["1x1x1"]]
    if len(sizes) == 1:
        flow = maker.make(read_structure(structure, sizes[0]))
    else:
        flow = maker.make(read_structure(structure), supercells=sizes)
    _run(
        flow, workers, submit_only, absolute_table, device, plot, "plot_switching" if len(sizes) == 1 else "plot_sizes"
    )


@app.command()
def vacancy(
    structure: StructureFile,
    temperature: Temperature,
    site: Annotated[int, typer.Option(help="index of the atom to remove")] = 0,
    pressure: Pressure = ATMOSPHERE_GPA,
    cell: CellOption = "isotropic",
    supercell: Supercell = (1, 1, 1),
    potential: Potential = "sevennet-0",
    dtype: DtypeOption = "float32",
    device: Device = "auto",
    head: Head = None,
    timestep: Timestep = 2.0,
    repeats: Repeats = 4,
    cell_steps: CellSteps = 15000,
    equilibration: Equilibration = 5000,
    sampling: Sampling = 5000,
    switching: Switching = 10000,
    relax: Relax = True,
    seed: Seed = 0,
    workers: Workers = 1,
    submit_only: SubmitOnly = False,
) -> None:
    """Free energy of a vacancy by two routes: two Frenkel–Ladd runs, and the removal of an atom."""
    with redirect_stdout(sys.stderr):
        from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
        from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
    absolute = FrenkelLaddMaker(
        potential=potential_of(potential, dtype, device, head),
        temperature=temperature,
        pressure_GPa=pressure,
        cell_freedom=cast(Any, cell),
        timestep_fs=timestep,
        n_repeats=repeats,
        n_cell_steps=cell_steps,
        n_equilibration_steps=equilibration,
        n_sampling_steps=sampling,
        n_switching_steps=switching,
        seed=seed,
    )
    if not relax:
        absolute.relax_maker = None
    maker = VacancyFreeEnergyMaker(frenkel_ladd_maker=absolute)
    _run(maker.make(read_structure(structure, supercell), site), workers, submit_only, vacancy_table, device)


@app.command()
def phases(
    structures: Annotated[list[str], typer.Argument(help="phases, such as alpha=alpha.cif delta=delta.cif")],
    temperatures: Annotated[list[float], typer.Option("--temperature", "-T", help="K; repeatable")],
    substitution: Annotated[str | None, typer.Option(help="what turns into what, such as Pb:Sn")] = None,
    compositions: Annotated[
        list[float] | None, typer.Option("--composition", "-x", help="share of the substitution; repeatable")
    ] = None,
    pressure: Pressure = ATMOSPHERE_GPA,
    cell: CellOption = "axes",
    potential: Potential = "sevennet-0",
    dtype: DtypeOption = "float32",
    device: Device = "auto",
    head: Head = None,
    timestep: Timestep = 2.0,
    repeats: Repeats = 4,
    cell_steps: CellSteps = 15000,
    equilibration: Equilibration = 5000,
    sampling: Sampling = 5000,
    switching: Switching = 10000,
    seed: Seed = 0,
    workers: Workers = 1,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """G of several phases over temperature and composition, the stable one, and transitions between them."""
    with redirect_stdout(sys.stderr):
        from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
        from alchemflows.flows.phase_stability import PhaseStabilityMaker
    named = [_named(text) for text in structures]
    files = dict(named)
    if len(files) < len(named):
        raise InvalidInputError("two phases have the same name")
    if compositions and not substitution:
        raise InvalidInputError("a composition is a share of a substitution: give --substitution too")
    absolute = FrenkelLaddMaker(
        potential=potential_of(potential, dtype, device, head),
        pressure_GPa=pressure,
        cell_freedom=cast(Any, cell),
        timestep_fs=timestep,
        n_repeats=repeats,
        n_cell_steps=cell_steps,
        n_equilibration_steps=equilibration,
        n_sampling_steps=sampling,
        n_switching_steps=switching,
        seed=seed,
    )
    maker = PhaseStabilityMaker(frenkel_ladd_maker=absolute)
    flow = maker.make(
        {name: read_structure(Path(path)) for name, path in files.items()},
        temperatures,
        substitution=substitution_of([substitution]) if substitution else None,
        compositions=compositions or (0.0, 1.0),
    )
    _run(flow, workers, submit_only, phase_table, device, plot, "plot_phases")


@app.command()
def reproduce(
    figure: Annotated[str, typer.Argument(help="fig4 or fig5")],
    small: Annotated[bool, typer.Option("--small", help="minutes on 2 CPU cores, with mace-demo")] = False,
    seed: Seed = 0,
    workers: Workers = 2,
    submit_only: SubmitOnly = False,
) -> None:
    """Make the table of a figure of Nam et al., Nat. Commun. 16, 4350 (2025), and check it against itself."""
    with redirect_stdout(sys.stderr):
        from alchemflows.reproduce.fig4 import Fig4Maker
        from alchemflows.reproduce.fig5 import Fig5Maker
    makers: dict[str, type[Fig4Maker] | type[Fig5Maker]] = {"fig4": Fig4Maker, "fig5": Fig5Maker}
    if figure not in makers:
        raise InvalidInputError(f"the figure must be one of {', '.join(makers)}; got {figure!r}")
    document = _run(makers[figure](small=small, seed=seed).make(), workers, submit_only, reproduction_table)
    if document is not None:
        console.print(checks_table(document))
        if not document.holds:
            raise AlchemflowsError("a check does not hold")


def _run(
    flow: Flow,
    workers: int,
    submit_only: bool,
    table: Any,
    device: str | None = None,
    plot: Path | None = None,
    figure: str | None = None,
) -> Any:
    """Submit a flow, or run it and show its result; return the document."""
    started = time.monotonic()
    check_plot(plot)
    if not submit_only and device is not None:
        with redirect_stdout(sys.stderr):
            from alchemflows.alchemy.backends import check_device
        check_device(device)
    if submit_only:
        submit_flow(console, flow)
        return None
    document, database, uuid, folder = run_flow(console, flow, workers)
    console.print(table(document))
    problems = document.problems if hasattr(document, "problems") else getattr(document, "verdict", None)
    for reason in problems if isinstance(problems, list) else getattr(problems, "reasons", []):
        console.print(f"[yellow]warning:[/] {reason}")
    if plot is not None and figure is not None:
        from alchemflows import plotting

        console.print(f"figure: {plotting.save(getattr(plotting, figure)(document), plot)}")
    console.print(f"{time.monotonic() - started:.0f} s; launch folders and logs of the workers: {folder}")
    show_database(console, database, uuid)
    return document


def _repeats(text: str) -> tuple[int, int, int]:
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InvalidInputError(f"a supercell is written like 3x3x3; got {text!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def _springs(texts: list[str]) -> dict[str, float]:
    springs = {}
    for text in texts:
        name, _, value = text.partition(":")
        try:
            springs[name] = float(value)
        except ValueError:
            raise InvalidInputError(f"a spring is written like Fe:5.2; got {text!r}") from None
    return springs


def _named(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise InvalidInputError(f"a phase is written like alpha=alpha.cif; got {text!r}")
    return name, path
