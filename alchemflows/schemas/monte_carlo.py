"""Settings and time series of Monte Carlo on arrangements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

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
    replica_exchange: bool = Field(False, description="whether neighbouring replicas may be exchanged after each sweep")

    @model_validator(mode="after")
    def _enough_samples(self) -> MonteCarloSettings:
        if self.n_production_sweeps < MIN_SAMPLES:
            raise ValueError(
                f"n_production_sweeps = {self.n_production_sweeps} gives as many samples; at least {MIN_SAMPLES} are "
                "needed"
            )
        return self

    def n_attempts(self, n_sites: int) -> int:
        """Return the number of attempted moves per sweep, for the number of sites that can change.

        By default it is odd. In a nearly ideal crystal almost all moves are accepted, and an even number of changes
        would keep the number of atoms of an element even or odd.
        """
        return self.attempts_per_sweep or n_sites | 1


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
