"""Commands that compare with the paper's figures and with reference results."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.inputs import dtype_of
from alchemflows.cli.once import App
from alchemflows.cli.options import Device, Dtype, Plot, Seed, SubmitOnly, Workers
from alchemflows.cli.running import console, run_and_show
from alchemflows.cli.tables import deviation_table, reproduction_tables
from alchemflows.errors import AlchemflowsError, InvalidInputError

if TYPE_CHECKING:
    from alchemflows.schemas.reproduction import Version

app = App()


@app.command()
def reproduce(
    figure: Annotated[str, typer.Argument(help="Figure: fig2, fig3, fig4 or fig5.")],
    small: Annotated[
        bool, typer.Option("--small", help="Small version with mace-demo (minutes on 2 CPU cores).")
    ] = False,
    medium: Annotated[
        bool,
        typer.Option(
            "--medium", help="Medium version (up to 2 hours on 2 CPU cores); fig2, fig3 and fig4 use sevennet-0."
        ),
    ] = False,
    device: Annotated[
        str | None,
        typer.Option(
            help="Device of the potential: cpu, cuda, cuda:1, ... or auto "
            "[default: cpu with --small or --medium, else auto]."
        ),
    ] = None,
    seed: Seed = 0,
    workers: Workers = 2,
    plot: Plot = None,
    submit_only: SubmitOnly = False,
) -> None:
    """Reproduce the data of a figure of the paper, and check them.

    The paper is Nam et al., Nat. Commun. 16, 4350 (2025). The checks test the consistency of the results.
    """
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.plotting import plot_lattices
        from alchemflows.reproduce.fig2 import Fig2Maker
        from alchemflows.reproduce.fig3 import Fig3Maker
        from alchemflows.reproduce.fig4 import Fig4Maker
        from alchemflows.reproduce.fig5 import Fig5Maker
    makers: dict[str, type[Fig2Maker | Fig3Maker | Fig4Maker | Fig5Maker]] = {
        "fig2": Fig2Maker,
        "fig3": Fig3Maker,
        "fig4": Fig4Maker,
        "fig5": Fig5Maker,
    }
    if figure not in makers:
        raise InvalidInputError(f"the figure must be one of {', '.join(makers)}; got {figure!r}")
    if small and medium:
        raise InvalidInputError("give either --small or --medium, not both")
    if plot is not None and figure != "fig2":
        raise InvalidInputError(f"only fig2 has a figure to plot; {figure} is a table")
    version: Version = "small" if small else "medium" if medium else "paper"
    maker = makers[figure](version=version, seed=seed, device=device)
    document = run_and_show(
        maker.make(),
        reproduction_tables,
        device=maker.effort.potential.device,
        workers=workers,
        submit_only=submit_only,
        figures=[(plot, plot_lattices)],
    )
    if document is not None and not document.holds:
        raise AlchemflowsError("a check does not hold")


@app.command()
def verify(
    cases: Annotated[Path, typer.Argument(help="Reference cases (JSON file).")],
    models: Annotated[Path, typer.Option(help="Folder of the model files.")],
    tolerance: Annotated[
        float, typer.Option(help="Maximum deviation of energies (eV), forces (eV/Å) and stresses (eV/Å³).")
    ] = 1e-9,
    dtype: Dtype = "float64",
    device: Device = "auto",
) -> None:
    """Compare energies and derivatives with reference results."""
    with redirect_stdout(sys.stderr):
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
