"""The document of a committee, from corrections of one ladder to each of its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.analysis.correction import reasons_against
from alchemflows.analysis.frames import SampledFrames
from alchemflows.errors import AlchemflowsError
from alchemflows.free_energy.committees import MIN_MEMBERS, MemberChange, committee_spread
from alchemflows.free_energy.reweighting import Reweighting, reweight
from alchemflows.schemas.committee import CommitteeDocument, CommitteeMember, DisagreeingFrame, FailedMember
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict

#: Frames of each end that a document lists.
N_LISTED = 5
#: Frames that a verdict names.
_NAMED = 3


@dataclass(frozen=True)
class Evaluated:
    """A member of a committee whose job has ended.

    Attributes
    ----------
    name
        Name of the member.
    job
        Identifier of its job.
    correction
        Its correction; None if the job failed.
    """

    name: str
    job: str
    correction: CorrectionDocument | None


@dataclass(frozen=True)
class _Member:
    """A member, its ΔU at all frames of both ends (NaN for those that failed), and the reweighting of both ends."""

    name: str
    job: str
    correction: CorrectionDocument
    differences_eV: tuple[np.ndarray, np.ndarray]
    ends: tuple[Reweighting, Reweighting]

    @property
    def change(self) -> MemberChange:
        first, last = (np.isfinite(differences) for differences in self.differences_eV)
        return MemberChange.of(self.ends, (first, last))


def committee_document(
    uuid: str,
    ladder: FreeEnergyDocument,
    sampled: tuple[SampledFrames, SampledFrames],
    evaluated: Sequence[Evaluated],
    *,
    include_sampled: bool = True,
    tolerance_meV_per_atom: float | None = None,
) -> CommitteeDocument:
    """Return the document of a committee.

    Parameters
    ----------
    uuid, ladder
        Identifier and document of the free energy of the ladder.
    sampled
        Its frames at λ = 0 and at λ = 1.
    evaluated
        The members besides the sampled potential.
    include_sampled
        Whether the sampled potential is a member.
    tolerance_meV_per_atom
        Largest accepted standard deviation over the members (meV/atom).

    Raises
    ------
    AlchemflowsError
        If fewer than two members are left, since jobs failed.
    """
    counts, before = ladder.counts, ladder.total
    lengths = [len(each.frames) for each in sampled]
    found = [_member(each, each.correction, lengths) for each in evaluated if each.correction is not None]
    failed = [FailedMember(name=each.name, job=each.job) for each in evaluated if each.correction is None]
    if len(found) + include_sampled < MIN_MEMBERS:
        names = ", ".join(f"{each.name} ({each.job[:8]})" for each in failed)
        raise AlchemflowsError(f"fewer than {MIN_MEMBERS} members are left, since these jobs failed: {names}")
    changes = [member.change for member in found]
    if include_sampled:
        changes.insert(0, MemberChange(0.0, (np.zeros(lengths[0]), np.zeros(lengths[1]))))
    spread = committee_spread(changes)
    frames = [
        frame
        for end, formula in enumerate((ladder.initial_formula, ladder.final_formula))
        for frame in _disagreeing(found, end, formula, sampled[end].frames.time_fs, include_sampled)
    ]
    members = [_listed(member, ladder) for member in found]
    if include_sampled:
        nothing = Estimate.of(0.0, 0.0, counts)
        name = "sampled" if ladder.provenance.potential is None else ladder.provenance.potential.name
        members.insert(
            0,
            CommitteeMember(
                name=name,
                sampled=True,
                potential=ladder.provenance.potential,
                correction=nothing,
                total=before,
                overlaps=True,
            ),
        )
    error = float(np.hypot(np.nan if before.error_eV is None else before.error_eV, spread.mean[1]))
    sigma, sigma_error = spread.spread
    reasons = [f"ladder: {reason}" for reason in ladder.verdict.reasons]
    for member in found:
        for result, formula, value in zip(member.ends, _formulas(ladder), (0, 1), strict=True):
            reasons += reasons_against(f"{member.name}: {formula} (λ = {value})", result)
    per_atom = counts.per_atom(sigma)
    if tolerance_meV_per_atom is not None and 1e3 * per_atom > tolerance_meV_per_atom:
        reasons.append(_disagreement(1e3 * per_atom, tolerance_meV_per_atom, frames))
    arrays = {
        f"{name}_differences_eV": np.array([member.differences_eV[end] for member in found])
        for end, name in enumerate(("initial", "final"))
    }
    return CommitteeDocument(
        ladder=uuid,
        ensemble=ladder.ensemble,
        temperature_K=ladder.temperature_K,
        pressure_GPa=ladder.pressure_GPa,
        counts=counts,
        initial_formula=ladder.initial_formula,
        final_formula=ladder.final_formula,
        source=ladder.provenance.potential,
        members=members,
        failed=failed,
        mean=Estimate.of(before.delta_f_eV + spread.mean[0], error, counts),
        sigma_model_eV=sigma,
        sigma_model_error_eV=sigma_error,
        sigma_model_eV_per_atom=per_atom,
        sigma_noise_eV=spread.noise_eV,
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        frames=frames,
        evaluations=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
        verdict=Verdict.of(reasons, _notes(sigma, spread.noise_eV, failed, found)),
        provenance=Provenance(potential=ladder.provenance.potential),
    )


def _formulas(ladder: FreeEnergyDocument) -> tuple[str, str]:
    return ladder.initial_formula, ladder.final_formula


def _member(evaluated: Evaluated, correction: CorrectionDocument, lengths: Sequence[int]) -> _Member:
    whole = []
    ends = (correction.initial, correction.final)
    for differences, end, n in zip(correction.differences_eV, ends, lengths, strict=True):
        rows = np.setdiff1d(np.arange(n), [frame.index for frame in end.failed])
        all_frames = np.full(n, np.nan)
        all_frames[rows] = differences
        whole.append(all_frames)
    first, last = (reweight(each[np.isfinite(each)], correction.temperature_K) for each in whole)
    return _Member(evaluated.name, evaluated.job, correction, (whole[0], whole[1]), (first, last))


def _listed(member: _Member, ladder: FreeEnergyDocument) -> CommitteeMember:
    first, last = member.ends
    short = [reason for end in member.ends for reason in reasons_against("", end)]
    return CommitteeMember(
        name=member.name,
        potential=member.correction.provenance.potential,
        job=member.job,
        correction=member.correction.correction,
        total=member.correction.total,
        n_effective=(first.n_effective, last.n_effective),
        n_independent=(first.n_independent, last.n_independent),
        overlaps=all(Reason.of(reason) is not Reason.FRAMES_OVERLAP for reason in short),
    )


def _disagreeing(
    found: Sequence[_Member], end: int, formula: str, times_fs: np.ndarray, include_sampled: bool
) -> list[DisagreeingFrame]:
    """Return the frames of one end with the largest spread; frames on which a member failed are left out."""
    deviations = np.array([member.differences_eV[end] for member in found])
    deviations = deviations - np.nanmean(deviations, axis=1, keepdims=True)
    spreads = (np.vstack([np.zeros(len(times_fs)), deviations]) if include_sampled else deviations).std(axis=0, ddof=1)
    known = np.flatnonzero(np.isfinite(spreads))
    listed = known[np.argsort(-spreads[known], kind="stable")][:N_LISTED]
    frames = []
    for k in listed:
        worst = int(np.abs(deviations[:, k]).argmax())
        frames.append(
            DisagreeingFrame(
                lambda_value=float(end),
                formula=formula,
                index=int(k),
                time_fs=float(times_fs[k]),
                spread_eV=float(spreads[k]),
                member=found[worst].name,
                deviation_eV=float(deviations[worst, k]),
            )
        )
    return frames


def _disagreement(sigma_meV: float, tolerance_meV: float, frames: Sequence[DisagreeingFrame]) -> str:
    worst = sorted(frames, key=lambda frame: -frame.spread_eV)[:_NAMED]
    named = "; ".join(
        f"frame {frame.index} of {frame.formula} (λ = {frame.lambda_value:g}): {frame.deviation_eV:+.3f} eV with "
        f"{frame.member}"
        for frame in worst
    )
    return Reason.MEMBERS_DISAGREE.because(sigma=sigma_meV, tolerance=tolerance_meV, frames=named)


def _notes(sigma_eV: float, noise_eV: float, failed: Sequence[FailedMember], found: Sequence[_Member]) -> list[str]:
    notes = [f"{each.name}: its job ({each.job[:8]}) failed, so it is left out" for each in failed]
    for member in found:
        n_failed = len(member.correction.initial.failed) + len(member.correction.final.failed)
        if n_failed:
            notes.append(f"{member.name}: {n_failed} frames are left out, since it failed on them")
    if sigma_eV < 2 * noise_eV:
        notes.append(
            f"the members agree within their statistical errors: σ_model is {sigma_eV:.2g} eV, and {noise_eV:.2g} eV "
            "is expected of equal members"
        )
    return notes
