"""What a job takes from those before it: whether it belongs together, and what happens where one of them failed."""

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
    """Let each job run although one before it failed, only to fail too.

    FireWorks never starts a job behind a failed one, and what waits for its end, good or bad, would wait for ever.
    """
    jobs.update_config({"on_missing_references": OnMissing.PASS}, dynamic=False)
    return jobs


def tolerant(job: Job) -> Job:
    """Let a job run although some before it failed; their outputs are None."""
    job.update_config({"on_missing_references": OnMissing.NONE}, dynamic=False)
    return job


def started_from(system: AlchemicalSystem, structure: Structure | None) -> AlchemicalSystem:
    """Return the system with the structure that an earlier job gave, or as it is if there is none.

    Raises
    ------
    AlchemflowsError
        If that job failed.
    """
    if isinstance(structure, OutputReference):
        raise AlchemflowsError("the job before this one failed, and its structure is missing: see its error")
    return system if structure is None else system.with_structure(structure)


class Judged(Protocol):
    """A document with a verdict."""

    verdict: Verdict


def check_same(what: str, documents: Sequence[object], *names: str) -> None:
    """Check that documents agree in fields; a field of a field is named with a dot.

    Raises
    ------
    InvalidInputError
        If they do not; it names the field.
    """
    for name in names:
        if len(set(map(attrgetter(name), documents))) > 1:
            raise InvalidInputError(f"the {what} differ in {name}")


def reasons_of(parts: Iterable[tuple[str, Judged]]) -> list[str]:
    """Return what speaks against the parts of a result, each reason with the name of its part."""
    return [f"{name}: {reason}" for name, document in parts for reason in document.verdict.reasons]
