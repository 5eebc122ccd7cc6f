"""The flow that evaluates one free energy with a committee of potentials."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from jobflow import Flow, Job, Maker, OutputReference
from pymatgen.core import Structure

from alchemflows.alchemy.path import Substitution
from alchemflows.arguments import checked, checked_id
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import GPU_CATEGORY
from alchemflows.flows.correction import CorrectionMaker, checked_target
from alchemflows.flows.rerun import RerunMaker
from alchemflows.flows.thermodynamic_integration import ThermodynamicIntegrationMaker
from alchemflows.jobs.committee import CompareMembersMaker
from alchemflows.jobs.frame_energies import FrameEnergiesMaker
from alchemflows.jobs.frame_forces import FrameForcesMaker
from alchemflows.jobs.inputs import tolerant
from alchemflows.jobs.mixing_committee import CompareMixingMaker
from alchemflows.jobs.refine import assign_category
from alchemflows.jobs.state_committee import CompareStatesMaker
from alchemflows.jobs.transition_committee import CompareTransitionMaker
from alchemflows.schemas.correction import CalculatorSpec
from alchemflows.schemas.potential import PotentialRecord, PotentialSpec


@dataclass
class MembersMaker(Maker):
    """Base of makers of flows that evaluate a stored result with the members of a committee of potentials.

    Parameters
    ----------
    name
        Name of the flow.
    members
        Members besides the sampled potential: potentials of this package, of which several may be heads of one file,
        or calculators of ASE.
    include_sampled
        Count the sampled potential as a member.
    max_failed
        Maximum fraction of failed frames of each end or state; with more, the job of this member ends with an error.

        Failed frames are left out.
    category
        FireWorks category of the jobs of the members, so that workers with these potentials take them; none for no
        category.
    categories
        Categories of single members, by their position in `members`.
    """

    name: str = "committee"
    members: Sequence[PotentialSpec | CalculatorSpec] = ()
    include_sampled: bool = True
    max_failed: float = 0.1
    category: str | None = GPU_CATEGORY
    categories: dict[int, str] = field(default_factory=dict)

    def check(self) -> None:
        """Check the fields, without loading a member.

        Raises
        ------
        InvalidInputError
            If there are fewer than two members, or a number is out of range.
        """
        from alchemflows.free_energy.committees import MIN_MEMBERS

        least = MIN_MEMBERS - self.include_sampled
        if len(self.members) < least:
            others = " besides the sampled potential" if self.include_sampled else ", or the sampled potential included"
            raise InvalidInputError(f"members: at least {least}{others} must be given; got {len(self.members)}")
        CorrectionMaker(max_failed=self.max_failed).check()

    def different_names(self, sampled: PotentialRecord | None) -> list[str]:
        """Return the names of the members, after checking that no two are the same potential.

        Two members are the same if they are the same file and head, or the same calculator with the same arguments.

        Parameters
        ----------
        sampled
            The sampled potential, if it is known.

        Raises
        ------
        InvalidInputError
            If two members are the same.
        """
        from alchemflows.alchemy.backends import resolve

        known: dict[tuple[str, str | None], str] = {}
        if sampled is not None and self.include_sampled:
            known[sampled.sha256, sampled.head] = "the sampled potential, which is a member anyway"
        names = [member_name(member) for member in self.members]
        for name, member in zip(names, self.members, strict=True):
            identity: tuple[str, str | None] = (member.name, None)
            if isinstance(member, PotentialSpec):
                _, backend = resolve(member)
                identity = backend.record.sha256, backend.record.head
            if identity in known:
                raise InvalidInputError(f"the member {name} is {known[identity]}; name each member once")
            known[identity] = f"the same as the member {name}"
        return names

    def category_of(self, k: int) -> str | None:
        """Return the FireWorks category of the jobs of the k-th member."""
        return self.categories.get(k, self.category)

    def evaluation(self, name: str, target: PotentialSpec | CalculatorSpec, result: str) -> Job:
        """Return the job that evaluates the frames of a result with one member; by default those of Monte Carlo.

        Parameters
        ----------
        name, target
            Name and specification of the member.
        result
            Identifier (UUID) of the result.
        """
        maker = FrameEnergiesMaker(name=f"energies, {name}", target=target, max_failed=self.max_failed)
        return maker.make(result, name)

    def compared(
        self,
        result: str,
        compare: CompareMixingMaker | CompareTransitionMaker | CompareStatesMaker,
        elements: Collection[int],
        sampled: PotentialRecord | None,
    ) -> Flow:
        """Return the flow that evaluates the frames of a result with each member, and compares the members.

        Parameters
        ----------
        result
            Identifier (UUID) of the result.
        compare
            Maker of the job that compares them, whose output is that of the flow.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a member is given twice, cannot be loaded or does not support an element.
        """
        self.check()
        uuid, names = checked_id(result), self.different_names(sampled)
        evaluations = []
        for k, (name, member) in enumerate(zip(names, self.members, strict=True)):
            evaluations.append(self.evaluation(name, checked_target(member, elements), uuid))
            assign_category([evaluations[-1]], self.category_of(k))
        compared = compare.make(uuid, names, [each.uuid for each in evaluations], [each.output for each in evaluations])
        flow_name = f"{self.name} of {', '.join(names)}"
        return Flow([*evaluations, tolerant(compared)], output=compared.output, name=flow_name)


@dataclass
class CommitteeMaker(MembersMaker):
    """Evaluate the free energy of a ladder with several potentials, without new dynamics.

    Stored frames of both ends are evaluated with each member in a job of its own, and reweighted
    (:class:`~alchemflows.flows.correction.CorrectionMaker`). The sample standard deviation over the members is an
    estimate of the error of the potential. If the job of a member fails, the others are compared.

    See :class:`MembersMaker` for the other parameters.

    Parameters
    ----------
    include_sampled
        Count the sampled potential as a member.

        Its free energy is that of the ladder.
    tolerance_meV_per_atom
        Maximum accepted standard deviation over the members (meV/atom); by default there is no check.

        If it is larger, the verdict says so and names the frames with the largest deviations.
    budget
        Maximum number of window runs for ladders of members that overlap too little with the sampled potential; 0 for
        none.

        Their ladders are run with the settings of the sampled one, in the order of the members, as far as the budget
        reaches. The others are listed with the command that runs them. Calculators cannot be run.
    forces
        Compare the forces of the members at each frame, in a further job for each member.

        A large spread of the forces on an atom is a sign that a configuration is unlike the training data.

    Examples
    --------
    >>> from alchemflows import CommitteeMaker, PotentialSpec
    >>> maker = CommitteeMaker(members=[PotentialSpec(name="mace-demo", dtype="float64")])
    >>> [job.name for job in maker.make("a3c0be9d-0b7b-4f3c-9f6b-5f3d8e4f2a10").jobs]
    ['correction to mace-demo', 'committee']
    """

    tolerance_meV_per_atom: float | None = None
    budget: int = 0
    forces: bool = False

    def make(
        self, ladder: OutputReference | str, *, elements: Collection[int] = (), sampled: PotentialRecord | None = None
    ) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.committee.CommitteeDocument`.

        Parameters
        ----------
        ladder
            Identifier (UUID) of the free energy of the ladder, whose frames are in the job store, or the output of a
            flow that computes it.
        elements
            Atomic numbers of the elements of the frames, to check that the members support them.
        sampled
            The sampled potential, to check that it is not given as a further member, and for its forces.

        Raises
        ------
        InvalidInputError, PotentialError
            As :meth:`check`; or if a member is given twice, cannot be loaded or does not support an element.
        """
        self.check()
        uuid = checked_id(ladder) if isinstance(ladder, str) else ladder.uuid
        names = self.different_names(sampled)
        flows = [self._evaluation(k, ladder, elements) for k in range(len(self.members))]
        for name, flow in zip(names, flows, strict=True):
            if len(flow.jobs) == 1:
                flow.jobs[0].name = name
        forces = self._forces(ladder, names, sampled) if self.forces else {}
        outputs = [flow.output for flow in flows]
        compare = CompareMembersMaker(
            include_sampled=self.include_sampled,
            tolerance_meV_per_atom=self.tolerance_meV_per_atom,
            budget=self.budget,
            ladders=self._ladders(names, sampled) if self.budget else {},
        ).make(
            uuid,
            names,
            [output.uuid for output in outputs],
            outputs,
            list(forces),
            [job.uuid for job in forces.values()],
            [job.output for job in forces.values()],
        )
        jobs: list[Flow | Job] = [*flows, *forces.values(), tolerant(compare)]
        return Flow(jobs, output=compare.output, name=f"{self.name} of {', '.join(names)}")

    def check(self) -> None:
        """Check the fields, without loading a member.

        Raises
        ------
        InvalidInputError
            If there are fewer than two members, or a number is out of range.
        """
        super().check()
        check_tolerance("tolerance_meV_per_atom", self.tolerance_meV_per_atom)
        if self.budget < 0:
            raise InvalidInputError(f"budget must be at least 0; got {self.budget}")

    def _evaluation(self, k: int, ladder: OutputReference | str, elements: Collection[int]) -> Flow:
        maker = CorrectionMaker(target=self.members[k], max_failed=self.max_failed, category=self.category_of(k))
        return maker.make(ladder, elements=elements)

    def _ladders(self, names: Sequence[str], sampled: PotentialRecord | None) -> dict[str, RerunMaker]:
        """Return the makers of the ladders of members that are potentials, with the precision of the sampled one."""
        from alchemflows.alchemy.backends import resolve

        makers = {}
        for k, (name, member) in enumerate(zip(names, self.members, strict=True)):
            if isinstance(member, PotentialSpec):
                dtype = "float32" if sampled is None else sampled.dtype
                potential = resolve(member)[0].model_copy(update={"dtype": dtype})
                makers[name] = RerunMaker(potential=potential, category=self.category_of(k))
        return makers

    def _forces(
        self, ladder: OutputReference | str, names: Sequence[str], sampled: PotentialRecord | None
    ) -> dict[str, Job]:
        """Return the jobs that evaluate forces, by the names of the members."""
        from alchemflows.alchemy.backends import resolve

        targets: dict[str, tuple[PotentialSpec | CalculatorSpec, str | None]]
        targets = {name: (self.members[k], self.categories.get(k)) for k, name in enumerate(names)}
        if sampled is not None and self.include_sampled:
            own = PotentialSpec(name=sampled.name, head=sampled.head, sha256=sampled.sha256, dtype="float64")
            targets = {f"{sampled.name} (sampled)": (own, None)} | targets
        jobs = {}
        for name, (spec, category) in targets.items():
            target = resolve(spec)[0] if isinstance(spec, PotentialSpec) else spec
            jobs[name] = FrameForcesMaker(name=f"forces, {name}", target=target).make(ladder, name)
            assign_category([jobs[name]], category or self.category)
        return jobs


@dataclass
class CommitteeLadderMaker(Maker):
    """Compute a free-energy difference by a ladder, and evaluate it with a committee of potentials.

    Parameters
    ----------
    name
        Name of the flow.
    ladder_maker
        The ladder, whose potential is the sampled one. It must store frames.
    committee_maker
        The committee.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import CommitteeLadderMaker, CommitteeMaker, PotentialSpec, ThermodynamicIntegrationMaker
    >>> from alchemflows.schemas.correction import CalculatorSpec
    >>> salt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> maker = CommitteeLadderMaker(
    ...     ladder_maker=ThermodynamicIntegrationMaker(potential="mace-demo", temperature=400.0, n_windows=2),
    ...     committee_maker=CommitteeMaker(members=[CalculatorSpec(path="ase.calculators.lj:LennardJones")]),
    ... )
    >>> [job.name for job, _ in maker.make(salt, {"Na": "K"}).iterflow()][-2:]
    ['ase.calculators.lj:LennardJones()', 'committee']
    """

    name: str = "committee"
    ladder_maker: ThermodynamicIntegrationMaker = field(default_factory=ThermodynamicIntegrationMaker)
    committee_maker: CommitteeMaker = field(default_factory=CommitteeMaker)

    @checked
    def make(self, structure: Structure, substitution: Substitution, *, sites: Sequence[int] | None = None) -> Flow:
        """Return the flow; its output is a :class:`~alchemflows.schemas.committee.CommitteeDocument`.

        Parameters
        ----------
        structure
            Ordered pymatgen structure, large enough that its thermal motion is representative.
        substitution
            For example ``{"Pb": "Sn"}``; both ends of the path must be ordered.
        sites
            Indices of the sites to change; all sites of the element if not given.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure, the substitution, a number or a potential is invalid, an end is a mixed crystal, or no
            frames are stored.
        """
        from alchemflows.alchemy.backends import resolve

        if self.ladder_maker.n_frames < 1:
            raise InvalidInputError("ladder_maker.n_frames must be at least 1, since a committee evaluates frames")
        path = self.ladder_maker.path(structure, substitution, sites)
        if any(0 < weight < 1 for weight in (*path.initial, *path.final)):
            raise InvalidInputError("substitution: a committee needs ordered ends, since only these have an energy")
        ladder = self.ladder_maker.make(structure, substitution, sites=sites)
        ends = (path.initial, path.final)
        elements = {z for end in ends for site in path.system.site_composition(end) for z in site}
        potential = self.ladder_maker.checked_potential(path.system)
        committee = self.committee_maker.make(
            ladder.output, elements=sorted(elements), sampled=resolve(potential)[1].record
        )
        return Flow([ladder, committee], output=committee.output, name=f"{self.name}, {ladder.name}")


def member_name(spec: PotentialSpec | CalculatorSpec) -> str:
    """Return the name of a member: that of the potential and its head, or the calculator with its arguments."""
    head = spec.head if isinstance(spec, PotentialSpec) else None
    return f"{spec.name}, head {head}" if head else spec.name


def check_tolerance(name: str, value: float | None) -> None:
    """Check the largest accepted standard deviation over the members.

    Parameters
    ----------
    name, value
        Name and value of the field; None for no check.

    Raises
    ------
    InvalidInputError
        If it is not positive.
    """
    if value is not None and not value > 0:
        raise InvalidInputError(f"{name} must be positive; got {value:g}")
