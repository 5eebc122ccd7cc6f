"""The command that corrects a free energy to another potential."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.inputs import dtype_of
from alchemflows.cli.maker_options import grouped
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, Dtype, Plot, RunOptions
from alchemflows.cli.results import ResultID
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from alchemflows.analysis.frames import SampledFrames
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

app = App()


@app.command()
@grouped
def correct(
    result: ResultID,
    to: Annotated[
        str,
        typer.Option(
            metavar="<target>",
            help="Target: a potential (name or model file), or the import path of a calculator of ASE, such as "
            "chgnet.model.dynamics:CHGNetCalculator.",
        ),
    ],
    run: RunOptions,
    argument: Annotated[
        list[str] | None,
        typer.Option(metavar="<name=value>", help="Argument of the calculator, such as use_device=cpu; repeatable."),
    ] = None,
    max_failed: Annotated[
        float, typer.Option(help="Largest share of the frames of an end on which the target may fail.")
    ] = 0.1,
    dtype: Dtype = "float64",
    device: Device = "auto",
    head: Annotated[str | None, typer.Option(help="Head of a multi-head MACE potential.")] = None,
    category: Annotated[str, typer.Option(help="FireWorks category of the job.")] = "gpu",
    plot: Plot = None,
) -> None:
    """Correct the free energy of a ladder to another potential, without new dynamics.

    Stored frames of both ends are evaluated with the target and reweighted.
    """
    target = target_of(to, argument or [], dtype, device, head)
    if not 0 <= max_failed < 1:
        raise InvalidInputError(f"--max-failed must be at least 0 and below 1; got {max_failed:g}")
    from alchemflows.flows.correction import CorrectionMaker
    from alchemflows.results.frames import frames_of
    from alchemflows.results.listing import find_result

    maker = CorrectionMaker(target=target, max_failed=max_failed, category=category)
    database = connected()
    uuid, _ = find_result(database, result)
    _, *ends = frames_of(database, uuid)
    elements = check_ordered(uuid, ends)
    run_and_show(partial(maker.make, uuid, elements=elements), run, device=device, figures={"correction": plot})


def check_ordered(uuid: str, ends: Sequence[SampledFrames]) -> frozenset[int]:
    """Return the atomic numbers of the frames of both ends of a ladder, after checking that these are ordered.

    Raises
    ------
    InvalidInputError
        If an end is a mixed crystal.
    """
    if not all(end.frames.is_ordered for end in ends):
        raise InvalidInputError(
            f"the ladder {uuid[:8]} ends in a mixed crystal, whose energy only an alchemical potential has; a "
            "correction needs ordered ends"
        )
    return frozenset().union(*(end.frames.elements for end in ends))


def target_of(
    to: str, arguments: list[str], dtype: str, device: str, head: str | None
) -> PotentialSpec | CalculatorSpec:
    """Return the specification of a target from the options of the command.

    Raises
    ------
    InvalidInputError
        If an argument is malformed, or an option has no effect for this kind of target.
    """
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

    if ":" in to and not Path(to).expanduser().exists():
        options = {"dtype": "--dtype", "device": "--device", "head": "--head"}
        refuse_given(options, "on a calculator of ASE; give its own arguments with --argument")
        return CalculatorSpec(path=to, arguments=dict(map(argument_of, arguments)))
    if arguments:
        raise InvalidInputError("--argument is for calculators of ASE; potentials have --dtype, --device and --head")
    return PotentialSpec(name=to, dtype=dtype_of(dtype), device=device, head=head)


def argument_of(text: str, option: str = "--argument") -> tuple[str, Any]:
    """Return name and value of an argument such as cutoff=6.0; values are JSON, or else YAML, as cpu.

    Raises
    ------
    InvalidInputError
        If it is malformed; the message names the option.
    """
    import yaml

    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise InvalidInputError(f"{option}: an argument is written like use_device=cpu; got {text!r}")
    with suppress(ValueError):
        return name, json.loads(value)
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise InvalidInputError(f"{option} {name}: {value!r} is neither JSON nor YAML") from None
