"""Committees: one free-energy difference with several potentials, and the frames at which they disagree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from alchemflows.schemas.correction import FailedFrame
from alchemflows.schemas.counts import Counts
from alchemflows.schemas.document import Document
from alchemflows.schemas.free_energy import Ensemble, Estimate
from alchemflows.schemas.potential import PotentialRecord
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict


class FrameForces(Document):
    """Forces of one member of a committee at the frames of both ends of a ladder."""

    ladder: str = Field(description="jobflow's identifier of the free energy of the ladder")
    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    failed: tuple[list[FailedFrame], list[FailedFrame]] = Field(
        description="frames at λ = 0 and 1 on which the member failed"
    )
    forces: PackedArrays = Field(
        description="forces (eV/Å, single precision) of all frames in the additional store `data`, NaN where the "
        "member failed: `initial` and `final` of shape (m, N, 3), for the N sites that are not vacant"
    )
    provenance: Provenance

    @property
    def both_ends(self) -> tuple[np.ndarray, np.ndarray]:
        """Forces at the frames at λ = 0 and 1 (eV/Å), two arrays of shape (m, N, 3)."""
        arrays = self.forces.arrays()
        return arrays["initial"], arrays["final"]


class CommitteeMember(BaseModel):
    """Free-energy difference of a ladder with one member of a committee, by reweighting."""

    name: str = Field(description="name of the potential with its head, or calculator with its arguments")
    sampled: bool = Field(False, description="whether this is the potential that the ladder was sampled with")
    potential: PotentialRecord | None = Field(None, description="none for a calculator")
    job: str | None = Field(None, description="jobflow's identifier of its correction; none for the sampled potential")
    correction: Estimate = Field(description="ΔΔF or ΔΔG relative to the sampled potential")
    total: Estimate = Field(description="ΔF or ΔG of the ladder plus `correction`")
    n_effective: tuple[float, float] | None = Field(
        None, description="effective sample size at λ = 0 and 1, in independent frames; none for the sampled potential"
    )
    n_independent: tuple[float, float] | None = Field(None, description="independent frames at λ = 0 and 1")
    overlaps: bool = Field(
        description="whether both effective sample sizes suffice, from at least 12 independent frames of each end; "
        "otherwise its ladder must be run"
    )
    ladder: str | None = Field(
        None,
        description="jobflow's identifier of a ladder that was run with this member, whose free energy is `total`; "
        "none if it was not run",
    )
    rerun: str | None = Field(
        None,
        description="command that runs the ladder with this member; none if it overlaps, was run or cannot be sampled",
    )


class FailedMember(BaseModel):
    """A member whose job failed, so that it is not part of the result."""

    name: str
    job: str = Field(description="jobflow's identifier of the failed job, which has the error")


class SpreadOfTemperature(BaseModel):
    """Mean and spread over the members of a temperature (K)."""

    n_members: int = Field(description="number of members with this temperature")
    mean_K: float
    sigma_stat_K: float | None = Field(description="statistical standard error of the mean; none if it is not known")
    sigma_model_K: float = Field(description="sample standard deviation over the members")
    sigma_model_error_K: float | None = Field(description="statistical standard error of `sigma_model_K`")
    sigma_noise_K: float | None = Field(
        description="sample standard deviation that members with equal values would have, from statistical errors alone"
    )


class DisagreeingFrame(BaseModel):
    """A frame at which the members of a committee disagree.

    The deviation of a member is ΔU minus its mean over the frames of that end.
    """

    lambda_value: float
    formula: str
    index: int = Field(description="index of the frame at its end, from 0")
    time_fs: float
    spread_eV: float = Field(description="sample standard deviation of the deviations over the members")
    member: str = Field(description="the member with the largest deviation")
    deviation_eV: float = Field(description="its deviation")
    force_spread_eV_per_A: float | None = Field(
        None, description="largest standard deviation over the members of the force on an atom; none without forces"
    )
    atom: int | None = Field(None, description="index of this atom among the sites that are not vacant")


class CommitteeDocument(Document):
    """One free-energy difference with each member of a committee of potentials, and the spread over the members."""

    ladder: str = Field(description="jobflow's identifier of the free energy of the ladder")
    ensemble: Ensemble = Field(description="NVT: ΔF at constant volume; NPT: ΔG at constant pressure")
    temperature_K: float
    pressure_GPa: float | None = Field(description="none at constant volume")
    counts: Counts
    initial_formula: str
    final_formula: str
    source: PotentialRecord | None = Field(description="the potential that was sampled")
    members: list[CommitteeMember]
    failed: list[FailedMember]
    mean: Estimate = Field(
        description="mean of `total` over the members; its error is statistical (σ_stat): that of the ladder, which is "
        "common to all, and that of the mean correction, in quadrature"
    )
    sigma_model_eV: float = Field(description="sample standard deviation of `total` over the members")
    sigma_model_error_eV: float = Field(description="statistical standard error of `sigma_model_eV`")
    sigma_model_eV_per_atom: float
    sigma_noise_eV: float = Field(
        description="sample standard deviation that members with equal free energies would have, from their "
        "statistical errors alone"
    )
    tolerance_meV_per_atom: float | None = Field(description="largest accepted `sigma_model`; none if not given")
    frames: list[DisagreeingFrame] = Field(description="frames of each end with the largest spread, largest first")
    force_frames: list[DisagreeingFrame] = Field(
        default_factory=list,
        description="frames of each end with the largest spread of the forces, largest first; none without forces",
    )
    force_members: list[str] = Field(default_factory=list, description="members whose forces were compared")
    evaluations: PackedArrays = Field(
        description="in the additional store `data`, for the members without the sampled potential: ΔU of each frame "
        "(eV), NaN where a member failed, `initial_differences_eV` and `final_differences_eV` of shape (K, m); of all "
        "members the spread of the forces of each frame (eV/Å), NaN if unknown, `initial_force_spread_eV_per_A` and "
        "`final_force_spread_eV_per_A` of shape (m,)"
    )
    verdict: Verdict
    provenance: Provenance

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        """Yield what other documents do, and the statistical error of the mean beside `sigma_model_eV`."""
        yield from super().__repr_args__()
        if self.sigma_stat_eV is not None:
            yield "sigma_stat_eV", float(f"{self.sigma_stat_eV:.6g}")

    @property
    def sigma_stat_eV(self) -> float | None:
        """Statistical standard error of the mean over the members (eV)."""
        return self.mean.error_eV

    @property
    def differences_eV(self) -> tuple[Any, Any]:
        """ΔU of the frames at λ = 0 and 1 with each member but the sampled potential (eV), arrays of shape (K, m)."""
        arrays = self.evaluations.arrays()
        return arrays["initial_differences_eV"], arrays["final_differences_eV"]

    @property
    def includes_sampled(self) -> bool:
        """Whether the sampled potential is a member."""
        return any(member.sampled for member in self.members)

    @property
    def spreads_eV(self) -> tuple[Any, Any]:
        """Spread over the members of ΔU minus its mean at each frame (eV), NaN if unknown, two arrays."""
        initial, final = (spread_of(each, self.includes_sampled)[0] for each in self.differences_eV)
        return initial, final

    @property
    def force_spreads_eV_per_A(self) -> tuple[Any, Any]:
        """Spread of the forces of each frame at λ = 0 and 1 (eV/Å), NaN if unknown, two arrays."""
        arrays = self.evaluations.arrays()
        return arrays["initial_force_spread_eV_per_A"], arrays["final_force_spread_eV_per_A"]


def spread_of(differences_eV: np.ndarray, include_sampled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the spread of each frame over the members, and the deviation of each member (eV).

    Parameters
    ----------
    differences_eV
        ΔU of each member but the sampled potential at each frame, shape (K, m); NaN where a member failed.
    include_sampled
        Whether the sampled potential is a member, whose ΔU is 0.

    Returns
    -------
    spread, deviations
        Sample standard deviation of the deviations, shape (m,), NaN where a member failed; and ΔU minus its mean over
        the frames, shape (K, m).
    """
    deviations = differences_eV - np.nanmean(differences_eV, axis=1, keepdims=True)
    members = np.vstack([np.zeros(deviations.shape[1]), deviations]) if include_sampled else deviations
    return members.std(axis=0, ddof=1), deviations
