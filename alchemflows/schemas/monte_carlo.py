"""Settings and time series of Monte Carlo on arrangements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from alchemflows.schemas.base import MakerField
from alchemflows.schemas.dynamics import MIN_SAMPLES, Conditions, Schedule

ProposalKind = Literal["informed", "uniform"]
Balancing = Literal["sqrt", "barker"]


class MonteCarloSettings(Conditions):
    """Settings of Monte Carlo on arrangements: conditions, numbers of sweeps, moves, and dynamics between sweeps.

    A sweep is a number of attempted moves, followed by `n_md_steps` steps of dynamics. A sample is taken after each
    production sweep.
    """

    n_equilibration_sweeps: int = Field(50, ge=0, description="sweeps before the first sample")
    n_production_sweeps: int = Field(200, gt=0, description="sweeps with a sample each")
    attempts_per_sweep: int | None = Field(
        None,
        gt=0,
        description="attempted moves per sweep; by default one for each site that can change, rounded up to an odd "
        "number",
    )
    n_md_steps: int = Field(
        0, ge=0, description="steps of Langevin dynamics after the moves of a sweep; 0 for frozen positions"
    )
    n_switching_steps: int = Field(
        0,
        ge=0,
        description="steps of dynamics that carry out an attempted move (nonequilibrium candidate move); 0 for "
        "instantaneous moves",
    )
    schedule: Schedule = Field("ninth-order", description="λ as a function of time during a candidate move")
    proposal: ProposalKind = Field(
        "informed", description="whether moves are chosen by ∂E/∂w (informed) or with equal probabilities (uniform)"
    )
    balancing: Balancing = Field("sqrt", description="balancing function of informed proposals: sqrt or barker")
    n_tries: int = Field(
        1, gt=0, description="candidates that an attempt draws, of which one is chosen (multiple-try Metropolis)"
    )
    replica_exchange: bool = Field(False, description="whether neighbouring replicas may be exchanged after each sweep")

    @model_validator(mode="after")
    def _consistent(self) -> MonteCarloSettings:
        if self.n_production_sweeps < MIN_SAMPLES:
            raise ValueError(
                f"n_production_sweeps = {self.n_production_sweeps} gives as many samples; at least {MIN_SAMPLES} are "
                "needed"
            )
        if self.n_tries > 1 and self.n_switching_steps:
            raise ValueError(
                f"n_tries = {self.n_tries}: moves that are carried out by dynamics (n_switching_steps = "
                f"{self.n_switching_steps}) have one try"
            )
        return self

    @property
    def moves_atoms(self) -> bool:
        """Whether dynamics move the atoms, between or during the moves."""
        return self.n_md_steps > 0 or self.n_switching_steps > 0

    def n_attempts(self, n_sites: int) -> int:
        """Return the number of attempted moves per sweep, for the number of sites that can change.

        By default it is odd. In a nearly ideal crystal almost all moves are accepted, and an even number of changes
        would keep the number of atoms of an element even or odd.
        """
        return self.attempts_per_sweep or n_sites | 1

    def sweep_fs(self, n_sites: int) -> float:
        """Return the time of the dynamics of a sweep (fs), for the number of sites that can change."""
        return self.timestep_fs * (self.n_md_steps + self.n_attempts(n_sites) * self.n_switching_steps)

    @property
    def evaluations_per_attempt(self) -> int:
        """Number of evaluations of a replica in an attempted move."""
        return self.n_switching_steps + 1 if self.n_tries == 1 else 2 * self.n_tries


class CompositionControl(MakerField):
    """What controls the composition; nothing for a constant composition (canonical ensemble)."""

    mu_eV: dict[str, float] = Field(
        default={}, description="chemical potential of each species relative to the reference species (eV)"
    )
    targets: dict[str, float] = Field(
        default={}, description="target share of each species but one of each sublattice, which has the rest"
    )
    stiffness_eV: float = Field(1.0, gt=0, description="stiffness of the targets per site (eV)")
    exchange_mu_eV: dict[str, float] = Field(
        default={}, description="chemical potential of each exchange of species, such as 2 Ca -> Na + La (eV)"
    )
    oxidation_states: dict[str, float] = Field(
        default={}, description="oxidation states of the species of exchanges, where elements have several"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> CompositionControl:
        given = [name for name in ("mu_eV", "targets", "exchange_mu_eV") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one of them")
        if self.oxidation_states and not self.exchange_mu_eV:
            raise ValueError("oxidation_states are used only with exchange_mu_eV")
        return self


@dataclass(frozen=True)
class ArrangementSeries:
    """Time series of one replica: n samples of arrangements on M sites.

    Attributes
    ----------
    energy_eV
        Potential energy (eV), shape (n,).
    volume_A3
        Volume of the cell (Å³), shape (n,).
    labels
        Index of the species on each site, shape (n, M), see :class:`~alchemflows.sampling.arrangements.Arrangements`.
    acceptance
        Share of the attempts of the sweep that were accepted, shape (n,).
    walker
        Index of the start whose chain is in this replica, shape (n,); constant without replica exchange.
    """

    energy_eV: np.ndarray
    volume_A3: np.ndarray
    labels: np.ndarray
    acceptance: np.ndarray
    walker: np.ndarray

    def __len__(self) -> int:
        return len(self.energy_eV)
