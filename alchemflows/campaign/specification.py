"""Make the tasks of a campaign from its specification: read structures, check settings, make flows and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError, create_model

from alchemflows.arguments import first_problem, number_checked, problem_of
from alchemflows.campaign.task import Task, VacancyTask
from alchemflows.descriptions import field_descriptions
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker, check_one_condition
from alchemflows.identity import fingerprint
from alchemflows.schemas.campaign import (
    CampaignSpec,
    Finite,
    MethodKind,
    MethodSpec,
    StructureSpec,
)
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.structures.reading import ReadStructure, read_structure, structure_of
from alchemflows.yaml_file import Place, YamlFile, read_yaml

#: Maker of each method; its fields are the settings of the method.
MAKERS: dict[MethodKind, type[SampledMaker]] = {
    "thermodynamic-integration": ThermodynamicIntegrationMaker,
    "switching": SwitchingMaker,
    "frenkel-ladd": FrenkelLaddMaker,
    "vacancy": FrenkelLaddMaker,
}
#: Fields of makers that the campaign sets for each task.
_OURS = ("name", "potential", "temperature", "pressure_GPa", "seed", "category", "relax_maker")
#: Settings of the method `vacancy` in addition to the fields of its maker.
_VACANCY: dict[str, Any] = {
    "site": (NonNegativeInt, Field(0, description="index of the atom to remove, in the repeated cell")),
    "degeneracy": (
        PositiveFloat,
        Field(1.0, description=field_descriptions(VacancyFreeEnergyMaker)["degeneracy"]),
    ),
    "chemical_potentials_eV": (
        dict[str, Finite],
        Field({}, description="chemical potentials of elements (eV/atom), valid for one temperature and pressure"),
    ),
    "references": (
        dict[str, StructureSpec],
        Field(
            {},
            description="crystals of pure elements; the chemical potential of an element is G per atom of its crystal",
        ),
    ),
}


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
    settings = campaign.method.settings
    _validated(settings_model(campaign.method.kind), settings, ("method", "settings"), file=file)
    located = {
        name: spec if spec.file is None else spec.model_copy(update={"file": path.parent / spec.file.expanduser()})
        for name, spec in campaign.structures.items()
    }
    return campaign.model_copy(
        update={"structures": located, "method": _references_located(campaign.method, path.parent)}
    )


def _references_located(method: MethodSpec, folder: Path) -> MethodSpec:
    """Return a method whose paths of reference crystals start at the given folder."""
    references = method.settings.get("references")
    if not isinstance(references, dict):
        return method
    located = {
        element: {**spec, "file": str(folder / Path(spec["file"]).expanduser())}
        if isinstance(spec, dict) and isinstance(spec.get("file"), str)
        else spec
        for element, spec in references.items()
    }
    return method.model_copy(update={"settings": {**method.settings, "references": located}})


def campaign_of(content: Mapping[str, Any]) -> CampaignSpec:
    """Return a campaign from its fields.

    Raises
    ------
    InvalidInputError
        If a field is invalid; the message names the first one.
    """
    return _validated(CampaignSpec, content)


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
    crystals = read_structures(campaign) if structures is None else structures
    names: dict[str, str] = {}
    for name, crystal in crystals.items():
        same = names.setdefault(fingerprint(crystal.structure), name)
        if same != name:
            raise InvalidInputError(f"structures: {same} and {name} are the same structure; remove one of them")
    maker, vacancy = _maker(campaign)
    if vacancy is not None:
        for what, values in (("temperature", campaign.temperatures_K), ("pressure", campaign.pressures_GPa)):
            if len(values) > 1:
                check_one_condition(vacancy.chemical_potentials, what)
        for (name, crystal), temperature, pressure in product(
            crystals.items(), campaign.temperatures_K, campaign.pressures_GPa
        ):
            vacancy.check(name, crystal.structure, temperature, pressure)
    transformations: Mapping[str, Mapping[str, Any]] = campaign.transformations or {"": {}}
    for (structure, crystal), (change, substitution), temperature, pressure, repeat in product(
        crystals.items(),
        transformations.items(),
        campaign.temperatures_K,
        campaign.pressures_GPa,
        range(campaign.repeats),
    ):
        conditions: dict[str, Any] = {"temperature": temperature, "pressure_GPa": pressure}
        yield Task(
            campaign=campaign.name,
            structure=structure,
            transformation=change,
            temperature_K=temperature,
            pressure_GPa=pressure,
            repeat=repeat,
            crystal=crystal.structure,
            record=crystal.record,
            substitution=substitution,
            kind=campaign.method.kind,
            maker=replace(maker, seed=campaign.seed + repeat, **conditions),
            vacancy=vacancy,
        )


def read_structures(campaign: CampaignSpec) -> dict[str, ReadStructure]:
    """Read the structures of a campaign; each has a record of how it was read.

    Raises
    ------
    InvalidInputError
        If a structure cannot be read without losses; the message names it.
    """
    return {name: _crystal(f"structures.{name}", spec) for name, spec in campaign.structures.items()}


def _crystal(where: str, spec: StructureSpec) -> ReadStructure:
    try:
        if spec.file is not None:
            read = read_structure(
                spec.file, block=spec.block, ignore=spec.ignore, occupancy_tolerance=spec.occupancy_tolerance
            )
        else:
            read = structure_of(spec.structure or {}, ignore=spec.ignore)
        return read.repeated(spec.supercell)
    except InvalidInputError as error:
        field = "structure" if spec.file is None else "file"
        raise InvalidInputError(f"{where}.{field}: {error}") from error


def _maker(campaign: CampaignSpec) -> tuple[SampledMaker, VacancyTask | None]:
    from alchemflows.alchemy.backends import resolve

    kind = campaign.method.kind
    model = _validated(settings_model(kind), campaign.method.settings, ("method", "settings"))
    given = model.model_dump(exclude_unset=True)
    vacancy = None
    if kind == "vacancy":
        crystals = {
            element: _crystal(f"method.settings.references.{element}", spec).structure
            for element, spec in model.references.items()
        }
        known = ChemicalPotentials(model.chemical_potentials_eV, crystals)
        vacancy = VacancyTask(model.site, model.degeneracy, known)
        given = {name: value for name, value in given.items() if name not in _VACANCY}
    if not given.pop("relax", True):
        given["relax_maker"] = None
    potential, _ = resolve(campaign.potential)
    common: dict[str, Any] = {"potential": potential, "category": campaign.resources.category}
    return MAKERS[kind](**common, **given), vacancy


@lru_cache
def settings_model(kind: MethodKind) -> type[BaseModel]:
    """Return the pydantic model of the settings of a method: fields of its maker, `relax`, and fields of a vacancy."""
    maker = MAKERS[kind]
    hints, texts = get_type_hints(maker), field_descriptions(maker)
    known: dict[str, Any] = {
        f.name: (number_checked(hints[f.name]), Field(f.default, description=texts[f.name]))
        for f in fields(maker)
        if f.name not in _OURS
    }
    known["relax"] = (bool, Field(True, description=texts["relax_maker"]))
    if kind == "vacancy":
        known |= _VACANCY
    return create_model(
        f"{maker.__name__}Settings", __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **known
    )


def _validated(
    model: type[BaseModel], content: Mapping[str, Any], place: Place = (), *, file: YamlFile | None = None
) -> Any:
    """Validate a part of a campaign; errors name the field and, for a file, the line."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = problem_of(error, "".join(f"{part}." for part in place), model)
        if file is not None:
            problem = f"{file.where((*place, *first_problem(error)['loc']))}: {problem}"
        raise InvalidInputError(problem) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of campaigns, with the settings of each method under `$defs`."""
    schema = CampaignSpec.model_json_schema()
    schema.setdefault("$defs", {}).update(
        {f"settings of {kind}": settings_model(kind).model_json_schema() for kind in MAKERS}
    )
    return schema
