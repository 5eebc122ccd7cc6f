"""The flow that evaluates a transition between order and disorder with a committee of potentials."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobflow import Flow

from alchemflows.flows.committee import MembersMaker, check_tolerance
from alchemflows.jobs.transition_committee import CompareTransitionMaker
from alchemflows.schemas.potential import PotentialRecord


@dataclass
class TransitionCommitteeMaker(MembersMaker):
    """Evaluate a transition between order and disorder with several potentials, without new Monte Carlo.

    Stored frames of all supercells and temperatures are evaluated with each member in a job of its own, and reweighted
    together. The result has the transition temperature of each member, with the sample standard deviation over the
    members. If the job of a member fails, the others are compared.

    See :class:`~alchemflows.flows.committee.MembersMaker` for the other parameters.

    Parameters
    ----------
    tolerance_K
        Maximum accepted standard deviation of the transition temperature over the members (K); by default there is no
        check.

        If it is larger, the verdict says so and names the frames with the largest deviations.

    Examples
    --------
    >>> from alchemflows import PotentialSpec, TransitionCommitteeMaker
    >>> maker = TransitionCommitteeMaker(members=[PotentialSpec(name="mace-demo", dtype="float64")], tolerance_K=30.0)
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['energies, mace-demo', 'transition committee']
    """

    name: str = "transition committee"
    tolerance_K: float | None = None

    def make(self, transition: str, *, elements: Collection[int] = (), sampled: PotentialRecord | None = None) -> Flow:
        """Return the flow; its output is a :class:`.TransitionCommitteeDocument`.

        Parameters
        ----------
        transition
            Identifier (UUID) of the transition; the frames of its Monte Carlo are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a member is given twice, cannot be loaded or does not support an element.
        """
        compare = CompareTransitionMaker(include_sampled=self.include_sampled, tolerance_K=self.tolerance_K)
        return self.compared(transition, compare, elements, sampled)

    def check(self) -> None:
        """Check the fields, without loading a member.

        Raises
        ------
        InvalidInputError
            If there are fewer than two members, or a number is out of range.
        """
        super().check()
        check_tolerance("tolerance_K", self.tolerance_K)
