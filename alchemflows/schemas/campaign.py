"""What a campaign is: a matrix of structures, transformations and conditions, and a method for each point of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from alchemflows.arguments import no_boolean
from alchemflows.identity import canonical
from alchemflows.schemas.document import Document
from alchemflows.schemas.dynamics import ATMOSPHERE_GPA
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.queue import Queue
from alchemflows.schemas.structure import Loss
from alchemflows.schemas.substitution import Substitution, mixtures

MethodKind = Literal["thermodynamic-integration", "switching", "frenkel-ladd", "vacancy"]
#: Relaxations, jobs that sample, and jobs that evaluate no potential.
JobKind = Literal["relaxation", "sampling", "analysis"]
#: Methods that go from one composition to another.
TRANSFORMING: tuple[MethodKind, ...] = ("thermodynamic-integration", "switching")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=80)]
_NoBoolean = BeforeValidator(no_boolean)
Finite = Annotated[float, Field(allow_inf_nan=False), _NoBoolean]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), _NoBoolean]
Integer = Annotated[int, _NoBoolean]
PositiveInt = Annotated[int, Field(gt=0), _NoBoolean]
NonNegativeInt = Annotated[int, Field(ge=0), _NoBoolean]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StructureSpec(_Strict):
    """A structure: a file, or the dictionary of a pymatgen structure."""

    file: Path | None = Field(None, description="CIF, POSCAR, ...; relative to the campaign's file")
    structure: dict[str, Any] | None = Field(None, description="as pymatgen's `Structure.as_dict`")
    supercell: tuple[PositiveInt, PositiveInt, PositiveInt] = Field((1, 1, 1), description="repeats of the cell")
    block: str | int | None = Field(
        None, description="data block (CIF) or image of a file that has several: name, number from 1, or last"
    )
    ignore: list[Loss] = Field(default_factory=list, description="losses in reading that are accepted")
    occupancy_tolerance: Annotated[float, Field(ge=1, allow_inf_nan=False)] = Field(
        1.0, description="occupancies of a site are rescaled to 1 if they sum to at most this"
    )

    @model_validator(mode="after")
    def _one_source(self) -> StructureSpec:
        if (self.file is None) == (self.structure is None):
            raise ValueError("either `file` or `structure` is needed")
        return self


class MethodSpec(_Strict):
    """What is done at each point."""

    kind: MethodKind
    settings: dict[str, Any] = Field(
        default_factory=dict,
        description="fields of the flow maker, but those that the campaign sets (conditions, potential, seed); "
        "`relax: false` starts from the given cell; `site`, `degeneracy`, `chemical_potentials_eV` and `references` "
        "for a vacancy",
    )


class JobResources(_Strict):
    """Who does the jobs of one kind; what is not given is as for all jobs."""

    category: str | None = Field(None, description="FireWorks category")
    priority: Integer | None = Field(None, description="FireWorks priority; higher goes first")
    queue: Queue | None = Field(None, description="FireWorks `_queueadapter`: overrides of the queue")


class Resources(_Strict):
    """Who does the work."""

    category: str | None = Field("gpu", description="FireWorks category of the jobs that evaluate the potential")
    priority: Integer = Field(0, description="FireWorks priority of all jobs; higher goes first")
    queue: Queue = Field(default_factory=dict, description="FireWorks `_queueadapter`: overrides of the queue")
    kinds: dict[JobKind, JobResources] = Field(
        default_factory=dict, description="otherwise for `relaxation`, `sampling` or `analysis` jobs"
    )

    def spec(self, kind: JobKind) -> dict[str, Any]:
        """Return what jobs of a kind have in the spec of their Firework; no category where that of the maker is."""
        own = self.kinds.get(kind, JobResources())
        spec = {
            "_category": own.category,
            "_priority": self.priority if own.priority is None else own.priority,
            "_queueadapter": self.queue if own.queue is None else own.queue,
        }
        return {key: value for key, value in spec.items() if value}


class Budget(_Strict):
    """What it may cost."""

    gpu_hours: Positive | None = Field(
        None, description="`campaign check` refuses more than this; `submit` does not measure"
    )


class CampaignMetadata(Document):
    """What every job of a campaign carries in its metadata."""

    name: str = Field(description="of the campaign")
    task: str = Field(description="key of the task: the same key is the same calculation")
    structure: str
    transformation: str = Field("", description="name of the substitution; empty where there is none")
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    repeat: int
    n_sites: int = Field(description="of the structure, vacant ones included")


class CampaignSpec(_Strict):
    """A campaign: every structure × transformation × temperature × pressure × repeat is a task, a flow of its own."""

    name: Name
    structures: dict[Name, StructureSpec] = Field(min_length=1)
    transformations: dict[Name, Substitution] = Field(
        default_factory=dict,
        description="substitutions by name, such as `PbSn: {Pb: Sn}`; none for methods of one composition",
    )
    temperatures_K: list[Positive] = Field(min_length=1)
    pressures_GPa: list[Finite | None] = Field([ATMOSPHERE_GPA], min_length=1, description="null: constant volume")
    method: MethodSpec
    potential: PotentialSpec
    repeats: PositiveInt = Field(1, description="each with a seed of its own")
    seed: NonNegativeInt = 0
    resources: Resources = Resources()
    budget: Budget = Budget()

    @model_validator(mode="after")
    def _fits(self) -> CampaignSpec:
        transforms = self.method.kind in TRANSFORMING
        if transforms and not self.transformations:
            raise ValueError(f"transformations: {self.method.kind} needs at least one")
        if not transforms and self.transformations:
            raise ValueError(f"transformations: {self.method.kind} takes none")
        for field in ("temperatures_K", "pressures_GPa"):
            values = getattr(self, field)
            if len(set(values)) < len(values):
                raise ValueError(f"{field}: a value is given twice")
        names: dict[str, str] = {}
        for name, substitution in self.transformations.items():
            same = names.setdefault(canonical(mixtures(substitution)), name)
            if same != name:
                raise ValueError(f"transformations: {same} and {name} are the same; each is computed once, so give one")
        return self
