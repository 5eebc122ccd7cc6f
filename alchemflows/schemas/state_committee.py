"""Committees of potentials on absolute free energies, and on the transitions between them such as a melting point."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field

from alchemflows.schemas.committee import FailedMember, SpreadOfTemperature
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import Estimate
from alchemflows.schemas.frenkel_ladd import FreeEnergyValue
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.state_correction import UncorrectedTransition
from alchemflows.schemas.verdict import Verdict


class TransitionName(BaseModel):
    """Two phases with a transition between them; the melting point is that between `solid` and `liquid`."""

    composition: float | None = Field(description="fraction of a substitution; none without one")
    low_temperature_phase: str
    high_temperature_phase: str

    @property
    def name(self) -> str:
        """Both phases as a text."""
        at = "" if self.composition is None else f", x = {self.composition:g}"
        return f"{self.low_temperature_phase} → {self.high_temperature_phase}{at}"


class StateOfMember(BaseModel):
    """Free energy of one state with one member; values are for the cell."""

    name: str = Field(description="phase, formula and temperature")
    correction: Estimate = Field(description="ΔΔG relative to the sampled potential")
    total: FreeEnergyValue = Field(description="G with the member, without ideal mixing")
    n_effective: float | None = Field(
        description="effective sample size, in independent frames; none for the sampled potential"
    )
    n_independent: float | None = Field(description="independent frames; none for the sampled potential")


class TransitionOfMember(TransitionName):
    """Temperature of a transition with one member."""

    temperature_K: float
    temperature_error_K: float | None
    shift_K: float = Field(description="shift relative to the sampled potential, to first order")


class MemberOfStates(BaseModel):
    """Free energies and transition temperatures with one member of a committee, by reweighting."""

    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    sampled: bool = Field(False, description="whether this is the potential that was sampled")
    potential: PotentialRecord | None = Field(None, description="none for a calculator")
    job: str | None = Field(None, description="jobflow's identifier of its correction; none for the sampled potential")
    states: list[StateOfMember]
    transitions: list[TransitionOfMember]
    overlaps: bool = Field(
        description="whether the effective sample size suffices in all states, from at least 12 independent frames"
    )


class SpreadOfState(BaseModel):
    """Mean and spread over the members of the free energy of a state; values are for the cell."""

    name: str = Field(description="phase, formula and temperature")
    counts: Counts
    mean: FreeEnergyValue = Field(description="mean of G over the members; its error is statistical (σ_stat)")
    sigma_model_eV: float = Field(description="sample standard deviation over the members")
    sigma_model_error_eV: float = Field(description="statistical standard error of `sigma_model_eV`")
    sigma_model_eV_per_atom: float
    sigma_noise_eV: float = Field(
        description="sample standard deviation that members with equal values would have, from statistical errors alone"
    )


class SpreadOfTransition(TransitionName, SpreadOfTemperature):
    """Mean and spread over the members of the temperature of a transition, such as a melting point."""


class DisagreeingStateFrame(BaseModel):
    """A frame of a state at which the members of a committee disagree."""

    state: str = Field(description="name of the state")
    temperature_K: float
    index: int = Field(description="index of the frame of this state, from 0")
    time_fs: float
    spread_eV: float = Field(description="standard deviation of the deviations over the members")
    member: str = Field(description="member with the largest deviation")
    deviation_eV: float = Field(description="its ΔU minus the mean of ΔU over the frames of the state")


class StateCommitteeDocument(Document):
    """Absolute free energies, and transitions between them, with each member of a committee of potentials.

    G contains the energies of isolated atoms, which differ between potentials of other training data. They cancel in
    transitions between phases of one composition.
    """

    result: str = Field(description="jobflow's identifier of the absolute free energy, phases or melting point")
    formula: str
    counts: Counts = Field(description="of the first state")
    temperature_K: float | None = Field(description="of a single state; none for several")
    pressure_GPa: float
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    members: list[MemberOfStates]
    failed: list[FailedMember]
    left_out: list[str] = Field(description="states that are not compared, with the reason")
    uncorrected: list[UncorrectedTransition] = Field(
        description="transitions that are not compared, since a phase has no frames"
    )
    spreads: list[SpreadOfTransition] = Field(description="of the transitions; none for a single state")
    state_spreads: list[SpreadOfState] = Field(description="of the free energies of all states")
    frames: list[DisagreeingStateFrame] = Field(description="frames with the largest deviations of ΔU")
    tolerance_K: float | None = Field(description="largest accepted σ_model of a transition; none if not given")
    tolerance_meV_per_atom: float | None = Field(
        description="largest accepted σ_model of the free energy of a state; none if not given"
    )
    verdict: Verdict
    provenance: Provenance

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what other documents do, and mean, σ_model and σ_stat of the first transition or state."""
        yield from super().__repr_args__()
        numbers: dict[str, float | None]
        if self.spreads:
            first = self.spreads[0]
            numbers = {name: getattr(first, name) for name in ("mean_K", "sigma_model_K", "sigma_stat_K")}
        else:
            state = self.state_spreads[0]
            numbers = {
                "mean_eV_per_atom": state.mean.value_eV_per_atom,
                "sigma_model_eV_per_atom": state.sigma_model_eV_per_atom,
                "sigma_stat_eV_per_atom": state.mean.error_eV_per_atom,
            }
        yield from ((name, float(f"{value:.6g}")) for name, value in numbers.items() if value is not None)

    @property
    def includes_sampled(self) -> bool:
        """Whether the sampled potential is a member."""
        return any(member.sampled for member in self.members)
