"""The command that writes example inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.example_files import describe, examples, find_example
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead
from alchemflows.cli.running import console
from alchemflows.errors import InvalidInputError

app = App()


@app.command(example="alchemflows example structures .")
def example(
    name: Annotated[str | None, typer.Argument(help="Name of the example; omit to list all.")] = None,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder to write to [default: the name of the example].")
    ] = None,
    as_json: JsonInstead = False,
) -> None:
    """List or write example inputs.

    There are structures, a campaign, and a script and a notebook for each method.
    """
    if name is None:
        _list(as_json)
        return
    chosen = find_example(name)
    if folder is None:
        folder = Path(chosen.name)
        if folder.exists():
            raise InvalidInputError(f"{folder} exists; name another folder: alchemflows example {chosen.name} DIR")
    written = chosen.write(folder)
    if as_json:
        print(json.dumps({"files": [str(path) for path in written], "command": chosen.command}, indent=1))
        return
    for path in written:
        about = f"  ({describe(path.read_text(encoding='utf-8'))})" if path.suffix == ".cif" else ""
        _say(f"{path}{about}")
    _say(f"Run: {chosen.command}" if folder == Path() else f"Run: cd {folder} && {chosen.command}")


def _list(as_json: bool) -> None:
    if as_json:
        rows = [
            {
                "name": each.name,
                "summary": each.summary,
                "command": each.command,
                "files": list(each.contents()),
            }
            for each in examples().values()
        ]
        print(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    known = examples().values()
    width = max(len(each.name) for each in known) + 2
    for each in known:  # lines rather than a table, so that no command is cut
        _say(f"{each.name:{width}}{each.summary}\n{'':{width}}{each.command}")
    _say("Write one: alchemflows example NAME [DIR]")


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
