"""The command that evaluates a free energy with a committee of potentials."""

from __future__ import annotations

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.corrections import argument_of, ordered_ladder_of
from alchemflows.cli.inputs import naming_options, potential_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App
from alchemflows.cli.options import Device, Dtype, Plot, RunOptions
from alchemflows.cli.results import LadderID
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

app = App()

COMMITTEE = MakerOptions(
    "alchemflows.flows.committee:CommitteeMaker",
    ("sampled", "tolerance_meV_per_atom", "budget", "forces", "max_failed", "category"),
    renamed={"sampled": "include_sampled"},
    texts={"category": "FireWorks category of the jobs; a member can have its own, as 'mine:soft category=dft'."},
)
#: What can be set of a member that is a potential.
_OF_POTENTIALS = ("head", "dtype", "device")


@app.command()
@grouped
def committee(
    result: LadderID,
    members: Annotated[
        list[str],
        typer.Option(
            "--with",
            metavar="<member>",
            help="Member of the committee: a potential (name or model file) or the import path of a calculator of ASE, "
            "followed by its settings, such as 'multi.model head=pbe' or 'mine:soft scale=0.5'; repeatable.",
        ),
    ],
    maker: Annotated[Any, COMMITTEE],
    run: RunOptions,
    dtype: Dtype = "float64",
    device: Device = "auto",
    plot: Plot = None,
) -> None:
    """Compute the free energy of a ladder with a committee.

    A committee is several potentials. A ladder is a result of `alchemflows ti`; its frames are stored configurations.
    Those of both ends are evaluated with each potential and reweighted, without new dynamics. The spread over the
    potentials, σ_model, is an estimate of the error of the potential; it is printed beside the statistical error,
    σ_stat.
    """
    found = [member_of(text, dtype, device) for text in members]
    maker = replace(
        maker,
        members=[spec for spec, _ in found],
        categories={k: own for k, (_, own) in enumerate(found) if own is not None},
    )
    with naming_options({"members": "--with", "budget": "--budget"}):
        maker.check()
    uuid, ladder, elements = ordered_ladder_of(result)
    make = partial(maker.make, uuid, elements=elements, sampled=ladder.provenance.potential)
    run_and_show(make, run, device=device, figures={"committee": plot})


def member_of(text: str, dtype: str, device: str) -> tuple[PotentialSpec | CalculatorSpec, str | None]:
    """Return the specification of a member and its category, from text such as 'multi.model head=pbe'.

    Parameters
    ----------
    text
        Potential or import path, then settings.
    dtype, device
        Of potentials that do not set them.

    Raises
    ------
    InvalidInputError
        If a setting is malformed, or a potential has no such setting.
    """
    from alchemflows.schemas.correction import CalculatorSpec

    if Path(text).expanduser().exists():  # its name may contain spaces
        return potential_of(text, dtype, device), None
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InvalidInputError(f"--with {text!r}: {error}") from None
    if not words:
        raise InvalidInputError("--with: the name of a member is empty")
    name, *rest = words
    given: dict[str, Any] = dict(argument_of(word, f"--with {name}") for word in rest)
    own = given.pop("category", None)
    if ":" in name and not Path(name).expanduser().exists():
        return CalculatorSpec(path=name, arguments=given), own
    for key in given:
        if key not in _OF_POTENTIALS:
            raise InvalidInputError(
                f"--with {name}: a potential has no setting {key}; it has {', '.join(_OF_POTENTIALS)} and category"
            )
    chosen = {"dtype": dtype, "device": device, "head": None} | {key: str(value) for key, value in given.items()}
    return potential_of(name, str(chosen["dtype"]), str(chosen["device"]), chosen["head"]), own
