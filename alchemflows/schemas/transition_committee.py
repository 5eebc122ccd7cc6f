"""Committees of potentials on a transition between order and disorder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from ase import units
from pydantic import BaseModel, Field

from alchemflows.schemas.committee import FailedMember, SpreadOfTemperature
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.transition import TransitionPoint
from alchemflows.schemas.verdict import Verdict

#: What is compared: the crossing of the cumulants of two supercells, or the largest heat capacity of one.
TransitionQuantity = Literal["crossing", "heat capacity"]


class MemberTransition(TransitionPoint):
    """A transition temperature with one member of a committee."""

    quantity: TransitionQuantity
    supercells: list[tuple[int, int, int]] = Field(description="two supercells of a crossing, or one")


class MemberCurves(BaseModel):
    """Averages with one member in one supercell, from frames; of the sampled potential from all samples.

    The heat capacity is that of the cell with these `counts`.
    """

    supercell: tuple[int, int, int]
    counts: Counts
    temperatures_K: list[float]
    order: list[float | None] = Field(description="mean order parameter ⟨s⟩")
    order_cumulant: list[float | None] = Field(description="U = 1 − ⟨s²⟩ / (3 ⟨s⟩²)")
    heat_capacity_eV_per_K: list[float]
    n_effective: list[float] | None = Field(
        description="effective sample size at each temperature, in independent frames; none for the sampled potential"
    )
    n_independent: float | None = Field(description="independent frames of all temperatures; none as above")
    reliable_K: tuple[float, float] | None = Field(
        description="longest range of temperatures at which the effective sample size suffices; none if there is none"
    )

    @property
    def name(self) -> str:
        """Supercell as a text."""
        return "×".join(map(str, self.supercell))

    @property
    def heat_capacity_kB_per_atom(self) -> np.ndarray:
        """Heat capacity, k_B/atom."""
        return self.counts.per_atom(np.array(self.heat_capacity_eV_per_K)) / units.kB


class TransitionMember(BaseModel):
    """Transition temperatures with one member of a committee, by reweighting."""

    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    sampled: bool = Field(False, description="whether this is the potential that was sampled")
    potential: PotentialRecord | None = Field(None, description="none for a calculator")
    job: str | None = Field(None, description="jobflow's identifier of its evaluation; none for the sampled potential")
    curves: list[MemberCurves] = Field(description="of each supercell, the smallest first")
    transitions: list[MemberTransition] = Field(
        description="of each two successive supercells, then of each supercell; the last of the kind that is the "
        "transition of the result is the transition with the member"
    )
    overlaps: bool = Field(
        description="whether the effective sample size suffices at some temperatures, in all supercells that are used"
    )

    def transition(self, quantity: TransitionQuantity) -> MemberTransition:
        """Return the transition of the largest supercells."""
        return [each for each in self.transitions if each.quantity == quantity][-1]

    def n_effective_at(self, found: MemberTransition) -> float | None:
        """Return the smallest effective sample size at a transition; None if it is not known."""
        used = [each for each in self.curves if each.supercell in found.supercells and each.n_effective is not None]
        if found.temperature_K is None or not used:
            return None
        at = (np.interp(found.temperature_K, each.temperatures_K, each.n_effective or []) for each in used)
        return float(min(at))


class TemperatureSpread(SpreadOfTemperature):
    """Mean and spread over the members of a transition temperature (K)."""

    quantity: TransitionQuantity
    supercells: list[tuple[int, int, int]]


class DisagreeingArrangement(BaseModel):
    """A frame of Monte Carlo at which the members of a committee disagree."""

    supercell: tuple[int, int, int]
    temperature_K: float
    index: int = Field(description="index of the frame at this temperature, from 0, as in an export of the frames")
    sweep: int = Field(description="number of production sweeps of its replica up to it")
    spread_eV: float = Field(description="standard deviation of the deviations over the members")
    member: str = Field(description="member with the largest deviation")
    deviation_eV: float = Field(description="its ΔU minus the mean of ΔU over the frames at this temperature")


class TransitionCommitteeDocument(Document):
    """Transition temperature between order and disorder with each member of a committee.

    Differences of the potentials that are constant at constant composition, such as those of the energies of isolated
    atoms, do not change it.
    """

    result: str = Field(description="jobflow's identifier of the transition")
    formula: str
    counts: Counts = Field(description="atoms, sites and formula units of the largest supercell")
    pressure_GPa: float | None
    sampled_temperatures_K: list[float]
    quantity: TransitionQuantity = Field(description="which of the quantities is the transition of the result")
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    members: list[TransitionMember]
    failed: list[FailedMember]
    spreads: list[TemperatureSpread] = Field(description="of all transitions that at least two members have")
    frames: list[DisagreeingArrangement] = Field(description="frames with the largest deviations of ΔU")
    tolerance_K: float | None = Field(description="largest accepted σ_model of the transition; none if not given")
    verdict: Verdict
    provenance: Provenance

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what other documents do, and mean, σ_model and σ_stat of the transition."""
        yield from super().__repr_args__()
        if (spread := self.spread) is not None:
            each = {"mean_K": spread.mean_K, "sigma_model_K": spread.sigma_model_K, "sigma_stat_K": spread.sigma_stat_K}
            yield from ((name, float(f"{value:.6g}")) for name, value in each.items() if value is not None)

    @property
    def spread(self) -> TemperatureSpread | None:
        """Mean and spread of the transition of the largest supercells; None if fewer than two members have one."""
        wanted = self.members[0].transition(self.quantity).supercells
        found = (each for each in self.spreads if (each.quantity, each.supercells) == (self.quantity, wanted))
        return next(found, None)
