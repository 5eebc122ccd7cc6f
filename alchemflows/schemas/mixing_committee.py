"""Committees of potentials on a free energy of mixing, and on the compositions of its gap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from alchemflows.schemas.committee import FailedMember
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document, migration
from alchemflows.schemas.mixing import CompositionPair
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict

#: What is compared: G_mix at one composition, both sides of the gap, and the highest temperature with a gap.
MixingQuantity = Literal["mixing", "binodal-left", "binodal-right", "consolute"]


@migration("FrameEnergies", 1)
def _of_any_result(content: dict[str, Any]) -> dict[str, Any]:
    content["result"] = content.pop("mixing")
    return content


class FrameEnergies(Document):
    """Energies of one member of a committee at the frames of all states of a free energy of mixing or a transition."""

    result: str = Field(description="jobflow's identifier of the free energy of mixing, or of the transition")
    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    failed: list[str] = Field(description="for each state with failed frames, a sentence that names them")
    energies: PackedArrays = Field(
        description="energies (eV) of all frames in the additional store `data`, NaN where the member failed: "
        "`state_k` of the k-th state, from 0"
    )
    provenance: Provenance = Field(description="`potential` is the member; none for a calculator")

    @property
    def of_states_eV(self) -> list[np.ndarray]:
        """Energies of the frames of each state (eV)."""
        arrays = self.energies.arrays()
        return [arrays[f"state_{k}"] for k in range(len(arrays))]


class MemberIsotherm(BaseModel):
    """Free energy of mixing with one member at one temperature, for N = 0, ..., M; values are for the cell."""

    temperature_K: float
    mixing_eV: list[float | None] = Field(description="G_mix with the member; none where it is not known")
    change_eV: list[float | None] = Field(description="G_mix with the member minus that with the sampled potential")
    change_errors_eV: list[float | None]
    n_effective: list[float | None] = Field(
        description="effective sample size at each N, in independent frames; none for the sampled potential, and with "
        "too few frames"
    )
    n_independent: list[float | None] = Field(description="independent frames at each N")
    binodal: CompositionPair | None = Field(
        description="both sides of the gap of a large crystal, from the fit; none without a gap"
    )


class MixingMember(BaseModel):
    """Free energy of mixing, its gap and its consolute point with one member of a committee, by reweighting."""

    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    sampled: bool = Field(False, description="whether this is the potential that was sampled")
    potential: PotentialRecord | None = Field(None, description="none for a calculator")
    job: str | None = Field(None, description="jobflow's identifier of its evaluation; none for the sampled potential")
    isotherms: list[MemberIsotherm]
    consolute_K: float | None = Field(None, description="highest temperature with a gap; none with one temperature")
    consolute_error_K: float | None = None
    overlaps: bool = Field(description="whether the effective sample sizes suffice at all compositions that are known")


class QuantitySpread(BaseModel):
    """Mean and spread over the members of one quantity: G_mix of the cell (eV), a fraction, or a temperature (K)."""

    quantity: MixingQuantity
    temperature_K: float | None = Field(description="none for the consolute temperature")
    fraction: float | None = Field(description="composition of G_mix; none for other quantities")
    n_members: int = Field(description="number of members with this quantity; others have no gap")
    mean: float
    sigma_stat: float | None = Field(description="statistical standard error of the mean; none if it is not known")
    sigma_model: float = Field(description="sample standard deviation over the members")
    sigma_model_error: float | None = Field(description="statistical standard error of `sigma_model`")
    sigma_noise: float | None = Field(
        description="sample standard deviation that members with equal values would have, from statistical errors alone"
    )

    @property
    def numbers(self) -> dict[str, float]:
        """Mean, σ_model and σ_stat, as far as they are known, to six digits."""
        each = {"mean": self.mean, "sigma_model": self.sigma_model, "sigma_stat": self.sigma_stat}
        return {name: float(f"{value:.6g}") for name, value in each.items() if value is not None}


class DisagreeingMixture(BaseModel):
    """A frame of Monte Carlo at which the members of a committee disagree.

    The deviation of a member is its ΔU minus the straight line through ΔU over the number of atoms of the second
    species, of all frames at this temperature.
    """

    state: int = Field(description="number of the state, from 1, as in the list of frames")
    temperature_K: float
    fraction: float = Field(description="fraction of the second species in this frame")
    index: int = Field(description="index of the frame in its state, from 0, as in an export of the frames")
    spread_eV: float = Field(description="standard deviation of the deviations over the members")
    member: str = Field(description="member with the largest deviation")
    deviation_eV: float = Field(description="its deviation")


class MixingCommitteeDocument(Document):
    """Free energy of mixing, compositions of its gap and consolute point with each member of a committee.

    Differences of the potentials that are linear in the composition, such as those of the energies of isolated atoms,
    do not change these quantities.
    """

    result: str = Field(description="jobflow's identifier of the free energy of mixing")
    formula: str
    species: tuple[str, str] = Field(description="first and second species; x is the fraction of the second")
    counts: Counts
    n_mixing_sites: int
    pressure_GPa: float | None
    temperatures_K: list[float]
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    members: list[MixingMember]
    failed: list[FailedMember]
    spreads: list[QuantitySpread] = Field(description="of all quantities that at least two members have")
    frames: list[DisagreeingMixture] = Field(
        default_factory=list,
        description="frames with the largest spread, largest first; empty in results of earlier releases",
    )
    tolerance_meV_per_atom: float | None = Field(description="largest accepted σ_model of G_mix; none if not given")
    verdict: Verdict
    provenance: Provenance

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what other documents do, and mean, σ_model and σ_stat of the main quantities."""
        yield from super().__repr_args__()
        for temperature_K in self.temperatures_K:
            if (worst := self.largest(temperature_K)) is not None:
                yield f"mixing_eV ({temperature_K:g} K, x = {worst.fraction:.3g})", worst.numbers
        for each in self.spreads:
            if each.quantity == "consolute":
                yield "consolute_K", each.numbers
            elif each.quantity != "mixing":
                yield f"{each.quantity} ({each.temperature_K:g} K)", each.numbers

    def largest(self, temperature_K: float) -> QuantitySpread | None:
        """Return the spread of G_mix at the composition at which it is largest; None if there is none."""
        found = [each for each in self.spreads if (each.quantity, each.temperature_K) == ("mixing", temperature_K)]
        return max(found, key=lambda each: each.sigma_model, default=None)
