"""The command line's app. What takes seconds to import (torch, the models) is imported by the commands that need it."""

from __future__ import annotations

from typing import Annotated

import typer

from alchemflows.cli import (
    absolute,
    campaign,
    checks,
    committees,
    compositions,
    corrections,
    database,
    defects,
    doctor,
    example,
    frames,
    ordering,
    potentials,
    readout,
    reanalysis,
    rerun,
    results,
    transformations,
    workers,
)
from alchemflows.schemas.provenance import Provenance

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's panels cut the names of options at 80 columns
    help="Alchemical free energies with machine-learning interatomic potentials.",
    epilog="The help of each command ends with an example. `alchemflows example structures .` writes the structures of "
    "the examples; 1a2b3c4d stands for an ID that `alchemflows results` lists.",
)


def _print_versions(wanted: bool) -> None:
    """Print the versions that documents record, one a line, and end."""
    if wanted:
        made_by = Provenance()
        for package, version in (made_by.versions | {"python": made_by.python}).items():
            print(package, version)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_print_versions,
            is_eager=True,
            help="Print the versions of alchemflows, Python and the main libraries.",
        ),
    ] = False,
) -> None:
    """Take the options of the app itself."""


for commands in (
    transformations,
    absolute,
    defects,
    compositions,
    committees,
    corrections,
    example,
    frames,
    ordering,
    campaign,
    checks,
    potentials,
    database,
    doctor,
    results,
    readout,
    reanalysis,
    rerun,
    workers,
):
    app.add_typer(commands.app)
