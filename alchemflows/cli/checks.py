"""Commands that compare with the paper's figures and with reference results."""

from __future__ import annotations

import pkgutil
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.choices import check_choice
from alchemflows.cli.inputs import dtype_of
from alchemflows.cli.layout import print_json
from alchemflows.cli.maker_options import grouped
from alchemflows.cli.once import App
from alchemflows.cli.options import Device, Dtype, JsonInstead, Plot, RunOptions, Seed, device_option
from alchemflows.cli.running import console, run_and_show
from alchemflows.errors import AlchemflowsError, InvalidInputError

if TYPE_CHECKING:
    from alchemflows.schemas.reproduction import Version

app = App()

#: Where the maker of each figure is. Its module is imported for this figure only.
FIGURES = {f"fig{n}": f"alchemflows.reproduce.fig{n}:Fig{n}Maker" for n in (2, 3, 4, 5)}


@app.command(example="alchemflows reproduce fig3 --small")
@grouped
def reproduce(
    figure: Annotated[str, typer.Argument(help="Figure: fig2, fig3, fig4 or fig5.")],
    run: RunOptions,
    small: Annotated[
        bool, typer.Option("--small", help="Use mace-demo and short runs (minutes on 2 CPU cores).")
    ] = False,
    medium: Annotated[
        bool,
        typer.Option(
            "--medium", help="Use longer runs (up to 2 hours on 2 CPU cores); fig2, fig3 and fig4 use sevennet-0."
        ),
    ] = False,
    device: Annotated[str | None, device_option(" [default: cpu with --small or --medium, otherwise auto]")] = None,
    seed: Seed = 0,
    plot: Plot = None,
) -> None:
    """Reproduce and check the data of a figure of the paper.

    The paper is Nam et al., Nat. Commun. 16, 4350 (2025). The checks compare the computed results with each other, for
    example a free energy that is computed in two ways. Without --small or --medium, the settings of the paper are used,
    and the values of the paper are printed for comparison.
    """
    check_choice("the figure", figure, FIGURES)
    if small and medium:
        raise InvalidInputError("give either --small or --medium, not both")
    if plot is not None and figure != "fig2":
        raise InvalidInputError(f"only fig2 has a figure to plot; {figure} is a table")
    version: Version = "small" if small else "medium" if medium else "paper"
    maker = pkgutil.resolve_name(FIGURES[figure])(version=version, seed=seed, device=device)
    document = run_and_show(
        maker.make,
        run,
        device=maker.effort.potential.device,
        figures={"lattices": plot},
    )
    if document is not None and not document.holds:
        raise AlchemflowsError("a check does not hold")


@app.command(example="alchemflows verify tests/alchemy/between_vertices.json --models .")
def verify(
    cases: Annotated[Path, typer.Argument(help="Reference cases (JSON file).")],
    models: Annotated[Path, typer.Option(help="Folder of the model files.")],
    tolerance: Annotated[
        float, typer.Option(help="Maximum deviation of energies (eV), forces (eV/Å) and stresses (eV/Å³).")
    ] = 1e-9,
    dtype: Dtype = "float64",
    device: Device = "auto",
    as_json: JsonInstead = False,
) -> None:
    """Compare energies and derivatives with references."""
    from alchemflows.cli.tables import deviation_table

    precision = dtype_of(dtype)
    _check_paths(cases, models)
    with redirect_stdout(sys.stderr):
        from alchemflows.alchemy.verify import compare, load_cases

    deviations, problems = [], []
    for name, case in load_cases(cases).items():
        try:
            deviations.append(compare(name, case, models, dtype=precision, device=device))
        except AlchemflowsError as error:
            problems.append(f"{name}: {error}")
    if as_json:
        print_json(deviations)
    else:
        console.print(deviation_table(deviations, tolerance))
    if problems:
        raise AlchemflowsError("; ".join(problems))
    if not all(deviation.largest <= tolerance for deviation in deviations):
        raise AlchemflowsError(f"a deviation is larger than {tolerance:g}")


@app.command(example="alchemflows verify-ensembles tests/data/ensembles.json --models .")
def verify_ensembles(
    cases: Annotated[Path, typer.Argument(help="Cells with exact ensemble averages (JSON file).")],
    models: Annotated[Path, typer.Option(help="Folder of the model files.")],
    seed: Seed = 0,
    dtype: Dtype = "float64",
    device: Device = "auto",
    as_json: JsonInstead = False,
) -> None:
    """Compare Monte Carlo with exact averages.

    The exact averages are sums over all arrangements. Each ensemble is sampled with informed (two balancing functions)
    and uniform proposals. Averages must agree within three standard errors, and the error of the energy must be at most
    2 % of its standard deviation in the ensemble.
    """
    from alchemflows.cli.tables import ensemble_table

    precision = dtype_of(dtype)
    _check_paths(cases, models)
    with redirect_stdout(sys.stderr):
        from alchemflows.sampling.verify import MAX_ERROR, MAX_SIGMA, load_ensembles, sample_case

        sampled, problems = [], []
        for name, case in load_ensembles(cases).items():
            try:
                sampled += sample_case(name, case, models, seed=seed, dtype=precision, device=device)
            except AlchemflowsError as error:
                problems.append(f"{name}: {error}")
    if as_json:
        derived = ("largest", "relative_error", "holds")
        print_json([asdict(each) | {name: getattr(each, name) for name in derived} for each in sampled])
    else:
        console.print(ensemble_table(sampled))
    if problems:
        raise AlchemflowsError("; ".join(problems))
    if not all(each.holds for each in sampled):
        raise AlchemflowsError(
            f"a deviation is larger than {MAX_SIGMA:g} standard errors, or the error of an energy is larger than "
            f"{MAX_ERROR:.0%} of its standard deviation"
        )


def _check_paths(cases: Path, models: Path) -> None:
    """Refuse a file of cases or a folder of models that does not exist."""
    if not cases.is_file() or not models.is_dir():
        missing = models if cases.is_file() else cases
        raise InvalidInputError(f"{missing} does not exist; give a file of cases and the folder of their models")
