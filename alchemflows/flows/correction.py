"""The flow that corrects the free energy of a ladder to another potential."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from jobflow import Flow, Maker

from alchemflows.arguments import checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.jobs.correction import EvaluateFramesMaker
from alchemflows.jobs.frame_jobs import FrameJobsMaker, check_target
from alchemflows.jobs.refine import assign_category
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec


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
    max_failed
        Largest share of the frames of an end on which the target may fail; they are left out.
    category
        FireWorks category of the jobs that evaluate the target, so that workers with the target take them; none for no
        category.

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
    max_failed: float = 0.1
    category: str | None = GPU_CATEGORY

    def make(self, ladder: str, *, elements: Collection[int] = ()) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.correction.CorrectionDocument`.

        Parameters
        ----------
        ladder
            Identifier (UUID) of the free energy of the ladder, whose frames are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the target supports them. A job without this
            check fails before it evaluates a frame.

        Raises
        ------
        InvalidInputError, PotentialError
            If a number is out of range, the target cannot be loaded or does not support an element, or it is a maker
            that needs more than a structure.
        """
        from alchemflows.alchemy.backends import resolve
        from alchemflows.alchemy.targets import PotentialTarget, imported_calculator

        if not 0 <= self.max_failed < 1:
            raise InvalidInputError(f"max_failed must be at least 0 and below 1; got {self.max_failed}")
        uuid, target = checked_id(ladder), self.target
        if isinstance(target, Maker):
            check_target(target)
            frames = FrameJobsMaker(target=target, max_failed=self.max_failed, category=self.category).make(uuid)
            return Flow([frames], output=frames.output, name=f"{self.name} to {target.name}")
        if isinstance(target, PotentialSpec):
            target, _ = resolve(target)
            PotentialTarget(target.model_copy(update={"device": "cpu"})).check_elements(elements)
        else:
            imported_calculator(target)
        maker = EvaluateFramesMaker(target=target, max_failed=self.max_failed)
        evaluate = maker.make(uuid)
        assign_category([evaluate], self.category)
        return Flow([evaluate], output=evaluate.output, name=f"{self.name} to {target.name}")
