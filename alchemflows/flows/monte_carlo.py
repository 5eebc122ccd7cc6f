"""The flow that samples the arrangements of a disordered crystal by Monte Carlo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobflow import Flow
from pymatgen.core import Structure

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.analysis.order import Wave
from alchemflows.arguments import checked
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import ConditionsMaker, relaxed_mixture
from alchemflows.jobs.inputs import failing_onwards
from alchemflows.jobs.monte_carlo import ArrangementsMaker, ensemble_of
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.sampling.arrangements import VACANCY, Arrangements
from alchemflows.schemas.dynamics import Schedule
from alchemflows.schemas.monte_carlo import Balancing, MonteCarloSettings, ProposalKind


@dataclass
class MonteCarloMaker(ConditionsMaker):
    """Sample the arrangements of a disordered crystal at one or several temperatures by Monte Carlo.

    See :class:`ConditionsMaker` for the other parameters. They are those of the dynamics between and during moves. The
    cell moves only between moves: without `n_md_steps`, pressure and barostat are not used.

    Parameters
    ----------
    mu_eV
        Chemical potential of each species relative to a reference species (eV), for a variable composition.

        The reference is the species without a value; each sublattice has one. Without any value, the composition is
        constant (canonical ensemble); otherwise the ensemble is semi-grand canonical, and the composition of the
        structure is that of the first arrangements. ``vacancy`` stands for a vacant site.
    n_replicas
        Number of replicas at each temperature; an even number.

        Half of them start from random arrangements, the others from arrangements of low energy.
    n_equilibration_sweeps
        Number of sweeps before the first sample.
    n_production_sweeps
        Number of sweeps with a sample each.
    attempts_per_sweep
        Number of attempted moves per sweep; none for one per site that can change, rounded up to an odd number.
    n_md_steps
        Number of steps of dynamics after the moves of a sweep; 0 for frozen positions.
    n_switching_steps
        Number of steps of dynamics that carry out an attempted move; 0 for instantaneous moves.
    schedule
        λ as a function of time during such a move.
    proposal
        Whether moves are chosen by ∂E/∂w (``informed``) or with equal probabilities (``uniform``).
    balancing
        Balancing function of informed proposals: ``sqrt`` or ``barker``.
    replica_exchange
        Whether neighbouring temperatures exchange replicas after each sweep, if there are several temperatures.
    coupling
        Interaction between the alchemical sites in the relaxation: ``mean-field`` or ``paired``.

        See :class:`AlchemicalSystem`. Arrangements of whole atoms do not depend on it.
    relax_maker
        Relaxation of positions and cell of the alchemical crystal, whose result is the start of all replicas.

        With None they start from the given structure.
    round_composition
        Whether to round the composition to whole atoms in the supercell; otherwise a composition that does not
        correspond to whole atoms is an error.

        Document and verdict state how it was rounded.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> from alchemflows import MonteCarloMaker
    >>> sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    >>> mixed = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), [{"Na": 0.5, "K": 0.5}, "Cl"], sites)
    >>> maker = MonteCarloMaker(potential="mace-demo", n_replicas=2)
    >>> [job.name for job in maker.make(mixed, (2, 1, 1), [600.0, 800.0]).jobs]
    ['relax mean-field', 'arrangements']
    """

    name: str = "Monte Carlo"
    mu_eV: Mapping[str, float] = field(default_factory=dict)
    n_replicas: int = 4
    n_equilibration_sweeps: int = 50
    n_production_sweeps: int = 200
    attempts_per_sweep: int | None = None
    n_md_steps: int = 0
    n_switching_steps: int = 0
    schedule: Schedule = "ninth-order"
    proposal: ProposalKind = "informed"
    balancing: Balancing = "sqrt"
    replica_exchange: bool = True
    coupling: Coupling = "mean-field"
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=lambda: relaxing(0.02, steps=1000))
    round_composition: bool = False

    @checked
    def make(
        self,
        structure: Structure,
        supercell: Sequence[int],
        temperatures: Sequence[float],
        *,
        waves: Sequence[Sequence[float]] = (),
    ) -> Flow:
        """Return the flow; its output is a :class:`MonteCarloDocument`.

        Parameters
        ----------
        structure
            Structure with partial occupancies, which set the composition.
        supercell
            Repeats of the structure along a, b, c.
        temperatures
            Temperatures (K).
        waves
            Wave vectors of long-range order parameters, in units of the reciprocal lattice vectors of `structure`.

        Raises
        ------
        InvalidInputError, PotentialError
            If the structure is ordered or invalid, its composition does not give whole atoms in the supercell, a wave
            does not fit, a chemical potential is missing, or a number or the potential is invalid.
        """
        settings = self._settings(temperatures)
        if self.n_replicas < 2 or self.n_replicas % 2:
            raise InvalidInputError(
                f"n_replicas must be an even number, at least 2, since half of the replicas start from random "
                f"arrangements and half from arrangements of low energy; got {self.n_replicas}"
            )
        disorder = Disorder(structure, supercell, rounded=self.round_composition)
        system = AlchemicalSystem(disorder.system.structure, disorder.system.groups, self.coupling)
        arrangements = Arrangements.of(disorder)
        ensemble_of(arrangements, self.mu_eV)
        for sublattice in disorder.sublattices:
            sites = Structure.from_sites([disorder.system.structure[site] for site in sublattice.sites])
            for wave in waves:
                Wave.of(sites, wave, structure.lattice)
        if settings.n_md_steps or settings.n_switching_steps:
            self._check_dynamics(arrangements)
            settings = self.in_crystal(system)._settings(temperatures)
        potential = self.checked_potential(system)
        jobs, start = relaxed_mixture(self.relax_maker, system, disorder.weights.tolist(), potential)
        sampling = ArrangementsMaker(
            potential=potential,
            settings=settings,
            temperatures_K=sorted(map(float, temperatures)),
            n_replicas=self.n_replicas,
            mu_eV=dict(self.mu_eV),
            seed=self.seed,
        ).make(disorder, [list(wave) for wave in waves], start)
        name = f"{self.name} {system.formula(disorder.weights)}"
        return failing_onwards(Flow(self.categorised([*jobs, sampling]), output=sampling.output, name=name))

    def _settings(self, temperatures: Sequence[float]) -> MonteCarloSettings:
        """Return the settings of the job, at the lowest temperature."""
        if not temperatures or len(set(temperatures)) < len(temperatures):
            raise InvalidInputError(f"temperatures: give at least one, and each once; got {list(temperatures)}")
        freedom = "isotropic" if self.cell_freedom == "auto" else self.cell_freedom
        return self.settings(
            MonteCarloSettings,
            temperature_K=min(temperatures),
            pressure_GPa=self.pressure_GPa if self.n_md_steps else None,
            cell_freedom=freedom,
            n_equilibration_sweeps=self.n_equilibration_sweeps,
            n_production_sweeps=self.n_production_sweeps,
            attempts_per_sweep=self.attempts_per_sweep,
            n_md_steps=self.n_md_steps,
            n_switching_steps=self.n_switching_steps,
            schedule=self.schedule,
            proposal=self.proposal,
            balancing=self.balancing,
            replica_exchange=self.replica_exchange and len(temperatures) > 1,
        )

    def _check_dynamics(self, arrangements: Arrangements) -> None:
        """Raise an error if the crystal cannot move."""
        if VACANCY in arrangements.species:
            raise InvalidInputError(
                "n_md_steps and n_switching_steps must be 0 in a crystal with vacancies, since nothing holds the "
                "position of a vacant site during dynamics"
            )
        check_neighbours(arrangements.system.structure)
