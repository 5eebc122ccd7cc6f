"""Commands for frames, the stored configurations of sampled states."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from alchemflows.cli.configured import connected, connected_with_rights
from alchemflows.cli.corrections import maker_of
from alchemflows.cli.layout import counted, plain_console, print_json
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, JsonInstead
from alchemflows.cli.results import ResultID
from alchemflows.cli.running import console
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from ase import Atoms
    from jobflow import Flow, Maker

    from alchemflows.analysis.frames import StateFrames
    from alchemflows.results.worst_frames import WorstFrame
    from alchemflows.storage.database import Database

app = App()
frames_app = App(no_args_is_help=True, help="Frames: stored configurations of sampled states.")
app.add_typer(frames_app, name="frames")


@frames_app.command("worst", example="alchemflows frames worst 9c0d1e2f 20 worst.xyz")
def worst(
    result: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="ID of a committee, or with --reference of any result with frames, as listed by `alchemflows "
            "results`; the first characters are enough.",
        ),
    ],
    number: Annotated[int, typer.Argument(metavar="N", help="Number of frames.")],
    file: Annotated[
        Path, typer.Argument(help="File to write: frames (.xyz or .extxyz), or with --maker a flow of jobflow (.json).")
    ],
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="<file>",
            help="File with reference frames, such as the training data of the potential, as extended XYZ or in "
            "another format of ASE. The frames farthest from these are written.",
        ),
    ] = None,
    device: Device = "auto",
    maker: Annotated[
        str | None,
        typer.Option(
            metavar="<maker>",
            help="Import path of a maker of jobs from which a flow is made, with one job for each frame, such as "
            "atomate2.vasp.jobs.core:StaticMaker.",
        ),
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="<name=value>", help="Argument of the maker, such as name=static; repeatable."),
    ] = None,
    category: Annotated[str, typer.Option(help="FireWorks category of the jobs.")] = "gpu",
    submit: Annotated[
        bool, typer.Option("--submit", help="Submit the flow to the FireWorks LaunchPad; needs --maker.")
    ] = False,
    as_json: JsonInstead = False,
) -> None:
    """Write the frames at which a potential is least certain.

    N frames of a committee are written, the one with the largest disagreement first. They can be input for DFT and
    training. The committee can be that of a ladder, a free energy of mixing or a transition. Frames are ordered by the
    spread of the forces if the committee was run with --forces, otherwise by that of the energy differences. The file
    has no energies. With --maker, a flow that calculates the frames is written or submitted.

    With --reference, frames of any result are ordered by their distance from reference frames. The distance of a frame
    is the largest one of an atom from the nearest reference atom of its element, in the features of the potential that
    was sampled. Its unit is the typical distance between atoms of different reference frames.
    """
    from alchemflows.cli.frame_tables import worst_frames_table
    from alchemflows.cli.progress import FrameProgress
    from alchemflows.output_file import check_writable
    from alchemflows.results.frames import check_frames_file
    from alchemflows.results.worst_frames import farthest_frames, worst_frames, write_worst_frames

    writes_flow = file.suffix == ".json"
    if writes_flow:
        check_writable(file)
    else:
        check_frames_file(file)
    if maker is None:
        refuse_given({"argument": "--argument", "category": "--category", "submit": "--submit"}, "without --maker")
        if writes_flow:
            raise InvalidInputError(f"{file.name}: a .json file is for a flow; give its --maker, or write .xyz")
    elif not (submit or writes_flow):
        raise InvalidInputError("--maker: give --submit, or a file that ends with .json, to which the flow is written")
    if number < 1:
        raise InvalidInputError(f"N must be at least 1; got {number}")
    if reference is None:
        refuse_given({"device": "--device"}, "without --reference")
    images = None if reference is None else _read_reference(reference)
    target = None if maker is None else maker_of(maker, argument or [])
    database = (connected_with_rights("submitter") if submit else None) or connected()
    between = None
    if images is None:
        frames = worst_frames(database, result, number)
    else:
        with FrameProgress("features of frames", plain_console(stderr=True)) as progress:
            frames, atoms = farthest_frames(database, result, number, images, device=device, report=progress)
        between = atoms.between_frames.tolist()
    flow = None if target is None else _flow_of(frames, target, category)
    # Before a file names the jobs; which frame a job is for stands in its metadata, too.
    fw_ids = _submitted(database, flow) if flow is not None and submit else []
    if flow is not None and writes_flow:
        _write_flow(flow, file)
    else:
        write_worst_frames(frames, file, [] if flow is None else [output.uuid for output in flow.output])
    if as_json:
        rows = [
            {
                "state": frame.state,
                **frame.conditions,
                "frame": frame.index,
                "spread_eV": frame.spread_eV,
                "force_spread_eV_per_A": frame.force_spread_eV_per_A,
                "distance": frame.distance,
            }
            for frame in frames
        ]
        printed: dict[str, Any] = {"file": file, "frames": rows}
        if between is not None:
            printed["between_reference_frames"] = {"median": median(between), "largest": max(between)}
        print_json(printed | ({"fw_ids": fw_ids} if submit else {}))
        return
    console.print(worst_frames_table(frames))
    if between is not None:
        console.print(
            f"Distances between reference frames: median {median(between):.2f}, largest {max(between):.2f}.",
            highlight=False,
            soft_wrap=True,
        )
    console.print(f"{len(frames)} frames: {file}", highlight=False, soft_wrap=True)
    if fw_ids:
        console.print(
            f"{counted(len(fw_ids), 'job')} of the category {category} added to the LaunchPad, {min(fw_ids)} to "
            f"{max(fw_ids)}",
            highlight=False,
        )


def _read_reference(file: Path) -> list[Atoms]:
    from alchemflows.structures.images import read_images
    from alchemflows.structures.parsed import check_exists

    check_exists(file)
    try:
        images, _ = read_images(file)
    except InvalidInputError as error:
        raise InvalidInputError(f"--reference {file}: {error}") from error
    return images


def _flow_of(frames: Sequence[WorstFrame], maker: Maker, category: str) -> Flow:
    from alchemflows.flows.frame_calculations import frame_calculations
    from alchemflows.jobs.frame_jobs import FrameLabels

    labelled = [(each.structure, FrameLabels(each.result, each.state, each.index, each.conditions)) for each in frames]
    return frame_calculations(maker, labelled, category=category)


def _write_flow(flow: Flow, file: Path) -> None:
    from monty.serialization import dumpfn

    try:
        dumpfn(flow, file.expanduser())
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be written: {error.strerror or error}") from None


def _submitted(database: Database, flow: Flow) -> list[int]:
    from alchemflows.execution.local import submit

    return submit(database, flow)


@frames_app.command("show", example="alchemflows frames show 1a2b3c4d")
def show_frames(result: ResultID, as_json: JsonInstead = False) -> None:
    """List the states of a result that have frames.

    These are both ends of a ladder or of switches, the mean cell of a Frenkel–Ladd result, or the temperatures,
    chemical potentials and targets of Monte Carlo.
    """
    from alchemflows.cli.frame_tables import states_table
    from alchemflows.results.frames import states_of

    _, states = states_of(connected(), result)
    if as_json:
        print_json({"states": [_described(number, state) for number, state in enumerate(states, 1)]})
        return
    console.print(states_table(states))


@frames_app.command("export", example="alchemflows frames export 1a2b3c4d ends.xyz")
def export_frames(
    result: ResultID,
    file: Annotated[Path, typer.Argument(help="File to write (.xyz or .extxyz).")],
    end: Annotated[
        str,
        typer.Option(
            metavar="[initial|final|both]",
            help="For ladders and switches: frames of the initial crystal (λ = 0), of the final one, or of both.",
        ),
    ] = "both",
    state: Annotated[
        list[int] | None,
        typer.Option(help="Number of a state, as listed by `alchemflows frames show`; repeatable [default: all]."),
    ] = None,
    forces: Annotated[
        bool, typer.Option("--forces", help="Add forces (eV/Å), computed now with the potential that was sampled.")
    ] = False,
    device: Device = "auto",
    as_json: JsonInstead = False,
) -> None:
    """Write the frames of a result as extended XYZ.

    The file contains their potential energies (eV).
    """
    from alchemflows.choices import check_choice
    from alchemflows.results.frames import End, check_frames_file, states_of, write_frames

    check_choice("--end", end, get_args(End))
    check_frames_file(file)
    if not forces:
        refuse_given({"device": "--device"}, "without --forces")
    if state:
        refuse_given({"end": "--end"}, "with --state")
    document, states = states_of(connected(), result)
    if end != "both":
        if len(states) != 2 or any("lambda" not in each.conditions for each in states):
            raise InvalidInputError("--end is for ladders and switches; `alchemflows frames show` lists other states")
        state = [{"initial": 1, "final": 2}[end]]
    if wrong := [number for number in state or () if not 1 <= number <= len(states)]:
        raise InvalidInputError(f"--state must be from 1 to {len(states)}; got {wrong[0]}")
    chosen = [(number, states[number - 1]) for number in sorted(set(state or range(1, len(states) + 1)))]
    n_frames = write_frames(document, [each for _, each in chosen], file, forces=forces, device=device)
    if as_json:
        print_json({"file": file, "n_frames": n_frames, "states": [_described(*each) for each in chosen]})
        return
    for _, each in chosen:
        spacing = "" if each.spacing is None else f" every {each.spacing:g} {each.unit}"
        console.print(
            f"{each.name}: {len(each.frames)} frames{spacing}; correlation of the energy "
            f"{each.correlation:.3g} {each.unit}",
            highlight=False,
        )
    console.print(f"{n_frames} frames: {file}", highlight=False, soft_wrap=True)


def _described(number: int, state: StateFrames) -> dict[str, Any]:
    """Return a state as it is printed with --json."""
    return {
        "number": number,
        "name": state.name,
        **state.conditions,
        "n_frames": len(state.frames),
        f"spacing_{state.unit}": state.spacing,
        f"correlation_{state.unit}": state.correlation,
    }
