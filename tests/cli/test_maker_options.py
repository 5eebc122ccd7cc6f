"""Options that are fields of makers: the same defaults and descriptions in help, in campaigns and with the maker."""

from __future__ import annotations

import dataclasses
import pkgutil
import re
from types import SimpleNamespace
from typing import Annotated, Any, get_args, get_type_hints

import pytest
import typer

from alchemflows.campaign.methods import method_of
from alchemflows.cli import (
    absolute,
    committees,
    compositions,
    corrections,
    defects,
    maker_options,
    ordering,
    reanalysis,
    transformations,
)
from alchemflows.cli.commands import app
from alchemflows.cli.inputs import naming_options, with_repeats
from alchemflows.cli.maker_options import (
    SHORT_LENGTHS,
    SHORT_RELAXATION_STEPS,
    MakerOptions,
    choices_of,
    options_of_fields,
    shortened,
    with_short_relaxation,
)
from alchemflows.cli.options import PotentialOptions
from alchemflows.declarations import declared
from alchemflows.descriptions import field_descriptions
from alchemflows.errors import AlchemflowsWarning, InvalidInputError
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.monte_carlo import MonteCarloMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.schemas.dynamics import MIN_SAMPLES, CellFreedom, Schedule

#: The options of makers that each command has.
COMMANDS: dict[str, list[MakerOptions]] = {
    "ti": [transformations.LADDER],
    "switch": [transformations.SWITCHING],
    "frenkel-ladd": [absolute.FRENKEL_LADD_ALL],
    "liquid": [absolute.LIQUID],
    "phases": [absolute.PHASES, absolute.FRENKEL_LADD_OF_CURVES],
    "melting": [absolute.MELTING, absolute.STARTS_OF_MELTING],
    "temperature-sweep": [absolute.TEMPERATURE_SWEEP, absolute.START_OF_ISOBAR],
    "pressure-sweep": [absolute.PRESSURE_SWEEP, absolute.START_OF_ISOTHERM],
    "vacancy": [defects.RUNS, defects.VACANCY],
    "schottky": [defects.RUNS_AT],
    "frenkel-pair": [defects.RUNS_AT],
    "optimize": [compositions.OPTIMIZATION, compositions.DESCENT],
    "mixing": [compositions.MIXING],
    "mc": [ordering.MONTE_CARLO],
    "transition": [ordering.TRANSITION],
    "order": [ordering.ORDER, ordering.SEARCH],
    "correct": [corrections.CORRECTION],
    "committee": [committees.COMMITTEE],
    "reanalyse": [reanalysis.REANALYSIS],
}
#: Options of commands that are fields of makers, but of another type, or fields of settings within a maker.
OF_ANOTHER_TYPE = {"committee": {"members"}, "correct": {"category", "equilibration", "production"}}
CASES = [(command, group, name) for command, groups in COMMANDS.items() for group in groups for name in group.names]
IDS = [f"{command} {name}" for command, _, name in CASES]
#: What the ends of fields' names say of their units, and how a description says it.
UNITS = {
    "_GPa": "GPa", "_fs": "fs", "_per_ps": "1/ps", "_time_ps": "ps", "_eV_per_A2": "eV/Å²", "temperature": "K",
    "target_error": "eV/atom", "_steps": "steps", "n_windows": "windows",
}  # fmt: skip


def parameters(command: str) -> dict[str, Any]:
    """Return the parameters of a command by their names."""
    return {each.name: each for each in typer.main.get_command(app).commands[command].params}


@pytest.mark.parametrize(("command", "group", "name"), CASES, ids=IDS)
def test_an_option_has_the_default_and_the_description_of_its_field(command, group, name):
    option = parameters(command)[name]
    maker = pkgutil.resolve_name(group.place)
    (field,) = [each for each in dataclasses.fields(maker) if each.name == group.field_of(name)]
    if name in group.required:
        assert option.required
    elif field.name == "relax_maker":
        assert option.default is True and field.default_factory() is not None
    else:
        assert option.default == field.default and not option.required
    described = field_descriptions(maker)[field.name]
    description = group.texts.get(name, described)
    assert option.help == description and description.endswith(".")
    for ending, unit in UNITS.items():
        if field.name.endswith(ending):
            assert re.search(rf"(?<!\w){unit}(?!\w)", description), (field.name, description)


@pytest.mark.parametrize("place", sorted({group.place for used in COMMANDS.values() for group in used}))
def test_what_is_declared_in_the_source_is_what_is_imported(place):
    """Values that are objects of the package (default makers) are not compared, only whether there is one."""
    read, real = declared(place), pkgutil.resolve_name(place)
    assert [field.name for field in dataclasses.fields(read)] == [field.name for field in dataclasses.fields(real)]
    assert field_descriptions(read) == field_descriptions(real)
    hints, real_hints = get_type_hints(read), get_type_hints(real)
    for one, other in zip(dataclasses.fields(read), dataclasses.fields(real), strict=True):
        assert (one.default_factory is dataclasses.MISSING) == (other.default_factory is dataclasses.MISSING)
        assert str(hints[one.name]).rpartition(".")[2] == str(real_hints[one.name]).rpartition(".")[2]
        if isinstance(other.default, str | int | float | None):
            assert one.default == other.default, one.name
        if choices_of(real_hints[one.name]):
            assert hints[one.name] == real_hints[one.name]


@pytest.mark.parametrize("command", COMMANDS)
def test_options_of_one_command_have_different_descriptions(command):
    texts = [each.help for each in parameters(command).values() if each.param_type_name == "option" and each.help]
    assert sorted({text for text in texts if texts.count(text) > 1}) == []
    assert len(texts) > 10


def test_descriptions_of_a_command_alone_are_needed():
    for group in {id(group): group for used in COMMANDS.values() for group in used}.values():
        described = field_descriptions(pkgutil.resolve_name(group.place))
        assert set(group.texts) <= set(group.names)
        assert all(described[group.field_of(name)] != text for name, text in group.texts.items())


def test_every_command_with_a_maker_is_here():
    """None has a parameter of its own that is a field of its maker."""
    groups = {
        id(value)
        for module in (absolute, committees, compositions, corrections, defects, ordering, reanalysis, transformations)
        for value in vars(module).values()
        if isinstance(value, MakerOptions)
    }
    assert groups == {id(group) for used in COMMANDS.values() for group in used}
    for command, used in COMMANDS.items():
        own = set(parameters(command)) - {name for group in used for name in group.names}
        own -= {field.name for field in dataclasses.fields(PotentialOptions)} | OF_ANOTHER_TYPE.get(command, set())
        taken = {field.name for group in used for field in dataclasses.fields(group.declared)}
        assert not own & (taken | set(maker_options.SHORT)), command


@pytest.mark.parametrize(
    ("kind", "command", "group"),
    [
        ("thermodynamic-integration", "ti", transformations.LADDER),
        ("switching", "switch", transformations.SWITCHING),
        ("frenkel-ladd", "frenkel-ladd", absolute.FRENKEL_LADD_ALL),
        ("vacancy", "vacancy", defects.RUNS),
    ],
)
def test_campaigns_and_help_have_the_same_descriptions(kind, command, group):
    method = method_of(kind)
    maker = pkgutil.resolve_name(group.place)
    schema = method.settings.model_json_schema()["properties"]
    if kind == "vacancy":
        degeneracy = schema["degeneracy"]["description"]
        schema = method_of("frenkel-ladd").settings.model_json_schema()["properties"]
        assert parameters(command)["degeneracy"].help == degeneracy
    else:
        assert maker is method.maker
    described = field_descriptions(maker)
    fields = {field.name for field in dataclasses.fields(maker)} & set(schema)
    assert {name: schema[name]["description"] for name in fields} == {name: described[name] for name in fields}
    shown = parameters(command)
    both = {name: group.field_of(name) for name in group.names if group.field_of(name) in schema}
    assert len(both) > 6
    texts = {name: group.texts.get(name, schema[field]["description"]) for name, field in both.items()}
    assert {name: shown[name].help for name in both} == texts
    assert shown["relax"].help == schema["relax"]["description"]


def test_choices_are_shown():
    shown = parameters("ti")
    assert shown["coupling"].metavar == "[paired|mean-field]"
    assert set(shown["cell"].metavar.strip("[]").split("|")) == {*get_args(CellFreedom), "auto"}
    assert set(parameters("switch")["schedule"].metavar.strip("[]").split("|")) == set(get_args(Schedule))
    assert choices_of(float | None) == choices_of(str) == ()


def test_values_become_a_maker():
    group = MakerOptions(
        "alchemflows.flows.thermodynamic_integration:ThermodynamicIntegrationMaker", ("windows", "pressure", "relax")
    )
    maker = group.make({"windows": 5, "pressure": 1.0, "relax": True})
    assert isinstance(maker, ThermodynamicIntegrationMaker) and maker.relax_maker is not None
    assert (maker.n_windows, maker.pressure_GPa) == (5, 1.0)
    assert group.make({"windows": 5, "pressure": None, "relax": False}).relax_maker is None


def test_a_description_is_the_first_paragraph_without_marks():
    described = field_descriptions(FrenkelLaddMaker)
    assert (
        described["springs_eV_per_A2"]
        == "Spring constants by element (eV/Å²), instead of those from the mean squared displacements."
    )
    assert described["potential"].startswith("Potential: mace-demo")
    assert set(described) == {field.name for field in dataclasses.fields(FrenkelLaddMaker)}


def test_the_shape_of_schedules_is_the_type():
    from alchemflows.sampling.schedules import SCHEDULES

    assert set(get_args(Schedule)) == set(SCHEDULES)


def test_short_lengths_replace_longer_ones(monkeypatch):
    lengths = {
        "n_windows": 11,
        "temperature": 300.0,
        "n_production_steps": 10_000,
        "n_repeats": 0,
        "n_cell_steps": None,
    }
    monkeypatch.delenv("ALCHEMFLOWS_SHORT", raising=False)
    assert shortened(lengths) == lengths
    monkeypatch.setenv("ALCHEMFLOWS_SHORT", "1")
    with pytest.warns(AlchemflowsWarning, match="ALCHEMFLOWS_SHORT"):
        short = shortened(lengths)
    assert short["temperature"] == 300.0 and short["n_production_steps"] < 1000 and short["n_windows"] < 11
    assert short["n_repeats"] == 0 and short["n_cell_steps"] == SHORT_LENGTHS["n_cell_steps"]


def test_short_windows_have_enough_samples_for_any_interval(monkeypatch):
    """Those of the quickstart, which samples every 20 steps."""
    monkeypatch.setenv("ALCHEMFLOWS_SHORT", "1")
    with pytest.warns(AlchemflowsWarning, match="ALCHEMFLOWS_SHORT"):
        short = shortened({"n_equilibration_steps": 500, "n_production_steps": 1500, "sample_interval_steps": 20})
    assert short["n_production_steps"] // short["sample_interval_steps"] >= MIN_SAMPLES


def test_short_relaxations_need_not_converge(monkeypatch):
    monkeypatch.delenv("ALCHEMFLOWS_SHORT", raising=False)
    maker = MonteCarloMaker(potential="mace-demo")
    assert with_short_relaxation(maker) is maker
    monkeypatch.setenv("ALCHEMFLOWS_SHORT", "1")
    short = with_short_relaxation(maker).relax_maker
    assert short.maker.steps == SHORT_RELAXATION_STEPS < maker.relax_maker.maker.steps
    assert short.maker.relax_kwargs == maker.relax_maker.maker.relax_kwargs
    assert maker.relax_maker.require_convergence and not short.require_convergence
    unrelaxed = MonteCarloMaker(potential="mace-demo", relax_maker=None)
    assert with_short_relaxation(unrelaxed) is unrelaxed


def test_errors_name_options_instead_of_fields():
    sweep, anchor = (Annotated[Any, group] for group in (absolute.TEMPERATURE_SWEEP, absolute.FRENKEL_LADD_ALL))
    options = options_of_fields([sweep, anchor, int])
    assert options["n_points"] == "--points" and options["n_sampling_steps"] == "--sampling"
    assert set(options["n_repeats"].split(" or ")) == {"--sweep-repeats", "--repeats"}
    assert all("_" in name for name in options)
    with pytest.raises(InvalidInputError, match=r"^--points must be 3; xn_points and figure stay$"):
        raise_named({**options, "figure": "--figure"}, "n_points must be 3; xn_points and figure stay")
    with pytest.raises(InvalidInputError, match=r"^--figure must be one of a, b$"):
        raise_named({"figure": "--figure"}, "figure must be one of a, b")


def raise_named(options, text):
    with naming_options(options):
        raise InvalidInputError(text)


def test_each_short_length_is_a_field_of_a_maker():
    names = {
        field.name for each in COMMANDS.values() for options in each for field in dataclasses.fields(options.declared)
    }
    assert set(SHORT_LENGTHS) <= names


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--supercell", "2x3x4", "a"], ["--supercell", "2", "3", "4", "a"]),
        (["--supercell=2x3x4"], ["--supercell", "2", "3", "4"]),
        (["--supercell", "2", "3", "4"], ["--supercell", "2", "3", "4"]),
        (["--size", "2", "3", "4", "-T", "5"], ["--size", "2x3x4", "-T", "5"]),
        (["--size", "2x3x4", "--size", "1", "1", "2"], ["--size", "2x3x4", "--size", "1x1x2"]),
        (["--supercell=2", "3", "4", "a"], ["--supercell", "2", "3", "4", "a"]),
        (["--supercell"], ["--supercell"]),
    ],
)
def test_repeats_of_a_cell_are_written_in_two_ways(arguments, expected):
    options = [
        SimpleNamespace(name="supercell", nargs=3, opts=["--supercell"]),
        SimpleNamespace(name="sizes", nargs=1, opts=["--size"]),
        SimpleNamespace(name="temperatures", nargs=1, opts=["-T"]),
    ]
    assert with_repeats(arguments, options) == expected
