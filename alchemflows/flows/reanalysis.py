"""The flow that corrects several ladders to a new potential."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import Flow, Maker

from alchemflows.arguments import checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.reanalysis import ListCorrectionsMaker
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class ReanalysisMaker(Maker):
    """Correct several ladders to a new potential, without new dynamics, and list those that must be run again.

    The new potential can be a fine-tuned one, or any target of a correction
    (:class:`~alchemflows.flows.correction.CorrectionMaker`). Each ladder is corrected by a job of its own.

    Parameters
    ----------
    name
        Name of the flow.
    target
        Potential of this package, or a calculator of ASE by its import path and arguments.
    max_failed
        Maximum fraction of failed frames at each end; with more, the job of this ladder ends with an error.

        Failed frames are left out.
    category
        FireWorks category of the jobs that evaluate the target.

        None for no category.

    Examples
    --------
    >>> from alchemflows import PotentialSpec, ReanalysisMaker
    >>> maker = ReanalysisMaker(target=PotentialSpec(name="mace-demo", dtype="float64"))
    >>> [job.name for job in maker.make(["a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10"]).jobs]
    ['correction to mace-demo', 'reanalysis']
    """

    name: str = "reanalysis"
    target: PotentialSpec | CalculatorSpec = field(
        default_factory=lambda: PotentialSpec(name="sevennet-0", dtype="float64")
    )
    max_failed: float = 0.1
    category: str | None = GPU_CATEGORY

    def check(self) -> None:
        """Check the fields, without loading the target.

        Raises
        ------
        InvalidInputError
            If a number is out of range.
        """
        self._correction(self.target).check()

    def _correction(self, target: PotentialSpec | CalculatorSpec) -> CorrectionMaker:
        """Return the maker of the correction of one ladder."""
        return CorrectionMaker(target=target, max_failed=self.max_failed, category=self.category)

    def make(
        self, ladders: Sequence[str], *, elements: Collection[int] = (), refused: Mapping[str, str] | None = None
    ) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.reanalysis.ReanalysisDocument`.

        Parameters
        ----------
        ladders
            Identifiers (UUIDs) of the free energies of the ladders, whose frames are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the target supports them.
        refused
            Ladders that cannot be corrected, by their identifiers, with the reason; they are listed.

        Raises
        ------
        InvalidInputError, PotentialError
            If there are no ladders or one is given twice, a number is out of range, or the target cannot be loaded or
            does not support an element.
        """
        if not ladders:
            raise InvalidInputError("ladders: at least one ladder that can be corrected is needed")
        if len(set(ladders)) < len(ladders):
            raise InvalidInputError("ladders: a ladder is given twice")
        from alchemflows.alchemy.backends import resolve

        target = self.target
        if isinstance(target, PotentialSpec):
            target, _ = resolve(target)  # once, since files can be large
        maker = self._correction(target)
        flows = [maker.make(checked_id(uuid), elements=elements) for uuid in ladders]
        outputs = [flow.output for flow in flows]
        listed = ListCorrectionsMaker(target=target).make(
            list(ladders), [output.uuid for output in outputs], outputs, dict(refused or {})
        )
        return Flow([*flows, tolerant(listed)], output=listed.output, name=f"{self.name} to {target.name}")
