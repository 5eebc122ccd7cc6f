"""Commands for the files of potentials."""

from __future__ import annotations

import hashlib
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App
from alchemflows.cli.options import JsonInstead
from alchemflows.cli.running import console
from alchemflows.errors import InvalidInputError

app = App()
potential_app = App(no_args_is_help=True, help="Files of potentials.")
app.add_typer(potential_app, name="potential")


@potential_app.command("convert", example="alchemflows potential convert my-mace.model my-mace.safetensors")
def convert(
    potential: Annotated[
        str,
        typer.Argument(
            metavar="POTENTIAL",
            help="MACE model: a name of mace_mp (small, medium-mpa-0, ...), or the path of its file.",
        ),
    ],
    file: Annotated[Path, typer.Argument(help="File to write (.safetensors).")],
    description: Annotated[
        str, typer.Option(metavar="<text>", help="Text for readers of the file, such as its training data and licence.")
    ] = "",
    as_json: JsonInstead = False,
) -> None:
    """Write a MACE model to a file without pickle.

    The file contains the network parameters and a description of the architecture, and no code. It can be used in place
    of the original (--potential FILE), also with releases of mace-torch that cannot read the original. It is written
    only if a model that is rebuilt from it gives bitwise the same energies. Other models are refused.
    """
    from alchemflows.output_file import check_writable
    from alchemflows.schemas.potential import CHGNET_FILES, package_of

    if file.suffix != ".safetensors":
        raise InvalidInputError(f"the name of {file} must end with .safetensors")
    if potential in CHGNET_FILES or package_of(potential) is not None:
        raise InvalidInputError(f"{potential} is not a MACE model; only MACE models can be converted")
    check_writable(file)
    with redirect_stdout(sys.stderr):  # mace-torch prints on import
        from alchemflows.alchemy.backends.loading import mace_model
        from alchemflows.alchemy.backends.mace_file import save_mace

        name = Path(potential).stem if Path(potential).suffix else potential
        save_mace(mace_model(potential), file.expanduser(), name=name, description=description)
    content = file.expanduser().read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if as_json:
        print_json({"file": str(file), "sha256": sha256, "n_bytes": len(content)})
    else:
        console.print(f"{file}: {len(content)} bytes, SHA-256 {sha256}", highlight=False, soft_wrap=True)
