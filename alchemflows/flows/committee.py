"""The flow that evaluates one free energy with a committee of potentials."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from jobflow import Flow, Job, Maker

from alchemflows.arguments import checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.correction import CorrectionMaker
from alchemflows.free_energy.committees import MIN_MEMBERS
from alchemflows.jobs.committee import CompareMembersMaker
from alchemflows.jobs.correction import EvaluateFramesMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec


@dataclass
class CommitteeMaker(Maker):
    """Evaluate the free energy of a ladder with several potentials, without new dynamics.

    Stored frames of both ends are evaluated with each member in a job of its own, and reweighted
    (:class:`~alchemflows.flows.correction.CorrectionMaker`). The sample standard deviation over the members is an
    estimate of the error of the potential. If the job of a member fails, the others are compared.

    Parameters
    ----------
    name
        Name of the flow.
    members
        Members besides the sampled potential: potentials of this package, of which several may be heads of one file,
        or calculators of ASE.
    include_sampled
        Whether the sampled potential is a member, whose free energy is that of the ladder.
    tolerance_meV_per_atom
        Largest accepted standard deviation over the members (meV/atom).

        If it is larger, the verdict says so and names the frames with the largest deviations. None for no check.
    max_failed
        Largest share of the frames of an end on which a member may fail; they are left out.
    category
        FireWorks category of the jobs of the members, so that workers with these potentials take them; none for no
        category.
    categories
        Categories of single members, by their position in `members`.

    Examples
    --------
    >>> from alchemflows import CommitteeMaker, PotentialSpec
    >>> maker = CommitteeMaker(members=[PotentialSpec(name="mace-demo", dtype="float64")])
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['correction to mace-demo', 'committee']
    """

    name: str = "committee"
    members: Sequence[PotentialSpec | CalculatorSpec] = ()
    include_sampled: bool = True
    tolerance_meV_per_atom: float | None = None
    max_failed: float = 0.1
    category: str | None = GPU_CATEGORY
    categories: dict[int, str] = field(default_factory=dict)

    def make(self, ladder: str, *, elements: Collection[int] = (), sampled: PotentialRecord | None = None) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.committee.CommitteeDocument`.

        Parameters
        ----------
        ladder
            Identifier (UUID) of the free energy of the ladder, whose frames are in the job store.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member.

        Raises
        ------
        InvalidInputError, PotentialError
            If there are fewer than two members, a member is given twice, a number is out of range, or a member cannot
            be loaded or does not support an element.
        """
        least = MIN_MEMBERS - self.include_sampled
        if len(self.members) < least:
            others = " besides the sampled potential" if self.include_sampled else ""
            raise InvalidInputError(f"members: at least {least}{others} must be given; got {len(self.members)}")
        if self.tolerance_meV_per_atom is not None and not self.tolerance_meV_per_atom > 0:
            raise InvalidInputError(f"tolerance_meV_per_atom must be positive; got {self.tolerance_meV_per_atom:g}")
        names = [member_name(member) for member in self.members]
        flows = [self._evaluation(k, ladder, elements) for k in range(len(self.members))]
        jobs = [_only_job(flow) for flow in flows]
        self._check_different(names, jobs, sampled)
        for name, job in zip(names, jobs, strict=True):
            job.name = name
        compare = CompareMembersMaker(
            include_sampled=self.include_sampled, tolerance_meV_per_atom=self.tolerance_meV_per_atom
        ).make(checked_id(ladder), names, [job.uuid for job in jobs], [job.output for job in jobs])
        return Flow([*flows, tolerant(compare)], output=compare.output, name=f"{self.name} of {', '.join(names)}")

    def _evaluation(self, k: int, ladder: str, elements: Collection[int]) -> Flow:
        maker = CorrectionMaker(
            target=self.members[k], max_failed=self.max_failed, category=self.categories.get(k, self.category)
        )
        return maker.make(ladder, elements=elements)

    def _check_different(self, names: Sequence[str], jobs: Sequence[Job], sampled: PotentialRecord | None) -> None:
        """Raise an error if two members are the same file and head, or the same calculator with the same arguments."""
        known: dict[tuple[str, str | None], str] = {}
        if sampled is not None and self.include_sampled:
            known[sampled.sha256, sampled.head] = "the sampled potential, which is a member anyway"
        for name, job in zip(names, jobs, strict=True):
            identity = _identity(job)
            if identity in known:
                raise InvalidInputError(f"the member {name} is {known[identity]}; name each member once")
            known[identity] = f"the same as the member {name}"


def member_name(spec: PotentialSpec | CalculatorSpec) -> str:
    """Return the name of a member: that of the potential and its head, or the calculator with its arguments."""
    head = spec.head if isinstance(spec, PotentialSpec) else None
    return f"{spec.name}, head {head}" if head else spec.name


def _only_job(flow: Flow) -> Job:
    (job,) = flow.jobs
    assert isinstance(job, Job)
    return job


def _identity(job: Job) -> tuple[str, str | None]:
    """Return what makes two members the same: the file and the head, or the calculator with its arguments."""
    from alchemflows.alchemy.backends import resolve

    maker = job.maker
    assert isinstance(maker, EvaluateFramesMaker)
    if not isinstance(maker.target, PotentialSpec):
        return maker.target.name, None
    _, backend = resolve(maker.target)
    return backend.record.sha256, backend.record.head
