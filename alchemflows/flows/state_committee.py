"""The flow that evaluates absolute free energies and their transitions with a committee of potentials."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from jobflow import Flow, Job

from alchemflows.flows.committee import MembersMaker, check_tolerance
from alchemflows.jobs.state_committee import CompareStatesMaker
from alchemflows.jobs.state_correction import CorrectStatesMaker
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec


@dataclass
class StateCommitteeMaker(MembersMaker):
    """Evaluate absolute free energies, phases or a melting point with several potentials, without new dynamics.

    The result is that of a Frenkel–Ladd run, a liquid, phases or a melting point at constant pressure. It is corrected
    to each member in a job of its own (:class:`~alchemflows.flows.state_correction.StateCorrectionMaker`). The result
    has the free energies and the transition temperatures of each member, with the sample standard deviation over the
    members. If the job of a member fails, the others are compared.

    See :class:`~alchemflows.flows.committee.MembersMaker` for the other parameters.

    Parameters
    ----------
    tolerance_K
        Maximum accepted standard deviation of a melting point, or of another transition, over the members (K); by
        default there is no check.

        If it is larger, the verdict says so and names the frames with the largest deviations.
    tolerance_meV_per_atom
        Maximum accepted standard deviation of the free energy of a state over the members (meV/atom); by default there
        is no check.

        Members whose training data have other energies of isolated atoms differ by eV per atom.

    Examples
    --------
    >>> from alchemflows import PotentialSpec, StateCommitteeMaker
    >>> maker = StateCommitteeMaker(members=[PotentialSpec(name="mace-demo", dtype="float64")], tolerance_K=30.0)
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['correction to mace-demo', 'state committee']
    """

    name: str = "state committee"
    tolerance_K: float | None = None
    tolerance_meV_per_atom: float | None = None

    def make(self, result: str, *, elements: Collection[int] = (), sampled: PotentialRecord | None = None) -> Flow:
        """Return the flow; its output is a :class:`.StateCommitteeDocument`.

        Parameters
        ----------
        result
            Identifier (UUID) of the result; the frames of its states are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a member is given twice, cannot be loaded or does not support an element.
        """
        compare = CompareStatesMaker(
            include_sampled=self.include_sampled,
            tolerance_K=self.tolerance_K,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
        )
        return self.compared(result, compare, elements, sampled)

    def check(self) -> None:
        """Check the fields, without loading a member.

        Raises
        ------
        InvalidInputError
            If there are fewer than two members, or a number is out of range.
        """
        super().check()
        check_tolerance("tolerance_K", self.tolerance_K)
        check_tolerance("tolerance_meV_per_atom", self.tolerance_meV_per_atom)

    def evaluation(self, name: str, target: PotentialSpec | CalculatorSpec, result: str) -> Job:
        """Return the job that corrects the result to one member."""
        maker = CorrectStatesMaker(name=f"correction to {name}", target=target, max_failed=self.max_failed)
        return maker.make(result)
