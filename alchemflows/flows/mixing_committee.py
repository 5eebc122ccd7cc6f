"""The flow that evaluates a free energy of mixing with a committee of potentials."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobflow import Flow

from alchemflows.flows.committee import MembersMaker, check_tolerance
from alchemflows.jobs.mixing_committee import CompareMixingMaker
from alchemflows.schemas.potential import PotentialRecord


@dataclass
class MixingCommitteeMaker(MembersMaker):
    """Evaluate a free energy of mixing with several potentials, without new Monte Carlo.

    Stored frames of all states are evaluated with each member in a job of its own, and reweighted at each composition.
    The result has the free energy of mixing, both compositions of its gap and the consolute point of each member, with
    the sample standard deviation over the members. If the job of a member fails, the others are compared.

    See :class:`~alchemflows.flows.committee.MembersMaker` for the other parameters.

    Parameters
    ----------
    tolerance_meV_per_atom
        Maximum accepted standard deviation of the free energy of mixing over the members (meV/atom), at each
        composition; by default there is no check.

    Examples
    --------
    >>> from alchemflows import MixingCommitteeMaker, PotentialSpec
    >>> maker = MixingCommitteeMaker(members=[PotentialSpec(name="mace-demo", dtype="float64")])
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['energies, mace-demo', 'mixing committee']
    """

    name: str = "mixing committee"
    tolerance_meV_per_atom: float | None = None

    def make(self, mixing: str, *, elements: Collection[int] = (), sampled: PotentialRecord | None = None) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.mixing_committee.MixingCommitteeDocument`.

        Parameters
        ----------
        mixing
            Identifier (UUID) of the free energy of mixing, whose frames are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a member is given twice, cannot be loaded or does not support an element.
        """
        compare = CompareMixingMaker(
            include_sampled=self.include_sampled, tolerance_meV_per_atom=self.tolerance_meV_per_atom
        )
        return self.compared(mixing, compare, elements, sampled)

    def check(self) -> None:
        """Check the fields, without loading a member.

        Raises
        ------
        InvalidInputError
            If there are fewer than two members, or a number is out of range.
        """
        super().check()
        check_tolerance("tolerance_meV_per_atom", self.tolerance_meV_per_atom)
