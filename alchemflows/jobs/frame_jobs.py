"""Jobs that correct the free energy of a ladder with a maker, as of atomate2: one job for each frame of both ends."""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jobflow import CURRENT_JOB, Flow, Job, JobConfig, JobStore, Maker, OutputReference, Response, job
from monty.json import MontyDecoder

from alchemflows.errors import DatabaseError, InvalidInputError
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.jobflow_parts import take_place_of
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.stores import require_store
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument
from alchemflows.schemas.provenance import Provenance

#: Fields of a job's output that are read: the energy of a task document of atomate2, or of a dictionary.
_FIELDS = ("output.output.energy", "output.energy", "output.state", "output.nsites")
#: State of a completed calculation in task documents of atomate2.
_SUCCESSFUL = "successful"


@dataclass
class FrameJobsMaker(Maker):
    """Make one job for each frame of both ends of a ladder, and a job that collects their energies.

    The job replaces itself by these; its output is the corrected free energy.

    Parameters
    ----------
    name
        Name of the job.
    target
        Maker whose `make` takes a structure and returns a job, or a flow, that gives its energy.
    max_failed
        Largest share of the frames of an end that may fail; they are left out.
    category
        FireWorks category of the jobs that the target makes; None for no category.
    """

    name: str = "frames"
    target: Maker = field(default_factory=Maker)
    max_failed: float = 0.1
    category: str | None = None

    @job(output_schema=CorrectionDocument, config=JobConfig(expose_store=True))
    def make(self, ladder: str) -> Response:
        """Make the jobs.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        InvalidInputError
            If the ladder has no frames or mixed ends, or the target makes a flow without an output.
        """
        from alchemflows.analysis.correction import ends_to_evaluate
        from alchemflows.jobs.frames import frames_of_ladder, stored_ladder

        require_store()
        store, current = _store(), CURRENT_JOB.job
        document = stored_ladder(store, ladder)
        jobs, outputs = [], []
        for end in ends_to_evaluate(document, frames_of_ladder(store, document)):
            if not end.sampled.frames.is_ordered:
                raise InvalidInputError(f"{end.name} is a mixed crystal, whose energy only an alchemical potential has")
            for row, structure in enumerate(end.sampled.frames.structures()):
                made = self.target.make(structure)
                made.append_name(f" λ = {end.lambda_value:g}, frame {row}")
                made.update_metadata({"frame": {"ladder": ladder, "lambda": end.lambda_value, "index": row}})
                jobs.append(made)
                outputs.append(_output(made))
        assign_category(jobs, self.category)
        collect = CollectEnergiesMaker(target=maker_name(self.target), max_failed=self.max_failed).make(ladder, outputs)
        take_place_of(collect, current)
        tolerant(collect)
        return Response(replace=Flow([*jobs, collect], name=f"{self.name} of {ladder[:8]}"))


@dataclass
class CollectEnergiesMaker(Maker):
    """Collect the energies of frames from the jobs that evaluated them, and correct the free energy of the ladder.

    Parameters
    ----------
    name
        Name of the job.
    target
        Name of the target.
    max_failed
        Largest share of the frames of an end that may fail; they are left out.
    """

    name: str = "correction"
    target: str = ""
    max_failed: float = 0.1

    @job(
        output_schema=CorrectionDocument,
        data=["energies"],
        config=JobConfig(expose_store=True, resolve_references=False),  # only energies are read from the outputs
    )
    def make(self, ladder: str, outputs: Sequence[OutputReference]) -> CorrectionDocument:
        """Correct the free energy.

        A frame fails if its job failed, if its output has no energy, or if its state is not successful: a calculation
        that did not converge.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.
        outputs
            Outputs of the jobs: those of the frames at λ = 0, then those at λ = 1.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        PotentialError
            If more frames failed than allowed; the message names them.
        """
        from alchemflows.analysis.correction import correction_document, ends_to_evaluate
        from alchemflows.jobs.frames import frames_of_ladder, stored_ladder

        started = time.perf_counter()
        store = _store()
        document = stored_ladder(store, ladder)
        ends = ends_to_evaluate(document, frames_of_ladder(store, document))
        jobs = [reference.uuid for reference in outputs]
        found = _outputs(store, jobs)
        rows = [(end, row) for end in ends for row in range(len(end.target_eV))]
        for (end, row), uuid in zip(rows, jobs, strict=True):
            n_sites = int((end.sampled.frames.shares.sum(axis=1) > 0).sum())
            end.record(row, energy_of(found.get(uuid), n_sites, f"the job {uuid[:8]}"))
        for end in ends:
            end.check_failures(self.target, self.max_failed)
        provenance = Provenance(potential=None, wall_time_s=time.perf_counter() - started)
        corrected = correction_document(ladder, document, self.target, *ends, provenance)
        return corrected.model_copy(update={"frame_jobs": jobs})


def energy_of(output: Mapping[str, Any] | None, n_sites: int, name: str) -> float | str:
    """Return the energy (eV) in the output of a job, or the reason why there is none.

    Parameters
    ----------
    output
        Task document of atomate2, or a mapping with `energy`; None if the job failed.
    n_sites
        Number of atoms of the frame.
    name
        Name of the job in reasons.
    """
    if output is None:
        return f"{name} failed"
    state = output.get("state")
    if state not in (None, _SUCCESSFUL):
        return f"{name} ended with the state {state}"
    if output.get("nsites") not in (None, n_sites):
        return f"{name} calculated a cell with {output['nsites']} atoms; the frame has {n_sites}"
    nested = output.get("output")
    energy = (nested if isinstance(nested, Mapping) else output).get("energy")
    if not isinstance(energy, int | float) or not abs(energy) < float("inf"):
        return f"the output of {name} has no energy"
    return float(energy)


def maker_name(maker: Maker) -> str:
    """Return the import path and the name of a maker as one text."""
    return f"{type(maker).__module__}:{type(maker).__qualname__}({maker.name!r})"


def check_target(maker: Maker) -> None:
    """Check that a maker can make a job for a structure.

    Raises
    ------
    InvalidInputError
        If it cannot.
    """
    try:
        inspect.signature(maker.make).bind(None)
    except TypeError as error:
        raise InvalidInputError(
            f"the maker {maker_name(maker)} must make a job from a structure alone, as static makers of atomate2 do: "
            f"{error}"
        ) from None


def imported_maker(spec: CalculatorSpec, found: Any) -> Maker | None:
    """Return the maker that an import path and arguments stand for; None if it is no maker.

    Parameters
    ----------
    spec
        Import path and arguments. Arguments may be objects as monty writes them, such as an input set generator.
    found
        What was imported: a maker is a subclass of jobflow's `Maker`, a class method of one, or a function whose
        return annotation is one.

    Raises
    ------
    InvalidInputError
        If the maker cannot be made with these arguments.
    """
    if not _is_maker(found):
        return None
    try:
        made = found(**MontyDecoder().process_decoded(spec.arguments))
    except Exception as error:  # the class is a user's, and can raise anything
        text = str(error).strip().partition("\n")[0]
        raise InvalidInputError(f"the target {spec.name} cannot be made: {type(error).__name__}: {text}") from error
    if not isinstance(made, Maker):
        raise InvalidInputError(f"the target {spec.path} returns no maker of jobflow")
    return made


def _is_maker(found: Any) -> bool:
    if inspect.isfunction(found):
        try:
            found = typing.get_type_hints(found).get("return")
        except Exception:  # names that exist only for type checkers
            return False
    owner = getattr(found, "__self__", found)
    return inspect.isclass(owner) and issubclass(owner, Maker)


def _output(made: Job | Flow) -> OutputReference:
    output = made.output
    if not isinstance(output, OutputReference):
        raise InvalidInputError(f"the flow {made.name} of the target must have the output of one job")
    return output


def _outputs(store: JobStore, jobs: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the fields of the outputs of jobs that hold energies and states."""
    found = {}
    rows = store.docs_store.query({"uuid": {"$in": list(jobs)}}, ["uuid", "index", *_FIELDS], sort={"index": 1})
    for row in rows:  # the last one of a job that was replaced
        found[row["uuid"]] = row.get("output") or {}
    return found


def _store() -> JobStore:
    store: JobStore | None = CURRENT_JOB.store
    if store is None:
        raise DatabaseError("the job has no store from which it could read the ladder")
    return store
