"""The document of a committee, from corrections of one ladder to each of its members."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemflows.analysis.correction import MIN_INDEPENDENT, reasons_against
from alchemflows.analysis.frames import SampledFrames
from alchemflows.analysis.reanalysis import overlap_suffices, rerun_command
from alchemflows.errors import AlchemflowsError
from alchemflows.free_energy.committees import MIN_MEMBERS, MemberChange, committee_spread
from alchemflows.free_energy.reweighting import Reweighting, reweight
from alchemflows.schemas.committee import (
    CommitteeDocument,
    CommitteeMember,
    DisagreeingFrame,
    FailedMember,
    spread_of,
)
from alchemflows.schemas.correction import CorrectionDocument
from alchemflows.schemas.free_energy import Estimate, FreeEnergyDocument
from alchemflows.schemas.provenance import Provenance
from alchemflows.schemas.reasons import Reason
from alchemflows.schemas.samples import PackedArrays
from alchemflows.schemas.verdict import Verdict

#: Frames of each end that a document lists.
N_LISTED = 5
#: Frames that a verdict names.
N_NAMED = 3


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
    ladder
        Identifier and free energy of a ladder that was run with it; None if none was, or it failed.
    """

    name: str
    job: str
    correction: CorrectionDocument | None
    ladder: tuple[str, FreeEnergyDocument] | None = None


@dataclass(frozen=True)
class MemberForces:
    """Forces of a member at the frames of both ends (eV/Å), each of shape (m, N, 3); None if its job failed."""

    name: str
    job: str
    forces: tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class _Member:
    """A member, its ΔU at all frames of both ends (NaN for those that failed), and the reweighting of both ends."""

    name: str
    job: str
    correction: CorrectionDocument
    differences_eV: tuple[np.ndarray, np.ndarray]
    ends: tuple[Reweighting, Reweighting]
    ladder: tuple[str, FreeEnergyDocument] | None = None

    def change(self, before: Estimate) -> MemberChange:
        """Return the change relative to the ladder with the sampled potential."""
        if self.ladder is not None:
            total = self.ladder[1].total
            own = np.nan if total.error_eV is None else total.error_eV
            nothing = [np.zeros(len(differences)) for differences in self.differences_eV]
            value = total.delta_f_eV - before.delta_f_eV
            return MemberChange(value, (nothing[0], nothing[1]), own_error_eV=own)
        first, last = (np.isfinite(differences) for differences in self.differences_eV)
        return MemberChange.of(self.ends, (first, last))


def committee_document(
    uuid: str,
    ladder: FreeEnergyDocument,
    sampled: tuple[SampledFrames, SampledFrames],
    evaluated: Sequence[Evaluated],
    forces: Sequence[MemberForces] = (),
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
    forces
        Forces of the members, if they are compared; those of the sampled potential included.
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
    changes = [member.change(before) for member in found]
    if include_sampled:
        changes.insert(0, MemberChange(0.0, (np.zeros(lengths[0]), np.zeros(lengths[1]))))
    of_ladder = np.nan if before.error_eV is None else before.error_eV
    spread = committee_spread(changes, of_ladder)
    ends = [
        _disagreement(found, forces, end, formula, each.frames.time_fs, include_sampled)
        for end, (formula, each) in enumerate(zip(_formulas(ladder), sampled, strict=True))
    ]
    frames = [frame for end in ends for frame in end.worst(end.spread_eV)]
    members = [_listed(member, ladder) for member in found]
    if include_sampled:
        members.insert(0, _sampled_member(ladder))
    sigma, sigma_error = spread.spread
    reasons = [f"ladder: {reason}" for reason in ladder.verdict.reasons]
    for member in found:
        if member.ladder is not None:
            reasons += [f"{member.name}: its ladder: {reason}" for reason in member.ladder[1].verdict.reasons]
            continue
        for result, formula, value in zip(member.ends, _formulas(ladder), (0, 1), strict=True):
            reasons += reasons_against(f"{member.name}: {formula} (λ = {value})", result)
    per_atom = counts.per_atom(sigma)
    if tolerance_meV_per_atom is not None and 1e3 * per_atom > tolerance_meV_per_atom:
        reasons.append(_too_large(1e3 * per_atom, tolerance_meV_per_atom, frames))
    arrays = {}
    for end, name in enumerate(("initial", "final")):
        arrays[f"{name}_differences_eV"] = np.array([member.differences_eV[end] for member in found])
        arrays[f"{name}_force_spread_eV_per_A"] = ends[end].force_spread
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
        mean=Estimate.of(before.delta_f_eV + spread.mean[0], spread.mean[1], counts),
        sigma_model_eV=sigma,
        sigma_model_error_eV=sigma_error,
        sigma_model_eV_per_atom=per_atom,
        sigma_noise_eV=spread.noise,
        tolerance_meV_per_atom=tolerance_meV_per_atom,
        frames=frames,
        force_frames=[frame for end in ends for frame in end.worst(end.force_spread)],
        force_members=_with_forces(forces),
        evaluations=PackedArrays(npz_base64=PackedArrays.encode(**arrays)),
        verdict=Verdict.of(reasons, _notes(sigma, spread.noise, failed, found, forces)),
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
    return _Member(evaluated.name, evaluated.job, correction, (whole[0], whole[1]), (first, last), evaluated.ladder)


def all_overlap(found: Sequence[Reweighting]) -> bool:
    """Return whether the frames of all ends or states show that a member overlaps with the sampled potential.

    With fewer than :data:`~alchemflows.analysis.correction.MIN_INDEPENDENT` independent frames, those that are typical
    of the member can be missing by chance.
    """
    reasons = [reason for each in found for reason in reasons_against("", each)]
    return overlap_suffices(reasons) and all(each.n_independent >= MIN_INDEPENDENT for each in found)


def _sampled_member(ladder: FreeEnergyDocument) -> CommitteeMember:
    potential = ladder.provenance.potential
    return CommitteeMember(
        name="sampled" if potential is None else potential.name,
        sampled=True,
        potential=potential,
        correction=Estimate.of(0.0, 0.0, ladder.counts),
        total=ladder.total,
        overlaps=True,
    )


def _listed(member: _Member, ladder: FreeEnergyDocument) -> CommitteeMember:
    overlaps = all_overlap(member.ends)
    potential = member.correction.provenance.potential
    correction, total, own = member.correction.correction, member.correction.total, None
    if member.ladder is not None:
        own, total = member.ladder[0], member.ladder[1].total
        first, second = (np.nan if each.error_eV is None else each.error_eV for each in (total, ladder.total))
        change = total.delta_f_eV - ladder.total.delta_f_eV
        correction = Estimate.of(change, float(np.hypot(first, second)), ladder.counts)
    return CommitteeMember(
        name=member.name,
        potential=potential,
        job=member.job,
        correction=correction,
        total=total,
        n_effective=(member.ends[0].n_effective, member.ends[1].n_effective),
        n_independent=(member.ends[0].n_independent, member.ends[1].n_independent),
        overlaps=overlaps,
        ladder=own,
        rerun=None if overlaps or own is not None else rerun_command(member.correction.ladder, potential),
    )


@dataclass(frozen=True)
class _Disagreement:
    """Disagreement of the members at the frames of one end: deviations of ΔU, and the spread of the forces.

    `force_spread` and `atoms` are NaN and -1 where no two members have forces.
    """

    lambda_value: int
    formula: str
    times_fs: np.ndarray
    names: list[str]
    spread_eV: np.ndarray
    deviations_eV: np.ndarray
    force_spread: np.ndarray
    atoms: np.ndarray

    def worst(self, scores: np.ndarray) -> list[DisagreeingFrame]:
        """Return the frames with the largest scores; those without one are left out."""
        known = np.flatnonzero(np.isfinite(scores) & np.isfinite(self.spread_eV))
        return [self._frame(int(k)) for k in known[np.argsort(-scores[known], kind="stable")][:N_LISTED]]

    def _frame(self, k: int) -> DisagreeingFrame:
        member = int(np.abs(self.deviations_eV[:, k]).argmax())
        has_forces = bool(np.isfinite(self.force_spread[k]))
        return DisagreeingFrame(
            lambda_value=float(self.lambda_value),
            formula=self.formula,
            index=k,
            time_fs=float(self.times_fs[k]),
            spread_eV=float(self.spread_eV[k]),
            member=self.names[member],
            deviation_eV=float(self.deviations_eV[member, k]),
            force_spread_eV_per_A=float(self.force_spread[k]) if has_forces else None,
            atom=int(self.atoms[k]) if has_forces else None,
        )


def _disagreement(
    found: Sequence[_Member],
    forces: Sequence[MemberForces],
    end: int,
    formula: str,
    times_fs: np.ndarray,
    include_sampled: bool,
) -> _Disagreement:
    spreads, deviations = spread_of(np.array([member.differences_eV[end] for member in found]), include_sampled)
    of_forces, atoms = np.full(len(times_fs), np.nan), np.full(len(times_fs), -1)
    if _with_forces(forces):
        of_forces, atoms = force_spread([each.forces[end] for each in forces if each.forces is not None])
    names = [member.name for member in found]
    return _Disagreement(end, formula, times_fs, names, spreads, deviations, of_forces, atoms)


def _with_forces(forces: Sequence[MemberForces]) -> list[str]:
    """Return the names of the members whose forces are compared: none, or at least two."""
    names = [each.name for each in forces if each.forces is not None]
    return names if len(names) >= MIN_MEMBERS else []


def force_spread(forces: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest spread of the force on an atom over the members, and this atom, for each frame.

    Parameters
    ----------
    forces
        Forces of each member (eV/Å), each of shape (m, N, 3); NaN where it failed. At least two.

    Returns
    -------
    spread, atoms
        Largest over the atoms of √(Σ_α s_α²), with the sample standard deviations s_α of the three components (eV/Å);
        and the index of the atom, both of shape (m,). Frames on which a member failed have NaN and -1.
    """
    each = np.sqrt(np.asarray(forces, dtype=float).var(axis=0, ddof=1).sum(axis=-1))
    unknown = ~np.isfinite(each).all(axis=1)
    atoms = np.where(unknown, -1, np.where(unknown[:, None], 0.0, each).argmax(axis=1))
    return np.where(unknown, np.nan, each.max(axis=1)), atoms


def _too_large(sigma_meV: float, tolerance_meV: float, frames: Sequence[DisagreeingFrame]) -> str:
    worst = sorted(frames, key=lambda frame: -frame.spread_eV)[:N_NAMED]
    named = "; ".join(
        f"frame {frame.index} of {frame.formula} (λ = {frame.lambda_value:g}): {frame.deviation_eV:+.3f} eV with "
        f"{frame.member}"
        for frame in worst
    )
    return Reason.MEMBERS_DISAGREE.because(sigma=sigma_meV, tolerance=tolerance_meV, frames=named)


def _notes(
    sigma_eV: float,
    noise_eV: float,
    failed: Sequence[FailedMember],
    found: Sequence[_Member],
    forces: Sequence[MemberForces],
) -> list[str]:
    notes = [f"{each.name}: its job ({each.job[:8]}) failed, so it is left out" for each in failed]
    for member in found:
        n_failed = len(member.correction.initial.failed) + len(member.correction.final.failed)
        if n_failed:
            notes.append(f"{member.name}: {n_failed} frames are left out, since it failed on them")
    notes += [
        f"{each.name}: the job of its forces ({each.job[:8]}) failed, so they are not compared"
        for each in forces
        if each.forces is None
    ]
    known = all(member.ladder is not None or all_overlap(member.ends) for member in found)
    if sigma_eV < 2 * noise_eV and known:
        notes.append(
            f"the members agree within their statistical errors: σ_model is {sigma_eV:.2g} eV, and {noise_eV:.2g} eV "
            "is expected of equal members"
        )
    return notes
