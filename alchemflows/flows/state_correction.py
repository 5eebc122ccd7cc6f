"""The flow that corrects absolute free energies, and the transitions between them, to another potential."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from jobflow import Flow, Maker, OutputReference

from alchemflows.arguments import checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.correction import checked_target
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.state_correction import CorrectStatesMaker
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class StateCorrectionMaker(Maker):
    """Correct absolute free energies to another potential without new dynamics, and shift transition temperatures.

    The result is that of a Frenkel–Ladd run, a liquid, phases or a melting point at constant pressure. Frames of each
    state are evaluated with the target and reweighted; a transition is shifted by the difference of both changes
    (:mod:`~alchemflows.free_energy.perturbation`). Ladders are corrected by
    :class:`~alchemflows.flows.correction.CorrectionMaker`.

    Parameters
    ----------
    name
        Name of the flow.
    target
        Potential of this package, or a calculator of ASE by its import path and arguments.
    max_failed
        Maximum fraction of failed frames of each state; with more, the job ends with an error.

        Failed frames are left out.
    category
        FireWorks category of the job, so that workers with the target take it; none for no category.

    Examples
    --------
    >>> from alchemflows import PotentialSpec, StateCorrectionMaker
    >>> maker = StateCorrectionMaker(target=PotentialSpec(name="mace-demo", dtype="float64"))
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['correction']
    """

    name: str = "correction"
    target: PotentialSpec | CalculatorSpec = field(
        default_factory=lambda: PotentialSpec(name="sevennet-0", dtype="float64")
    )
    max_failed: float = 0.1
    category: str | None = GPU_CATEGORY

    def make(self, result: OutputReference | str, *, elements: Collection[int] = ()) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.state_correction.StateCorrectionDocument`.

        Parameters
        ----------
        result
            Identifier (UUID) of the result, whose frames are in the job store, or the output of a flow that computes
            it.
        elements
            Atomic numbers of the elements of the frames, to check that the target supports them. A job without this
            check fails before it evaluates a frame.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if the target cannot be loaded or does not support an element.
        """
        self.check()
        target = checked_target(self.target, elements)
        source = checked_id(result) if isinstance(result, str) else result
        corrected = CorrectStatesMaker(target=target, max_failed=self.max_failed).make(source)
        assign_category([corrected], self.category)
        return Flow([corrected], output=corrected.output, name=f"{self.name} to {target.name}")

    def check(self) -> None:
        """Check the fields, without loading the target.

        Raises
        ------
        InvalidInputError
            If the target is a maker of jobs, or a number is out of range.
        """
        if not isinstance(self.target, PotentialSpec | CalculatorSpec):
            raise InvalidInputError("target: only ladders can be corrected with a maker of jobs")
        if not 0 <= self.max_failed < 1:
            raise InvalidInputError(f"max_failed must be at least 0 and below 1; got {self.max_failed:g}")
