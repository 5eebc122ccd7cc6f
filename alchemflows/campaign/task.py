"""Tasks of a campaign: one calculation each, with its flow, its key and the metadata of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jobflow import Flow
from monty.json import MSONable
from pymatgen.core import Structure

from alchemflows.campaign.keys import chemical_potential_fields, task_key
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.flows.common import SampledMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.flows.vacancy import VacancyFreeEnergyMaker
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.structures import structures_metadata
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.campaign import TRANSFORMING, CampaignMetadata, JobKind, MethodKind
from alchemflows.schemas.chemical_potentials import ChemicalPotentials
from alchemflows.schemas.structure import StructureRecord


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
