"""Tasks of a campaign: one calculation each, with its flow, its key and the metadata of its jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jobflow import Flow, Job, Maker, OutputReference
from pymatgen.core import Structure

from alchemflows.campaign.keys import task_key
from alchemflows.campaign.methods import KINDS, Method
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.jobs.analyse import AnalyseMaker
from alchemflows.jobs.cost import cost_of
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.structures import structures_metadata
from alchemflows.jobs.windows import WindowsMaker
from alchemflows.schemas.campaign import CampaignMetadata, JobKind
from alchemflows.schemas.potential import PotentialSpec
from alchemflows.schemas.structure import StructureRecord


@dataclass(frozen=True)
class Task:
    """One calculation of a campaign: a structure or a group of them, a transformation, conditions and a repeat.

    Attributes
    ----------
    campaign
        Name of the campaign.
    structure, transformation
        Names in the campaign; empty for methods without them. For a group of structures, the name of the group.
    temperature_K, pressure_GPa, repeat
        Temperature (K; None if the method has none, or all at once), pressure (GPa; None for constant volume or if the
        method has none) and index of the repeat.
    crystals, records
        The structures by name, and the records of how they were read.
    substitution
        The transformation.
    method, maker
        The method, and the maker of the flow with its settings.
    arguments
        Other arguments of its `make`.
    potential
        The potential with the SHA-256 of its file; None if the method takes none.
    category
        FireWorks category of the jobs that evaluate the potential.
    """

    campaign: str
    structure: str
    transformation: str
    temperature_K: float | None
    pressure_GPa: float | None
    repeat: int
    crystals: Mapping[str, Structure]
    substitution: Mapping[str, Any]
    method: Method
    maker: Maker
    arguments: Mapping[str, Any] = field(default_factory=dict)
    potential: PotentialSpec | None = None
    category: str | None = None
    records: Mapping[str, StructureRecord] = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that affects the result; tasks with the same key are computed once."""
        return task_key(
            self.method.kind,
            self.crystals,
            self.substitution,
            self.maker,
            self.arguments,
            self.potential,
            grouped=self.method.group is not None,
        )

    @property
    def n_runs(self) -> int:
        """Number of production runs of each window, for methods that continue them."""
        return getattr(self.maker, "n_runs", 1) if self.method.can_be_extended else 1

    @property
    def n_sites(self) -> int:
        """Number of sites of the structure, or of the largest one of a group."""
        return max((len(crystal) for crystal in self.crystals.values()), default=0)

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata of every job of the task."""
        understood = structures_metadata(dict(self.records)) if self.records else {}
        campaign = CampaignMetadata(
            name=self.campaign,
            task=self.key,
            structure=self.structure,
            transformation=self.transformation,
            temperature_K=self.temperature_K,
            pressure_GPa=self.pressure_GPa,
            repeat=self.repeat,
            n_sites=self.n_sites,
            method=self.method.kind,
        )
        return understood | {"campaign": campaign.model_dump()}

    def __str__(self) -> str:
        conditions = [
            self.structure,
            self.transformation,
            "" if self.temperature_K is None else f"{self.temperature_K:g} K",
            "" if self.pressure_GPa is None else f"{self.pressure_GPa:g} GPa",
            f"repeat {self.repeat}",
        ]
        return ", ".join(text for text in conditions if text)

    def flow(self) -> Flow:
        """Return the flow of the task; its jobs have the metadata of the campaign.

        Raises
        ------
        InvalidInputError, PotentialError
            If the maker of the flow raises an error; the message names the task. Any error of a user's maker counts.
        """
        try:
            flow = self.method.flow(self.maker, self.crystals, self.substitution, self.arguments)
        except AlchemflowsError as error:
            raise InvalidInputError(f"{self}: {error}") from error
        except Exception as error:
            if self.method.kind in KINDS:
                raise
            what = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise InvalidInputError(f"{self}: {self.method.kind}.make raised {what}") from error
        if "category" not in self.method.campaign_fields:
            assign_category([job for job, _ in flow.iterflow() if cost_of(job).kind != "analysis"], self.category)
        label(flow.jobs, self.metadata)
        if isinstance(flow.output, OutputReference):
            mark_result(flow, flow.output.uuid)
        return flow


def label(jobs: Iterable[Job | Flow], metadata: dict[str, Any]) -> None:
    """Add metadata, with the kind of each job (`job_kind`), to jobs, to those of flows, and to jobs that these add."""
    for job in jobs:
        if isinstance(job, Flow):
            label(job.jobs, metadata)
            continue
        # Most jobs are window jobs. They add no jobs, so they need no second copy of the metadata.
        job.update_metadata(_with_kind(metadata, cost_of(job).kind), dynamic=not isinstance(job.maker, WindowsMaker))
        if isinstance(job.maker, AnalyseMaker):
            of_windows = {"campaign": _with_kind(metadata, "sampling")["campaign"]}
            job.update_metadata(of_windows, function_filter=WindowsMaker.make)


def mark_result(flow: Flow, uuid: str) -> None:
    """Mark the job whose output is that of the task (`is_result`), but not the jobs that it adds."""
    for job, _ in flow.iterflow():
        if job.uuid == uuid:
            marked = {"campaign": {**job.metadata["campaign"], "is_result": True}}
            job.update_metadata(marked, dynamic=False)


def _with_kind(metadata: dict[str, Any], kind: JobKind) -> dict[str, Any]:
    return metadata | {"campaign": metadata["campaign"] | {"job_kind": kind}}
