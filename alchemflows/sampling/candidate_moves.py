r"""Nonequilibrium candidate moves: a change of the arrangement carried out by dynamics (NCMC).

Nilmeier, Crooks, Minh & Chodera, Proc. Natl. Acad. Sci. USA 108, E1009 (2011). A candidate x → y of
:class:`~alchemflows.sampling.monte_carlo.MonteCarlo` is carried out in n steps of Langevin dynamics at constant cell,
during which the weights change from those of x to those of y. Neighbours can make room for the new species, so that
moves are accepted that would be rejected at constant positions. A move from x and positions r to y and r' is accepted
with the probability

    min{1, exp[−β (W + Φ(y) − Φ(x))] q(x|y, r') / q(y|x, r)},    W = H_y(r', v') − H_x(r, v) − Q.

H is the sum of potential and kinetic energy, and Q the heat: the change of the kinetic energy in the steps of the
thermostat. If the move is rejected, the replica stays at x and r.

The stationary distribution ∝ exp{−β [E(x, r) + Φ(x)]} is exact at any time step, for the following reasons.

- Velocities v are drawn from the Maxwell–Boltzmann distribution before a move and dropped after it. During the move, an
  atom on a site that changes has the mean mass of the old and the new species, which is the same for the reverse move.
- The BAOAB sequence of a step is palindromic, and the schedule satisfies s(1 − τ) = 1 − s(τ). The forces at the start
  and at the end of step k are those at s((k − 1)/n) and s(k/n). Read backwards, a move is thus a move from y to x.
- Kicks (B) and drifts (A) conserve phase-space volume and are reversible if velocities change their sign. A step of the
  thermostat (O) satisfies detailed balance with respect to the Maxwell–Boltzmann distribution, so that the
  probabilities of a step and of its reverse differ by the factor exp(−β ΔK), where ΔK is its part of Q.

The ratio of the probabilities of a trajectory and of its reverse, both from equilibrium, is therefore that above. W
includes the work of the time step (shadow work): H changes during dynamics at constant weights, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.alchemy.interfaces import EnergyModel
from alchemflows.errors import InvalidInputError
from alchemflows.sampling.arrangements import Arrangements
from alchemflows.sampling.langevin import Langevin
from alchemflows.sampling.schedules import DEFAULT_SCHEDULE, schedule


@dataclass(frozen=True)
class Switched:
    """Results of candidate moves of B replicas.

    Attributes
    ----------
    positions_A
        Final positions (Å), shape (B, N, 3).
    energy_eV
        Final potential energy (eV), shape (B,).
    weight_gradients_eV
        Final ∂E/∂w (eV), shape (B, C); None if it was not requested.
    work_eV
        W (eV), shape (B,).
    exploded
        Whether the trajectory of a replica exploded, shape (B,). Its other results have no meaning.
    """

    positions_A: np.ndarray
    energy_eV: np.ndarray
    weight_gradients_eV: np.ndarray | None
    work_eV: np.ndarray
    exploded: np.ndarray


@dataclass(frozen=True)
class CandidateSwitch:
    """How candidate moves are carried out by dynamics.

    Parameters
    ----------
    n_steps
        Number of steps of a move. Each move needs n + 1 evaluations.
    timestep_fs, friction_per_ps
        Time step (fs) and friction (1/ps).
    schedule
        λ as a function of time, see :mod:`alchemflows.sampling.schedules`.

    Raises
    ------
    InvalidInputError
        If the number of steps is not positive, or the schedule is unknown.

    Examples
    --------
    >>> from alchemflows.sampling.candidate_moves import CandidateSwitch
    >>> CandidateSwitch(4, schedule="linear").lambdas.tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """

    n_steps: int
    timestep_fs: float = 2.0
    friction_per_ps: float = 5.0
    schedule: str = DEFAULT_SCHEDULE

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise InvalidInputError(f"n_steps must be positive; got {self.n_steps}")
        schedule(self.schedule, 0.0)

    @property
    def lambdas(self) -> np.ndarray:
        """λ after each step, from 0 to 1, shape (n_steps + 1,)."""
        return schedule(self.schedule, np.linspace(0, 1, self.n_steps + 1))

    def carry_out(
        self,
        model: EnergyModel,
        arrangements: Arrangements,
        start: tuple[np.ndarray, np.ndarray],
        labels: np.ndarray,
        candidates: np.ndarray,
        *,
        temperatures_K: np.ndarray,
        seeds: Sequence[int],
        weight_gradients: bool = True,
    ) -> Switched:
        """Switch from arrangements to others, shapes (B, n).

        Parameters
        ----------
        model
            Potential of the system of the arrangements.
        arrangements
            Species of the labels.
        start
            Positions and cells (Å), shapes (B, N, 3) and (B, 3, 3).
        labels, candidates
            Arrangements at the start and at the end.
        temperatures_K
            Temperature of each replica (K), shape (B,).
        seeds
            One seed for each replica, for velocities and noise.
        weight_gradients
            Whether to compute ∂E/∂w at the end.
        """
        before, after = arrangements.weights(labels), arrangements.weights(candidates)
        masses = (arrangements.system.masses(before) + arrangements.system.masses(after)) / 2
        langevin = Langevin(
            model,
            *start,
            before,
            masses,
            temperature_K=temperatures_K,
            timestep_fs=self.timestep_fs,
            friction_per_ps=self.friction_per_ps,
            seeds=seeds,
            measure_heat=True,
            stop_at_explosion=False,
        )
        at_start = langevin.evaluation.energy + langevin.kinetic_energies()
        for step, value in enumerate(self.lambdas[1:], start=1):
            weights = (1 - value) * before + value * after
            langevin.step(weights, weight_gradients=weight_gradients and step == self.n_steps)
        assert langevin.heat is not None
        evaluation = langevin.evaluation
        work = evaluation.energy + langevin.kinetic_energies() - at_start - langevin.heat
        gradients = evaluation.weight_gradients
        return Switched(
            langevin.positions.cpu().numpy(),
            evaluation.energy.detach().cpu().numpy(),
            None if gradients is None else gradients.cpu().numpy(),
            work.cpu().numpy(),
            langevin.exploded.cpu().numpy(),
        )
