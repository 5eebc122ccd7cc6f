"""Make the tasks of a campaign from its specification: read structures, check settings, make flows and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from itertools import product
from pathlib import Path
from typing import Any, get_type_hints

from jobflow import Flow
from monty.json import MSONable
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveFloat, ValidationError, create_model
from pymatgen.core import Structure

from alchemflows.arguments import number_checked, place_of, problem_of
from alchemflows.campaign.keys import chemical_potential_fields, task_key
from alchemflows.campaign.named import check_named
from alchemflows.descriptions import field_descriptions
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.flows.frenkel_ladd import FrenkelLaddMaker
from alchemflows.flows.switching import SwitchingMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker, check_one_condition
from alchemflows.identity import fingerprint
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.structures import structures_metadata
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.campaign import (
    TRANSFORMING,
    CampaignMetadata,
    CampaignSpec,
    Finite,
    JobKind,
    MethodKind,
    MethodSpec,
    StructureSpec,
)
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.structure import StructureRecord
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


@dataclass(frozen=True)
class VacancyTask(MSONable):
    """The vacancy of a task: the removed atom, its degeneracy, and the chemical potentials.

    Attributes
    ----------
    site
        Index of the removed atom in the repeated cell.
    degeneracy
        Degeneracy of the vacancy on one site.
    chemical_potentials
        Chemical potentials of the elements.
    """

    site: int = 0
    degeneracy: float = 1.0
    chemical_potentials: ChemicalPotentials = field(default_factory=ChemicalPotentials)

    def scientific_fields(self) -> dict[str, Any]:
        """Return the fields that are part of the key of a task, see :mod:`alchemflows.campaign.keys`."""
        known = chemical_potential_fields(self.chemical_potentials)
        return {"site": self.site, "degeneracy": self.degeneracy, **known}

    def check(self, name: str, crystal: Structure, temperature_K: float, pressure_GPa: float | None) -> None:
        """Raise if the vacancy of a structure cannot be computed.

        It is called for all structures before the first task is submitted.

        Raises
        ------
        InvalidInputError
            If the atom does not exist, or its chemical potential is not determined; the message names the structure.
        """
        try:
            if not 0 <= self.site < len(crystal):
                raise InvalidInputError(f"site {self.site} cannot be removed: there are {len(crystal)} atoms")
            if crystal.is_ordered and pressure_GPa is not None:  # otherwise the maker of the flow raises an error
                element = crystal[self.site].specie.symbol
                self.chemical_potentials.check(crystal, element, temperature_K, pressure_GPa)
        except InvalidInputError as error:
            raise InvalidInputError(f"structures.{name}: {error}") from error


@dataclass(frozen=True)
class Task:
    """One calculation of a campaign: a structure, a transformation, conditions and a repeat.

    Attributes
    ----------
    campaign
        Name of the campaign.
    structure, transformation
        Names in the campaign; the name of the transformation is empty for methods without one.
    temperature_K, pressure_GPa, repeat
        Temperature (K), pressure (GPa; None for constant volume) and index of the repeat.
    crystal, record
        The structure, and the record of how it was read.
    substitution
        The transformation.
    kind, maker
        The method and the maker of its flow.
    vacancy
        Settings of a vacancy; None for other methods.
    """

    campaign: str
    structure: str
    transformation: str
    temperature_K: float
    pressure_GPa: float | None
    repeat: int
    crystal: Structure
    substitution: Mapping[str, Any]
    kind: MethodKind
    maker: SampledMaker
    vacancy: VacancyTask | None = None
    record: StructureRecord | None = None

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that affects the result; tasks with the same key are computed once."""
        vacancy = None if self.vacancy is None else self.vacancy.scientific_fields()
        return task_key(self.kind, self.crystal, self.substitution, self.maker, vacancy)

    @property
    def n_runs(self) -> int:
        """Number of production runs of each window."""
        return self.maker.n_runs if isinstance(self.maker, ThermodynamicIntegrationMaker) else 1

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of every job of the task."""
        understood = {} if self.record is None else structures_metadata({self.structure: self.record})
        campaign = CampaignMetadata(
            name=self.campaign,
            task=self.key,
            structure=self.structure,
            transformation=self.transformation,
            temperature_K=self.temperature_K,
            pressure_GPa=self.pressure_GPa,
            repeat=self.repeat,
            n_sites=len(self.crystal),
        )
        return understood | {"campaign": campaign.model_dump()}

    def __str__(self) -> str:
        pressure = "" if self.pressure_GPa is None else f", {self.pressure_GPa:g} GPa"
        change = f", {self.transformation}" if self.transformation else ""
        return f"{self.structure}{change}, {self.temperature_K:g} K{pressure}, repeat {self.repeat}"

    def flow(self) -> Flow:
        """Return the flow of the task; its jobs have the metadata of the campaign.

        Raises
        ------
        InvalidInputError, PotentialError
            If the maker of the flow raises an error; the message names the task.
        """
        maker: Any = self.maker
        try:
            if self.vacancy is not None:
                flow = VacancyFreeEnergyMaker(frenkel_ladd_maker=maker, degeneracy=self.vacancy.degeneracy).make(
                    self.crystal, self.vacancy.site, chemical_potentials=self.vacancy.chemical_potentials
                )
            elif self.kind in TRANSFORMING:
                flow = maker.make(self.crystal, dict(self.substitution))
            else:
                flow = maker.make(self.crystal)
        except AlchemflowsError as error:
            raise InvalidInputError(f"{self}: {error}") from error
        label(flow, self.metadata)
        return flow


def label(flow: Flow, metadata: dict[str, Any]) -> None:
    """Add metadata, with the kind of each job (`job_kind`), to the jobs of a flow and to jobs that these add."""
    for job in flow.jobs:
        if isinstance(job, Flow):
            label(job, metadata)
            continue
        # Most jobs are window jobs. They add no jobs, so they need no second copy of the metadata.
        job.update_metadata(_with_kind(metadata, cost_of(job).kind), dynamic=not isinstance(job.maker, WindowsMaker))
        if isinstance(job.maker, AnalyseMaker):
            of_windows = {"campaign": _with_kind(metadata, "sampling")["campaign"]}
            job.update_metadata(of_windows, function_filter=WindowsMaker.make)


def _with_kind(metadata: dict[str, Any], kind: JobKind) -> dict[str, Any]:
    return metadata | {"campaign": metadata["campaign"] | {"job_kind": kind}}


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
    located_campaign = campaign.model_copy(
        update={"structures": located, "method": _references_located(campaign.method, path.parent)}
    )
    check_named(located_campaign, file)
    return located_campaign


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
            problem = f"{file.where((*place, *place_of(error)))}: {problem}"
        raise InvalidInputError(problem) from None


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of campaigns, with the settings of each method under `$defs`."""
    schema = CampaignSpec.model_json_schema()
    schema.setdefault("$defs", {}).update(
        {f"settings of {kind}": settings_model(kind).model_json_schema() for kind in MAKERS}
    )
    return schema
