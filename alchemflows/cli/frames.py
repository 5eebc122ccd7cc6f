"""Commands for frames, the stored configurations of the ends of a ladder or of switches."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.layout import print_json
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, JsonInstead
from alchemflows.cli.results import ResultID
from alchemflows.cli.running import console
from alchemflows.errors import InvalidInputError

app = App()
frames_app = App(no_args_is_help=True, help="Frames: stored configurations of both ends of a ladder or of switches.")
app.add_typer(frames_app, name="frames")


@frames_app.command("worst")
def worst(
    result: ResultID,
    number: Annotated[int, typer.Argument(metavar="N", help="Number of frames.")],
    file: Annotated[Path, typer.Argument(help="File to write (.xyz or .extxyz).")],
    as_json: JsonInstead = False,
) -> None:
    """Write the frames at which the members of a committee disagree most, as input for DFT and training.

    They are ordered by the spread of the forces if the committee was run with --forces, otherwise by that of the energy
    differences. The file has no energies.
    """
    from alchemflows.cli.tables import empty_table
    from alchemflows.results.frames import check_frames_file
    from alchemflows.results.worst_frames import worst_frames, write_worst_frames

    check_frames_file(file)
    if number < 1:
        raise InvalidInputError(f"N must be at least 1; got {number}")
    frames = worst_frames(connected(), result, number)
    write_worst_frames(frames, file)
    if as_json:
        rows = [
            {
                "lambda": frame.lambda_value,
                "frame": frame.index,
                "spread_eV": frame.spread_eV,
                "force_spread_eV_per_A": frame.force_spread_eV_per_A,
            }
            for frame in frames
        ]
        print_json({"file": file, "frames": rows})
        return
    table = empty_table("", ("λ", "frame", "spread of ΔU (eV)", "of forces (eV/Å)"))
    for frame in frames:
        values = (frame.spread_eV, frame.force_spread_eV_per_A)
        table.add_row(
            f"{frame.lambda_value:g}", str(frame.index), *("" if each is None else f"{each:.4f}" for each in values)
        )
    console.print(table)
    console.print(f"{len(frames)} frames: {file}", highlight=False, soft_wrap=True)


@frames_app.command("export")
def export_frames(
    result: ResultID,
    file: Annotated[Path, typer.Argument(help="File to write (.xyz or .extxyz).")],
    end: Annotated[
        str,
        typer.Option(
            metavar="[initial|final|both]", help="Frames of the initial crystal (λ = 0), of the final one, or of both."
        ),
    ] = "both",
    forces: Annotated[
        bool, typer.Option("--forces", help="Add forces (eV/Å), computed now with the potential that was sampled.")
    ] = False,
    device: Device = "auto",
    as_json: JsonInstead = False,
) -> None:
    """Write the frames of a ladder or of switches as extended XYZ, with their potential energies (eV)."""
    from alchemflows.results.frames import check_frames_file, frames_of, write_frames

    check_frames_file(file, end)
    if not forces:
        refuse_given({"device": "--device"}, "without --forces")
    ladder, initial, final = frames_of(connected(), result)
    chosen = {"initial": {0.0: initial}, "final": {1.0: final}, "both": {0.0: initial, 1.0: final}}[end]
    n_frames = write_frames(ladder, chosen, file, forces=forces, device=device)
    if as_json:
        ends = [
            {
                "lambda": value,
                "n_frames": len(sampled.frames),
                "spacing_fs": sampled.spacing_fs,
                "correlation_time_fs": sampled.correlation_time_fs,
            }
            for value, sampled in chosen.items()
        ]
        print_json({"file": file, "n_frames": n_frames, "ends": ends})
        return
    for value, sampled in chosen.items():
        spacing = "" if sampled.spacing_fs is None else f" every {sampled.spacing_fs:g} fs"
        console.print(
            f"λ = {value:g}: {len(sampled.frames)} frames{spacing}; correlation time of the energy "
            f"{sampled.correlation_time_fs:.0f} fs",
            highlight=False,
        )
    console.print(f"{n_frames} frames: {file}", highlight=False, soft_wrap=True)
