"""Specification of a campaign: a matrix of structures, transformations and conditions, and a method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from alchemflows.arguments import no_boolean
from alchemflows.identity import canonical
from alchemflows.schemas.document import Document
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.queue import Queue
from alchemflows.schemas.structure import Loss
from alchemflows.schemas.substitution import Substitution, mixtures

#: Relaxations, jobs that sample or evaluate stored frames, and jobs that evaluate no potential.
JobKind = Literal["relaxation", "sampling", "analysis"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]
_NoBoolean = BeforeValidator(no_boolean)
Finite = Annotated[float, Field(allow_inf_nan=False), _NoBoolean]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _NoBoolean]
Integer = Annotated[int, _NoBoolean]
PositiveInt = Annotated[int, Field(gt=0), _NoBoolean]
NonNegativeInt = Annotated[int, Field(ge=0), _NoBoolean]


class StrictModel(BaseModel):
    """Base of parts of a campaign file: fields that do not exist are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StructureSpec(StrictModel):
    """A structure: a file, or the dictionary of a pymatgen structure."""

    file: Path | None = Field(None, description="CIF, POSCAR, ...; relative to the campaign's file")
    structure: dict[str, Any] | None = Field(None, description="as pymatgen's `Structure.as_dict`")
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = Field((1, 1, 1), description="repeats of the cell")
    block: str | int | None = Field(
        None, description="data block (CIF) or image, if the file has several: name, number from 1, or last"
    )
    ignore: list[Loss] = Field(default_factory=list, description="losses in reading that are accepted")
    occupancy_tolerance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        1.0, description="occupancies of a site whose sum is above 1, but at most this value, are rescaled to 1"
    )

    @model_validator(mode="after")
    def _one_source(self) -> StructureSpec:
        if (self.file is None) == (self.structure is None):
            raise ValueError("either `file` or `structure` is needed")
        return self


class MethodSpec(StrictModel):
    """Method that is applied at each point."""

    kind: str = Field(
        description="name of a method, such as `thermodynamic-integration`, `sweep` or `relaxation` "
        "(docs/campaigns.md), or the import path of a flow maker, such as `package.module.MyMaker`"
    )
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="fields of the flow maker, except those that the campaign sets (conditions, potential, seed); a "
        "maker within it is a mapping of its fields; `relax: false` starts from the given structure",
    )
    arguments: dict[str, Any] = Field(
        default_factory=dict,
        description="arguments of the maker's `make`, except structures and transformations",
    )


class JobResources(StrictModel):
    """Resources of one kind of job; values that are not given are those of all jobs."""

    category: str | None = Field(None, description="FireWorks category")
    priority: Integer | None = Field(None, description="FireWorks priority; higher goes first")
    queue: Queue | None = Field(None, description="FireWorks `_queueadapter`: overrides of the queue")


class Resources(StrictModel):
    """Category, priority and queue of jobs."""

    category: str | None = Field("gpu", description="FireWorks category of the jobs that evaluate the potential")
    priority: Integer = Field(0, description="FireWorks priority of all jobs; higher goes first")
    queue: Queue = Field(default_factory=dict, description="FireWorks `_queueadapter`: overrides of the queue")
    jobs_per_batch: PositiveInt = Field(
        1,
        description="maximum number of jobs with λ windows that a worker samples in one batch; they may belong to "
        "different tasks with the same potential and number of sites",
    )
    kinds: dict[JobKind, JobResources] = Field(
        default_factory=dict, description="different resources for `relaxation`, `sampling` or `analysis` jobs"
    )

    def batch(self, key: str | None) -> dict[str, Any]:
        """Return the entry of the Firework spec of jobs with a key that are sampled in one batch; none if they are not.

        See :mod:`alchemflows.jobs.companions` for the key.
        """
        return {} if key is None or self.jobs_per_batch == 1 else {"batch": {"key": key, "n_jobs": self.jobs_per_batch}}

    def spec(self, kind: JobKind) -> dict[str, Any]:
        """Return entries of the Firework spec for a kind of job; without a category, the maker's category is kept.

        If jobs of several tasks are sampled in one batch, relaxations come before them, since a batch contains only
        jobs that are ready.
        """
        own = self.kinds.get(kind, JobResources())
        first = kind == "relaxation" and self.jobs_per_batch > 1
        spec = {
            "_category": own.category,
            "_priority": self.priority + first if own.priority is None else own.priority,
            "_queueadapter": self.queue if own.queue is None else own.queue,
        }
        return {key: value for key, value in spec.items() if value}


#: Maximum number of tasks of a campaign. All of them are kept in memory when it is checked or submitted.
MAX_TASKS = 100_000


class Budget(StrictModel):
    """Limits of the cost of a campaign."""

    gpu_hours: Positive | None = Field(
        None, description="maximum estimated GPU hours in `campaign check`; `campaign submit` does not check it"
    )


class CampaignMetadata(Document):
    """Metadata of every job of a campaign."""

    name: str = Field(description="name of the campaign")
    task: str = Field(description="key of the task; equal keys mean the same calculation")
    structure: str = Field(description="name of the structure, or of the group of structures; empty if there is none")
    transformation: str = Field("", description="name of the substitution; empty if there is none")
    temperature_K: float | None = Field(description="none if the method has no temperature, or all at once")
    pressure_GPa: float | None = Field(description="none at constant volume, or if the method has no pressure")
    repeat: int
    n_sites: int = Field(description="sites of the structure, vacant ones included; of a group, those of the largest")
    method: str = Field("", description="kind of the method; empty in tasks that did not record it")


class CampaignSpec(StrictModel):
    """A campaign: each structure × transformation × temperature × pressure × repeat is one task with its own flow."""

    name: Name
    structures: dict[Name, StructureSpec] = Field(
        default_factory=dict, description="structures by name; none for methods that take none"
    )
    transformations: dict[Name, Substitution] = Field(
        default_factory=dict,
        description="substitutions by name, for example `PbSn: {Pb: Sn}`; none for methods with a single composition",
    )
    temperatures_K: list[Positive] | None = Field(
        None, min_length=1, description="none for methods without a temperature"
    )
    pressures_GPa: list[Finite | None] | None = Field(
        None,
        min_length=1,
        description="null in the list: constant volume; 1 atm if not given; none for methods without a pressure",
    )
    method: MethodSpec
    potential: PotentialSpec | None = Field(None, description="the potential; none for methods that choose their own")
    repeats: PositiveInt = Field(
        1, description="number of independent calculations of each point, with different seeds"
    )
    seed: NonNegativeInt = 0
    resources: Resources = Resources()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _fits(self) -> CampaignSpec:
        for field in ("temperatures_K", "pressures_GPa"):
            values = getattr(self, field) or []
            if len(set(values)) < len(values):
                raise ValueError(f"{field}: a value is given twice; give each value once")
        names: dict[str, str] = {}
        for name, substitution in self.transformations.items():
            same = names.setdefault(canonical(mixtures(substitution)), name)
            if same != name:
                raise ValueError(f"transformations: {same} and {name} are the same; each is computed once, so give one")
        n_conditions = len(self.temperatures_K or [None]) * len(self.pressures_GPa or [None])
        n_points = max(len(self.structures), 1) * max(len(self.transformations), 1) * n_conditions
        n_tasks = n_points * self.repeats
        if n_tasks > MAX_TASKS:
            raise ValueError(
                f"repeats: the campaign has {n_tasks:,} tasks, more than {MAX_TASKS:,}; give fewer repeats or "
                "conditions, or write several campaigns"
            )
        return self
