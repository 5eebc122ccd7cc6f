"""Base of makers of flows that sample the arrangements of a disordered crystal by Monte Carlo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from jobflow import Job, OutputReference

from alchemflows.alchemy.arrangements import Disorder
from alchemflows.alchemy.cell_size import check_neighbours
from alchemflows.alchemy.system import AlchemicalSystem, Coupling
from alchemflows.errors import InvalidInputError
from alchemflows.flows.common import ConditionsMaker, structure_of
from alchemflows.jobs.relax import AlchemicalRelaxMaker, relaxing
from alchemflows.jobs.stores import SAMPLES
from alchemflows.schemas.monte_carlo import Balancing, MonteCarloSettings, ProposalKind
from alchemflows.schemas.potential import PotentialSpec


@dataclass
class SampledArrangementsMaker(ConditionsMaker):
    """Base of makers whose jobs sample arrangements by sweeps of attempted moves, with or without dynamics.

    See :class:`ConditionsMaker` for the other parameters. They are those of the dynamics; at frozen positions they are
    not used.

    Parameters
    ----------
    n_equilibration_sweeps
        Number of sweeps before the first sample.
    n_production_sweeps
        Number of sweeps with a sample each.
    attempts_per_sweep
        Number of attempted moves per sweep; none for one per site that can change, rounded up to an odd number.
    n_md_steps
        Number of steps of dynamics after the moves of a sweep; 0 for frozen positions.
    proposal
        Whether moves are chosen by ∂E/∂w (``informed``) or with equal probabilities (``uniform``).
    balancing
        Balancing function of informed proposals: ``sqrt`` or ``barker``.
    n_tries
        Number of candidates of an attempted move, of which one is chosen (multiple-try Metropolis).

        An attempt needs twice as many evaluations, in two batches. This can pay on a GPU that a batch of one candidate
        per replica does not fill.
    replica_exchange
        Whether replicas at neighbouring conditions are exchanged after each sweep.
    n_frames
        Number of configurations that are stored of each state; 0 for none.

        A state is a temperature, with a chemical potential or a target if there are several. They are evenly spaced
        over the production of all its replicas. `alchemflows frames export` writes them to a file.
    coupling
        Interaction between the alchemical sites in the relaxation: ``mean-field`` or ``paired``.

        See :class:`AlchemicalSystem`. Arrangements of whole atoms do not depend on it.
    relax_maker
        Relaxation of positions and cell of the alchemical crystal, whose result is the start of all replicas.

        With None they start from the given structure.
    """

    name: str = "arrangements"
    n_equilibration_sweeps: int = 50
    n_production_sweeps: int = 200
    attempts_per_sweep: int | None = None
    n_md_steps: int = 0
    proposal: ProposalKind = "informed"
    balancing: Balancing = "sqrt"
    n_tries: int = 1
    replica_exchange: bool = True
    n_frames: int = 100
    coupling: Coupling = "mean-field"
    relax_maker: AlchemicalRelaxMaker | None = field(default_factory=lambda: relaxing(0.02, steps=1000))

    def mixture(self, disorder: Disorder) -> AlchemicalSystem:
        """Return the alchemical crystal of a disordered one, with this coupling."""
        return AlchemicalSystem(disorder.system.structure, disorder.system.groups, self.coupling)

    def sweep_settings(self, disorder: Disorder, temperatures: Sequence[float], **moves: Any) -> MonteCarloSettings:
        """Return the settings of a job; their temperature is the lowest one.

        Parameters
        ----------
        disorder
            The crystal in its supercell.
        temperatures
            Temperatures (K).
        moves
            Further settings, or others than those of this maker.

        Raises
        ------
        InvalidInputError
            If there is no temperature, one is given twice, a number is out of range, or atoms cannot move in this
            crystal although dynamics are asked for.
        """
        if self.n_frames < 0:
            raise InvalidInputError(f"n_frames must be at least 0; got {self.n_frames}")
        if not temperatures or len(set(temperatures)) < len(temperatures):
            raise InvalidInputError(f"temperatures: give at least one, and each once; got {list(temperatures)}")
        settings = self._settings(min(temperatures), moves)
        if not settings.moves_atoms:
            return settings
        if any(not all(sublattice.symbols) for sublattice in disorder.sublattices):
            raise InvalidInputError(
                "n_md_steps and n_switching_steps must be 0 in a crystal with vacancies, since nothing holds the "
                "position of a vacant site during dynamics"
            )
        system = self.mixture(disorder)
        check_neighbours(system.structure)
        return self.in_crystal(system)._settings(min(temperatures), moves)

    def relaxed(self, disorder: Disorder, potential: PotentialSpec) -> tuple[list[Job], OutputReference | None]:
        """Return the job that relaxes the crystal at its mean weights, and its output structure; none without a maker.

        Parameters
        ----------
        disorder
            The crystal in its supercell.
        potential
            The potential.
        """
        if self.relax_maker is None:
            return [], None
        weights = disorder.weights.tolist()
        relax = self.relax_maker.make(self.mixture(disorder), weights, potential, later_store=SAMPLES)
        relax.name = f"relax {self.coupling}"
        return [relax], structure_of(relax)

    def _settings(self, temperature_K: float, moves: dict[str, Any]) -> MonteCarloSettings:
        own = {
            "temperature_K": temperature_K,
            "pressure_GPa": self.pressure_GPa if self.n_md_steps else None,
            "cell_freedom": "isotropic" if self.cell_freedom == "auto" else self.cell_freedom,
            "n_equilibration_sweeps": self.n_equilibration_sweeps,
            "n_production_sweeps": self.n_production_sweeps,
            "attempts_per_sweep": self.attempts_per_sweep,
            "n_md_steps": self.n_md_steps,
            "proposal": self.proposal,
            "balancing": self.balancing,
            "n_tries": self.n_tries,
            "replica_exchange": self.replica_exchange,
        }
        return self.settings(MonteCarloSettings, **own | moves)
