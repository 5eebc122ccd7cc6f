"""Jobs that correct the free energy of a ladder with a maker, as of atomate2: one job for each frame of both ends."""

from __future__ import annotations

import inspect
import time
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobflow import CURRENT_JOB, Flow, Job, JobConfig, JobStore, Maker, OutputReference, Response, job
from monty.json import MontyDecoder
from pymatgen.core import Composition, Element, Structure

from alchemflows.errors import InvalidInputError
from alchemflows.jobs.cost import JobCost, cost_of_frames
from alchemflows.jobs.frames import identifier
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.jobflow_parts import take_place_of
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.stores import current_store, require_store
from alchemflows.schemas.correction import CalculatorSpec, CorrectionDocument, EvaluationLimits
from alchemflows.schemas.frames import Frames
from alchemflows.schemas.provenance import Provenance

if TYPE_CHECKING:
    from alchemflows.analysis.correction import EvaluatedEnd

#: Fields of a job's output that are read: the energy of a task document of atomate2, or of a dictionary.
_FIELDS = ("output.output.energy", "output.energy", "output.state", "output.nsites", "output.composition")
#: State of a completed calculation in task documents of atomate2.
_SUCCESSFUL = "successful"


@dataclass(frozen=True)
class FrameLabels:
    """Which frame a job calculates.

    Attributes
    ----------
    result
        Identifier of its ladder, or of the other result that has it.
    state
        Name of its state, such as `λ = 1`.
    index
        Its index in the state.
    conditions
        Conditions of the state by name, such as `lambda`.
    """

    result: str
    state: str
    index: int
    conditions: Mapping[str, float | str] = field(default_factory=dict)


@dataclass
class FrameJobsMaker(Maker):
    """Correct the free energy of a ladder with the energies of jobs, one for each frame.

    The job replaces itself by those of some frames and by itself, which then collects their energies. It does this
    until no more frames are to be evaluated. Its output is the corrected free energy.

    Parameters
    ----------
    name
        Name of the job.
    target
        Maker whose `make` takes a structure and returns a job, or a flow, that gives its energy.
    max_failed
        Maximum fraction of failed frames at each end, which are left out; with more, the job ends with an error.
    limits
        How many frames are evaluated; all by default.
    category
        FireWorks category of the jobs that the target makes; None for no category.
    """

    name: str = "correction"
    target: Maker = field(default_factory=Maker)
    max_failed: float = 0.1
    limits: EvaluationLimits = field(default_factory=EvaluationLimits)
    category: str | None = None

    def cost(self, ladder: str, *_: object, **__: object) -> JobCost:
        """Return the cost of a job, see :mod:`alchemflows.jobs.cost`, with that of the jobs that it adds."""
        return JobCost("analysis", frames=cost_of_frames(ladder, self.limits.max_evaluations))

    @job(
        output_schema=CorrectionDocument,
        data=["energies"],
        config=JobConfig(expose_store=True, resolve_references=False),  # only energies are read from the outputs
    )
    def make(
        self,
        ladder: str,
        earlier: OutputReference | str | None = None,
        frames: Sequence[Sequence[int]] = (),
        outputs: Sequence[OutputReference | str] = (),
    ) -> CorrectionDocument | Response:
        """Collect energies, and correct the free energy or evaluate more frames.

        A frame fails if its job failed, if its output has no energy, or if its state is not successful: a calculation
        that did not converge.

        Parameters
        ----------
        ladder
            Identifier of the job whose output is the free energy of the ladder.
        earlier
            Output of the stage before, or its identifier, if there is one.
        frames
            Frames of the jobs so far: 0 or 1 for the end, and the index of the frame.
        outputs
            Outputs of these jobs. Those of earlier rounds are identifiers, since a job that is added to a running flow
            can refer only to jobs that are added with it.

        Raises
        ------
        DatabaseError
            If the ladder or its frames are not in the database.
        InvalidInputError
            If the ladder has no frames or mixed ends, or the target makes a flow without an output.
        PotentialError
            If more frames failed than allowed; the message names them.
        """
        from alchemflows.analysis.correction import correction_document, counts_to_evaluate, ends_to_evaluate
        from alchemflows.jobs.frames import frames_of_ladder, ladder_covariance, stored_correction, stored_ladder

        require_store()
        started = time.perf_counter()
        store, name = current_store(), maker_name(self.target)
        document, before = stored_ladder(store, ladder), stored_correction(store, earlier)
        ends = ends_to_evaluate(document, frames_of_ladder(store, document), before)
        jobs = list(map(identifier, outputs))
        found, crystals = _outputs(store, jobs), [composition_of(end.sampled.frames) for end in ends]
        for (k, row), uuid in zip(frames, jobs, strict=True):
            ends[k].record(row, energy_of(found.get(uuid), crystals[k], f"the job {uuid[:8]}"))
        for end in ends:
            end.check_failures(name, self.max_failed)
        counts = counts_to_evaluate(document, ends, self.limits)
        tried = [set(end.tried) for end in ends]
        more = [(k, row) for k, end in enumerate(ends) for row in end.order[: counts[k]] if row not in tried[k]]
        if more:
            made = self._jobs(ladder, ends, sorted(more))
            previous = None if earlier is None else identifier(earlier)
            again = self.make(ladder, previous, [*frames, *sorted(more)], [*jobs, *map(output_of, made)])
            take_place_of(again, CURRENT_JOB.job)
            tolerant(again)
            return Response(replace=Flow([*made, again], name=f"{self.name} of {ladder[:8]}"))
        provenance = Provenance(potential=None, wall_time_s=time.perf_counter() - started)
        covariance_eV2 = ladder_covariance(store, document, ends)
        corrected = correction_document(ladder, document, name, *ends, provenance, before, covariance_eV2)
        return corrected.model_copy(update={"frame_jobs": jobs})

    def _jobs(self, ladder: str, ends: Sequence[EvaluatedEnd], rows: Sequence[tuple[int, int]]) -> list[Job | Flow]:
        """Return the jobs of some frames."""
        for end in ends:
            if not end.sampled.frames.is_ordered:
                raise InvalidInputError(f"{end.name} is a mixed crystal, whose energy only an alchemical potential has")
        structures = [end.sampled.frames.structures() for end in ends]
        made: list[Job | Flow] = []
        for k, row in rows:
            made.append(
                frame_job(self.target, structures[k][row], FrameLabels(ladder, f"λ = {k}", row, {"lambda": float(k)}))
            )
        assign_category(made, self.category)
        return made


def composition_of(frames: Frames) -> Composition:
    """Return the numbers of atoms in the frames of an end."""
    counts: dict[str, float] = {}
    for numbers, shares in zip(frames.numbers, frames.shares, strict=True):
        for z, share in zip(numbers, shares, strict=True):
            if share > 0:
                symbol = Element.from_Z(int(z)).symbol
                counts[symbol] = counts.get(symbol, 0.0) + float(share)
    return Composition(counts)


def frame_job(maker: Maker, structure: Structure, labels: FrameLabels) -> Job | Flow:
    """Return the job of a frame; its name and its metadata say which frame it is."""
    one: Job | Flow = maker.make(structure)
    one.append_name(f" {labels.state}, frame {labels.index}")
    frame = {"result": labels.result, "state": labels.state, "index": labels.index, **labels.conditions}
    one.update_metadata({"frame": frame})
    return one


def output_of(made: Job | Flow) -> OutputReference:
    """Return the output of the job of a frame, or of its flow.

    Raises
    ------
    InvalidInputError
        If the flow has not the output of one job.
    """
    output = made.output
    if not isinstance(output, OutputReference):
        raise InvalidInputError(f"the flow {made.name} of the target must have the output of one job")
    return output


def energy_of(output: Mapping[str, Any] | None, crystal: Composition, name: str) -> float | str:
    """Return the energy (eV) in the output of a job, or the reason why there is none.

    Parameters
    ----------
    output
        Task document of atomate2, or a mapping with `energy`; None if the job failed.
    crystal
        Numbers of atoms of the frame. A task document with other elements or numbers is that of another crystal.
    name
        Name of the job in reasons.
    """
    if output is None:
        return f"{name} failed"
    state = output.get("state")
    if state not in (None, _SUCCESSFUL):
        return f"{name} ended with the state {state}"
    calculated = output.get("composition")
    if isinstance(calculated, Mapping):
        counts = {symbol: count for symbol, count in calculated.items() if not symbol.startswith("@")}
        other = Composition(counts).element_composition
        if not other.almost_equals(crystal):
            return f"{name} calculated {other.formula}; the frame is {crystal.formula}"
    if output.get("nsites") not in (None, crystal.num_atoms):
        return f"{name} calculated a cell with {output['nsites']} atoms; the frame has {crystal.num_atoms:g}"
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


def _outputs(store: JobStore, jobs: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Return the fields of the outputs of jobs that hold energies and states."""
    found = {}
    rows = store.docs_store.query({"uuid": {"$in": list(jobs)}}, ["uuid", "index", *_FIELDS], sort={"index": 1})
    for row in rows:  # the last one of a job that was replaced
        found[row["uuid"]] = row.get("output") or {}
    return found
