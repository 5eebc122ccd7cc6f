"""Inputs from earlier jobs: checks that they belong together, and behaviour if an earlier job failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Protocol, TypeVar

from jobflow import Flow, Job, OnMissing, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.system import AlchemicalSystem
from alchemflows.errors import AlchemflowsError, InvalidInputError
from alchemflows.schemas.verdict import Verdict

J = TypeVar("J", Job, Flow)


def failing_onwards(jobs: J) -> J:
    """Make each job run and fail if an earlier job failed.

    By default FireWorks never starts a job after a failed one, so jobs that tolerate failures would wait forever.
    """
    jobs.update_config({"on_missing_references": OnMissing.PASS}, dynamic=False)
    return jobs


def tolerant(job: Job) -> Job:
    """Let a job run even if earlier jobs failed; outputs of failed jobs are None."""
    job.update_config({"on_missing_references": OnMissing.NONE}, dynamic=False)
    return job


def started_from(system: AlchemicalSystem, structure: Structure | None) -> AlchemicalSystem:
    """Return the system with the structure from an earlier job, or unchanged if the structure is None.

    Raises
    ------
    AlchemflowsError
        If that job failed.
    """
    if isinstance(structure, OutputReference):
        raise AlchemflowsError("no start structure, because an earlier job failed; see the error of that job")
    return system if structure is None else system.with_structure(structure)


class Judged(Protocol):
    """A document with a verdict."""

    verdict: Verdict


def check_same(what: str, documents: Sequence[object], *names: str) -> None:
    """Check that documents agree in the named fields; nested fields are written with a dot.

    Raises
    ------
    InvalidInputError
        If they differ; the message names the field.
    """
    for name in names:
        if len(set(map(attrgetter(name), documents))) > 1:
            raise InvalidInputError(f"the {what} differ in {name}")


def reasons_of(parts: Iterable[tuple[str, Judged]]) -> list[str]:
    """Return the reasons against each part of a result, prefixed with the name of the part."""
    return [f"{name}: {reason}" for name, document in parts for reason in document.verdict.reasons]
