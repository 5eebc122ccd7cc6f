"""Make the tasks of a campaign from its specification: read structures, check settings, make flows and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from alchemflows.arguments import place_of, problem_of
from alchemflows.campaign.inputs import crystal
from alchemflows.campaign.methods import KINDS, TEMPERATURES, Method, method_of
from alchemflows.campaign.named import check_named
from alchemflows.campaign.task import Task
from alchemflows.errors import InvalidInputError
from alchemflows.flows.vacancy import check_one_condition
from alchemflows.identity import fingerprint
from alchemflows.schemas.campaign import CampaignSpec, MethodSpec
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.structures.reading import ReadStructure
from alchemflows.yaml_file import Place, YamlFile, read_yaml

_SETTINGS, _ARGUMENTS = ("method", "settings"), ("method", "arguments")


def read_campaign(path: Path) -> CampaignSpec:
    """Read a campaign from a YAML file; paths in the file are relative to its folder.

    Raises
    ------
    InvalidInputError
        If the file cannot be read, or a field is invalid; the message names the line and the field.
    """
    file = read_yaml(path)
    if not isinstance(file.content, dict):
        raise InvalidInputError(f"{path} must contain the fields of a campaign, such as `name` and `structures`")
    campaign = _validated(CampaignSpec, file.content, file=file)
    method = check_method(campaign, file)
    located = {
        name: spec if spec.file is None else spec.model_copy(update={"file": path.parent / spec.file.expanduser()})
        for name, spec in campaign.structures.items()
    }
    found = _references_located(campaign.method, method.potentials, path.parent)
    campaign = campaign.model_copy(update={"structures": located, "method": found})
    check_named(campaign, method.potentials, file)
    return campaign


def _references_located(spec: MethodSpec, argument: str | None, folder: Path) -> MethodSpec:
    """Return a method whose paths of reference crystals start at the given folder."""
    given = spec.arguments.get(argument or "")
    if not given or not given.get("references"):
        return spec
    located = {
        element: {**each, "file": str(folder / Path(each["file"]).expanduser())} if each.get("file") else each
        for element, each in given["references"].items()
    }
    return spec.model_copy(update={"arguments": {**spec.arguments, argument: {**given, "references": located}}})


def campaign_of(content: Mapping[str, Any]) -> CampaignSpec:
    """Return a campaign from its fields.

    Raises
    ------
    InvalidInputError
        If a field is invalid; the message names the first one.
    """
    campaign: CampaignSpec = _validated(CampaignSpec, content)
    check_method(campaign)
    return campaign


def extended(
    campaign: CampaignSpec,
    n_runs: int | None = None,
    temperatures_K: Sequence[float] = (),
    pressures_GPa: Sequence[float] = (),
    repeats: int | None = None,
) -> CampaignSpec:
    """Return a campaign with longer windows, more conditions or more repeats.

    Parameters
    ----------
    campaign
        The campaign.
    n_runs
        Total number of production runs of each window; None for that of the campaign.
    temperatures_K, pressures_GPa
        Additional temperatures (K) and pressures (GPa).
    repeats
        Total number of repeats of each task; None for that of the campaign.

    Raises
    ------
    InvalidInputError
        If the method has no such extension.
    """
    method, kind = check_method(campaign), campaign.method.kind
    content = campaign.model_dump()
    if n_runs is not None:
        if not method.can_be_extended:
            raise InvalidInputError(
                f"runs: a finished task of {kind} cannot be continued with more runs; change its settings, which makes "
                "new tasks"
            )
        content["method"]["settings"]["n_runs"] = n_runs
    if temperatures_K and method.has_all_temperatures:
        raise InvalidInputError(
            f"temperature: a task of {kind} has all temperatures; add it to temperatures_K, which makes new tasks"
        )
    for field, default, more in (
        ("temperatures_K", [], temperatures_K),
        ("pressures_GPa", [ATMOSPHERE_GPA], pressures_GPa),
    ):
        if more:
            given = content[field] or default
            content[field] = [*given, *(value for value in more if value not in given)]
    if repeats is not None:
        content["repeats"] = repeats
    return campaign_of(content)


def check_method(campaign: CampaignSpec, file: YamlFile | None = None) -> Method:
    """Return the method of a campaign, after checking that the fields of the campaign are those that it takes.

    Raises
    ------
    InvalidInputError
        If the method does not exist, a field is missing or not taken, or a setting or argument is invalid; the message
        names the field and, for a file, the line.
    """
    kind = campaign.method.kind
    try:
        method = method_of(kind)
        settings_model, arguments_model = method.settings, method.arguments
    except InvalidInputError as error:
        _refuse(str(error), ("method", "kind"), file)
    takes = method.campaign_fields
    temperatures = method.has_temperature or method.has_all_temperatures
    for field, value, taken, needed in (
        ("structures", campaign.structures, method.takes_structures, method.takes_structures),
        ("transformations", campaign.transformations, method.takes_transformations, method.needs_transformations),
        ("temperatures_K", campaign.temperatures_K, temperatures, temperatures),
        ("pressures_GPa", campaign.pressures_GPa, "pressure_GPa" in takes, False),
        ("potential", campaign.potential, "potential" in takes, "potential" in takes),
    ):
        if value and not taken:
            _refuse(f"{field}: {kind} takes none", (field,), file)
        if needed and not value:
            _refuse(f"{field}: field required; {kind} needs at least one", (field,), file)
    if campaign.repeats > 1 and "seed" not in takes:
        _refuse(f"repeats: {kind} has no seed, so each repeat would be the same calculation", ("repeats",), file)
    _validated(settings_model, campaign.method.settings, _SETTINGS, file=file)
    arguments = _validated(arguments_model, campaign.method.arguments, _ARGUMENTS, file=file)
    if method.grid is not None:
        along = getattr(arguments, method.grid).shares is not None
        if bool(campaign.transformations) != along:
            what = "needs at least one" if along else "takes none with `choices`"
            _refuse(f"transformations: {'.'.join(_ARGUMENTS)}.{method.grid} {what}", ("transformations",), file)
    if method.group is not None:
        for group, names in getattr(arguments, method.group).items():
            place = (*_ARGUMENTS, method.group, group)
            unknown = [name for name in names if name not in campaign.structures]
            if unknown or not names:
                known = ", ".join(campaign.structures)
                _refuse(f"{'.'.join(place)} must be names of structures ({known}); got {names}", place, file)
    return method


def _refuse(message: str, place: Place, file: YamlFile | None) -> NoReturn:
    raise InvalidInputError(message if file is None else f"{file.where(place)}: {message}") from None


def tasks(campaign: CampaignSpec, structures: Mapping[str, ReadStructure] | None = None) -> Iterator[Task]:
    """Yield the tasks of a campaign; all structures and settings are checked before the first one.

    Parameters
    ----------
    campaign
        The campaign.
    structures
        Its structures, if they have already been read (:func:`read_structures`).

    Raises
    ------
    InvalidInputError, PotentialError
        If a structure cannot be read, a setting is invalid, or the potential cannot be loaded.
    """
    from alchemflows.alchemy.backends import resolve

    method = check_method(campaign)
    crystals = read_structures(campaign) if structures is None else structures
    names: dict[str, str] = {}
    for name, read in crystals.items():
        same = names.setdefault(fingerprint(read.structure), name)
        if same != name:
            raise InvalidInputError(f"structures: {same} and {name} are the same structure; remove one of them")
    settings = _validated(method.settings, campaign.method.settings, _SETTINGS)
    arguments = method.values(_validated(method.arguments, campaign.method.arguments, _ARGUMENTS))
    temperatures: list[float] | list[None] = campaign.temperatures_K or [None]
    pressures: list[float | None] = [None]
    if "pressure_GPa" in method.campaign_fields:
        pressures = campaign.pressures_GPa or [ATMOSPHERE_GPA]
    for known in arguments.values():
        if isinstance(known, ChemicalPotentials):
            for what, values in (("temperature", temperatures), ("pressure", pressures)):
                if len(values) > 1:
                    check_one_condition(known, what)
    if method.has_all_temperatures:
        arguments[TEMPERATURES] = sorted(campaign.temperatures_K or [])  # another order is the same task
        temperatures = [None]
    groups = {name: [name] for name in crystals} or {"": []}
    if method.group is not None:
        groups = arguments.pop(method.group)
    potential = None if campaign.potential is None else resolve(campaign.potential)[0]
    given: dict[str, Any] = {"potential": potential, "category": campaign.resources.category}
    transformations: Mapping[str, Mapping[str, Any]] = campaign.transformations or {"": {}}
    for (group, members), (change, substitution), temperature, pressure, repeat in product(
        groups.items(), transformations.items(), temperatures, pressures, range(campaign.repeats)
    ):
        conditions: dict[str, Any] = {"pressure_GPa": pressure, "seed": campaign.seed + repeat}
        if method.has_temperature:
            conditions["temperature"] = temperature
        yield Task(
            campaign=campaign.name,
            structure=group,
            transformation=change,
            temperature_K=temperature,
            pressure_GPa=pressure,
            repeat=repeat,
            crystals={name: crystals[name].structure for name in members},
            substitution=substitution,
            method=method,
            maker=method.made(settings, given | conditions),
            arguments=arguments,
            potential=potential,
            category=campaign.resources.category,
            records={name: record for name in members if (record := crystals[name].record) is not None},
        )


def read_structures(campaign: CampaignSpec) -> dict[str, ReadStructure]:
    """Read the structures of a campaign; each has a record of how it was read.

    Raises
    ------
    InvalidInputError
        If a structure cannot be read without losses; the message names it.
    """
    return {name: crystal(f"structures.{name}", spec) for name, spec in campaign.structures.items()}


def _validated(
    model: type[BaseModel], content: Mapping[str, Any], place: Place = (), *, file: YamlFile | None = None
) -> Any:
    """Validate a part of a campaign; errors name the field and, for a file, the line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = problem_of(error, "".join(f"{part}." for part in place), model)
        if file is not None:
            problem = f"{file.where((*place, *place_of(error)))}: {problem}"
        raise InvalidInputError(problem) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of campaigns, with the settings and arguments of each named method under `$defs`."""
    schema = CampaignSpec.model_json_schema()
    definitions = schema.setdefault("$defs", {})
    for kind in KINDS:
        method = method_of(kind)
        definitions[f"settings of {kind}"] = method.settings.model_json_schema()
        definitions[f"arguments of {kind}"] = method.arguments.model_json_schema()
    return schema
