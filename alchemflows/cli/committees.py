"""The command that evaluates a free energy with a committee of potentials."""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.corrections import argument_of, elements_of_states, ordered_ladder_of
from alchemflows.cli.inputs import naming_options, potential_of
from alchemflows.cli.maker_options import MakerOptions, grouped
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, Dtype, Plot, RunOptions
from alchemflows.cli.results import ComparedID
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Collection

    from jobflow import Flow

    from alchemflows.analysis.absolute_states import AbsoluteResult
    from alchemflows.flows.committee import CommitteeMaker
    from alchemflows.flows.mixing_committee import MixingCommitteeMaker
    from alchemflows.flows.state_committee import StateCommitteeMaker
    from alchemflows.flows.transition_committee import TransitionCommitteeMaker
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

app = App()

COMMITTEE = MakerOptions(
    "alchemflows.flows.committee:CommitteeMaker",
    ("sampled", "tolerance_meV_per_atom", "budget", "forces", "max_failed", "category"),
    renamed={"sampled": "include_sampled"},
    texts={"category": "FireWorks category of the jobs; a member can have its own, as 'mine:soft category=dft'."},
)
#: Tolerances, which have no effect on some results.
_IN_K, _IN_MEV = {"tolerance_k": "--tolerance-k"}, {"tolerance_meV_per_atom": "--tolerance-mev-per-atom"}
#: What can be set of a member that is a potential.
_OF_POTENTIALS = ("head", "dtype", "device")


@app.command(example="alchemflows committee 1a2b3c4d --with sevennet-0 --with fine-tuned.model")
@grouped
def committee(
    result: ComparedID,
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
    tolerance_k: Annotated[
        float | None,
        typer.Option(
            help="Maximum accepted standard deviation of a transition temperature, or melting point, over the members "
            "(K)."
        ),
    ] = None,
    dtype: Dtype = "float64",
    device: Device = "auto",
    plot: Plot = None,
) -> None:
    """Compute a free energy with a committee of potentials.

    A committee is a set of potentials. The free energy is that of a ladder, a result of `alchemflows ti`. Its frames
    are stored configurations; those of both ends (λ = 0 and 1) are evaluated with each potential and reweighted. The
    spread over the potentials, σ_model, is an estimate of the error of the potential; it is printed beside the
    statistical error, σ_stat.

    Of a free energy of mixing, a result of `alchemflows mixing`, all frames are evaluated. The result has the
    compositions of the gap (solubility limits) and the consolute point with each potential.

    Of a transition between order and disorder, a result of `alchemflows transition`, the frames of all supercells and
    temperatures are evaluated. The result has the transition temperature with each potential.

    Of an absolute free energy, phases or a melting point (`alchemflows frenkel-ladd`, `liquid`, `phases`, `melting`),
    the frames of all states are evaluated. The result has the free energies, the temperatures of transitions and the
    melting point with each potential.
    """
    from alchemflows.analysis.absolute_states import AbsoluteResult
    from alchemflows.results.listing import find_result
    from alchemflows.schemas.mixing import MixingDocument
    from alchemflows.schemas.provenance import potential_of as potential_of_result
    from alchemflows.schemas.transition import TransitionDocument

    found = [member_of(text, dtype, device) for text in members]
    maker = replace(
        maker,
        members=[spec for spec, _ in found],
        categories={k: own for k, (_, own) in enumerate(found) if own is not None},
    )
    with naming_options({"members": "--with", "budget": "--budget"}):
        maker.check()
    uuid, document = find_result(connected(), result)
    elements: Collection[int]
    if isinstance(document, MixingDocument):
        refuse_given({"budget": "--budget", "forces": "--forces", **_IN_K}, "on a free energy of mixing")
        maker, elements = _of_mixing(maker), _elements(uuid)
    elif isinstance(document, TransitionDocument):
        refuse_given({"budget": "--budget", "forces": "--forces", **_IN_MEV}, "on a transition temperature")
        maker, elements = _of_transition(maker, tolerance_k), _elements(uuid)
        with naming_options({"tolerance_K": "--tolerance-k"}):
            maker.check()
    elif isinstance(document, AbsoluteResult):
        maker, elements = _of_states(document, maker, tolerance_k), elements_of_states(uuid)
        with naming_options({"tolerance_K": "--tolerance-k"}):
            maker.check()
    else:
        uuid, document, elements = ordered_ladder_of(uuid)
        refuse_given(_IN_K, "on the free energy of a ladder")
    sampled = potential_of_result(document)

    def make() -> Flow:
        from alchemflows.campaign.corrections import add_to_campaign

        flow = maker.make(uuid, elements=elements, sampled=sampled)
        add_to_campaign(connected(), flow, {uuid: flow})
        return flow

    run_and_show(make, run, device=device, figures={"committee": plot})


def _of_mixing(maker: CommitteeMaker) -> MixingCommitteeMaker:
    """Return the maker for a free energy of mixing in place of that for a ladder."""
    from alchemflows.flows.mixing_committee import MixingCommitteeMaker

    return MixingCommitteeMaker(**_shared(maker), tolerance_meV_per_atom=maker.tolerance_meV_per_atom)


def _of_transition(maker: CommitteeMaker, tolerance_K: float | None) -> TransitionCommitteeMaker:
    """Return the maker for a transition between order and disorder in place of that for a ladder."""
    from alchemflows.flows.transition_committee import TransitionCommitteeMaker

    return TransitionCommitteeMaker(**_shared(maker), tolerance_K=tolerance_K)


def _of_states(document: AbsoluteResult, maker: CommitteeMaker, tolerance_K: float | None) -> StateCommitteeMaker:
    """Return the maker for absolute free energies and their transitions in place of that for a ladder.

    Raises
    ------
    InvalidInputError
        If an option has no effect on the result.
    """
    from alchemflows.flows.state_committee import StateCommitteeMaker
    from alchemflows.schemas.melting import MeltingDocument
    from alchemflows.schemas.phases import PhaseStabilityDocument

    others = {"budget": "--budget", "forces": "--forces"}
    if isinstance(document, MeltingDocument | PhaseStabilityDocument):
        refuse_given(others | _IN_MEV, "on a melting point or phases")
    else:
        refuse_given(others | _IN_K, "on an absolute free energy")
    return StateCommitteeMaker(
        **_shared(maker), tolerance_K=tolerance_K, tolerance_meV_per_atom=maker.tolerance_meV_per_atom
    )


def _shared(maker: CommitteeMaker) -> dict[str, Any]:
    """Return the settings that all makers of committees have."""
    from alchemflows.flows.committee import MembersMaker

    return {each.name: getattr(maker, each.name) for each in fields(MembersMaker) if each.name != "name"}


def _elements(uuid: str) -> frozenset[int]:
    """Return the elements of the frames of a free energy of mixing, or of a transition.

    Raises
    ------
    InvalidInputError
        If it has too few frames.
    """
    from alchemflows.jobs.frames import states_to_evaluate

    _, states = states_to_evaluate(connected().job_store, uuid)
    return frozenset().union(*(state.frames.elements for state in states))


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
