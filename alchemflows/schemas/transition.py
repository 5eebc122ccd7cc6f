"""Documents of transitions between order and disorder."""

from __future__ import annotations

from typing import Literal

import numpy as np
from ase import units
from pydantic import BaseModel, Field
from pymatgen.core import Structure

from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.monte_carlo_result import ReplicaExchangeSummary, StartEnergies
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.verdict import Verdict


class OrderParameter(BaseModel):
    """Order of one species on one sublattice: the sum over waves of s(q).

    See :func:`alchemflows.analysis.order.wave_order`. A single wave has s = 1 in a perfectly ordered crystal.
    """

    sublattice: int = Field(description="index of the sublattice, from 0")
    species: str
    wave_vectors: list[tuple[float, float, float]] = Field(
        description="wave vectors q in units of the reciprocal lattice vectors of the unit cell"
    )
    found: bool = Field(description="whether it is the strongest order at the lowest temperature, and was not given")


class TransitionPoint(BaseModel):
    """A transition temperature."""

    temperature_K: float | None = Field(description="none if there is none between the sampled temperatures")
    temperature_error_K: float | None = Field(
        description="standard error; none if fewer than most of the random draws have a transition"
    )


class CumulantCrossing(TransitionPoint):
    """Temperature at which two supercells have the same cumulant of the order."""

    supercells: tuple[tuple[int, int, int], tuple[int, int, int]] = Field(description="the smaller one first")


class TransitionCell(BaseModel):
    """Averages in one supercell as functions of the temperature, with standard errors.

    Formulas are those of :mod:`alchemflows.free_energy.thermal`. Energies and heat capacities are totals of the cell
    with these `counts`.
    """

    supercell: tuple[int, int, int]
    counts: Counts
    n_replicas: int = Field(description="number of replicas at each temperature")
    n_samples: int = Field(description="number of samples at each temperature")
    inefficiency: float = Field(description="statistical inefficiency of the slower of energy and order, in samples")
    temperatures_K: list[float] = Field(description="temperatures of the curves")
    energy_eV: list[float]
    energy_errors_eV: list[float]
    heat_capacity_eV_per_K: list[float]
    heat_capacity_errors_eV_per_K: list[float]
    order: list[float] = Field(description="mean order parameter ⟨s⟩")
    order_errors: list[float]
    order_cumulant: list[float | None] = Field(description="U = 1 − ⟨s²⟩ / (3 ⟨s⟩²); none without any order")
    order_cumulant_errors: list[float | None]
    energy_cumulant: list[float | None] = Field(
        description="V = 1 − ⟨δE⁴⟩ / (3 ⟨δE²⟩²): 0 for a normal distribution, up to 2/3 for two peaks; none if the "
        "energy does not vary"
    )
    energy_cumulant_errors: list[float | None]
    heat_capacity_peak: TransitionPoint = Field(description="temperature of the largest heat capacity")
    steepest_order: TransitionPoint = Field(description="temperature at which the order decreases fastest")
    exchange: ReplicaExchangeSummary | None = Field(description="none without replica exchange")
    starts: StartEnergies | None
    job: str | None = Field(
        None, description="jobflow's identifier of its Monte Carlo; none in results of earlier releases"
    )

    @property
    def name(self) -> str:
        """Supercell as a text."""
        return "×".join(map(str, self.supercell))

    @property
    def heat_capacity_kB_per_atom(self) -> np.ndarray:
        """Heat capacity, k_B/atom."""
        return self.counts.per_atom(np.array(self.heat_capacity_eV_per_K)) / units.kB

    @property
    def heat_capacity_errors_kB_per_atom(self) -> np.ndarray:
        """Standard errors of the heat capacity, k_B/atom."""
        return self.counts.per_atom(np.array(self.heat_capacity_errors_eV_per_K)) / units.kB


class TransitionDocument(Document):
    """Transition temperature between order and disorder, from Monte Carlo at several temperatures."""

    formula: str
    counts: Counts = Field(description="atoms, sites and formula units of the largest supercell")
    order_parameter: OrderParameter
    pressure_GPa: float | None = Field(description="none at constant volume")
    sampled_temperatures_K: list[float]
    cells: list[TransitionCell] = Field(description="supercells, the smallest first")
    crossings: list[CumulantCrossing] = Field(description="of each two successive supercells")
    method: Literal["cumulants", "heat capacity"] = Field(
        description="how `transition` was found: crossing of the cumulants of the two largest supercells, or, with one "
        "supercell, the largest heat capacity"
    )
    transition: TransitionPoint
    estimate_K: float | None = Field(
        description="−ΔE / S from the lowest energy of an arrangement, the mean energy of random ones (at the "
        "positions of the start) and the ideal entropy of the largest supercell; none if it is not known"
    )
    estimate_error_K: float | None
    rounding: str = Field("", description="how compositions were rounded to whole atoms; empty if they were not")
    unit_cell: Structure | None = Field(
        None, description="disordered crystal whose repeats are the supercells; none in results of earlier releases"
    )
    verdict: Verdict
    provenance: Provenance
