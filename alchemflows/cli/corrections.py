"""The command that corrects a free energy to another potential."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemflows.cli.configured import connected
from alchemflows.cli.inputs import naming_options, potential_of
from alchemflows.cli.maker_options import MakerOptions, grouped, shortened
from alchemflows.cli.once import App, refuse_given
from alchemflows.cli.options import Device, Dtype, Plot, RunOptions
from alchemflows.cli.results import CorrectedID
from alchemflows.cli.running import run_and_show
from alchemflows.errors import InvalidInputError

if TYPE_CHECKING:
    from jobflow import Flow, Maker

    from alchemflows.analysis.frames import SampledFrames
    from alchemflows.flows.correction import CorrectionMaker, Target
    from alchemflows.flows.state_correction import StateCorrectionMaker
    from alchemflows.schemas.correction import CalculatorSpec, EvaluationLimits, TargetRunSettings
    from alchemflows.schemas.free_energy import FreeEnergyDocument
    from alchemflows.schemas.potential import PotentialSpec

app = App()

CORRECTION = MakerOptions("alchemflows.flows.correction:CorrectionMaker", ("max_failed",))
#: Options by the fields of the maker that are not named like them.
_NAMES = {"category": "--category", "target_runs": "--sample-target"}


@app.command(example="alchemflows correct 1a2b3c4d --to sevennet-0")
@grouped
def correct(
    result: CorrectedID,
    to: Annotated[
        list[str],
        typer.Option(
            metavar="<target>",
            help="Target: a potential (name or model file), or the import path of a calculator of ASE or of a maker of "
            "atomate2, such as chgnet.model.dynamics:CHGNetCalculator or atomate2.vasp.jobs.core:StaticMaker. Repeat "
            "the option for stages, from the cheapest to the best target.",
        ),
    ],
    maker: Annotated[Any, CORRECTION],
    run: RunOptions,
    argument: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<name=value>",
            help="Argument of the calculator or maker, such as use_device=cpu; repeatable. With several of these, "
            "2.use_device=cpu is for the second target.",
        ),
    ] = None,
    error: Annotated[
        float | None,
        typer.Option(
            help="Target standard error of the correction (eV/atom); evaluation stops when it is reached [default: all "
            "frames]."
        ),
    ] = None,
    max_evaluations: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of frames evaluated with the last target, both ends together; at least 8 [default: "
            "all frames]."
        ),
    ] = None,
    sample_target: Annotated[
        bool,
        typer.Option(
            "--sample-target",
            help="Also run short dynamics with the target from frames of both ends. The Bennett acceptance ratio (BAR) "
            "is the estimate where both potentials overlap enough.",
        ),
    ] = False,
    runs: Annotated[int, typer.Option(help="Number of runs with the target at each end.")] = 4,
    equilibration: Annotated[int, typer.Option(help="Number of equilibration steps of each run.")] = 1000,
    production: Annotated[int, typer.Option(help="Number of further steps of each run.")] = 4000,
    dtype: Dtype = "float64",
    device: Device = "auto",
    head: Annotated[
        str | None, typer.Option(help="Head of a MACE potential, or modality of a SevenNet potential.")
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(
            help="FireWorks category of the jobs that evaluate the targets; give it once, or once for each target "
            "[default: gpu]."
        ),
    ] = None,
    plot: Plot = None,
) -> None:
    """Correct a free energy to another potential.

    Frames are stored configurations. Those of both ends of a ladder (a result of `alchemflows ti`), or of each state
    of absolute free energies (`frenkel-ladd`, `liquid`, `phases`, `melting`), are evaluated with the other potential,
    the target, and reweighted. Transition temperatures and melting points are shifted. For a ladder with several
    targets, all but the last are evaluated on all frames; --error and --max-evaluations limit those of the last one.
    """
    limits = limits_of(error, max_evaluations)
    target_runs = None
    if sample_target:
        target_runs = runs_of(runs, equilibration, production)
    else:
        lengths = {"runs": "--runs", "equilibration": "--equilibration", "production": "--production"}
        refuse_given(lengths, "without --sample-target")
    targets = targets_of(to, argument or [], dtype, device, head)
    categories = category or [maker.category]
    maker = replace(
        maker,
        target=targets[-1],
        earlier=targets[:-1],
        limits=limits,
        target_runs=target_runs,
        category=categories[0] if len(categories) == 1 else list(categories),
    )
    with naming_options(_NAMES):
        maker.check()
    uuid, absolute = _found(result)
    if absolute:
        maker, elements = _of_states(maker), elements_of_states(uuid)
    else:
        uuid, _, elements = ordered_ladder_of(uuid)

    def make() -> Flow:
        from alchemflows.campaign.corrections import add_to_campaign

        flow = maker.make(uuid, elements=elements)
        add_to_campaign(connected(), flow, {uuid: flow})
        return flow

    run_and_show(make, run, device=device, figures={"correction": plot})


def _found(result: str) -> tuple[str, bool]:
    """Return the identifier of a result, and whether it has states with absolute free energies."""
    from alchemflows.analysis.absolute_states import is_absolute
    from alchemflows.results.listing import find_result

    uuid, document = find_result(connected(), result)
    return uuid, is_absolute(document)


def _of_states(maker: CorrectionMaker) -> StateCorrectionMaker:
    """Return the maker that corrects states in place of ladders.

    Raises
    ------
    InvalidInputError
        If an option is only for ladders.
    """
    from alchemflows.flows.state_correction import StateCorrectionMaker
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

    only = "on a result that is no ladder"
    refuse_given({"error": "--error", "max_evaluations": "--max-evaluations", "sample_target": "--sample-target"}, only)
    if maker.earlier:
        raise InvalidInputError("--to: only ladders can be corrected in several stages; give one target")
    target, category = maker.target, maker.category
    if not isinstance(target, PotentialSpec | CalculatorSpec):
        raise InvalidInputError("--to: only ladders can be corrected with a maker of jobs; give another target")
    assert not isinstance(category, list)
    return StateCorrectionMaker(target=target, max_failed=maker.max_failed, category=category)


def elements_of_states(uuid: str) -> frozenset[int]:
    """Return the elements of the states of a result that can be corrected; others are named.

    Raises
    ------
    InvalidInputError
        If there are none.
    """
    from pymatgen.core import Composition

    from alchemflows.jobs.frames import states_with_frames, stored_absolute

    store = connected().job_store
    states, left_out = states_with_frames(store, stored_absolute(store, uuid))
    if not states:
        raise InvalidInputError(f"no state of the result {uuid[:8]} can be corrected: {'; '.join(left_out)}")
    return frozenset(int(element.Z) for each in states for element in Composition(each.formula).elements)


def ladder_of(result: str) -> tuple[str, FreeEnergyDocument, list[SampledFrames]]:
    """Return the identifier of a ladder, its free energy, and the frames of both ends.

    Parameters
    ----------
    result
        ID of the result, or its first characters.

    Raises
    ------
    InvalidInputError
        If the result is not a ladder, or has no frames.
    """
    from alchemflows.results.frames import frames_of
    from alchemflows.results.listing import find_result
    from alchemflows.schemas.free_energy import FreeEnergyDocument

    database = connected()
    uuid, _ = find_result(database, result)
    ladder, *ends = frames_of(database, uuid)
    if not isinstance(ladder, FreeEnergyDocument):
        raise InvalidInputError(f"the result {uuid[:8]} is not a ladder, which this command needs")
    return uuid, ladder, ends


def ordered_ladder_of(result: str) -> tuple[str, FreeEnergyDocument, frozenset[int]]:
    """Return a ladder whose frames other potentials can evaluate.

    Parameters
    ----------
    result
        ID of the result, or its first characters.

    Returns
    -------
    Its identifier, its free energy, and the atomic numbers of the frames of both ends.

    Raises
    ------
    InvalidInputError
        As :func:`ladder_of`; or if an end is a mixed crystal.
    """
    uuid, ladder, ends = ladder_of(result)
    if not all(end.frames.is_ordered for end in ends):
        raise InvalidInputError(
            f"the ladder {uuid[:8]} ends in a mixed crystal, whose energy only an alchemical potential has; a "
            "correction needs ordered ends"
        )
    return uuid, ladder, frozenset().union(*(end.frames.elements for end in ends))


def limits_of(error: float | None, max_evaluations: int | None) -> EvaluationLimits:
    """Return the limits of the options of the command.

    Raises
    ------
    InvalidInputError
        If a number is out of range.
    """
    from alchemflows.schemas.correction import EvaluationLimits
    from alchemflows.schemas.dynamics import settings

    with naming_options({"target_error_eV_per_atom": "--error", "max_evaluations": "--max-evaluations"}):
        return settings(EvaluationLimits, target_error_eV_per_atom=error, max_evaluations=max_evaluations)


def runs_of(n_runs: int, n_equilibration_steps: int, n_production_steps: int) -> TargetRunSettings:
    """Return the lengths of runs with the target.

    Raises
    ------
    InvalidInputError
        If a number is out of range.
    """
    from alchemflows.schemas.correction import TargetRunSettings
    from alchemflows.schemas.dynamics import settings

    options = {
        "n_runs": "--runs",
        "n_equilibration_steps": "--equilibration",
        "n_production_steps": "--production",
    }
    with naming_options(options):
        lengths = {"n_equilibration_steps": n_equilibration_steps, "n_production_steps": n_production_steps}
        return settings(TargetRunSettings, n_runs=n_runs, **shortened(lengths))


def targets_of(names: list[str], arguments: list[str], dtype: str, device: str, head: str | None) -> list[Target]:
    """Return the targets of the options of the command.

    Raises
    ------
    InvalidInputError
        If an argument is malformed, an option has no effect for these targets, or what a path names cannot be imported
        or made.
    """
    from alchemflows.schemas.correction import CalculatorSpec

    paths = [k for k, name in enumerate(names) if ":" in name and not Path(name).expanduser().exists()]
    given: dict[int, dict[str, Any]] = {k: {} for k in paths}
    for text in arguments:
        k, name, value = _argument(text, paths)
        given[k][name] = value
    if len(paths) == len(names):
        options = {"dtype": "--dtype", "device": "--device", "head": "--head"}
        refuse_given(options, "on a calculator or maker; give its own arguments with --argument")
    found: list[Target] = []
    for k, name in enumerate(names):
        if k not in given:
            found.append(potential_of(name, dtype, device, head))
            continue
        spec = CalculatorSpec(path=name, arguments=given[k])
        from alchemflows.alchemy.targets import imported_calculator
        from alchemflows.jobs.frame_jobs import imported_maker

        found.append(imported_maker(spec, imported_calculator(spec)) or spec)
    return found


def target_of(
    to: str, arguments: list[str], dtype: str, device: str, head: str | None
) -> PotentialSpec | CalculatorSpec:
    """Return the one target of the options of a command that takes potentials and calculators only.

    Raises
    ------
    InvalidInputError
        As :func:`targets_of`; or if the target is a maker of jobs.
    """
    from alchemflows.schemas.correction import CalculatorSpec
    from alchemflows.schemas.potential import PotentialSpec

    (target,) = targets_of([to], arguments, dtype, device, head)
    if not isinstance(target, PotentialSpec | CalculatorSpec):
        raise InvalidInputError(f"--to {to}: only `alchemflows correct` takes makers of jobs")
    return target


def maker_of(path: str, arguments: list[str]) -> Maker:
    """Return the maker of jobs of the options --maker and --argument.

    Raises
    ------
    InvalidInputError
        If an argument is malformed, or the path names no maker that makes a job from a structure alone.
    """
    from alchemflows.schemas.correction import CalculatorSpec

    spec = CalculatorSpec(path=path, arguments=dict(argument_of(text) for text in arguments))
    from alchemflows.alchemy.targets import imported_calculator
    from alchemflows.jobs.frame_jobs import check_target, imported_maker

    made = imported_maker(spec, imported_calculator(spec))
    if made is None:
        raise InvalidInputError(f"--maker {path}: it is no maker of jobs, such as a static maker of atomate2")
    check_target(made)
    return made


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


def _argument(text: str, paths: list[int]) -> tuple[int, str, Any]:
    """Return the target, the name and the value of an argument such as cutoff=6.0 or 2.cutoff=6.0.

    Parameters
    ----------
    text
        The argument.
    paths
        Numbers of the targets that are import paths, from 0.
    """
    if not paths:
        raise InvalidInputError(
            "--argument is for calculators and makers; potentials have --dtype, --device and --head"
        )
    number, dot, rest = text.partition(".") if text[:1].isdigit() else ("", "", text)
    name, value = argument_of(rest)
    if not dot and len(paths) > 1:
        raise InvalidInputError(
            f"--argument {name}: several targets have arguments; write {paths[0] + 1}.{text} for target {paths[0] + 1}"
        )
    k = int(number) - 1 if number.isdigit() else paths[0]
    if k not in paths:
        raise InvalidInputError(f"--argument {text}: target {number} is no calculator or maker")
    return k, name, value
