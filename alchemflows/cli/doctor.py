"""The command that checks an installation."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from alchemflows.cli.configured import settings
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead
from alchemflows.cli.running import console
from alchemflows.errors import AlchemflowsError

if TYPE_CHECKING:
    from alchemflows.cli.diagnosis import Finding

app = App()

_MARKS = {"ok": "[green]ok[/]", "optional": "[yellow]--[/]", "broken": "[red]!![/]"}


@app.command(example="alchemflows doctor")
def doctor(
    potential: Annotated[
        str | None, typer.Option(help="Also load this potential: a name, or the path of a model file.")
    ] = None,
    as_json: JsonInstead = False,
) -> None:
    """Check the installation and its configuration.

    For each problem, the output shows how to correct it.
    """
    from alchemflows.cli.diagnosis import diagnose

    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        findings = diagnose(settings(), potential)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
    else:
        for finding in findings:
            _show(finding)
    broken = [finding.name for finding in findings if finding.state == "broken"]
    if broken:
        raise AlchemflowsError(f"these checks failed: {', '.join(broken)}; the lines above show how to correct them")


def _show(finding: Finding) -> None:
    """Print a finding, and below it how to correct it."""
    console.print(_MARKS[finding.state], end=" ")
    # Lines are not wrapped, so that commands can be copied.
    console.print(f"{finding.name}: {finding.text}", highlight=False, markup=False, soft_wrap=True)
    if finding.remedy:
        console.print(f"     {finding.remedy}", highlight=False, markup=False, soft_wrap=True)
