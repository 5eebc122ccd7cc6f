"""The flow that corrects the free energy of a ladder to another potential."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar, cast

from jobflow import Flow, Job, Maker, OutputReference

from alchemflows.arguments import checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.jobs.correction import EvaluateFramesMaker
from alchemflows.jobs.frame_jobs import FrameJobsMaker, check_target
from alchemflows.jobs.refine import assign_category
from alchemflows.schemas.correction import CalculatorSpec, EvaluationLimits, TargetRunSettings
from alchemflows.schemas.potential import PotentialSpec

#: What frames are evaluated with.
Target = PotentialSpec | CalculatorSpec | Maker
TargetKind = TypeVar("TargetKind", bound=Target)


@dataclass
class CorrectionMaker(Maker):
    """Correct the free energy of a ladder to another potential, without new dynamics.

    Stored frames of both ends are evaluated with the target, and reweighted
    (:mod:`~alchemflows.free_energy.reweighting`). The target need not be alchemical.

    Parameters
    ----------
    name
        Name of the flow.
    target
        Potential of this package, a calculator of ASE by its import path and arguments, or a maker of jobs that give
        energies, such as a static maker of atomate2. With a maker each frame is evaluated by a job of its own.
    earlier
        Cheaper targets for a correction in several stages, from the cheapest to the best. Each is evaluated on all
        frames on which the one before was. `target` then needs fewer frames, see `limits`.
    max_failed
        Maximum fraction of failed frames at each end; with more, the job ends with an error.

        Failed frames are left out.
    limits
        How many frames are evaluated with `target`; all by default.
    target_runs
        Lengths of runs with `target` at both ends, which start from frames. BAR between both potentials then also works
        where few frames are typical of the target. None for no runs; only for one target, which is no maker.
    category
        FireWorks category of the jobs that evaluate targets, so that workers with the targets take them; none for no
        category. A list has one category for each target, that of `target` last.

    Examples
    --------
    >>> from alchemflows import CorrectionMaker, PotentialSpec
    >>> maker = CorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64"))
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['correction']
    """

    name: str = "correction"
    target: PotentialSpec | CalculatorSpec | Maker = field(
        default_factory=lambda: PotentialSpec(name="sevennet-0", dtype="float64")
    )
    earlier: list[PotentialSpec | CalculatorSpec | Maker] = field(default_factory=list)
    max_failed: float = 0.1
    limits: EvaluationLimits = field(default_factory=EvaluationLimits)
    target_runs: TargetRunSettings | None = None
    category: str | list[str | None] | None = GPU_CATEGORY

    def make(self, ladder: OutputReference | str, *, elements: Collection[int] = ()) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.correction.CorrectionDocument`.

        Parameters
        ----------
        ladder
            Identifier (UUID) of the free energy of the ladder, whose frames are in the job store, or the output of a
            flow that computes it; with makers of jobs only an identifier.
        elements
            Atomic numbers of the elements of the frames, to check that the targets support them. A job without this
            check fails before it evaluates a frame.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a target cannot be loaded or does not support an element, or it is a maker that
            needs more than a structure.
        """
        self.check()
        uuid = checked_id(ladder) if isinstance(ladder, str) else ladder
        targets = [checked_target(target, elements) for target in (*self.earlier, self.target)]
        categories = self.category if isinstance(self.category, list) else [self.category] * len(targets)
        jobs: list[Job] = []
        for k, (target, category) in enumerate(zip(targets, categories, strict=True)):
            limits = self.limits if k == len(targets) - 1 else EvaluationLimits()
            before = jobs[-1].output if jobs else None
            jobs.append(self._stage(target, category, limits, uuid, before))
        name = " to ".join([self.name, *(target.name for target in targets)])
        return Flow([*jobs], output=jobs[-1].output, name=name)

    def check(self) -> None:
        """Check the fields, without loading a target.

        Raises
        ------
        InvalidInputError
            If a number is out of range, the target cannot be sampled, or the categories are not as many as the targets.
        """
        if not 0 <= self.max_failed < 1:
            raise InvalidInputError(f"max_failed must be at least 0 and below 1; got {self.max_failed:g}")
        if self.target_runs is not None and (self.earlier or isinstance(self.target, Maker)):
            raise InvalidInputError(
                "target_runs: only a single potential or calculator can be sampled, neither a maker of jobs nor stages"
            )
        n_targets = len(self.earlier) + 1
        if isinstance(self.category, list) and len(self.category) != n_targets:
            raise InvalidInputError(
                f"category must be given once, or once for each of {n_targets} targets; got {len(self.category)}"
            )

    def _stage(
        self,
        target: Target,
        category: str | None,
        limits: EvaluationLimits,
        ladder: OutputReference | str,
        before: OutputReference | None,
    ) -> Job:
        """Return the job of one stage."""
        if isinstance(target, Maker):
            if not isinstance(ladder, str):
                raise InvalidInputError("target: a maker of jobs needs a ladder that is stored already")
            frame_jobs = FrameJobsMaker(target=target, max_failed=self.max_failed, limits=limits, category=category)
            return frame_jobs.make(ladder, before)
        maker = EvaluateFramesMaker(
            target=target, max_failed=self.max_failed, limits=limits, target_runs=self.target_runs
        )
        evaluate = maker.make(ladder, before)
        assign_category([evaluate], category)
        return evaluate


def checked_target(target: TargetKind, elements: Collection[int]) -> TargetKind:
    """Return a target, a potential with the SHA-256 of its file, after checking that it can be used.

    Parameters
    ----------
    target
        The target.
    elements
        Atomic numbers of the elements of the frames.

    Raises
    ------
    InvalidInputError, PotentialError
        If it cannot be loaded, does not support an element, or is a maker that needs more than a structure.
    """
    from alchemflows.alchemy.backends import resolve
    from alchemflows.alchemy.targets import PotentialTarget, imported_calculator

    if isinstance(target, Maker):
        check_target(target)
        return target
    if isinstance(target, PotentialSpec):
        resolved, _ = resolve(target)
        PotentialTarget(resolved.model_copy(update={"device": "cpu"})).check_elements(elements)
        return cast(TargetKind, resolved)
    imported_calculator(target)
    return target
