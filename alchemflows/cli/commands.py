"""The command line's app. What takes seconds to import (torch, the models) is imported by the commands that need it."""

from __future__ import annotations

import typer

from alchemflows.cli import (
    absolute,
    campaign,
    checks,
    compositions,
    database,
    defects,
    ordering,
    readout,
    transformations,
    workers,
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Alchemical free energies with machine-learning interatomic potentials.",
)
for commands in (
    transformations,
    absolute,
    defects,
    compositions,
    ordering,
    campaign,
    checks,
    database,
    readout,
    workers,
):
    app.add_typer(commands.app)
